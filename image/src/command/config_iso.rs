//! `image config-iso`: discs that configure machines, one or one for each node.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use clap::Args;
use image::config_iso::{self, Complaint, Label, Part, Sources};
use image::nodes::Nodes;

use crate::{AnyError, Mistake};

#[derive(Debug, Args)]
pub(crate) struct ConfigIsoArgs {
    /// The cloud-config or script
    #[arg(long, value_name = "FILE", required_unless_present = "nodes")]
    user_data: Option<PathBuf>,
    /// Many machines: a file with their names and addresses, and the template of their
    /// cloud-config; a disc for each goes into the directory --output
    #[arg(long, value_name = "FILE", conflicts_with_all = ["user_data", "meta_data", "network_config", "label"])]
    nodes: Option<PathBuf>,
    /// What the platform would say of the machine [default: a generated id]
    #[arg(long, value_name = "FILE")]
    meta_data: Option<PathBuf>,
    /// The network, in netplan's language, version 2
    #[arg(long, value_name = "FILE")]
    network_config: Option<PathBuf>,
    /// Volume label, and with it the layout
    #[arg(long, value_enum, default_value_t)]
    label: Label,
    /// The disc, or with --nodes the directory for the discs
    #[arg(short, long, value_name = "PATH")]
    output: PathBuf,
}

pub(crate) fn run(args: &ConfigIsoArgs) -> Result<(), AnyError> {
    if let Some(path) = &args.nodes {
        return write_discs(path, &args.output);
    }
    let path = args.user_data.as_ref().expect("required unless there are nodes");
    let user_data = read(path)?;
    let meta_data = args.meta_data.as_deref().map(read).transpose()?;
    let network_config = args.network_config.as_deref().map(read).transpose()?;
    let sources = Sources {
        user_data: &user_data,
        meta_data: meta_data.as_deref(),
        network_config: network_config.as_deref(),
    };
    let complaints = config_iso::check(args.label, &sources);
    let path_of = |part| match part {
        Part::UserData => Some(path),
        Part::MetaData => args.meta_data.as_ref(),
        Part::NetworkConfig => args.network_config.as_ref(),
    };
    tell_complaints(&complaints, path_of)?;
    let image = config_iso::image(args.label, &sources)?;
    // Secrets on the disc stay as private as they are in the file.
    let mode = fs::metadata(path)?.permissions().mode() & 0o666 | 0o600;
    host::durable::write(&args.output, &image, mode)?;
    Ok(())
}

/// Writes a disc for each node, or none if anything is wrong with one of them.
fn write_discs(path: &Path, directory: &Path) -> Result<(), AnyError> {
    let text = |path: &Path| -> Result<String, Mistake> {
        let invalid = |_| io::Error::new(io::ErrorKind::InvalidData, "it is not UTF-8");
        String::from_utf8(read(path)?)
            .map_err(|error| Mistake::Read { path: path.to_owned(), source: invalid(error) })
    };
    let nodes = Nodes::parse(&text(path)?, path).map_err(Mistake::Nodes)?;
    let template = path.parent().unwrap_or(Path::new("")).join(&nodes.template);
    let (rendered, doubts) = nodes.render(&text(&template)?).map_err(|mistakes| {
        mistakes.iter().for_each(|mistake| eprintln!("{mistake}"));
        Mistake::RefusedNodes { path: path.to_owned() }
    })?;
    doubts.iter().for_each(|doubt| eprintln!("{doubt}"));
    // Secrets on the discs stay as private as they are in the template.
    let mode = fs::metadata(&template)?.permissions().mode() & 0o666 | 0o600;
    let discs = rendered
        .iter()
        .map(|node| Ok((&node.hostname, config_iso::image(nodes.label(), &node.sources())?)))
        .collect::<Result<Vec<_>, config_iso::Error>>()?;
    fs::create_dir_all(directory)
        .map_err(|source| Mistake::Directory { path: directory.to_owned(), source })?;
    let mut out = io::stdout().lock();
    for (hostname, disc) in discs {
        let path = directory.join(format!("{hostname}.iso"));
        host::durable::write(&path, &disc, mode)?;
        writeln!(out, "{}", path.display())?;
    }
    Ok(())
}

/// Tells everything that a machine would complain about; fails if it would refuse something.
pub(super) fn tell_complaints<'a>(
    complaints: &[Complaint],
    path_of: impl Fn(Part) -> Option<&'a PathBuf>,
) -> Result<(), Mistake> {
    for Complaint { part, finding, text } in complaints {
        let name = path_of(*part).map(|path| path.display().to_string()).unwrap_or_default();
        let told = if text.is_empty() { finding.line(&name) } else { finding.render(&name, text) };
        eprintln!("{told}");
    }
    let refused = complaints.iter().find(|complaint| complaint.is_error());
    match refused.and_then(|complaint| path_of(complaint.part)) {
        Some(path) => Err(Mistake::Refused { path: path.clone() }),
        None => Ok(()),
    }
}

/// Reads a source of a disc; one that is larger than any machine accepts is
/// read just so far that this is seen.
pub(super) fn read(path: &Path) -> Result<Vec<u8>, Mistake> {
    let mut bytes = Vec::new();
    let limit = cloud_config::MAX_USER_DATA as u64 + 1;
    File::open(path)
        .and_then(|file| file.take(limit).read_to_end(&mut bytes))
        .map_err(|source| Mistake::Read { path: path.to_owned(), source })?;
    Ok(bytes)
}
