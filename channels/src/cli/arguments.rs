//! What can be written on the command line.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use channels::policy::Channel;
use channels::time::{Time, parse_span};
use clap::{ArgGroup, Args, Parser, Subcommand};
use disk::version::Version;

/// Make, sign, publish, check and serve a repository of releases.
#[derive(Debug, Parser)]
#[command(name = "channels", version)]
pub(crate) struct Arguments {
    /// The directory that is published.
    #[arg(long, global = true, value_name = "DIR", default_value = "repository")]
    pub(super) repository: PathBuf,
    /// The directory of the keys, which is not.
    #[arg(long, global = true, value_name = "DIR", default_value = "keys")]
    pub(super) keys: PathBuf,
    /// A file whose first line is the passphrase of all keys; asked for otherwise.
    #[arg(long, global = true, value_name = "FILE")]
    pub(super) passphrase_file: Option<PathBuf>,
    /// How long the signatures of a role are good for, such as timestamp=7d; root, targets,
    /// channel, snapshot or timestamp. May be given several times.
    #[arg(long, global = true, value_name = "ROLE=SPAN", value_parser = lifetime)]
    pub(super) lifetime: Vec<(String, Duration)>,
    #[command(subcommand)]
    pub(super) command: Command,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Make a repository, and the keys that are missing.
    Init(InitArguments),
    /// Make, replace and show keys.
    #[command(subcommand)]
    Keys(KeysCommand),
    /// Change and sign the root.
    #[command(subcommand)]
    Root(RootCommand),
    /// Publish a release that the image builder made.
    Publish(PublishArguments),
    /// Carry a release on to the next channel.
    Promote(PromoteArguments),
    /// Let a release reach more and more machines.
    Rollout(RolloutArguments),
    /// Let no further machine take a release.
    Halt(HaltArguments),
    /// Take old releases out of all channels. Their files stay until `prune`.
    Retire(RetireArguments),
    /// Remove files that no machine can still want.
    Prune {
        /// How long they must have been unneeded: longer than any download takes.
        #[arg(long, value_name = "SPAN", value_parser = parse_span, default_value = "7d")]
        after: Duration,
    },
    /// Sign again what expires, to be run every day: always the timestamp, and what is half over.
    Refresh {
        /// Sign everything again but the root, whatever passphrase it needs.
        #[arg(long)]
        all: bool,
    },
    /// Check the whole repository: signatures, rules, every byte.
    Verify,
    /// Show roles, channels and releases.
    Status {
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Show what changes from one release to another, and what a machine would fetch.
    Diff {
        /// The older version.
        from: String,
        /// The newer version.
        to: String,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Serve a repository over HTTP, with a page that shows it.
    Serve(ServeArguments),
}

#[derive(Debug, Args)]
pub(super) struct InitArguments {
    /// How many root keys to make if there are none.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=100))]
    pub(super) root_keys: u64,
    /// How many root keys must sign; 2, or 1 if there is only one.
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=100))]
    pub(super) root_threshold: Option<u64>,
    /// Encrypt no key: for tests and demonstrations.
    #[arg(long)]
    pub(super) no_passphrase: bool,
}

#[derive(Debug, Subcommand)]
pub(super) enum KeysCommand {
    /// Make a key, or take note of one that is elsewhere.
    New(NewKeyArguments),
    /// Replace a role's key.
    Rotate(RotateArguments),
    /// Give a role one key more. How many of them must sign stays as it is.
    Add(AddArguments),
    /// Take a key away from a role.
    Remove {
        /// The role: root, targets, snapshot, timestamp, alpha, beta or stable.
        role: String,
        /// The key, by its name or id.
        key: String,
    },
    /// Set how many of a role's keys must sign.
    Threshold {
        /// The role: root, targets, snapshot, timestamp, alpha, beta or stable.
        role: String,
        /// That many.
        threshold: u64,
    },
    /// Show all keys and the roles they sign for.
    List,
}

