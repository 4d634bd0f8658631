//! What a machine needs to take updates: whom it trusts, where it asks, what it never goes below.

use std::path::Path;

use super::{FinishError, text};
use crate::manifest::Update;
use crate::tree::Tree;

/// The first root metadata that machines trust.
const ROOT: &str = "usr/share/coreos/update/root.json";
/// The security epoch of the image.
const EPOCH: &str = "usr/share/coreos/update/epoch";
/// The settings of a machine that has none of its own.
const SETTINGS: &str = "usr/share/coreos/update.conf";

/// Writes the files of the manifest's `[update]`.
pub(super) fn write(tree: &mut Tree, update: &Update, project: &Path) -> Result<(), FinishError> {
    tree.place_file(ROOT, &project.join(&update.root), 0o644)?;
    text::write(tree, EPOCH, format!("{}\n", update.epoch))?;
    let mut settings = format!("GROUP={}\n", update.group);
    if let Some(server) = &update.server {
        settings.push_str(&format!("SERVER={server}\n"));
    }
    text::write(tree, SETTINGS, settings)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::Manifest;

    #[test]
    fn the_image_knows_its_publisher() {
        let project = tempfile::tempdir().unwrap();
        std::fs::write(project.path().join("root.json"), "{}").unwrap();
        let manifest = include_str!("../../../coreos.toml").to_owned()
            + "\n[update]\nroot = \"root.json\"\nserver = \"https://updates.example\"\n\
               group = \"beta\"\nepoch = 3\n";
        let manifest = Manifest::parse(&manifest, Path::new("coreos.toml")).unwrap();
        let mut tree = Tree::new();
        let update = manifest.update.expect("an update table");
        write(&mut tree, &update, project.path()).unwrap();
        assert_eq!(text::read(&tree, ROOT).unwrap(), "{}");
        assert_eq!(text::read(&tree, EPOCH).unwrap(), "3\n");
        assert_eq!(
            text::read(&tree, SETTINGS).unwrap(),
            "GROUP=beta\nSERVER=https://updates.example\n"
        );
        let missing = Update { root: "missing.json".into(), ..update };
        assert!(write(&mut tree, &missing, project.path()).is_err());
    }
}
