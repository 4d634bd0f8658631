//! The image builder's command line: arguments in, stages shown, errors told.
//!
//! What it does is in the library; here the environment is read, signals are
//! waited for, and the exit code is chosen: 0 done, 1 failed, 2 misused.

mod command;

use std::error::Error as StdError;
use std::fs;
use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::thread;
use std::time::{SystemTime, UNIX_EPOCH};

use clap::{Args, Parser, Subcommand};
use image::compare::{self, Shown};
use image::inspect;
use image::pipeline::{self, Outcome, Request};
use image::progress::{Event, Progress, Style};
use image::scratch::Cleanup;
use image::secure_boot::{Keys, keys};
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
    Export(command::export::ExportArgs),
    /// Make keys for Secure Boot
    Keys(KeysArgs),
    /// Write down which packages an image is made of
    Lock(command::lock::LockArgs),
    /// Build once more and say whether it is the same
    VerifyBuild(command::verify_build::VerifyArgs),
    /// Write the root tree as a tar
    Tree(command::tree::TreeArgs),
    /// Write a disc that configures a machine
    ConfigIso(command::config_iso::ConfigIsoArgs),
    /// Make a system extension of a directory's files or of packages
    Sysext(command::sysext::SysextArgs),
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
        Command::Export(args) => command::export::run(&args, style(json), &cleanup),
        Command::Keys(args) => make_keys(&args),
        Command::Lock(args) => command::lock::run(&args, style(json)),
        Command::VerifyBuild(args) => command::verify_build::run(args, style(json), &cleanup),
        Command::Tree(args) => command::tree::run(args, style(json)),
        Command::ConfigIso(args) => command::config_iso::run(&args),
        Command::Sysext(args) => command::sysext::run(&args, style(json)),
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
