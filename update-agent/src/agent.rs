//! The agent of one machine: its facts, settings and record, and what is done with them.
//!
//! Every operation is a short story over the other modules; what it decides, they decide.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use channels::offer::Offer;
use channels::policy::Channel;
use channels::store::DirectoryStore;
use channels::time::Time;
use disk::entry::{Entry, Tries};
use disk::version::Version;
use sha2::{Digest, Sha256};

use crate::check::{self, Decision, Following};
use crate::error::AgentError;
use crate::esp::{self, Entries, Mounted};
use crate::facts::{self, Facts};
use crate::history::{self, Line};
use crate::install::{self, Installed, Phase, Site, Wanted};
use crate::live::{Activity, Board};
use crate::record::{Chosen, Failure, Record, RunWell, Trial, Writing};
use crate::settings::{self, Settings};
use crate::source::Source;
use crate::trial::{self, Standing};

/// The agent.
#[derive(Debug)]
pub struct Agent {
    /// The machine.
    pub facts: Facts,
    /// What is set.
    pub settings: Settings,
    /// What is wrong with the settings.
    pub warnings: Vec<String>,
    /// What must never be forgotten.
    pub record: Record,
    /// What is being done.
    pub board: Board,
}

impl Agent {
    /// Reads everything below a root directory.
    pub fn open(root: &Path) -> Result<Agent, AgentError> {
        let facts = Facts::read(root)?;
        let (settings, warnings) = read_settings(&facts);
        let (state, run) = (facts.path(facts::STATE), facts.path(facts::RUN));
        for directory in [&state, &run] {
            // Without the right to it, what is there can still be read.
            if let Err(error) = fs::create_dir_all(directory) {
                log::debug!("cannot make {}: {error}", directory.display());
            }
        }
        let record = Record::load(&state, &facts.built_in())?;
        Ok(Agent { settings, warnings, record, board: Board::open(&run), facts })
    }

    /// Reads settings and record again, as somebody else may have changed them.
    pub fn reload(&mut self) -> Result<(), AgentError> {
        (self.settings, self.warnings) = read_settings(&self.facts);
        self.record = Record::load(&self.state(), &self.facts.built_in())?;
        Ok(())
    }

    /// Where the record is.
    pub fn state(&self) -> PathBuf {
        self.facts.path(facts::STATE)
    }

    /// Where what is of this boot is.
    pub fn run_directory(&self) -> PathBuf {
        self.facts.path(facts::RUN)
    }

    /// Writes the record.
    pub fn save(&mut self) -> Result<(), AgentError> {
        let state = self.state();
        Ok(self.record.save(&state)?)
    }

    /// Notes what happened.
    pub fn note(&self, time: Time, event: &str, version: Option<&str>, detail: &str) {
        let version = version.map(str::to_owned);
        let line = Line { time, event: event.to_owned(), version, detail: detail.to_owned() };
        history::add(&self.state(), &line);
    }

    /// The channel that is followed.
    pub fn following(&self) -> Following {
        check::following(&self.record, &self.settings)
    }

    /// Mounts the boot partition for as long as the result lives.
    pub fn mount(&self) -> Result<Mounted, AgentError> {
        let node = self.facts.esp()?;
        Mounted::mount(&node, &self.run_directory().join("esp"))
            .map_err(|source| AgentError::Mount { node, source })
    }

    /// The repository of the settings.
    pub fn source(&self) -> Result<Source, AgentError> {
        let server = self.settings.server.as_ref().ok_or(AgentError::NoServer)?;
        Source::web(server).map_err(AgentError::Server)
    }

