//! `image tree`: the root tree as a tar, for containers and for looking into.

use crate::{AnyError, BuildArgs};
use clap::Args;
use image::pipeline;
use image::progress::{Progress, Size, Style};
use image::tree::export;
use std::io::BufWriter;
use std::path::{Path, PathBuf};
use tempfile::NamedTempFile;

#[derive(Debug, Args)]
pub(crate) struct TreeArgs {
    /// The tar
    #[arg(short = 't', long, value_name = "FILE")]
    tar: PathBuf,
    #[command(flatten)]
    pub(crate) build: BuildArgs,
}

pub(crate) fn run(args: TreeArgs, style: Style) -> Result<(), AnyError> {
    let TreeArgs { tar, build } = args;
    let request = crate::request(build)?;
    let progress = Progress::new(style);
    let root = pipeline::tree(&request, &progress)?;
    let stage = progress.stage("tar");
    let directory = tar.parent().filter(|parent| !parent.as_os_str().is_empty());
    // Under another name until it is whole.
    let draft = NamedTempFile::new_in(directory.unwrap_or(Path::new(".")))?;
    let out = BufWriter::with_capacity(1 << 20, draft.as_file());
    export::write_tar(&root.tree, root.epoch, out)?;
    draft.as_file().sync_all()?;
    let size = draft.persist(&tar)?.metadata()?.len();
    stage.finish(&Size(size).to_string());
    Ok(())
}
