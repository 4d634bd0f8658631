//! What can be written on the command line.

use std::path::PathBuf;

use channels::policy::Channel;
use clap::{Parser, Subcommand};
use disk::version::Version;

/// Keeps this machine up to date.
#[derive(Debug, Parser)]
#[command(name = "update-agent", version, max_term_width = 80)]
pub(super) struct Arguments {
    /// The directory that stands for the machine's root.
    #[arg(long, global = true, value_name = "DIR", default_value = "/", hide = true)]
    pub(super) root: PathBuf,
    #[command(subcommand)]
    pub(super) command: Command,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Show what runs, what waits and what is set
    Status {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Ask the server for a release; exits with 0 if there is one, 3 if not
    Check,
    /// Write the release that there is to the other slot; it is tried at the next boot
    Apply,
    /// The same with a repository in a directory, such as a disk that was carried here
    OfflineApply {
        /// The directory with `metadata` and `targets`
        directory: PathBuf,
    },
    /// Reboot now into the release that waits, outside of windows too
    Reboot {
        /// Without asking the group for leave
        #[arg(long)]
        force: bool,
    },
    /// Go back to the release in the other slot, and do not try this one again
    Rollback,
    /// Show the channel, or follow another one
    Channel {
        #[command(subcommand)]
        set: Option<ChannelCommand>,
    },
    /// Take no other version than this one
    Pin {
        /// The version
        version: Version,
    },
    /// Take any version again
    Unpin,
    /// Let a version that failed here be tried again
    Forgive {
        /// The version
        version: Version,
    },
    /// Show what happened to this machine
    History {
        /// As JSON, a line each
        #[arg(long)]
        json: bool,
    },
    /// Show for each release, rule by rule, why the machine takes it or does not
    Explain {
        /// Ask a repository in a directory
        #[arg(long, value_name = "DIR")]
        offline: Option<PathBuf>,
    },
    /// Show the progress until nothing is being done
    Watch,
    /// Check, write and reboot, day and night (run by update-agent.service)
    Run,
    /// Keep this boot's release if it is good, else go back (run by update-health.service)
    #[command(hide = true)]
    Health,
}

#[derive(Debug, Subcommand)]
pub(super) enum ChannelCommand {
    /// Follow this channel: the same or a higher one (stable < beta < alpha)
    Set {
        /// The channel
        name: Channel,
    },
}

impl ChannelCommand {
    pub(super) fn name(&self) -> Channel {
        match self {
            ChannelCommand::Set { name } => *name,
        }
    }
}
