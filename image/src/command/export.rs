//! `image export`: a built disk in the formats of others.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};
use std::path::PathBuf;

use clap::Args;
use image::config_iso::{self, Label, Part, Sources};
use image::export::{Format, Source, Unattended};
use image::progress::{Event, Progress, Style};
use image::scratch::{Cleanup, Scratch};
use image::secure_boot::keys;

use super::config_iso::{read, tell_complaints};
use crate::{AnyError, Mistake};

#[derive(Debug, Args)]
pub(crate) struct ExportArgs {
    /// The directory of a build
    #[arg(default_value = "target/image")]
    directory: PathBuf,
    /// What to make of it
    #[arg(long, value_enum, required = true, value_delimiter = ',')]
    format: Vec<Format>,
    /// Directory for the results [default: the build's]
    #[arg(short, long, value_name = "DIR")]
    output: Option<PathBuf>,
    /// iso, pxe: the program that installs [default: coreos-install beside this program]
    #[arg(long, value_name = "PATH")]
    installer: Option<PathBuf>,
    /// iso, pxe: sign the installer with the keys in this directory
    #[arg(long, value_name = "DIR")]
    secure_boot_keys: Option<PathBuf>,
    /// iso, pxe: cloud-config of the machine, or a directory with user-data, meta-data and
    /// network-config
    #[arg(long, value_name = "PATH")]
    config: Option<PathBuf>,
    /// iso, pxe: install without asking, on this disk, or on the only one that can be taken: auto
    #[arg(long, value_name = "DISK")]
    install_device: Option<String>,
    /// iso, pxe: the name of a disk that is erased without asking
    #[arg(long, value_name = "NAME", requires = "install_device")]
    force_erase: Option<String>,
    /// iso, pxe: switch the machine off after an installation without asking
    #[arg(long, requires = "install_device")]
    power_off: bool,
    /// Print one JSON object per line instead of text
    #[arg(long)]
    pub(crate) json: bool,
}

pub(crate) fn run(args: &ExportArgs, style: Style, cleanup: &Cleanup) -> Result<(), AnyError> {
    let program = std::env::current_exe().map_err(Mistake::OwnPlace)?;
    let beside = || program.with_file_name("coreos-install");
    let installer = args.installer.clone().unwrap_or_else(beside);
    let unattended = unattended(args)?;
    let keys = args.secure_boot_keys.as_deref().map(keys::Directory::read).transpose()?;
    let signer = keys.as_ref().map(|keys| &keys.signer);
    let source = Source::open(&args.directory, &installer, &unattended, signer)?;
    let output = args.output.as_ref().unwrap_or(&args.directory);
    let scratch = Scratch::open(output, cleanup)?;
    let progress = Progress::new(style);
    let mut files = Vec::new();
    for format in args.format.iter().collect::<BTreeSet<_>>() {
        source.write(*format, &scratch.path(""), &progress)?;
        files.extend(format.files().iter().map(|&name| name.to_owned()));
    }
    scratch.publish(&files, &[])?;
    drop(progress);
    if args.json {
        let outcome = serde_json::json!({ "directory": output, "files": files });
        Event::Result { outcome: &outcome }.print();
        return Ok(());
    }
    let mut out = io::stdout().lock();
    for file in &files {
        writeln!(out, "{}", output.join(file).display())?;
    }
    Ok(())
}

/// What an installer does without being asked. Its configuration is checked as a machine would.
fn unattended(args: &ExportArgs) -> Result<Unattended, AnyError> {
    let mut unattended = Unattended::default();
    let mut words = |name: &str, value: &str| {
        unattended.words.push(format!("coreos.install.{name}={value}"));
    };
    match args.install_device.as_deref() {
        None => {}
        Some(device) if device == "auto" || device.starts_with("/dev/") => words("device", device),
        Some(device) => return Err(Mistake::Device { device: device.to_owned() }.into()),
    }
    args.force_erase.iter().for_each(|name| words("force-erase", name));
    if args.power_off {
        words("finish", "poweroff");
    }
    let Some(path) = &args.config else { return Ok(unattended) };
    let names = ["user-data", "meta-data", "network-config"];
    let paths: Vec<(&str, PathBuf)> = if path.is_dir() {
        names.iter().map(|&name| (name, path.join(name))).filter(|(_, p)| p.exists()).collect()
    } else {
        vec![(names[0], path.clone())]
    };
    let files = paths
        .iter()
        .map(|(name, path)| Ok(((*name).to_owned(), read(path)?)))
        .collect::<Result<BTreeMap<_, _>, Mistake>>()?;
    let file = |name: &str| files.get(name).map(Vec::as_slice);
    let sources = Sources {
        user_data: file(names[0]).unwrap_or_default(),
        meta_data: file(names[1]),
        network_config: file(names[2]),
    };
    let path_of = |part| {
        let name = match part {
            Part::UserData => names[0],
            Part::MetaData => names[1],
            Part::NetworkConfig => names[2],
        };
        paths.iter().find(|(known, _)| *known == name).map(|(_, path)| path)
    };
    tell_complaints(&config_iso::check(Label::Cidata, &sources), path_of)?;
    unattended.config = files;
    Ok(unattended)
}
