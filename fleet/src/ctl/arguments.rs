//! The command line: fleet's commands and flags, and ours.

use std::path::PathBuf;

use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};

/// Runs units on the machines of a cluster.
///
/// A unit is an ordinary unit file of systemd; its [X-Fleet] section says what it asks of its
/// machine. Every global flag can also be set by a variable: --request-timeout by
/// FLEETCTL_REQUEST_TIMEOUT.
#[derive(Debug, Parser)]
#[command(name = "fleetctl", version, disable_help_subcommand = false, infer_subcommands = true)]
#[command(args_override_self = true, max_term_width = 100)]
pub struct Arguments {
    /// What every command takes.
    #[command(flatten)]
    pub global: Global,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Flags that every command takes.
#[derive(Debug, Clone, Args)]
pub struct Global {
    /// Where fleetd answers: unix:///run/fleet.sock, or http://HOST:PORT
    #[arg(long, global = true, value_name = "URL", default_value = "unix:///run/fleet.sock")]
    pub endpoint: String,
    /// Reach the endpoint through ssh on this machine
    #[arg(long, global = true, value_name = "HOST[:PORT]")]
    pub tunnel: Option<String>,
    /// Who to be on the other machine
    #[arg(long, global = true, value_name = "NAME", default_value = "core")]
    pub ssh_username: String,
    /// Seconds that a connection by ssh may take
    #[arg(long, global = true, value_name = "SECONDS", default_value_t = 10.0)]
    pub ssh_timeout: f64,
    /// Keys of machines that ssh has met
    #[arg(long, global = true, value_name = "FILE")]
    pub known_hosts_file: Option<String>,
    /// Refuse machines whose key has changed
    #[arg(long, global = true, value_name = "BOOL", num_args = 0..=1, require_equals = true)]
    #[arg(default_value_t = true, default_missing_value = "true", action = ArgAction::Set)]
    pub strict_host_key_checking: bool,
    /// Seconds that one request may take
    #[arg(long, global = true, value_name = "SECONDS", default_value_t = 3.0)]
    pub request_timeout: f64,
    /// Say more on stderr
    #[arg(long, global = true)]
    pub debug: bool,

