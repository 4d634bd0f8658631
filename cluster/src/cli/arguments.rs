//! What can be said to it.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

/// Forms clusters of etcd, and lets their machines take turns at rebooting
#[derive(Debug, Parser)]
#[command(name = "cluster", version)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Finds this machine's place in its cluster of etcd, before etcd starts (for its unit)
    Join(JoinArguments),
    /// The service by which new machines find each other
    #[command(subcommand)]
    Discovery(DiscoveryCommand),
    /// The reboot lock: who reboots, who waits, and why
    Lock(LockArguments),
    /// The reboot lock for machines of other systems
    #[command(subcommand)]
    Fleetlock(FleetlockCommand),
}

/// Settings are etcd's own, ETCD_*. Ends with 0 if etcd is to start, with 1 if this machine is a
/// client of others, and with 255 if something is wrong: as ExecCondition= wants it.
#[derive(Debug, Args)]
pub(crate) struct JoinArguments {
    /// Run this etcd as was decided, in place of this program
    #[arg(long, value_name = "PROGRAM", num_args = 1.., allow_hyphen_values = true, conflicts_with = "finish")]
    pub(crate) exec: Vec<String>,
    /// After etcd has started: give it its vote, and tell the others
    #[arg(long)]
    pub(crate) finish: bool,
    /// Where decisions and what was found are left
    #[arg(long, value_name = "FOLDER", default_value = "/run/coreos")]
    pub(crate) run: PathBuf,
}

#[derive(Debug, Subcommand)]
pub(crate) enum DiscoveryCommand {
    /// Answers GET /new?size=3 with the URL of a new cluster, and keeps its members
    Serve(DiscoveryArguments),
}

#[derive(Debug, Args)]
pub(crate) struct DiscoveryArguments {
    /// Address to listen on
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "0.0.0.0:8087")]
    pub(crate) listen: SocketAddr,
    /// Folder for the clusters
    #[arg(long, value_name = "FOLDER", default_value = "/var/lib/coreos-discovery")]
    pub(crate) directory: PathBuf,
    /// What the URL of a new cluster begins with [default: http:// and the host that was asked]
    #[arg(long, value_name = "URL")]
    pub(crate) url: Option<String>,
    /// New clusters an hour for one address
    #[arg(long, value_name = "NUMBER", default_value_t = 60)]
    pub(crate) new_per_hour: u32,
    /// Clusters in all
    #[arg(long, value_name = "NUMBER", default_value_t = 100_000)]
    pub(crate) clusters: usize,
    /// Days that a cluster is kept after its last change
    #[arg(long, value_name = "DAYS", default_value_t = 3650)]
    pub(crate) keep: u32,
}

#[derive(Debug, Subcommand)]
pub(crate) enum FleetlockCommand {
    /// Answers POST /v1/pre-reboot and /v1/steady-state
    Serve(FleetlockArguments),
}

#[derive(Debug, Args)]
pub(crate) struct FleetlockArguments {
    /// Address to listen on
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "0.0.0.0:3333")]
    pub(crate) listen: SocketAddr,
    /// Minutes after which a machine that has not come back is shown as stale
    #[arg(long, value_name = "MINUTES", default_value_t = 60)]
    pub(crate) hold: u32,
    #[command(flatten)]
    pub(crate) etcd: EtcdArguments,
}

#[derive(Debug, Args)]
pub(crate) struct LockArguments {
    #[command(subcommand)]
    pub(crate) command: LockCommand,
    /// Group of machines
    #[arg(long, global = true, value_name = "NAME", default_value = cluster::reboot::DEFAULT_GROUP)]
    pub(crate) group: String,
    #[command(flatten)]
    pub(crate) etcd: EtcdArguments,
}

#[derive(Debug, Subcommand)]
pub(crate) enum LockCommand {
    /// Shows who holds a slot, who waits, and for what
    Status {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Sets how many machines may reboot at a time
    SetMax {
        /// Slots, at least 1
        slots: u32,
    },
    /// Sets on how many machines a release may fail before nobody takes it any more
    SetFailures {
        /// Machines, at least 1
        machines: u32,
    },
    /// Takes the slot from a machine that will not give it back
    Unlock {
        /// Its /etc/machine-id
        machine: String,
    },
    /// Lets no machine of the group reboot
    Halt {
        /// What the machines that wait are told
        reason: String,
    },
    /// Lets the group go on, and forgets releases that failed
    Resume {
        /// Forget the failures of this release only, and leave a halt in place
        version: Option<String>,
    },
}

/// Where etcd is.
#[derive(Debug, Args)]
pub(crate) struct EtcdArguments {
    /// URLs of etcd's client side, with commas [default: this machine's cluster]
    #[arg(long, global = true, value_name = "URLS")]
    pub(crate) endpoint: Option<String>,
    /// Authority that signed etcd's certificates
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) etcd_cafile: Option<PathBuf>,
    /// Certificate to show to etcd
    #[arg(long, global = true, value_name = "FILE", requires = "etcd_keyfile")]
    pub(crate) etcd_certfile: Option<PathBuf>,
    /// Its private key
    #[arg(long, global = true, value_name = "FILE", requires = "etcd_certfile")]
    pub(crate) etcd_keyfile: Option<PathBuf>,
}
