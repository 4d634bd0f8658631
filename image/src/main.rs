//! The image builder's command line: arguments in, stages shown, errors told.
//!
//! What it does is in the library; here the environment is read, signals are
//! waited for, and the exit code is chosen: 0 done, 1 failed, 2 misused.

mod command;

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error as StdError;
use std::fs::{self, File};
use std::io::{self, IsTerminal, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::thread;
use std::time::{SystemTime, UNIX_EPOCH};

use clap::{Args, Parser, Subcommand};
use image::compare::{self, Shown};
use image::config_iso::{self, Complaint, Label, Part, Sources};
use image::export::{Format, Source, Unattended};
use image::inspect;
use image::manifest::Manifest;
use image::nodes::Nodes;
use image::pipeline::{self, Outcome, Request};
use image::progress::{Event, Progress, Style};
use image::scratch::{Cleanup, Scratch};
use image::secure_boot::{Keys, keys};
use image::sysext;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGXFSZ};
use signal_hook::iterator::Signals;

/// Builds disk images of the system, and what they boot with.
#[derive(Debug, Parser)]
#[command(name = "image", arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Build the disk image and the parts of a release
    Build(BuildArgs),
    /// Make a built disk fit a hypervisor, a cloud, or a medium that installs it
    Export(ExportArgs),
    /// Make keys for Secure Boot
    Keys(KeysArgs),
    /// Write down which packages an image is made of
    Lock(command::lock::LockArgs),
    /// Build once more and say whether it is the same
    VerifyBuild(command::verify_build::VerifyArgs),
    /// Write the root tree as a tar
    Tree(command::tree::TreeArgs),
    /// Write a disc that configures a machine
    ConfigIso(ConfigIsoArgs),
    /// Make a system extension of a directory's files
    Sysext(SysextArgs),
    /// Say what differs between two builds or releases
    Diff(DiffArgs),
    /// Say what is in a disk image, boot image, config disc or root
    Inspect(InspectArgs),
}

