//! What became of a release that was written: plain decisions from what the boot partition says.

use disk::entry::{Assessment, Entry};
use disk::version::Version;

use crate::record::Trial;

/// How a trial stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// It waits for the reboot.
    Waiting,
    /// It runs, and has yet to prove itself.
    Running,
    /// It runs, and is kept.
    Proven,
    /// It is not tried any more.
    Failed(String),
    /// It was never made bootable, or somebody took it away.
    Gone,
}

/// Judges a trial by the version that runs, in which boot, and by the boot entries.
pub fn judge(trial: &Trial, running: &Version, boot_id: &str, entries: &[Entry]) -> Standing {
    let own = entries.iter().find(|entry| entry.version.as_str() == trial.release.version);
    if running.as_str() == trial.release.version {
        return match own.and_then(|entry| entry.tries) {
            Some(_) => Standing::Running,
            None => Standing::Proven,
        };
    }
    let Some(entry) = own else { return Standing::Gone };
    let Some(tries) = entry.tries else {
        // Kept once, and yet another one runs: somebody chose so.
        return Standing::Failed(format!("{running} was booted instead of it"));
    };
    match entry.assessment() {
        Assessment::Bad => Standing::Failed(match tries.done {
            1 => "it did not come up well".to_owned(),
            done => format!("it did not come up well in {done} tries"),
        }),
        _ if tries.done > 0 => Standing::Failed(format!("the machine came back to {running}")),
        _ if boot_id == trial.boot_id => Standing::Waiting,
        _ => Standing::Failed(format!(
            "the machine booted {running} instead; the boot loader may not be able to count tries"
        )),
    }
}

/// Whether the running version has yet to prove itself.
pub fn is_unproven(running: &Version, entries: &[Entry]) -> bool {
    let own = |entry: &&Entry| entry.version == *running;
    let mut own = entries.iter().filter(own).peekable();
    // With a twin that is kept the boot loader has no doubt.
    own.peek().is_some() && own.all(|entry| entry.tries.is_some())
}

/// The version that the boot loader starts if the running one is given up: another one that has
/// proven itself.
pub fn way_back<'e>(
    running: &Version,
    entries: impl IntoIterator<Item = &'e Entry>,
) -> Option<&'e Version> {
    let mut versions = entries.into_iter().filter(|entry| entry.tries.is_none());
    versions.find(|entry| entry.version != *running).map(|entry| &entry.version)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::RunWell;
    use channels::policy::Channel;
    use channels::time::Time;

    fn trial() -> Trial {
        let release =
            RunWell { channel: Channel::Beta, version: "2.0".into(), sequence: 2, epoch: 0 };
        Trial {
            release,
            from: "1.0".into(),
            entry: String::new(),
            root_hash: String::new(),
            since: Time::from_unix(0),
            boot_id: "this".into(),
            excused: Vec::new(),
        }
    }

    #[test]
    fn every_name_of_the_boot_entry_says_how_the_trial_stands() {
        use Standing::{Gone, Proven, Running, Waiting};
        let failed = |reason: &str| Standing::Failed(reason.to_owned());
        for (running, boot, entries, expected) in [
            ("1.0", "this", "coreos_1.0.efi coreos_2.0+3.efi", Waiting),
            ("2.0", "next", "coreos_1.0.efi coreos_2.0+2-1.efi", Running),
            ("2.0", "next", "coreos_1.0.efi coreos_2.0+0-3.efi", Running),
            ("2.0", "next", "coreos_1.0.efi coreos_2.0.efi", Proven),
            ("1.0", "this", "coreos_1.0.efi", Gone),
            ("1.0", "next", "coreos_1.0.efi", Gone),
            (
                "1.0",
                "next",
                "coreos_1.0.efi coreos_2.0+0-3.efi",
                failed("it did not come up well in 3 tries"),
            ),
            ("1.0", "next", "coreos_1.0.efi coreos_2.0+0-1.efi", failed("it did not come up well")),
            (
                "1.0",
                "next",
                "coreos_1.0.efi coreos_2.0+2-1.efi",
                failed("the machine came back to 1.0"),
            ),
            (
                "1.0",
                "next",
                "coreos_1.0.efi coreos_2.0+3.efi",
                failed(
                    "the machine booted 1.0 instead; the boot loader may not be able to count tries",
                ),
            ),
        ] {
            let entries: Vec<_> =
                entries.split(' ').map(|name| Entry::parse(name).unwrap()).collect();
            let running: Version = running.parse().unwrap();
            assert_eq!(judge(&trial(), &running, boot, &entries), expected, "{entries:?}");
        }
    }

    #[test]
    fn a_version_is_unproven_while_its_only_entry_counts() {
        let version: Version = "1.0".parse().unwrap();
        for (names, expected) in [
            ("coreos_1.0+2-1.efi", true),
            ("coreos_1.0.efi", false),
            ("coreos_1.0.efi coreos_1.0+3.efi", false),
            ("coreos_2.0+3.efi", false),
        ] {
            let entries: Vec<_> =
                names.split(' ').map(|name| Entry::parse(name).unwrap()).collect();
            assert_eq!(is_unproven(&version, &entries), expected, "{names}");
        }
    }

    #[test]
    fn only_another_version_that_has_proven_itself_is_a_way_back() {
        let version: Version = "2.0".parse().unwrap();
        for (names, expected) in [
            ("coreos_2.0+3.efi", None),
            ("coreos_2.0.efi coreos_2.0+3.efi", None),
            ("coreos_2.0+3.efi coreos_1.0+0-3.efi", None),
            ("coreos_2.0+3.efi coreos_1.0.efi", Some("1.0")),
        ] {
            let entries: Vec<_> =
                names.split(' ').map(|name| Entry::parse(name).unwrap()).collect();
            assert_eq!(way_back(&version, &entries).map(Version::as_str), expected, "{names}");
        }
    }
}
