//! The image that was built for this system, if there is one, and else a
//! small one: both must pass the same checks.

mod support;

use std::path::Path;

use support::Project;
use support::checks::check_image;

#[test]
#[allow(clippy::disallowed_methods, reason = "the only way to tell a test")]
fn the_image_passes_the_checkers_of_its_formats() {
    // Set by `make test`, which builds the image first.
    match std::env::var_os("IMAGE_DIR") {
        Some(directory) => check_image(Path::new(&directory)),
        None => {
            let project = Project::new();
            project.build(&[]).succeeded();
            check_image(&project.path("output"));
        }
    }
}
