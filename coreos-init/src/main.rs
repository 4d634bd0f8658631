//! `coreos-init`: `/init` of the initrd, provisioning on the machine, and its workstation side.
// The one place that reads the process's surroundings: arguments, environment, process id.
#![allow(clippy::disallowed_methods)]

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use coreos_init::{cli, initrd};

/// Provisions a machine from one cloud-config.
#[derive(Debug, Parser)]
#[command(name = "coreos-init", version, max_term_width = 80)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

/// Where the cloud-config is.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct From {
    /// The cloud-config; `-` is the standard input
    #[arg(long, value_name = "FILE")]
    from_file: Option<PathBuf>,
    /// The image of a config disc: config-2 or cidata
    #[arg(long, value_name = "IMAGE")]
    from_disc: Option<PathBuf>,
    /// An address of http or https
    #[arg(long, value_name = "URL")]
    from_url: Option<String>,
}

impl From {
    fn input(self) -> cli::Input {
        let given = self.from_file.map(cli::Input::File);
        let given = given.or(self.from_disc.map(cli::Input::Disc));
        given.or(self.from_url.map(cli::Input::Url)).expect("clap requires one of them")
    }
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Checks cloud-configs; exits with 1 if one would be refused
    Validate {
        /// Files to check; `-` is the standard input
        #[arg(required = true)]
        files: Vec<PathBuf>,
    },
    /// Writes into a directory what the cloud-config would write into a machine
    Apply {
        /// The directory that stands for the machine's root
        #[arg(long, value_name = "DIR")]
        root: PathBuf,
        #[command(flatten)]
        from: From,
        /// Print what would be done and do nothing
        #[arg(long)]
        dry_run: bool,
    },
    /// Shows what the cloud-config would change, as a unified diff; exits with 2 if
    /// something would, with 1 if it would be refused
    Plan {
        /// The directory that stands for the machine's root
        #[arg(long, value_name = "DIR", default_value = "/")]
        root: PathBuf,
        /// The image of the machine's disk: only read, without root
        #[arg(long, value_name = "DISK", conflicts_with = "root")]
        image: Option<PathBuf>,
        #[command(flatten)]
        from: From,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Applies the cloud-config to this machine, and takes it back unless it is confirmed;
    /// `-` is the standard input
    Try {
        /// The cloud-config
        file: PathBuf,
        /// How long to wait for `coreos-init confirm`: seconds, or such as 2m
        #[arg(long, value_name = "TIME", value_parser = cli::period)]
        confirm_within: Duration,
    },
    /// Keeps the cloud-config that is tried
    Confirm,
    /// Does one part of a trial (run by coreos-init-trial.service)
    #[command(hide = true, subcommand)]
    Trial(Trial),
    /// Shows which source, line and variables made a file of this machine
    Explain {
        /// The file
        path: String,
    },
    /// Prints the JSON Schema of the language, for editors
    Schema,
    /// Shows how this machine was configured; exits with 1 if it is degraded
    Status {
        /// The report itself, as JSON
        #[arg(long)]
        json: bool,
    },
    /// Shows where this machine's configuration would come from, in the order of
    /// looking, and what is there; exits with 1 if there is none
    Sources {
        /// The directory that stands for the machine's root
        #[arg(long, value_name = "DIR", default_value = "/")]
        root: PathBuf,
        /// The kernel command line, instead of the machine's own
        #[arg(long, value_name = "TEXT")]
        command_line: Option<String>,
        /// Bring the network up and down again, as is done at boot
        #[arg(long)]
        network: bool,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Does what needs the service manager: unit commands, scripts (run by coreos-init.service)
    Finish,
    /// Tells the platform that this machine is ready, or why not, where it wants to be told:
    /// Azure (run by coreos-init-check-in.service)
    CheckIn {
        /// The directory that stands for the machine's root
        #[arg(long, value_name = "DIR", default_value = "/")]
        root: PathBuf,
    },
}

#[derive(Debug, Clone, Copy, Subcommand)]
enum Trial {
    /// Applies what is tried
    Apply,
    /// Waits until it is confirmed or so many seconds are over
    Wait {
        /// How many
        seconds: u64,
    },
    /// Keeps it, or takes it back
    End,
}

impl Trial {
    fn step(self) -> cli::TrialStep {
        match self {
            Trial::Apply => cli::TrialStep::Apply,
            Trial::Wait { seconds } => cli::TrialStep::Wait(seconds),
            Trial::End => cli::TrialStep::End,
        }
    }
}

fn main() -> ExitCode {
    if std::process::id() == 1 {
        initrd::run();
    }
    let overrides: BTreeMap<String, String> =
        std::env::vars().filter(|(name, _)| name.starts_with("COREOS_")).collect();
    match Arguments::parse().command {
        Command::Validate { files } => cli::validate(&files),
        Command::Apply { root, from, dry_run } => {
            let options = cli::ApplyOptions { root: &root, dry_run, overrides: &overrides };
            cli::apply(&from.input(), &options)
        }
        Command::Plan { root, image, from, json } => {
            let target = match &image {
                Some(image) => cli::PlanTarget::Image(image),
                None => cli::PlanTarget::Root(&root),
            };
            cli::plan(&from.input(), target, &overrides, json)
        }
        Command::Try { file, confirm_within } => cli::try_for(&file, confirm_within),
        Command::Confirm => cli::confirm(),
        Command::Trial(trial) => cli::trial(trial.step()),
        Command::Explain { path } => cli::explain(&path),
        Command::Schema => cli::print_schema(),
        Command::Status { json } => cli::status(json),
        Command::Sources { root, command_line, network, json } => {
            cli::sources(&cli::SourcesOptions { root, command_line, network, json })
        }
        Command::Finish => cli::finish(),
        Command::CheckIn { root } => cli::check_in(&root),
    }
}