#[derive(Debug, Args)]
pub(super) struct NewKeyArguments {
    /// The role: root, targets, snapshot, timestamp, alpha, beta or stable.
    pub(super) role: String,
    /// Do not encrypt it.
    #[arg(long, conflicts_with = "public_key")]
    pub(super) no_passphrase: bool,
    /// The public key of a private one that is elsewhere (Ed25519 in PEM).
    #[arg(long, value_name = "FILE")]
    pub(super) public_key: Option<PathBuf>,
    /// The command that signs with it: reads the message, prints the signature.
    #[arg(long, value_name = "COMMAND", requires = "public_key")]
    pub(super) sign_command: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct AddArguments {
    /// The role: root, targets, snapshot, timestamp, alpha, beta or stable.
    pub(super) role: String,
    /// The key, by its name or id; a new one is made otherwise.
    #[arg(long, value_name = "KEY")]
    pub(super) with: Option<String>,
    /// Do not encrypt the key that is made.
    #[arg(long, conflicts_with = "with")]
    pub(super) no_passphrase: bool,
}

#[derive(Debug, Args)]
pub(super) struct RotateArguments {
    /// The role: root, targets, snapshot, timestamp, alpha, beta or stable.
    pub(super) role: String,
    /// The new key, by its name or id; a new one is made otherwise.
    #[arg(long, value_name = "KEY")]
    pub(super) with: Option<String>,
    /// The key to be replaced, by its name or id, if the role has several.
    #[arg(long, value_name = "KEY")]
    pub(super) replace: Option<String>,
    /// Do not encrypt the key that is made.
    #[arg(long, conflicts_with = "with")]
    pub(super) no_passphrase: bool,
}

#[derive(Debug, Subcommand)]
pub(super) enum RootCommand {
    /// Sign the root again, for another lifetime.
    Renew,
    /// Set how many root keys must sign.
    Threshold {
        /// That many.
        threshold: u64,
    },
    /// Give the root one key more.
    Add {
        /// The key, by its name or id.
        key: String,
    },
    /// Take a key away from the root.
    Remove {
        /// The key, by its name or id.
        key: String,
    },
    /// Write the root that waits for signatures to a file.
    Export {
        /// The file.
        file: PathBuf,
    },
    /// Sign an exported root; needs only the file and the key.
    Sign {
        /// The file.
        file: PathBuf,
        /// The key, by its name or id.
        #[arg(long)]
        key: String,
    },
    /// Take over signatures from a file, and publish the root if it has enough.
    Import {
        /// The file.
        file: PathBuf,
    },
    /// Show whether a root waits, and for whom.
    Status,
}

/// When and to how many machines a release is rolled out.
#[derive(Debug, Clone, Args)]
pub(super) struct Schedule {
    /// From the first machines to the last ones, such as 24h.
    #[arg(long, value_name = "SPAN", value_parser = parse_span)]
    pub(super) over: Option<Duration>,
    /// When it begins: a time such as 2030-01-31T08:00:00Z, or +2h from now. Now otherwise.
    #[arg(long, value_name = "TIME", value_parser = start, requires = "over")]
    pub(super) start: Option<Start>,
    /// The share of machines that it ends with.
    #[arg(long, value_parser = clap::value_parser!(u8).range(1..=100), requires = "over")]
    pub(super) percent: Option<u8>,
}

/// When something begins.
#[derive(Debug, Clone, Copy)]
pub(super) enum Start {
    At(Time),
    In(Duration),
}

/// Which packs are made, from which machines fetch less than a whole release.
#[derive(Debug, Clone, Args)]
pub(super) struct PackArguments {
    /// Make a patch for machines on this version; may be given several times.
    #[arg(long, value_name = "VERSION", conflicts_with_all = ["patch_newest", "no_packs"])]
    pub(super) patch_from: Vec<Version>,
    /// Make patches for machines on as many of the channel's newest releases.
    #[arg(long, value_name = "COUNT", default_value_t = 3, conflicts_with = "no_packs")]
    pub(super) patch_newest: usize,
    /// Make none: machines fetch the plain files.
    #[arg(long)]
    pub(super) no_packs: bool,
}

#[derive(Debug, Args)]
pub(super) struct PublishArguments {
    /// The directory with the release: manifest, root, verity tree and kernel image.
    pub(super) release: PathBuf,
    /// The channel; a release enters at alpha.
    #[arg(long, default_value = "alpha")]
    pub(super) channel: Channel,
    /// The security epoch: machines never go to a release of a lower one.
    #[arg(long)]
    pub(super) epoch: Option<u64>,
    /// The oldest version that may update directly.
    #[arg(long, value_name = "VERSION")]
    pub(super) min_version: Option<Version>,
    #[command(flatten)]
    pub(super) packs: PackArguments,
    #[command(flatten)]
    pub(super) schedule: Schedule,
}

#[derive(Debug, Args)]
pub(super) struct PromoteArguments {
    /// The release.
    pub(super) version: Version,
    /// The channel.
    #[arg(long)]
    pub(super) to: Channel,
    /// How long the channel before must have carried it.
    #[arg(long, value_name = "SPAN", value_parser = parse_span, default_value = "24h")]
    pub(super) soak: Duration,
    #[command(flatten)]
    pub(super) packs: PackArguments,
    #[command(flatten)]
    pub(super) schedule: Schedule,
}

#[derive(Debug, Args)]
#[command(group(ArgGroup::new("reach").required(true).args(["over", "everyone"])))]
pub(super) struct RolloutArguments {
    /// The release.
    pub(super) version: Version,
    /// The channel, if several carry it.
    #[arg(long)]
    pub(super) channel: Option<Channel>,
    #[command(flatten)]
    pub(super) schedule: Schedule,
    /// End the roll-out: all machines may take it now.
    #[arg(long)]
    pub(super) everyone: bool,
}

#[derive(Debug, Args)]
pub(super) struct HaltArguments {
    /// The release.
    pub(super) version: Version,
    /// Only in this channel; in all that carry it otherwise.
    #[arg(long)]
    pub(super) channel: Option<Channel>,
    /// Why, for people.
    #[arg(long)]
    pub(super) reason: Option<String>,
    /// Let it go on.
    #[arg(long, conflicts_with = "reason")]
    pub(super) undo: bool,
}

#[derive(Debug, Args)]
#[command(group(ArgGroup::new("which").required(true).args(["versions", "keep"])))]
pub(super) struct RetireArguments {
    /// The releases.
    pub(super) versions: Vec<Version>,
    /// All but as many of each channel's newest ones.
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u64).range(1..))]
    pub(super) keep: Option<u64>,
}

#[derive(Debug, Args)]
pub(super) struct ServeArguments {
    /// The repository.
    pub(super) directory: PathBuf,
    /// Address and port; other machines reach only what is not 127.0.0.1.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8000")]
    pub(super) listen: SocketAddr,
}

fn lifetime(text: &str) -> Result<(String, Duration), String> {
    let (role, span) = text.split_once('=').ok_or("write it as ROLE=SPAN, such as timestamp=7d")?;
    if !["root", "targets", "channel", "snapshot", "timestamp"].contains(&role) {
        return Err(format!("`{role}` is none of root, targets, channel, snapshot, timestamp"));
    }
    let span = parse_span(span).map_err(|error| error.to_string())?;
    if span.is_zero() {
        return Err("signatures must be good for some time".to_owned());
    }
    Ok((role.to_owned(), span))
}

fn start(text: &str) -> Result<Start, String> {
    match text.strip_prefix('+') {
        Some(span) => parse_span(span).map(Start::In).map_err(|error| error.to_string()),
        None => text
            .parse()
            .map(Start::At)
            .map_err(|error: channels::time::ParseTimeError| error.to_string()),
    }
}
