//! What is stored → what stands in the way of a reboot. Touches nothing.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::DeserializeOwned;

use super::record::{Halt, Holder, Verdict, Waiter};
use super::{MOST_SLOTS, ROOT, quorum::Quorum};
use crate::entry::{Entry, Listing};
use crate::error::{Error, Result};

/// All groups, as they were together at one revision.
#[derive(Clone, Debug, Default)]
pub struct State {
    /// By name.
    pub groups: BTreeMap<String, GroupState>,
    /// The revision.
    pub revision: i64,
}

/// A group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupState {
    /// How many may hold a slot at a time.
    pub slots: u32,
    /// How many machines may fail with a release before nobody takes it any more.
    pub failures: u32,
    /// Nobody reboots, if there is a reason.
    pub halt: Option<Halt>,
    /// Who holds a slot, by age.
    pub holders: Vec<Held>,
    /// Who wants one, by age.
    pub queue: Vec<Waiting>,
    /// Where releases have failed.
    pub verdicts: Vec<Verdict>,
}

/// A holder and its token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// What it says.
    pub holder: Holder,
    /// The create revision of its key.
    pub token: i64,
}

impl Held {
    /// Whether it should have been back.
    pub fn is_stale(&self, now: u64) -> bool {
        now > self.holder.deadline
    }
}

/// A waiter and its number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// What it says.
    pub waiter: Waiter,
    /// The create revision of its key.
    pub number: i64,
}

/// Why a machine may not reboot now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Obstacle {
    /// The group is halted.
    Halted(Halt),
    /// The release failed on too many machines of the group.
    ReleaseFailed {
        /// The release.
        version: String,
        /// Where, and why.
        verdicts: Vec<Verdict>,
    },
    /// Every slot is taken.
    Full {
        /// How many there are.
        slots: u32,
        /// By whom.
        holders: Vec<Holder>,
    },
    /// Others came first.
    Behind {
        /// The machines that are served before.
        ahead: Vec<String>,
    },
    /// etcd would have no quorum.
    Quorum(Quorum),
    /// Others took slots whenever it was tried.
    Contended,
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Halted(halt) => write!(f, "the group is halted: {}", halt.reason),
            Self::ReleaseFailed { version, verdicts } => {
                write!(f, "release {version} failed on ")?;
                for (n, Verdict { machine, reason, .. }) in verdicts.iter().enumerate() {
                    let comma = if n > 0 { ", " } else { "" };
                    write!(f, "{comma}{machine} ({reason})")?;
                }
                write!(f, ": nobody takes it until `cluster lock resume` clears that")
            }
            Self::Full { slots, holders } => {
                let machines: Vec<&str> = holders.iter().map(|h| &*h.machine).collect();
                let slots = if *slots == 1 { "the slot is" } else { "all slots are" };
                write!(f, "{slots} held by {}", machines.join(", "))
            }
            Self::Behind { ahead } => write!(f, "it is the turn of {}", ahead.join(", ")),
            Self::Quorum(quorum) => write!(f, "{quorum}"),
            Self::Contended => write!(f, "others were quicker"),
        }
    }
}

impl Default for GroupState {
    fn default() -> Self {
        Self {
            slots: 1,
            failures: 1,
            halt: None,
            holders: Vec::new(),
            queue: Vec::new(),
            verdicts: Vec::new(),
        }
    }
}

impl State {
    /// Reads everything below [`ROOT`]. What later versions may add is not looked at; what
    /// should be there and cannot be read is an error, for it could be a holder.
    pub(crate) fn read(listing: &Listing) -> Result<Self> {
        let mut state = Self { groups: BTreeMap::new(), revision: listing.revision };
        for entry in &listing.entries {
            let rest = entry.key.strip_prefix(ROOT).unwrap_or_default();
            let Some((group, rest)) = rest.split_once('/') else { continue };
            state.groups.entry(group.to_owned()).or_default().add(rest, entry)?;
        }
        for group in state.groups.values_mut() {
            group.holders.sort_by_key(|held| held.token);
            group.queue.sort_by_key(|waiting| waiting.number);
        }
        Ok(state)
    }