    // What fleet had and this fleetctl has no use for.
    #[arg(long, global = true, hide = true, default_value = "API")]
    pub(super) driver: String,
    #[arg(long, global = true, hide = true)]
    etcd_key_prefix: Option<String>,
    #[arg(long, global = true, hide = true, num_args = 0..=1, require_equals = true)]
    experimental_api: Option<Option<String>>,
    #[arg(long, global = true, hide = true, alias = "etcd-keyfile")]
    pub(super) key_file: Option<PathBuf>,
    #[arg(long, global = true, hide = true, alias = "etcd-certfile")]
    pub(super) cert_file: Option<PathBuf>,
    #[arg(long, global = true, hide = true, alias = "etcd-cafile")]
    pub(super) ca_file: Option<PathBuf>,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// List the machines of the cluster
    ListMachines(List),
    /// List the units that are on machines, with their states
    ListUnits(List),
    /// List the unit files that the cluster knows
    ListUnitFiles(List),
    /// Give unit files to the cluster
    Submit(Submit),
    /// Find machines for units and have them loaded, submitting them first if need be
    Load(Change),
    /// Start units, submitting and loading them first if need be
    Start(Change),
    /// Stop units; they stay on their machines
    Stop(Stop),
    /// Stop units and take them off their machines
    Unload(Stop),
    /// Forget units, stopping them first if need be
    Destroy(Stop),
    /// Stop units and start them again where they are
    Restart(Stop),
    /// Show what systemd says of units
    Status(Status),
    /// Print a unit file as it was submitted
    Cat(OneUnit),
    /// Print the journal of a unit
    Journal(Journal),
    /// Log in to a machine, or run a command there
    Ssh(Ssh),
    /// Compare a unit file with the one that the cluster knows
    Verify(OneUnit),
    /// Say why a unit is where it is, or nowhere
    Why(Why),
    /// Say where units would go, without submitting them
    Plan(Plan),
    /// Close a machine to new units and move its units away
    Drain(Drain),
    /// Close a machine to new units
    Cordon(Cordon),
    /// Open a machine again
    Uncordon(OneMachine),
    /// Show rolling updates, or pause, resume or undo one
    Rollout(Rollout),
    /// Show the storm brake, which stops all moves while many machines are missing; or release it
    Brake(Brake),
    /// Show what happened lately
    Events,
    /// Show the cluster, again and again
    #[command(visible_alias = "watch")]
    Top(Top),
    /// Print a completion script for a shell
    Completion {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Print the version
    Version,
    /// Join the standard streams to a socket; what --tunnel of other fleetctls runs here
    #[command(hide = true)]
    FdForward {
        /// The socket's path
        socket: PathBuf,
    },
}

/// How a list is shown.
#[derive(Debug, Args)]
pub struct List {
    /// Do not shorten anything
    #[arg(long, short = 'l')]
    pub full: bool,
    /// Print no column headers
    #[arg(long)]
    pub no_legend: bool,
    /// The columns, with commas between them
    #[arg(long, value_name = "NAMES")]
    pub fields: Option<String>,
    /// How
    #[arg(long, value_enum, default_value_t)]
    pub output: Output,
}

/// How something is shown.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For people.
    #[default]
    Text,
    /// For programs.
    Json,
}

/// How unit files are taken.
#[derive(Debug, Args)]
pub struct Submit {
    /// Unit files, or names of units
    pub units: Vec<String>,
    /// Replace what the cluster knows by what is in the files
    #[arg(long)]
    pub replace: bool,
    /// Take files with unknown keys and malformed values as fleet did: with a warning
    #[arg(long)]
    pub lenient: bool,
    #[arg(long, hide = true)]
    pub(super) sign: bool,
}

/// How long a command waits.
#[derive(Debug, Clone, Args)]
pub struct Wait {
    /// Do not wait
    #[arg(long)]
    pub no_block: bool,
    /// Give up after so many attempts of 2 s; 0 is never
    #[arg(long, value_name = "N", default_value_t = 0, allow_negative_numbers = true)]
    pub block_attempts: i64,
    /// Give up after so many seconds
    #[arg(long, value_name = "SECONDS")]
    pub timeout: Option<u64>,
}

/// `load` and `start`.
#[derive(Debug, Args)]
pub struct Change {
    /// Which, and how they are taken.
    #[command(flatten)]
    pub submit: Submit,
    /// How long to wait.
    #[command(flatten)]
    pub wait: Wait,
}

/// `stop`, `unload`, `destroy`, `restart`.
#[derive(Debug, Args)]
pub struct Stop {
    /// Names of units
    pub units: Vec<String>,
    /// How long to wait.
    #[command(flatten)]
    pub wait: Wait,
}

/// `status`.
#[derive(Debug, Args)]
pub struct Status {
    /// Names of units
    pub units: Vec<String>,
    #[arg(long, hide = true)]
    ssh_port: Option<u16>,
}

/// A command about one unit.
#[derive(Debug, Args)]
pub struct OneUnit {
    /// The unit's name
    pub units: Vec<String>,
}

/// `journal`.
#[derive(Debug, Args)]
pub struct Journal {
    /// The unit's name
    pub units: Vec<String>,
    /// How many of the last lines
    #[arg(long, default_value_t = 10)]
    pub lines: u32,
    /// Go on with what comes
    #[arg(long, short)]
    pub follow: bool,
    /// As journalctl --output
    #[arg(long, default_value = "short", value_name = "MODE")]
    pub output: String,
    #[arg(long, hide = true)]
    sudo: bool,
    #[arg(long, hide = true)]
    ssh_port: Option<u16>,
}

/// `ssh`.
#[derive(Debug, Args)]
pub struct Ssh {
    /// The machine, by the beginning of its id
    #[arg(long, short, conflicts_with = "unit")]
    pub machine: Option<String>,
    /// The machine that has this unit
    #[arg(long, short)]
    pub unit: Option<String>,
    /// Forward the agent for keys
    #[arg(long, short = 'A')]
    pub forward_agent: bool,
    /// The port of the other machine
    #[arg(long, default_value_t = 22)]
    pub ssh_port: u16,
    /// A machine or unit, unless a flag names one, and the command to run there
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub words: Vec<String>,
}

/// `why`.
#[derive(Debug, Args)]
pub struct Why {
    /// The unit's name
    pub unit: String,
    /// How
    #[arg(long, value_enum, default_value_t)]
    pub output: Output,
}

/// `plan`.
#[derive(Debug, Args)]
pub struct Plan {
    /// Unit files
    pub files: Vec<PathBuf>,
    /// Decide about a cluster that this JSON file describes; - is standard input
    #[arg(long, value_name = "FILE", conflicts_with = "files")]
    pub snapshot: Option<PathBuf>,
    /// Take files with unknown keys and malformed values as fleet did
    #[arg(long)]
    pub lenient: bool,
    /// How
    #[arg(long, value_enum, default_value_t)]
    pub output: Output,
}

/// `drain`.
#[derive(Debug, Args)]
pub struct Drain {
    /// The machine, by the beginning of its id
    pub machine: String,
    /// Why, for whoever wonders
    #[arg(long, default_value = "drained by hand")]
    pub reason: String,
    /// Wait until nothing runs there
    #[arg(long)]
    pub wait: bool,
    /// Seconds to wait
    #[arg(long, value_name = "SECONDS", default_value_t = 300)]
    pub timeout: u64,
}

/// `cordon`.
#[derive(Debug, Args)]
pub struct Cordon {
    /// The machine, by the beginning of its id
    pub machine: String,
    /// Why, for whoever wonders
    #[arg(long, default_value = "closed by hand")]
    pub reason: String,
}

/// A command about one machine.
#[derive(Debug, Args)]
pub struct OneMachine {
    /// The machine, by the beginning of its id
    pub machine: String,
}

/// `rollout`.
#[derive(Debug, Args)]
pub struct Rollout {
    /// What to do; nothing shows them all
    #[command(subcommand)]
    pub verb: Option<RolloutVerb>,
}

/// What to do with a rolling update.
#[derive(Debug, Subcommand)]
pub enum RolloutVerb {
    /// Show all
    Status {
        /// How
        #[arg(long, value_enum, default_value_t)]
        output: Output,
    },
    /// Change nothing more
    Pause {
        /// The template's name, or the unit's
        group: String,
    },
    /// Go on
    Resume {
        /// The template's name, or the unit's
        group: String,
    },
    /// Go back to the version before
    Undo {
        /// The template's name, or the unit's
        group: String,
    },
}

/// `brake`.
#[derive(Debug, Args)]
pub struct Brake {
    /// Release it
    #[command(subcommand)]
    pub verb: Option<BrakeVerb>,
}

/// What to do with the storm brake.
#[derive(Debug, Subcommand)]
pub enum BrakeVerb {
    /// Let it go: the units of the missing machines move
    Release,
}

/// `top`.
#[derive(Debug, Args)]
pub struct Top {
    /// Seconds between two looks
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub interval: u64,
    /// Look once
    #[arg(long)]
    pub once: bool,
}
