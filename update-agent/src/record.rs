//! What must never be forgotten, on the state partition.
//!
//! Two copies with a checksum each, written one after the other, the older one first: a power cut
//! leaves at least one. What can be read of the two and is newer counts. If neither can be read,
//! the record begins with what the booted image says, and says so; the channel is then asked of the
//! repository ([`crate::check`]). A missing record is a new machine's, an unreadable one is not.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use channels::client::Floor;
use channels::policy::Channel;
use channels::time::Time;
use disk::version::Version;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// Names of the two copies.
pub const COPIES: [&str; 2] = ["record.0", "record.1"];

/// The largest record that is read, in bytes: one that is larger was not written by us.
const LIMIT: u64 = 1 << 20;

/// What a machine remembers over reboots and updates.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Counts up with every writing.
    pub generation: u64,
    /// The highest that this machine has run well.
    pub floor: RunWell,
    /// The lowest versions of metadata that may still be accepted.
    #[serde(default)]
    pub metadata: Floor,
    /// Releases that did not come up well here, by version.
    #[serde(default)]
    pub failed: BTreeMap<String, Failure>,
    /// The only version that the machine may take, if somebody said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pinned: Option<String>,
    /// The channel that was chosen by command.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chosen: Option<Chosen>,
    /// The release in the other slot that waits for its boot, or is being tried.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trial: Option<Trial>,
    /// The release that is being written to the other slot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub writing: Option<Writing>,
    /// The reboot slot of the group that this machine may hold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lock: Option<HeldLock>,
    /// The machine's fleet units were moved away for a reboot and may not have come back yet.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub drained: bool,
    /// What the other slot holds, if it ran well once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<RunWell>,
    /// Nothing could be read, and this begins with what the image says.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub lost: bool,
}

/// A release that ran well.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunWell {
    /// The channel it was taken from.
    pub channel: Channel,
    /// Its version.
    pub version: String,
    /// Its place in the order of all releases; 0 if the machine was installed with it.
    pub sequence: u64,
    /// Its security epoch.
    pub epoch: u64,
}

/// Why and when a release failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// When this was noticed.
    pub since: Time,
    /// What happened, for people.
    pub reason: String,
    /// Whether the group was told.
    #[serde(default)]
    pub reported: bool,
}

/// A channel chosen by command. It counts until the settings say another one than they did then.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chosen {
    /// The channel.
    pub channel: Channel,
    /// What the settings said then.
    pub over: Option<String>,
}

/// A release that is written and not yet known to be good.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trial {
    /// The release and its channel.
    #[serde(flatten)]
    pub release: RunWell,
    /// The version that was running when it was written.
    pub from: String,
    /// SHA-256 of its boot entry, in hexadecimal digits.
    pub entry: String,
    /// Its root hash.
    pub root_hash: String,
    /// When it was written.
    pub since: Time,
    /// The boot in which it was written.
    pub boot_id: String,
    /// Units that were not well before it: it is not to blame for them.
    #[serde(default)]
    pub excused: Vec<String>,
}

/// A release that is being written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Writing {
    /// Its version.
    pub version: String,
    /// Its root hash: what is in the slot can be compared with it.
    pub root_hash: String,
}

/// A place among those who may reboot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldLock {
    /// The strategy it was asked with.
    pub strategy: String,
    /// Since when.
    pub since: Time,
    /// What makes it this machine's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<i64>,
}

/// What the booted image says of itself: where a machine without a record begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuiltIn {
    /// Its version.
    pub version: Version,
    /// The lowest channel there is for it.
    pub channel: Channel,
    /// Its security epoch.
    pub epoch: u64,
}

