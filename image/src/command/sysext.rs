//! `image sysext`: a system extension, of a directory's files or of packages.

use std::io::{self, Write};
use std::path::PathBuf;

use clap::Args;
use image::digest;
use image::lock::Lock;
use image::manifest::Manifest;
use image::progress::{Progress, Style};
use image::sysext::packages::{self, Packed};
use image::sysext::{self, Identity};
use image::tree::Tree;

use super::sources::Sources;
use crate::AnyError;

#[derive(Debug, Args)]
pub(crate) struct SysextArgs {
    /// Its files, below usr and opt; with --packages they are laid over those
    #[arg(required_unless_present = "packages")]
    directory: Option<PathBuf>,
    /// Packages whose files it holds, with all they need and the image does not have
    #[arg(long, value_name = "NAME,…", value_delimiter = ',')]
    packages: Vec<String>,
    /// The exact packages [default: beside the image, tools.lock for tools.raw]
    #[arg(long, value_name = "FILE", requires = "packages")]
    packages_lock: Option<PathBuf>,
    /// Take the packages that the archives have now
    #[arg(long, requires = "packages")]
    update: bool,
    /// Take set-user-ID files and files with capabilities of packages as they are
    #[arg(long, requires = "packages")]
    privileged: bool,
    /// Its name [default: that of --output without its end]
    #[arg(long)]
    name: Option<String>,
    /// The version of the system that it is for [default: every]
    #[arg(long)]
    version: Option<String>,
    #[command(flatten)]
    sources: Sources,
    /// The image, NAME.raw
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
}

pub(crate) fn run(args: &SysextArgs, style: Style) -> Result<(), AnyError> {
    let manifest = Manifest::read(&args.sources.manifest)?;
    let own = args.output.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let identity = Identity {
        name: args.name.as_deref().unwrap_or(&own),
        id: manifest.id.as_str(),
        version: args.version.as_deref(),
        architecture: manifest.packages.architecture.as_str(),
    };
    let (mut files, mut from, mut lines) = (Tree::new(), String::new(), Vec::new());
    if !args.packages.is_empty() {
        let (packed, lock) = pack(args, &manifest, style)?;
        lines.extend(lock.packages.iter().map(|one| format!("{} {}", one.name, one.version)));
        tell(&packed);
        (files, from) = (packed.tree, args.packages.join(", "));
    }
    if let Some(directory) = &args.directory {
        files.lay_over(directory)?;
        from = directory.display().to_string();
    }
    let tree = sysext::tree(files, &from, &identity)?;
    let root_hash = sysext::write(&tree, &identity, &args.output)?;
    let mut out = io::stdout().lock();
    writeln!(out, "{}", args.output.display())?;
    for line in lines {
        writeln!(out, "package {line}")?;
    }
    writeln!(out, "root hash {root_hash}")?;
    writeln!(out, "SHA-256 {}", digest::of_file(&args.output, |_| ())?)?;
    Ok(())
}

/// The files of the packages, and which packages those are.
fn pack(args: &SysextArgs, manifest: &Manifest, style: Style) -> Result<(Packed, Lock), AnyError> {
    let base_path = args.sources.lock();
    let base = Lock::read_for(manifest, &base_path, &args.sources.manifest)?;
    let builder = digest::of_file(&std::env::current_exe()?, |_| ())?;
    let request = packages::Request {
        manifest,
        base: &base,
        asked: &args.packages,
        keyring: &args.sources.keyring,
        cache: &args.sources.cache,
        builder: &builder,
        privileged: args.privileged,
        now: super::lock::now(),
    };
    let beside = || args.output.with_extension("lock");
    let path: PathBuf = args.packages_lock.clone().unwrap_or_else(beside);
    let progress = Progress::new(style);
    let kept = if args.update { None } else { packages::read_lock(&request, &path)? };
    let Some(lock) = kept else {
        let lock = packages::resolve(&request, &progress)?;
        let packed = packages::pack(&request, &lock, &progress)?;
        // Only what can be built is written down.
        packages::write_lock(&lock, &path)?;
        return Ok((packed, lock));
    };
    let packed = packages::pack(&request, &lock, &progress)?;
    Ok((packed, lock))
}

/// Says what of the packages the extension lacks.
fn tell(packed: &Packed) {
    if !packed.left_out.is_empty() {
        let files = packages::shortened(&packed.left_out);
        eprintln!("note: left out, for an extension holds /usr and /opt alone: {files}");
    }
    if !packed.scripts.is_empty() {
        let scripts = packages::shortened(&packed.scripts);
        eprintln!("note: what these would do when installed is not done: {scripts}");
    }
}
