//! What a plan depends on besides the configuration.

use std::collections::BTreeMap;

use cloud_config::Variable;

use super::{Content, Original, Owner, Skeleton};
use crate::extension::Prepared;
use crate::ledger::Ledger;

/// Everything besides the configuration that decides what is done.
#[derive(Debug, Clone, Default)]
pub struct Context {
    /// The addresses that variables stand for, as far as they are known.
    pub values: BTreeMap<Variable, String>,
    /// The platform's name for the machine; the configuration's own wins.
    pub hostname: Option<String>,
    /// The platform's keys for the user `core`, one line of `authorized_keys` each.
    pub keys: Vec<String>,
    /// What was fetched for the configuration, by address; or why it could not be.
    pub fetched: BTreeMap<String, Result<Vec<u8>, String>>,
    /// The images of extensions that were looked at, by name; or why there is none.
    pub extensions: BTreeMap<String, Prepared>,
    /// What makes this machine's salts differ from any other's: its id.
    pub machine_id: String,
    /// Files for networkd that the platform's network description became: name and content.
    pub network: Vec<(String, String)>,
    /// What the root has.
    pub facts: Facts,
}

/// What was read from the root that is planned for; [`crate::apply::survey`] reads it.
#[derive(Debug, Clone, Default)]
pub struct Facts {
    /// `/etc/passwd`.
    pub passwd: Option<Existing>,
    /// `/etc/group`.
    pub group: Option<Existing>,
    /// `/etc/shadow`.
    pub shadow: Option<Existing>,
    /// `/etc/gshadow`.
    pub gshadow: Option<Existing>,
    /// `/etc/environment`.
    pub environment: Option<Existing>,
    /// `/etc/coreos/update.conf`.
    pub update: Option<Existing>,
    /// `/usr/share/coreos/update.conf`, the image's defaults.
    pub update_defaults: Option<String>,
    /// `/etc/fstab`.
    pub fstab: Option<Existing>,
    /// The certificates that TLS trusts, in one file.
    pub ca_bundle: Option<Existing>,
    /// The same as the image has it.
    pub ca_defaults: Option<String>,
    /// Whether the configuration's time zone exists.
    pub has_timezone: bool,
    /// Files that the configuration adds something to, or an earlier one did.
    pub appended: BTreeMap<String, ExistingBytes>,
    /// `/etc/hostname`, for when nothing names the machine anew.
    pub hostname: Option<String>,
    /// The units of the root that the configuration enables or commands, and those they pull
    /// in when enabled, by the name asked for.
    pub units: BTreeMap<String, InstalledUnit>,
    /// What new homes start with.
    pub skeleton: Vec<Skeleton>,
    /// What the image itself has at paths that the last configuration owned.
    pub originals: BTreeMap<String, Original>,
    /// What the last configuration owned.
    pub ledger: Ledger,
}

/// A text file that is edited rather than replaced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Existing {
    /// All of it.
    pub text: String,
    /// Mode bits.
    pub mode: u32,
    /// Owner.
    pub owner: Owner,
}

/// A file that something is added to, whatever is in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExistingBytes {
    /// All of it.
    pub content: Content,
    /// Mode bits.
    pub mode: u32,
    /// Owner.
    pub owner: Owner,
}

/// A unit file of the root.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct InstalledUnit {
    /// Where the file is, links followed: its last part is the unit's real name.
    pub path: String,
    /// Its text.
    pub text: String,
}
