//! Bytes of configuration, and where they came from.
//!
//! kernel command line → config disc → QEMU fw_cfg → credentials → VMware guestinfo → what was
//! installed → NoCloud address → metadata service → last configuration: [`find`] looks at one
//! after the other, keeps a note of each ([`Looked`]) and stops at the first
//! that holds user-data ([`Found`]). A source that is there but broken is noted as that, and the
//! search goes on.
//!
//! Nothing is understood here: user-data stays bytes. Only meta-data, whose form depends on where
//! it lies, is read into [`MetaData`]. The machine is seen through [`Places`]; the network, which
//! only addresses need, through an [`Uplink`] that the caller gives.

mod command_line; // cloud-config-url= on the kernel command line
mod credentials; // systemd's credentials
mod disc; // config drives and NoCloud discs
mod fw_cfg; // what QEMU hands to its guest
mod guestinfo; // VMware
mod installed; // what the installer left on the EFI partition
mod last; // the last configuration that worked
mod nocloud; // ds=nocloud: a NoCloud disc's files on the net
mod platform; // metadata services of clouds
mod shared; // discs as directories of the hypervisor

mod config_files; // the files of config drives and NoCloud → Found
mod file; // a file that is named
mod metadata; // meta_data.json and meta-data → MetaData
mod smbios; // the firmware's tables

use std::error::Error;
use std::fmt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use cloud_config::network::Format;
use serde::{Deserialize, Serialize};

pub(crate) use command_line::parameters;
pub use command_line::{ConfigUrl, UrlError, wanted_url};
pub use disc::from_disc;
pub use file::{FileError, from_file};
pub use guestinfo::{GuestInfo, understand};
pub use last::{LastError, load, load_last, save_last, store};
pub use metadata::MetaData;
pub use platform::{Platform, platform_of};
pub use smbios::Smbios;

/// How diagnostics call user-data that did not come from a named file.
const USER_DATA: &str = "user-data";

/// Where to look, as paths, so that a test can be a machine.
#[derive(Debug, Clone)]
pub struct Places {
    /// `/sys`.
    pub sysfs: PathBuf,
    /// `/dev`.
    pub dev: PathBuf,
    /// The kernel command line.
    pub command_line: String,
    /// The directory under which `var/lib/coreos-init` is kept across boots.
    pub state: PathBuf,
    /// Names of disks that are not looked at, with their partitions (`vda`): the system's own.
    pub exclude: Vec<String>,
    /// The certificate authorities that are trusted, a PEM file.
    pub roots: PathBuf,
}

/// The network, brought up only if a source needs it.
pub trait Uplink {
    /// Brings it up, as far as `need` asks for. What is up already stays.
    fn up(&mut self, need: Need) -> Result<Up, Box<dyn Error + Send + Sync>>;

    /// Takes note of what a source says of the network before it is brought up.
    fn know(&mut self, _: &NetworkDescription) {}
}

/// What a source needs of the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Need {
    /// Its neighbours on the link: an address that the machine gives itself will do.
    Link,
    /// Everything.
    Net,
}

/// A network that is up.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Up {
    /// The interfaces, by the kernel's index.
    pub interfaces: Vec<u32>,
}

/// A kind of source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SourceName {
    /// `cloud-config-url=` on the kernel command line.
    CommandLine,
    /// A config drive or NoCloud disc.
    Disc,
    /// QEMU's firmware configuration device.
    FwCfg,
    /// systemd's credentials.
    Credentials,
    /// VMware's guestinfo.
    Guestinfo,
    /// What the installer has left on the EFI partition.
    Installed,
    /// The address of NoCloud's files.
    #[serde(rename = "nocloud")]
    NoCloud,
    /// The metadata service of a cloud.
    Cloud,
    /// The last configuration that worked, kept on the state.
    Last,
    /// A file named by the user.
    File,
}

impl fmt::Display for SourceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            SourceName::CommandLine => "kernel command line",
            SourceName::Disc => "config disc",
            SourceName::FwCfg => "QEMU fw_cfg",
            SourceName::Credentials => "credentials",
            SourceName::Guestinfo => "VMware guestinfo",
            SourceName::Installed => "installed configuration",
            SourceName::NoCloud => "NoCloud address",
            SourceName::Cloud => "metadata service",
            SourceName::Last => "last configuration",
            SourceName::File => "file",
        })
    }
}

