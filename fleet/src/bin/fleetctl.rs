//! `fleetctl`: units and machines of a cluster, from the command line.
// The one place that reads the process's surroundings: arguments, environment.
#![allow(clippy::disallowed_methods)]

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use fleet::api::{Client, Endpoint};
use fleet::ctl::{self, Change, Context, Failure};

/// Units and machines of a cluster.
#[derive(Debug, Parser)]
#[command(name = "fleetctl", version, max_term_width = 80, infer_subcommands = true)]
struct Arguments {
    /// Where fleetd answers: unix:///run/fleet.sock or http://HOST:PORT
    #[arg(long, global = true, value_name = "URL")]
    endpoint: Option<String>,
    /// Seconds to wait for an answer
    #[arg(long, global = true, value_name = "SECONDS", default_value_t = 10.0)]
    request_timeout: f64,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Args)]
struct List {
    /// Show ids and hashes in full
    #[arg(short = 'l', long)]
    full: bool,
    /// No headings
    #[arg(long)]
    no_legend: bool,
}

#[derive(Debug, Args)]
struct Units {
    /// Names, or paths of unit files
    #[arg(required = true)]
    units: Vec<String>,
    /// Do not wait
    #[arg(long)]
    no_block: bool,
    /// Give up after so many seconds; exits with 1
    #[arg(long, value_name = "SECONDS")]
    timeout: Option<u64>,
}

#[derive(Debug, Args)]
struct Files {
    /// Take the local file though another one is submitted
    #[arg(long)]
    replace: bool,
    /// Read files as fleet did: what cannot be understood asks for nothing
    #[arg(long)]
    lenient: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Lists the machines
    ListMachines(List),
    /// Lists units and what they are
    ListUnits(List),
    /// Lists unit files and what they should be
    ListUnitFiles(List),
    /// Submits unit files
    Submit {
        /// Unit files
        #[arg(required = true)]
        units: Vec<String>,
        #[command(flatten)]
        files: Files,
    },
    /// Puts units on machines
    Load {
        #[command(flatten)]
        units: Units,
        #[command(flatten)]
        files: Files,
    },
    /// Starts units
    Start {
        #[command(flatten)]
        units: Units,
        #[command(flatten)]
        files: Files,
    },
    /// Stops units; they stay on their machines
    Stop(Units),
    /// Takes units from their machines
    Unload(Units),
    /// Removes units from the cluster
    Destroy {
        /// Names
        #[arg(required = true)]
        units: Vec<String>,
    },
    /// Prints a unit file as it was submitted
    Cat {
        /// A name
        unit: String,
    },
    /// Says why a unit is where it is, or nowhere
    Why {
        /// A name
        unit: String,
    },
    /// Says where units would go, and changes nothing
    Plan {
        /// Unit files
        #[arg(required_unless_present = "snapshot")]
        units: Vec<String>,
        /// Decide about a whole cluster in a JSON file; no cluster is needed
        #[arg(long, value_name = "FILE", conflicts_with = "units")]
        snapshot: Option<PathBuf>,
        /// Read files as fleet did
        #[arg(long)]
        lenient: bool,
    },
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("error: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: Arguments) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    let mut errors = std::io::stderr().lock();
    if let Command::Plan { snapshot: Some(file), lenient, .. } = &arguments.command {
        return ctl::plan_snapshot(&mut out, &mut errors, file, *lenient);
    }
    let endpoint = arguments
        .endpoint
        .or_else(|| std::env::var("FLEETCTL_ENDPOINT").ok())
        .unwrap_or_else(|| format!("unix://{}", fleet::api::SOCKET));
    let endpoint = Endpoint::parse(&endpoint)?;
    let timeout = Duration::try_from_secs_f64(arguments.request_timeout)
        .map_err(|error| Failure(format!("--request-timeout: {error}")))?;
    let client = Client::new(endpoint, timeout.max(Duration::from_millis(100)));
    let mut context = Context { client: &client, out: &mut out, errors: &mut errors };
    let to = |desired, units: &Units, files: Option<&Files>| Change {
        desired,
        block: !units.no_block,
        timeout: units.timeout.map(Duration::from_secs),
        replace: files.is_some_and(|files| files.replace),
        lenient: files.is_some_and(|files| files.lenient),
    };
    match arguments.command {
        Command::ListMachines(list) => ctl::list_machines(&mut context, list.full, !list.no_legend),
        Command::ListUnits(list) => ctl::list_units(&mut context, list.full, !list.no_legend),
        Command::ListUnitFiles(list) => {
            ctl::list_unit_files(&mut context, list.full, !list.no_legend)
        }
        Command::Submit { units, files } => {
            ctl::submit(&mut context, &units, files.replace, files.lenient)
        }
        Command::Load { units, files } => {
            ctl::change(&mut context, &units.units, to("loaded", &units, Some(&files)), true)
        }
        Command::Start { units, files } => {
            ctl::change(&mut context, &units.units, to("launched", &units, Some(&files)), true)
        }
        Command::Stop(units) => {
            ctl::change(&mut context, &units.units, to("loaded", &units, None), false)
        }
        Command::Unload(units) => {
            ctl::change(&mut context, &units.units, to("inactive", &units, None), false)
        }
        Command::Destroy { units } => ctl::destroy(&mut context, &units),
        Command::Cat { unit } => ctl::cat(&mut context, &unit),
        Command::Why { unit } => ctl::why(&mut context, &unit),
        Command::Plan { units, lenient, .. } => ctl::plan(&mut context, &units, lenient),
    }?;
    out.flush()?;
    Ok(())
}