#[derive(Debug, Args)]
struct BuildArgs {
    /// What the image is made of
    #[arg(long, value_name = "FILE", default_value = "image/coreos.toml")]
    manifest: PathBuf,
    /// The exact packages [default: beside the manifest, coreos.lock for coreos.toml]
    #[arg(long, value_name = "FILE")]
    lock: Option<PathBuf>,
    /// Directory for the results
    #[arg(long, value_name = "DIR", default_value = "target/image")]
    output: PathBuf,
    /// Directory that keeps packages between builds; several builds may share it
    #[arg(long, value_name = "DIR", default_value = "target/packages")]
    cache: PathBuf,
    /// Version of the system [default: the manifest's]
    #[arg(long)]
    version: Option<String>,
    /// The machine's first program [default: coreos-init beside this program]
    #[arg(long, value_name = "PATH")]
    coreos_init: Option<PathBuf>,
    /// Print one JSON object per line instead of text
    #[arg(long)]
    json: bool,
    /// Leave out the disk image for QEMU
    #[arg(long)]
    no_qcow2: bool,
    /// Sign boot loader and UKI with the keys in this directory [default: the manifest's]
    #[arg(long, value_name = "DIR")]
    secure_boot_keys: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct ExportArgs {
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
    json: bool,
}

#[derive(Debug, Args)]
struct KeysArgs {
    /// Directory for the keys; keys that are there already stay
    #[arg(short, long, value_name = "DIR")]
    output: PathBuf,
    /// Whose keys they are, in their certificates
    #[arg(long, value_name = "NAME", default_value = "CoreOS-rs")]
    owner: String,
    /// Length of the RSA keys: 2048, 3072 or 4096
    #[arg(long, default_value_t = 3072)]
    bits: usize,
    /// A certificate, PEM or DER, whose programs machines shall run as well
    #[arg(long, value_name = "FILE")]
    trust: Vec<PathBuf>,
}

#[derive(Debug, Args)]
struct ConfigIsoArgs {
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

#[derive(Debug, Args)]
struct SysextArgs {
    /// Its files, below usr and opt
    directory: PathBuf,
    /// Its name [default: that of --output without its end]
    #[arg(long)]
    name: Option<String>,
    /// The version of the system that it is for [default: every]
    #[arg(long)]
    version: Option<String>,
    /// What the system is made of; its `id` goes into the extension
    #[arg(long, value_name = "FILE", default_value = "image/coreos.toml")]
    manifest: PathBuf,
    /// The image, NAME.raw
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
}

#[derive(Debug, Args)]
struct DiffArgs {
    /// The directory of the older build
    old: PathBuf,
    /// The directory of the newer build
    new: PathBuf,
    /// Name every file
    #[arg(long)]
    files: bool,
    /// Print JSON instead of text
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct InspectArgs {
    /// The file to look into
    file: PathBuf,
    /// Print JSON instead of text
    #[arg(long)]
    json: bool,
}

/// An error for the user, whatever it was.
type AnyError = Box<dyn StdError>;

/// A mistake in what the user asked for or gave.
#[derive(Debug, thiserror::Error)]
enum Mistake {
    #[error("cannot read {path}", path = path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("{path} would be refused by a machine: no disc was written", path = path.display())]
    Refused { path: PathBuf },
    #[error("{0}")]
    Nodes(String),
    #[error("{path}: no disc was written", path = path.display())]
    RefusedNodes { path: PathBuf },
    #[error("cannot make the directory {path}", path = path.display())]
    Directory { path: PathBuf, source: io::Error },
    #[error("--install-device {device} is neither auto nor a path such as /dev/vda")]
    Device { device: String },
    #[error("cannot find this program's own place; name the program with --coreos-init")]
    OwnPlace(#[source] io::Error),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let json = match &cli.command {
        Command::Build(args) => args.json,
        Command::Lock(args) => args.json,
        Command::VerifyBuild(args) => args.build.json,
        Command::Tree(args) => args.build.json,
        Command::Export(args) => args.json,
        Command::Keys(_)
        | Command::ConfigIso(_)
        | Command::Sysext(_)
        | Command::Diff(_)
        | Command::Inspect(_) => false,
    };
    let cleanup = Cleanup::default();
    let done = watch_signals(&cleanup).map_err(AnyError::from).and_then(|()| match cli.command {
        Command::Build(args) => build(args, &cleanup),
        Command::Export(args) => export_build(&args, &cleanup),
        Command::Keys(args) => make_keys(&args),
        Command::Lock(args) => command::lock::run(&args, style(json)),
        Command::VerifyBuild(args) => command::verify_build::run(args, style(json), &cleanup),
        Command::Tree(args) => command::tree::run(args, style(json)),
        Command::ConfigIso(args) => write_config_iso(&args),
        Command::Sysext(args) => make_sysext(&args),
        Command::Diff(args) => print_difference(&args),
        Command::Inspect(args) => print_report(&args),
    });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tell(error.as_ref(), json);
            ExitCode::FAILURE
        }
    }
}

/// Makes a signal that ends the program remove what is half built first. A
/// file that may grow no more is an error of the write, like a full disk.
#[allow(clippy::disallowed_methods, reason = "a signal ends the program from here")]
fn watch_signals(cleanup: &Cleanup) -> io::Result<()> {
    signal_hook::flag::register(SIGXFSZ, Arc::new(AtomicBool::new(false)))?;
    let mut signals = Signals::new([SIGHUP, SIGINT, SIGTERM])?;
    let cleanup = cleanup.clone();
    thread::spawn(move || {
        if let Some(signal) = signals.forever().next() {
            stop_children();
            cleanup.stop();
            eprintln!("error: interrupted; nothing was changed");
            std::process::exit(128 + signal);
        }
    });
    Ok(())
}

/// Ends the programs that this one runs, which clean up after themselves. The
/// terminal tells them when it tells this program, another sender does not.
fn stop_children() {
    let Ok(tasks) = fs::read_dir("/proc/self/task") else { return };
    for task in tasks.flatten() {
        let children = fs::read_to_string(task.path().join("children")).unwrap_or_default();
        for child in children.split_whitespace().filter_map(|pid| pid.parse().ok()) {
            // It may have ended by itself.
            let _ = kill(Pid::from_raw(child), Signal::SIGTERM);
        }
    }
}

fn tell(error: &dyn StdError, json: bool) {
    eprintln!("{}", host::error::report(error));
    if json {
        let causes = host::error::causes(error).map(ToString::to_string).collect();
        Event::Error { message: &error.to_string(), caused_by: causes }.print();
    }
}

/// What a build is asked for.
fn request(args: BuildArgs) -> Result<Request, AnyError> {
    let program = std::env::current_exe().map_err(Mistake::OwnPlace)?;
    let coreos_init = args.coreos_init.unwrap_or_else(|| program.with_file_name("coreos-init"));
    Ok(Request {
        manifest: args.manifest,
        lock: args.lock,
        // What the manifest names is found from where the program is run.
        project: PathBuf::from("."),
        output: args.output,
        cache: args.cache,
        version: args.version,
        coreos_init,
        builder: program,
        qcow2: !args.no_qcow2,
        secure_boot_keys: args.secure_boot_keys,
    })
}

fn build(args: BuildArgs, cleanup: &Cleanup) -> Result<(), AnyError> {
    let style = style(args.json);
    let request = request(args)?;
    let progress = Progress::new(style);
    let outcome = pipeline::build(&request, &progress, cleanup)?;
    drop(progress);
    match style {
        Style::Json => {
            Event::Result { outcome: &serde_json::to_value(&outcome)? }.print();
        }
        Style::Bars | Style::Lines => print_outcome(&outcome)?,
    }
    Ok(())
}

/// How progress is shown.
fn style(json: bool) -> Style {
    match (json, io::stderr().is_terminal()) {
        (true, _) => Style::Json,
        (false, true) => Style::Bars,
        (false, false) => Style::Lines,
    }
}

fn print_outcome(outcome: &Outcome) -> io::Result<()> {
    let mut out = io::stdout().lock();
    if outcome.up_to_date {
        return writeln!(out, "up to date: {}", outcome.directory.display());
    }
    for file in &outcome.files {
        writeln!(out, "{}", outcome.directory.join(file).display())?;
    }
    writeln!(out, "root hash {}", outcome.root_hash)?;
    writeln!(out, "built in {:.1} s", outcome.seconds)
}

fn export_build(args: &ExportArgs, cleanup: &Cleanup) -> Result<(), AnyError> {
    let program = std::env::current_exe().map_err(Mistake::OwnPlace)?;
    let beside = || program.with_file_name("coreos-install");
    let installer = args.installer.clone().unwrap_or_else(beside);
    let unattended = unattended(args)?;
    let keys = args.secure_boot_keys.as_deref().map(keys::Directory::read).transpose()?;
    let signer = keys.as_ref().map(|keys| &keys.signer);
    let source = Source::open(&args.directory, &installer, &unattended, signer)?;
    let output = args.output.as_ref().unwrap_or(&args.directory);
    let scratch = Scratch::open(output, cleanup)?;
    let progress = Progress::new(style(args.json));
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

#[allow(clippy::disallowed_methods, reason = "a key says from when on it is valid")]
fn make_keys(args: &KeysArgs) -> Result<(), AnyError> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let also: Vec<_> =
        args.trust.iter().map(|path| keys::read_certificate(path)).collect::<Result<_, _>>()?;
    let made = Keys::generate(&args.owner, args.bits, now)?;
    let written = keys::Directory::write(&args.output, &made.files(&also, now)?)?;
    let mut out = io::stdout().lock();
    for path in &written {
        writeln!(out, "{}", path.display())?;
    }
    writeln!(out, "keep PK.key and KEK.key away from the builder: only db.key signs images")?;
    Ok(())
}

fn write_config_iso(args: &ConfigIsoArgs) -> Result<(), AnyError> {
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
fn tell_complaints<'a>(
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
fn read(path: &Path) -> Result<Vec<u8>, Mistake> {
    let mut bytes = Vec::new();
    let limit = cloud_config::MAX_USER_DATA as u64 + 1;
    File::open(path)
        .and_then(|file| file.take(limit).read_to_end(&mut bytes))
        .map_err(|source| Mistake::Read { path: path.to_owned(), source })?;
    Ok(bytes)
}

fn make_sysext(args: &SysextArgs) -> Result<(), AnyError> {
    let manifest = Manifest::read(&args.manifest)?;
    let own = args.output.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let identity = sysext::Identity {
        name: args.name.as_deref().unwrap_or(&own),
        id: manifest.id.as_str(),
        version: args.version.as_deref(),
    };
    let tree = sysext::tree(&args.directory, &identity)?;
    let root_hash = sysext::write(&tree, &identity, &args.output)?;
    let mut out = io::stdout().lock();
    writeln!(out, "{}", args.output.display())?;
    writeln!(out, "root hash {root_hash}")?;
    writeln!(out, "SHA-256 {}", image::digest::of_file(&args.output, |_| ())?)?;
    Ok(())
}

fn print_difference(args: &DiffArgs) -> Result<(), AnyError> {
    let difference = compare::compare(&args.old, &args.new)?;
    let text = if args.json {
        serde_json::to_string_pretty(&difference)?
    } else {
        Shown { difference: &difference, all: args.files }.to_string()
    };
    writeln!(io::stdout().lock(), "{text}")?;
    Ok(())
}

fn print_report(args: &InspectArgs) -> Result<(), AnyError> {
    let report = inspect::inspect(&args.file)?;
    let text = if args.json { serde_json::to_string_pretty(&report)? } else { report.to_string() };
    writeln!(io::stdout().lock(), "{text}")?;
    Ok(())
}