    /// Asks a repository, keeps what was learnt, and hands the answer to `then`.
    pub fn check<T>(
        &mut self,
        source: &Source,
        now: Time,
        then: impl FnOnce(&mut Agent, &Decision<'_>) -> Result<T, AgentError>,
    ) -> Result<T, AgentError> {
        let anchor_path = self.facts.path(facts::IMAGE).join("root.json");
        let anchor = fs::read(&anchor_path)
            .map_err(|source| AgentError::NoAnchor { path: anchor_path, source })?;
        let metadata = self.state().join("metadata");
        fs::create_dir_all(&metadata)
            .map_err(|source| AgentError::State { path: metadata.clone(), source })?;
        let store = DirectoryStore::new(metadata);
        let (id, version) = (&self.facts.machine_id, &self.facts.version);
        let machine = |record: &Record| check::machine(record, &self.settings, id, version);
        self.board.set(|live| live.activity = Activity::Checking);
        let before = self.record.clone();
        let decision = check::check(source, &store, &anchor, &mut self.record, machine, now);
        self.board.set(|live| live.activity = Activity::Idle);
        let decision = decision.map_err(|source_error| AgentError::Check {
            source_name: source.to_string(),
            source: source_error,
        })?;
        if self.record != before {
            self.save()?;
        }
        self.board.set(|live| {
            live.checked = Some(now);
            live.error = None;
        });
        then(self, &decision)
    }

    /// Writes a release to the other slot, so that the next boot tries it.
    pub fn apply(
        &mut self,
        decision: &Decision<'_>,
        offer: &Offer,
        source: &Source,
        stop: &AtomicBool,
        excused: Vec<String>,
        now: Time,
    ) -> Result<Installed, AgentError> {
        let slots = self.facts.slots()?;
        let root_hash = self.facts.root_hash.ok_or(facts::FactsError::NoSlot)?;
        let esp = self.mount()?;
        let entries = &esp.entries;
        let files = entries.list().map_err(AgentError::Entries)?;
        let known = esp::entries(&files);
        let parsed: Vec<Entry> = known.iter().map(|(entry, _)| entry.clone()).collect();
        if trial::is_unproven(&self.facts.version, &parsed) {
            return Err(AgentError::Unproven { version: self.facts.version.to_string() });
        }
        let own = known.iter().find(|(entry, _)| entry.version == self.facts.version);
        let running_entry = match own {
            Some((_, name)) => Some(sha256(entries, name).map_err(AgentError::Entries)?),
            None => None,
        };
        let tries = self.settings.tries;
        let wanted =
            Wanted::of(offer, &decision.view, &root_hash, running_entry.as_deref(), tries)?;
        let version = offer.release.version.to_string();
        let writing =
            Writing { version: version.clone(), root_hash: offer.release.root_hash.clone() };
        let resume = self.record.writing.as_ref() == Some(&writing);
        // From here on the other slot is not what it was.
        self.record.writing = Some(writing);
        self.record.trial = None;
        self.record.previous = None;
        self.save()?;

        let running = self.facts.version.clone();
        let staging = self.state().join("staging");
        let site =
            Site { slots: &slots, entries, staging: &staging, running: &running, resume, stop };
        let size = wanted.root.plain.file.length;
        let board = &mut self.board;
        board.set(|live| {
            live.version = Some(version.clone());
            live.size = size;
        });
        let installed = install::install(&wanted, &site, source, &mut |progress| {
            board.step(|live| {
                live.activity = match progress.phase {
                    Phase::Tree | Phase::Blocks => Activity::Downloading,
                    Phase::Verify => Activity::Verifying,
                    Phase::Finish => Activity::Finalizing,
                };
                live.progress = progress.done as f64 / progress.total.max(1) as f64;
                live.fetched = source.fetched();
            });
        })?;

        let release = RunWell {
            channel: offer.channel,
            version: version.clone(),
            sequence: offer.release.sequence,
            epoch: offer.release.epoch,
        };
        self.record.trial = Some(Trial {
            release,
            from: running.to_string(),
            entry: wanted.uki.plain.file.hashes.get_sha256().unwrap_or_default().to_owned(),
            root_hash: offer.release.root_hash.clone(),
            since: now,
            boot_id: self.facts.boot_id.clone(),
            excused,
        });
        self.save()?;
        install::activate(&wanted, &site)?;
        self.record.writing = None;
        self.save()?;
        self.board.set(|live| {
            live.activity = Activity::RebootNeeded;
            live.progress = 1.0;
            live.fetched = installed.fetched;
        });
        let tally = installed.tally;
        let detail = format!(
            "from {}: {} bytes fetched, {} blocks copied, {} by patch",
            offer.channel, installed.fetched, tally.copied, tally.patched
        );
        self.note(now, "installed", Some(&version), &detail);
        Ok(installed)
    }

    /// Finds out what became of a release that was written, and acts on it.
    pub fn settle(&mut self, now: Time) -> Result<Option<Standing>, AgentError> {
        let Some(trial) = self.record.trial.clone() else { return Ok(None) };
        let esp = self.mount()?;
        let files = esp.entries.list().map_err(AgentError::Entries)?;
        let known = esp::entries(&files);
        let parsed: Vec<Entry> = known.iter().map(|(entry, _)| entry.clone()).collect();
        let standing = trial::judge(&trial, &self.facts.version, &self.facts.boot_id, &parsed);
        let version = trial.release.version.clone();
        match &standing {
            Standing::Running => {}
            Standing::Waiting => {
                // Nobody but us has any business with it; what was changed is not booted.
                let name = known.iter().find(|(entry, _)| entry.version.as_str() == version);
                let (_, name) = name.expect("a trial that waits has an entry");
                if sha256(&esp.entries, name).map_err(AgentError::Entries)? != trial.entry {
                    log::error!("the boot entry of {version} was changed; it is removed");
                    esp.entries.remove(name).map_err(AgentError::Entries)?;
                    self.record.trial = None;
                    self.save()?;
                    self.note(now, "removed", Some(&version), "its boot entry was changed");
                    return Ok(Some(Standing::Gone));
                }
                self.board.set(|live| {
                    live.activity = Activity::RebootNeeded;
                    live.version = Some(version);
                });
            }
            Standing::Proven => self.raise_floor(&trial, now)?,
            Standing::Failed(reason) => {
                for (entry, name) in &known {
                    if entry.version.as_str() == version {
                        esp.entries.remove(name).map_err(AgentError::Entries)?;
                    }
                }
                self.mark_failed(&version, reason, now)?;
                log::error!("{version} failed on this machine and is not tried again: {reason}");
            }
            Standing::Gone => {
                self.record.trial = None;
                self.save()?;
            }
        }
        Ok(Some(standing))
    }

    /// Takes a release off the list of those that may be tried.
    pub fn mark_failed(
        &mut self,
        version: &str,
        reason: &str,
        now: Time,
    ) -> Result<(), AgentError> {
        let failure = Failure { since: now, reason: reason.to_owned(), reported: false };
        self.record.failed.insert(version.to_owned(), failure);
        if self.record.trial.as_ref().is_some_and(|trial| trial.release.version == version) {
            self.record.trial = None;
        }
        self.save()?;
        self.note(now, "failed", Some(version), reason);
        Ok(())
    }

    /// A release has proven itself: from now on nothing lower is taken.
    fn raise_floor(&mut self, trial: &Trial, now: Time) -> Result<(), AgentError> {
        let new = &trial.release;
        let old = self.record.floor.clone();
        self.record.previous = Some(RunWell { version: trial.from.clone(), ..old.clone() });
        self.record.floor = RunWell {
            channel: old.channel.max(new.channel),
            version: new.version.clone(),
            sequence: old.sequence.max(new.sequence),
            epoch: old.epoch.max(new.epoch),
        };
        self.record.trial = None;
        self.save()?;
        self.note(now, "kept", Some(&new.version), "");
        self.board
            .set(|live| *live = crate::live::Live { checked: live.checked, ..Default::default() });
        Ok(())
    }

    /// Whether the running version has yet to prove itself.
    pub fn is_unproven(&self) -> Result<bool, AgentError> {
        let esp = self.mount()?;
        let files = esp.entries.list().map_err(AgentError::Entries)?;
        let entries: Vec<Entry> =
            esp::entries(&files).into_iter().map(|(entry, _)| entry).collect();
        Ok(trial::is_unproven(&self.facts.version, &entries))
    }

    /// The version that the boot loader starts if the running one is given up.
    pub fn way_back(&self) -> Result<Option<Version>, AgentError> {
        let esp = self.mount()?;
        let files = esp.entries.list().map_err(AgentError::Entries)?;
        let known = esp::entries(&files);
        let entries = known.iter().map(|(entry, _)| entry);
        Ok(trial::way_back(&self.facts.version, entries).cloned())
    }

    /// Keeps the running version for good.
    pub fn bless(&mut self) -> Result<(), AgentError> {
        let esp = self.mount()?;
        if let Err(error) = crate::system::bless(esp.point()) {
            log::debug!("{}", host::error::chain(&error));
        }
        // What counts is the name. With a twin systemd's program would do nothing and say so.
        let files = esp.entries.list().map_err(AgentError::Entries)?;
        let own: Vec<_> = esp::entries(&files)
            .into_iter()
            .filter(|(entry, _)| entry.version == self.facts.version)
            .collect();
        let kept = own.iter().any(|(entry, _)| entry.tries.is_none());
        for (entry, name) in own.iter().filter(|(entry, _)| entry.tries.is_some()) {
            let done = match kept {
                true => esp.entries.remove(name),
                false => esp.entries.rename(name, &entry.kept().to_string()),
            };
            done.map_err(AgentError::Entries)?;
        }
        Ok(())
    }

    /// Gives up the running version: the boot loader prefers the other slot's from now on.
    pub fn give_up(&mut self, reason: &str, now: Time) -> Result<Version, AgentError> {
        let esp = self.mount()?;
        let files = esp.entries.list().map_err(AgentError::Entries)?;
        let known = esp::entries(&files);
        let running = self.facts.version.clone();
        let entries = known.iter().map(|(entry, _)| entry);
        let good = trial::way_back(&running, entries).cloned();
        let good = good.ok_or(AgentError::NothingToGoBackTo)?;
        let epoch = self.record.previous.as_ref().map(|previous| previous.epoch);
        if let Some(epoch) = epoch.filter(|epoch| *epoch < self.record.floor.epoch) {
            let floor = self.record.floor.epoch;
            return Err(AgentError::Epoch { version: good.to_string(), epoch, floor });
        }
        let own = known.iter().find(|(entry, _)| entry.version == running);
        let (entry, name) = own.ok_or(AgentError::NothingToGoBackTo)?;
        let done = entry.tries.map_or(1, |tries| tries.done.max(1));
        let bad = Entry { tries: Some(Tries { left: 0, done }), ..entry.clone() };
        esp.entries.rename(name, &bad.to_string()).map_err(AgentError::Entries)?;
        drop(esp);
        self.mark_failed(running.as_str(), reason, now)?;
        Ok(good)
    }

    /// Follows another channel from now on.
    pub fn choose_channel(&mut self, channel: Channel, now: Time) -> Result<(), AgentError> {
        channels::policy::may_follow(self.record.floor.channel, channel)
            .map_err(AgentError::Refused)?;
        self.record.chosen = Some(Chosen { channel, over: self.settings.group.clone() });
        self.save()?;
        self.note(now, "channel", None, channel.name());
        Ok(())
    }
}

fn read_settings(facts: &Facts) -> (Settings, Vec<String>) {
    let mut paths: Vec<String> = settings::FILES.map(str::to_owned).into();
    let mut more: Vec<String> = fs::read_dir(facts.path(settings::DIRECTORY))
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| name.ends_with(".conf"))
        .collect();
    more.sort();
    paths.extend(more.iter().map(|name| format!("{}/{name}", settings::DIRECTORY)));
    let texts: Vec<(&str, String)> = paths
        .iter()
        .filter_map(|path| Some((path.as_str(), fs::read_to_string(facts.path(path)).ok()?)))
        .collect();
    Settings::read(&texts)
}

/// SHA-256 of a file beside the boot entries, in hexadecimal digits.
pub fn sha256(entries: &impl Entries, name: &str) -> std::io::Result<String> {
    let mut file = entries.open(name)?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 64 << 10];
    loop {
        match std::io::Read::read(&mut file, &mut buffer)? {
            0 => return Ok(hex::encode(hasher.finalize())),
            count => hasher.update(&buffer[..count]),
        }
    }
}