    /// The group of this name, which has one free slot if nobody ever used it.
    pub fn group(&self, name: &str) -> GroupState {
        self.groups.get(name).cloned().unwrap_or_default()
    }

    /// Members of etcd that hold a slot in any group.
    pub(crate) fn rebooting_members(&self) -> Vec<u64> {
        let holders = self.groups.values().flat_map(|group| &group.holders);
        holders.filter_map(|held| held.holder.member_id()).collect()
    }
}

impl GroupState {
    fn add(&mut self, rest: &str, entry: &Entry) -> Result<()> {
        let (kind, name) = rest.split_once('/').unwrap_or((rest, ""));
        match (kind, name) {
            ("slots", "") => self.slots = number(entry, 1, MOST_SLOTS)?,
            ("failures", "") => self.failures = number(entry, 1, MOST_SLOTS)?,
            ("halt", "") => self.halt = Some(json(entry)?),
            ("holders", _) => {
                self.holders.push(Held { holder: json(entry)?, token: entry.create_revision });
            }
            ("queue", _) => {
                self.queue.push(Waiting { waiter: json(entry)?, number: entry.create_revision });
            }
            ("verdicts", _) => self.verdicts.push(json(entry)?),
            _ => {}
        }
        Ok(())
    }

    /// The slot of this machine.
    pub fn held_by(&self, machine: &str) -> Option<&Held> {
        self.holders.iter().find(|held| held.holder.machine == machine)
    }

    /// The verdicts that stop a release, if they are enough.
    pub fn stopped(&self, version: &str) -> Option<Obstacle> {
        let verdicts: Vec<Verdict> =
            self.verdicts.iter().filter(|verdict| verdict.version == version).cloned().collect();
        let limit = usize::try_from(self.failures).unwrap_or(usize::MAX);
        let version = version.to_owned();
        (verdicts.len() >= limit).then_some(Obstacle::ReleaseFailed { version, verdicts })
    }

    /// What stands in the way of a machine in the queue that goes to `version`, except for what
    /// only etcd's members can tell.
    pub fn obstacles(&self, machine: &str, version: Option<&str>) -> Vec<Obstacle> {
        let mut obstacles = Vec::new();
        obstacles.extend(self.halt.clone().map(Obstacle::Halted));
        obstacles.extend(version.and_then(|version| self.stopped(version)));
        let slots = usize::try_from(self.slots).unwrap_or(usize::MAX);
        let free = slots.saturating_sub(self.holders.len());
        if free == 0 {
            let holders = self.holders.iter().map(|held| held.holder.clone()).collect();
            obstacles.push(Obstacle::Full { slots: self.slots, holders });
        }
        let waiting = self.queue.iter().map(|waiting| &waiting.waiter.machine);
        let ahead: Vec<String> = waiting.take_while(|other| *other != machine).cloned().collect();
        if ahead.len() >= free.max(1) {
            obstacles.push(Obstacle::Behind { ahead });
        }
        obstacles
    }
}

fn json<T: DeserializeOwned>(entry: &Entry) -> Result<T> {
    serde_json::from_slice(&entry.value).map_err(|error| malformed(entry, error.to_string()))
}

fn number(entry: &Entry, least: u32, most: u32) -> Result<u32> {
    match entry.text().trim().parse() {
        Ok(number) if (least..=most).contains(&number) => Ok(number),
        _ => Err(malformed(entry, format!("it is no number between {least} and {most}"))),
    }
}

