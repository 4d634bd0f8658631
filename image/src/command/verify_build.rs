//! `image verify-build`: builds once more and says whether it is the same.

use crate::{AnyError, BuildArgs};
use clap::Args;
use image::pipeline;
use image::progress::{Event, Progress, Style};
use image::scratch::Cleanup;
use image::stamp::{self, Stamp};
use image::verify;
use std::fs;
use std::io::{self, Write};
use std::path::PathBuf;

#[derive(Debug, Args)]
pub(crate) struct VerifyArgs {
    /// The build that is checked
    #[arg(value_name = "DIR")]
    directory: PathBuf,
    #[command(flatten)]
    pub(crate) build: BuildArgs,
}

/// Why a build is not the same.
#[derive(Debug, thiserror::Error)]
enum Mistake {
    #[error("{path} holds no build: there is no {name} in it", path = path.display(), name = stamp::FILE)]
    NoBuild { path: PathBuf },
    #[error("{count} of {all} files are not as they were built; the new ones are in {path}", path = path.display())]
    Differs { count: usize, all: usize, path: PathBuf },
}

pub(crate) fn run(args: VerifyArgs, style: Style, cleanup: &Cleanup) -> Result<(), AnyError> {
    let VerifyArgs { directory, mut build } = args;
    let stamp =
        Stamp::read(&directory).ok_or_else(|| Mistake::NoBuild { path: directory.clone() })?;
    let names: Vec<String> = stamp.outputs.keys().cloned().collect();
    // What was left out then is left out now, and the version is the same.
    build.no_qcow2 = !names.iter().any(|name| name.ends_with(".qcow2"));
    build.version = build.version.or_else(|| stamp.inputs.get("version").cloned());
    let mut beside = directory.clone().into_os_string();
    beside.push(".rebuilt");
    let rebuilt = PathBuf::from(beside);
    // Nothing that an earlier run left may be taken for built.
    if rebuilt.exists() {
        fs::remove_dir_all(&rebuilt)?;
    }
    build.output = rebuilt.clone();
    let json = build.json;
    let request = crate::request(build)?;
    let progress = Progress::new(style);
    pipeline::build(&request, &progress, cleanup)?;
    drop(progress);
    let differences = verify::compare(&names, &directory, &rebuilt)?;
    if json {
        let outcome = serde_json::json!({
            "identical": differences.is_empty(), "files": names, "differences": differences,
        });
        Event::Result { outcome: &outcome }.print();
    }
    if differences.is_empty() {
        fs::remove_dir_all(&rebuilt)?;
        if !json {
            writeln!(io::stdout().lock(), "identical: {} files", names.len())?;
        }
        return Ok(());
    }
    if !json {
        for difference in &differences {
            writeln!(io::stdout().lock(), "{difference}")?;
        }
    }
    Err(Mistake::Differs { count: differences.len(), all: names.len(), path: rebuilt }.into())
}
