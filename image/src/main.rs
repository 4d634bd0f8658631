//! The image builder's command line: arguments in, stages shown, errors told.
//!
//! What it does is in the library; here the environment is read, signals are
//! waited for, and the exit code is chosen: 0 done, 1 failed, 2 misused.

use std::error::Error as StdError;
use std::fs::{self, File};
use std::io::{self, IsTerminal, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::thread;

use clap::{Args, Parser, Subcommand};
use image::config_iso::{self, Complaint, Label, Part, Sources};
use image::inspect;
use image::pipeline::{self, Outcome, Request};
use image::progress::{Event, Progress, Style};
use image::scratch::Cleanup;
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
    /// Write a disc that configures a machine
    ConfigIso(ConfigIsoArgs),
    /// Say what is in a disk image, boot image, config disc or root
    Inspect(InspectArgs),
}

#[derive(Debug, Args)]
struct BuildArgs {
    /// What the image is made of
    #[arg(long, value_name = "FILE", default_value = "image/coreos.toml")]
    manifest: PathBuf,
    /// Directory for the results
    #[arg(long, value_name = "DIR", default_value = "target/image")]
    output: PathBuf,
    /// Directory that keeps installed packages between builds
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
    /// Ask the archive for newer packages
    #[arg(long)]
    refresh_packages: bool,
    /// Leave out the disk image for QEMU
    #[arg(long)]
    no_qcow2: bool,
}

#[derive(Debug, Args)]
struct ConfigIsoArgs {
    /// The cloud-config or script
    #[arg(long, value_name = "FILE")]
    user_data: PathBuf,
    /// What the platform would say of the machine [default: a generated id]
    #[arg(long, value_name = "FILE")]
    meta_data: Option<PathBuf>,
    /// The network, in netplan's language, version 2
    #[arg(long, value_name = "FILE")]
    network_config: Option<PathBuf>,
    /// Volume label, and with it the layout
    #[arg(long, value_enum, default_value_t)]
    label: Label,
    /// The disc
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
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
    #[error("cannot find this program's own place; name the program with --coreos-init")]
    OwnPlace(#[source] io::Error),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let json = matches!(&cli.command, Command::Build(BuildArgs { json: true, .. }));
    let cleanup = Cleanup::default();
    let done = watch_signals(&cleanup).map_err(AnyError::from).and_then(|()| match cli.command {
        Command::Build(args) => build(args, &cleanup),
        Command::ConfigIso(args) => write_config_iso(&args),
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
    let mut causes = Vec::new();
    let mut cause = error.source();
    while let Some(error) = cause {
        causes.push(error.to_string());
        cause = error.source();
    }
    eprintln!("error: {error}");
    for cause in &causes {
        eprintln!("  caused by: {cause}");
    }
    if json {
        Event::Error { message: &error.to_string(), caused_by: causes }.print();
    }
}

fn build(args: BuildArgs, cleanup: &Cleanup) -> Result<(), AnyError> {
    let style = match (args.json, io::stderr().is_terminal()) {
        (true, _) => Style::Json,
        (false, true) => Style::Bars,
        (false, false) => Style::Lines,
    };
    let program = std::env::current_exe().map_err(Mistake::OwnPlace)?;
    let coreos_init = args.coreos_init.unwrap_or_else(|| program.with_file_name("coreos-init"));
    let request = Request {
        manifest: args.manifest,
        // What the manifest names is found from where the program is run.
        project: PathBuf::from("."),
        output: args.output,
        cache: args.cache,
        version: args.version,
        coreos_init,
        builder: program,
        refresh_packages: args.refresh_packages,
        qcow2: !args.no_qcow2,
    };
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

fn write_config_iso(args: &ConfigIsoArgs) -> Result<(), AnyError> {
    let user_data = read(&args.user_data)?;
    let meta_data = args.meta_data.as_deref().map(read).transpose()?;
    let network_config = args.network_config.as_deref().map(read).transpose()?;
    let sources = Sources {
        user_data: &user_data,
        meta_data: meta_data.as_deref(),
        network_config: network_config.as_deref(),
    };
    let complaints = config_iso::check(args.label, &sources);
    let path_of = |part| match part {
        Part::UserData => Some(&args.user_data),
        Part::MetaData => args.meta_data.as_ref(),
        Part::NetworkConfig => args.network_config.as_ref(),
    };
    for Complaint { part, finding, text } in &complaints {
        let name = path_of(*part).map(|path| path.display().to_string()).unwrap_or_default();
        let told = if text.is_empty() { finding.line(&name) } else { finding.render(&name, text) };
        eprintln!("{told}");
    }
    let refused = complaints.iter().find(|complaint| complaint.is_error());
    if let Some(path) = refused.and_then(|complaint| path_of(complaint.part)) {
        return Err(Mistake::Refused { path: path.clone() }.into());
    }
    let image = config_iso::image(args.label, &sources)?;
    // Secrets on the disc stay as private as they are in the file.
    let mode = fs::metadata(&args.user_data)?.permissions().mode() & 0o666 | 0o600;
    host::durable::write(&args.output, &image, mode)?;
    Ok(())
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

fn print_report(args: &InspectArgs) -> Result<(), AnyError> {
    let report = inspect::inspect(&args.file)?;
    let text = if args.json { serde_json::to_string_pretty(&report)? } else { report.to_string() };
    writeln!(io::stdout().lock(), "{text}")?;
    Ok(())
}