fn malformed(entry: &Entry, reason: String) -> Error {
    Error::Malformed { key: entry.key.clone(), reason }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(key: &str, value: &str, create_revision: i64) -> Entry {
        let (key, value) = (format!("{ROOT}{key}"), value.as_bytes().to_vec());
        Entry { key, value, create_revision, mod_revision: create_revision, lease: None }
    }

    fn holder(machine: &str) -> String {
        format!(
            r#"{{"machine":"{machine}","boot_id":"b","phase":"granted","since":1,"deadline":9}}"#
        )
    }

    fn waiter(machine: &str) -> String {
        format!(r#"{{"machine":"{machine}","boot_id":"b","since":1}}"#)
    }

    fn group(entries: Vec<Entry>) -> GroupState {
        State::read(&Listing { entries, revision: 9 }).unwrap().group("g")
    }

    fn told(group: &GroupState, machine: &str, version: Option<&str>) -> Vec<String> {
        group.obstacles(machine, version).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn the_queue_is_served_by_age_and_as_many_as_there_are_slots() {
        // Keys sort by name; what counts is when they came.
        let queue = || {
            ["c", "a", "b"]
                .iter()
                .zip(10..)
                .map(|(name, revision)| entry(&format!("g/queue/{name}"), &waiter(name), revision))
        };
        let mut entries: Vec<Entry> = queue().collect();
        entries.sort_by(|a, b| a.key.cmp(&b.key));
        let one = group(entries.clone());
        assert_eq!(told(&one, "c", None), [""; 0]);
        assert_eq!(told(&one, "a", None), ["it is the turn of c"]);
        assert_eq!(told(&one, "b", None), ["it is the turn of c, a"]);
        entries.push(entry("g/slots", "2", 20));
        let two = group(entries.clone());
        assert_eq!(told(&two, "a", None), [""; 0]);
        assert_eq!(told(&two, "b", None), ["it is the turn of c, a"]);
        entries.push(entry("g/holders/x", &holder("x"), 21));
        assert_eq!(told(&group(entries.clone()), "a", None), ["it is the turn of c"]);
        entries.push(entry("g/holders/y", &holder("y"), 22));
        assert_eq!(told(&group(entries), "c", None), ["all slots are held by x, y"]);
    }

    #[test]
    fn a_release_that_failed_stops_and_others_do_not() {
        let verdict = |machine: &str| {
            let value =
                format!(r#"{{"version":"2","machine":"{machine}","reason":"no network","at":1}}"#);
            entry(&format!("g/verdicts/2/{machine}"), &value, 3)
        };
        let one = group(vec![verdict("a")]);
        assert_eq!(
            told(&one, "b", Some("2")),
            ["release 2 failed on a (no network): nobody takes it until `cluster lock resume` \
              clears that"]
        );
        assert_eq!(told(&one, "b", Some("3")), [""; 0]);
        assert_eq!(told(&one, "b", None), [""; 0]);
        let tolerant = group(vec![verdict("a"), entry("g/failures", "2", 4)]);
        assert_eq!(told(&tolerant, "b", Some("2")), [""; 0]);
        let both = group(vec![verdict("a"), verdict("c"), entry("g/failures", "2", 4)]);
        assert_eq!(told(&both, "b", Some("2")).len(), 1);
    }

    #[test]
    fn a_halted_group_says_why() {
        let halt = entry("g/halt", r#"{"reason":"the switch is replaced","since":1}"#, 3);
        assert_eq!(
            told(&group(vec![halt]), "a", None),
            ["the group is halted: the switch is replaced"]
        );
    }

    #[test]
    fn rubbish_is_named_and_what_is_new_is_let_pass() {
        let read = |entry| State::read(&Listing { entries: vec![entry], revision: 1 });
        for (key, value, expected) in [
            ("g/slots", "0", "it is no number between 1 and 10000"),
            ("g/slots", "-1", "it is no number between 1 and 10000"),
            ("g/slots", "many", "it is no number between 1 and 10000"),
            ("g/holders/a", "{}", "missing field `machine` at line 1 column 2"),
            ("g/holders/a", "", "EOF while parsing a value at line 1 column 0"),
        ] {
            let error = read(entry(key, value, 1)).unwrap_err();
            assert_eq!(
                error.to_string(),
                format!("/coreos/reboot/{key} in etcd cannot be read: {expected}")
            );
        }
        for (key, value) in [("g/colour", "red"), ("schema", "9"), ("g/new/thing", "")] {
            read(entry(key, value, 1)).unwrap();
        }
        let later = holder("a").replace("granted", "sleeping").replace('{', r#"{"x":1,"#);
        read(entry("g/holders/a", &later, 1)).unwrap();
    }
}
