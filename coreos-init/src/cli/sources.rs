//! `sources`: where this machine's configuration would come from, and what each place holds.

use std::fs;
use std::path::PathBuf;

use serde::Serialize;
use sha2::{Digest, Sha256};

use super::{Streams, Verdict};
use crate::net::Uplink;
use crate::report::{Report, Source};
use crate::source::{self, Found, MetaData, Need, Places, Search, SourceName, Up};

/// What to look at.
#[derive(Debug, Clone)]
pub struct SourcesOptions {
    /// The directory that stands for the machine's root.
    pub root: PathBuf,
    /// The kernel command line, instead of the machine's.
    pub command_line: Option<String>,
    /// Whether the network is brought up, and down again, as it is in the initrd.
    pub network: bool,
    /// As JSON.
    pub json: bool,
}

/// What was looked at and what was found, without what may be secret.
#[derive(Debug, Serialize)]
struct Shown<'a> {
    sources: Vec<Source>,
    found: Option<Configuration<'a>>,
}

#[derive(Debug, Serialize)]
struct Configuration<'a> {
    source: SourceName,
    place: &'a str,
    user_data: UserData,
    meta_data: &'a MetaData,
    /// The form of the network's description.
    network: Option<&'static str>,
    notes: &'a [String],
}

#[derive(Debug, Serialize)]
struct UserData {
    bytes: usize,
    sha256: String,
}

pub(super) fn run(options: &SourcesOptions, streams: &mut Streams<'_>) -> Verdict {
    let root = &options.root;
    let command_line = match &options.command_line {
        Some(text) => text.clone(),
        None => match fs::read_to_string(root.join("proc/cmdline")) {
            Ok(text) => text,
            Err(error) => {
                let path = root.join("proc/cmdline");
                streams.warn(format_args!("error: cannot read {}: {error}", path.display()));
                return Verdict::None;
            }
        },
    };
    let places = Places {
        sysfs: root.join("sys"),
        dev: root.join("dev"),
        command_line,
        state: root.clone(),
        exclude: Vec::new(),
        roots: root.join(host::http::SYSTEM_ROOTS.trim_start_matches('/')),
    };
    let search = if options.network {
        let mut uplink = Uplink::new(&places, root.join("etc/resolv.conf"));
        let search = source::find(&places, &mut uplink);
        if let Err(error) = uplink.teardown() {
            streams.warn(format_args!("warning: the network is not left as it was: {error}"));
        }
        search
    } else {
        source::find(&places, &mut AsItIs)
    };
    if options.json {
        let text = serde_json::to_string_pretty(&shown(&search)).expect("string keys");
        streams.say(text);
    } else {
        say(&search, streams);
    }
    if search.found.is_some() { Verdict::Yes } else { Verdict::No }
}

/// The network of a running system, which is none of our business.
struct AsItIs;

impl source::Uplink for AsItIs {
    fn up(&mut self, _: Need) -> Result<Up, Box<dyn std::error::Error + Send + Sync>> {
        Ok(Up::default())
    }
}

fn shown(search: &Search) -> Shown<'_> {
    let found = search.found.as_ref();
    let sources = Report::begin(found, &search.looked).sources;
    Shown { sources, found: found.map(configuration) }
}

fn configuration(found: &Found) -> Configuration<'_> {
    Configuration {
        source: found.source,
        place: &found.place,
        user_data: UserData {
            bytes: found.user_data.len(),
            sha256: hex(&Sha256::digest(&found.user_data)),
        },
        meta_data: &found.meta_data,
        network: found.network.as_ref().map(|network| network.format.name()),
        notes: &found.notes,
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn say(search: &Search, streams: &mut Streams<'_>) {
    let shown = shown(search);
    for source in &shown.sources {
        streams.say(source.line());
    }
    let Some(found) = &shown.found else {
        streams.say("no configuration found");
        return;
    };
    streams.say(format_args!("\nfound            {}", found.place));
    streams.say(format_args!("user-data        {} bytes", found.user_data.bytes));
    let of = found.meta_data;
    for (name, value) in [
        ("host name", of.hostname.clone()),
        ("instance id", of.instance_id.clone()),
        ("region", of.region.clone()),
        ("zone", of.zone.clone()),
        ("private IPv4", of.private_ipv4.map(|ip| ip.to_string())),
        ("public IPv4", of.public_ipv4.map(|ip| ip.to_string())),
        ("private IPv6", of.private_ipv6.map(|ip| ip.to_string())),
        ("public IPv6", of.public_ipv6.map(|ip| ip.to_string())),
        ("network", found.network.map(str::to_owned)),
        ("keys", Some(of.public_keys.len()).filter(|n| *n > 0).map(|n| n.to_string())),
    ] {
        if let Some(value) = value {
            streams.say(format_args!("{name:<16} {value}"));
        }
    }
    for note in found.notes {
        streams.say(format_args!("{:<16} {note}", "note"));
    }
}