/// The record could not be read or kept.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// The system does not let us.
    #[error("cannot read the update record {path}", path = path.display())]
    Read {
        /// The copy.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It could not be written.
    #[error("cannot keep the update record")]
    Write(#[source] host::durable::WriteError),
}

impl Record {
    /// The record of a machine that has none.
    pub fn new(built_in: &BuiltIn) -> Record {
        Record {
            generation: 0,
            floor: RunWell {
                channel: built_in.channel,
                version: built_in.version.to_string(),
                sequence: 0,
                epoch: built_in.epoch,
            },
            metadata: Floor::default(),
            failed: BTreeMap::new(),
            pinned: None,
            chosen: None,
            trial: None,
            writing: None,
            lock: None,
            drained: false,
            previous: None,
            lost: false,
        }
    }

    /// Reads the newer one of the two copies in `directory`. With neither, what the image says.
    pub fn load(directory: &Path, built_in: &BuiltIn) -> Result<Record, RecordError> {
        let mut newest: Option<Record> = None;
        let mut damaged = false;
        for name in COPIES {
            let path = directory.join(name);
            match read(&path) {
                Ok(Some(bytes)) => match parse(&bytes) {
                    Some(record) => {
                        if newest.as_ref().is_none_or(|n| n.generation < record.generation) {
                            newest = Some(record);
                        }
                    }
                    None => {
                        log::warn!("{} is damaged", path.display());
                        damaged = true;
                    }
                },
                Ok(None) => {}
                Err(source) => return Err(RecordError::Read { path, source }),
            }
        }
        let mut record = newest.unwrap_or_else(|| {
            if damaged {
                log::error!(
                    "both copies of the update record are damaged: this machine goes on from \
                     what its image says, and no longer knows which releases failed here"
                );
            }
            Record { lost: damaged, ..Record::new(built_in) }
        });
        // An image that is newer than the record raises it: its epoch is never undercut.
        record.floor.epoch = record.floor.epoch.max(built_in.epoch);
        record.floor.channel = record.floor.channel.max(built_in.channel);
        Ok(record)
    }

    /// Writes both copies, the older one first.
    pub fn save(&mut self, directory: &Path) -> Result<(), RecordError> {
        self.generation += 1;
        let bytes = self.to_bytes();
        for turn in [self.generation % 2, (self.generation + 1) % 2] {
            let path = directory.join(COPIES[turn as usize]);
            host::durable::write(&path, &bytes, 0o644).map_err(RecordError::Write)?;
        }
        Ok(())
    }

    /// A line with the checksum, then the record.
    pub fn to_bytes(&self) -> Vec<u8> {
        let json = serde_json::to_vec_pretty(self).expect("maps with string keys");
        let mut bytes = format!("{}\n", checksum(&json)).into_bytes();
        bytes.extend(json);
        bytes.push(b'\n');
        bytes
    }
}

/// Takes a copy apart; none if it is not exactly what was written.
pub fn parse(bytes: &[u8]) -> Option<Record> {
    let at = bytes.iter().position(|&byte| byte == b'\n')?;
    let (sum, json) = (bytes.get(..at)?, bytes.get(at + 1..)?.strip_suffix(b"\n")?);
    (sum == checksum(json).as_bytes()).then(|| serde_json::from_slice(json).ok())?
}

fn checksum(json: &[u8]) -> String {
    hex::encode(Sha256::digest(json))
}

fn read(path: &Path) -> io::Result<Option<Vec<u8>>> {
    match fs::metadata(path) {
        Ok(metadata) if metadata.len() > LIMIT => return Ok(Some(Vec::new())),
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    }
    fs::read(path).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn built_in() -> BuiltIn {
        BuiltIn { version: "1.0".parse().unwrap(), channel: Channel::Stable, epoch: 3 }
    }

    fn saved(directory: &Path) -> Record {
        let mut record = Record::new(&built_in());
        record.floor.channel = Channel::Alpha;
        record.floor.epoch = 7;
        let reason = "hung".to_owned();
        record
            .failed
            .insert("2.0".into(), Failure { since: Time::from_unix(5), reason, reported: false });
        record.save(directory).unwrap();
        record
    }

    #[test]
    fn a_record_is_read_back_and_its_newer_copy_counts() {
        let directory = tempfile::tempdir().unwrap();
        let mut record = saved(directory.path());
        assert_eq!(Record::load(directory.path(), &built_in()).unwrap(), record);
        // A cut between the two copies.
        let old = record.to_bytes();
        record.pinned = Some("9".into());
        record.save(directory.path()).unwrap();
        for copy in COPIES {
            let new = fs::read(directory.path().join(copy)).unwrap();
            fs::write(directory.path().join(copy), &old).unwrap();
            assert_eq!(Record::load(directory.path(), &built_in()).unwrap(), record);
            fs::write(directory.path().join(copy), new).unwrap();
        }
    }

    #[test]
    fn one_damaged_copy_loses_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let record = saved(directory.path());
        for copy in COPIES {
            let path = directory.path().join(copy);
            let good = fs::read(&path).unwrap();
            for bad in [&b""[..], b"rubbish", &good[..good.len() - 2], &good[1..]] {
                fs::write(&path, bad).unwrap();
                assert_eq!(Record::load(directory.path(), &built_in()).unwrap(), record);
            }
            fs::remove_file(&path).unwrap();
            assert_eq!(Record::load(directory.path(), &built_in()).unwrap(), record);
            fs::write(&path, good).unwrap();
        }
    }

    #[test]
    fn without_a_readable_copy_the_image_s_own_values_hold() {
        let directory = tempfile::tempdir().unwrap();
        let new = Record::load(directory.path(), &built_in()).unwrap();
        assert!(!new.lost);
        assert_eq!((new.floor.epoch, new.floor.version.as_str()), (3, "1.0"));
        saved(directory.path());
        for copy in COPIES {
            fs::write(directory.path().join(copy), vec![b'x'; 2 << 20]).unwrap();
        }
        let lost = Record::load(directory.path(), &built_in()).unwrap();
        assert!(lost.lost);
        assert_eq!(lost.floor.epoch, 3);
        // What cannot be read for another reason is not taken for lost.
        fs::remove_file(directory.path().join(COPIES[0])).unwrap();
        fs::create_dir(directory.path().join(COPIES[0])).unwrap();
        assert!(Record::load(directory.path(), &built_in()).is_err());
    }

    #[test]
    fn an_image_of_a_higher_epoch_raises_the_floor() {
        let directory = tempfile::tempdir().unwrap();
        saved(directory.path());
        let record = Record::load(directory.path(), &BuiltIn { epoch: 9, ..built_in() }).unwrap();
        assert_eq!(record.floor.epoch, 9);
        assert_eq!(record.floor.channel, Channel::Alpha);
    }

    proptest! {
        #[test]
        fn no_changed_bit_goes_unnoticed(at in 0..1000_usize, bit in 0..8_u8) {
            let bytes = Record::new(&built_in()).to_bytes();
            let mut changed = bytes.clone();
            let at = at % bytes.len();
            changed[at] ^= 1 << bit;
            prop_assert!(parse(&changed).is_none());
        }
    }
}