/// A configuration that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The kind of source.
    pub source: SourceName,
    /// Where exactly: `/dev/sr0 (config-2): openstack/latest/user_data`.
    pub place: String,
    /// What diagnostics call the user-data: `user-data`, or the path of a named file.
    pub name: String,
    /// The user-data as it was found. Empty if the source holds meta-data only.
    pub user_data: Vec<u8>,
    /// What the platform says of the machine.
    pub meta_data: MetaData,
    /// What the source says of the network, as it says it.
    pub network: Option<NetworkDescription>,
    /// What the operator should know of the source: files in it that are not used, and why.
    pub notes: Vec<String>,
}

/// What a source says of the network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetworkDescription {
    /// In which language.
    pub format: Format,
    /// As it was found.
    pub text: Vec<u8>,
}

/// A source that was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Looked {
    /// The kind of source.
    pub source: SourceName,
    /// Where.
    pub place: String,
    /// What was there.
    pub outcome: Outcome,
    /// How long the look took.
    pub elapsed: Duration,
}

/// What was at a source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// User-data: the search ended here.
    Found,
    /// Meta-data without user-data: used if no other source of this boot has user-data.
    MetaData,
    /// Nothing of the kind.
    Absent,
    /// The source, but no configuration in it.
    Empty,
    /// The source, but it could not be read; why.
    Failed(String),
}

/// What a search came to.
#[derive(Debug, Default)]
pub struct Search {
    /// The configuration to use, if there is any.
    pub found: Option<Found>,
    /// Every source that was looked at, in order.
    pub looked: Vec<Looked>,
}

/// Looks for the machine's configuration, in the fixed order.
///
/// `uplink` is asked for the network only where an address is to be fetched from. A platform's
/// meta-data without user-data is used when no source of this boot has user-data: it then
/// outranks the last configuration, because the platform does say something about this machine,
/// namely that there is no user-data any more. For the same reason a machine that has such a disc
/// asks no metadata service.
pub fn find(places: &Places, uplink: &mut dyn Uplink) -> Search {
    let mut survey = Survey::default();
    command_line::look(places, uplink, &mut survey);
    if !survey.is_done() {
        disc::look(places, &mut survey);
    }
    if !survey.is_done() {
        shared::look(places, &mut survey);
    }
    if !survey.is_done() {
        fw_cfg::look(places, &mut survey);
    }
    if !survey.is_done() {
        credentials::look(places, &mut survey);
    }
    if !survey.is_done() {
        guestinfo::look(places, uplink, &mut survey);
    }
    if !survey.is_done() {
        installed::look(places, &mut survey);
    }
    if !survey.is_done() && survey.spare.is_none() {
        nocloud::look(places, uplink, &mut survey);
    }
    if !survey.is_done() && survey.spare.is_none() {
        platform::look(places, uplink, &mut survey);
    }
    if !survey.is_done() && survey.spare.is_none() {
        last::look(places, &mut survey);
    }
    Search { found: survey.found.or(survey.spare), looked: survey.looked }
}

/// What a config disc says of the network, if there is one: for a machine that has to fetch its
/// configuration from an address and cannot lease one of its own.
pub fn network_of_disc(places: &Places) -> Option<NetworkDescription> {
    let mut survey = Survey::default();
    disc::look(places, &mut survey);
    survey.found.or(survey.spare)?.network
}

/// A search under way.
#[derive(Debug, Default)]
struct Survey {
    looked: Vec<Looked>,
    found: Option<Found>,
    /// Meta-data without user-data.
    spare: Option<Found>,
}

/// What one look came to.
#[derive(Debug)]
enum Glance {
    Absent,
    Empty,
    Failed(String),
    Holds(Box<Found>),
}

impl Survey {
    fn is_done(&self) -> bool {
        self.found.is_some()
    }

    /// Takes a look that began at `start`.
    fn note(&mut self, source: SourceName, place: String, start: Instant, glance: Glance) {
        let outcome = match glance {
            Glance::Absent => Outcome::Absent,
            Glance::Empty => Outcome::Empty,
            Glance::Failed(reason) => Outcome::Failed(reason),
            // Meta-data that says nothing is no reason to forget the last configuration.
            Glance::Holds(found) if found.user_data.is_empty() && found.is_bare() => Outcome::Empty,
            Glance::Holds(found) if found.user_data.is_empty() && source != SourceName::Last => {
                self.spare.get_or_insert(*found);
                Outcome::MetaData
            }
            Glance::Holds(found) => {
                self.found = Some(*found);
                Outcome::Found
            }
        };
        self.looked.push(Looked { source, place, outcome, elapsed: start.elapsed() });
    }
}

impl Found {
    /// It says nothing beyond user-data.
    fn is_bare(&self) -> bool {
        self.meta_data == MetaData::default() && self.network.is_none()
    }
}

#[cfg(test)]
mod tests;
