//! What all commands need: the repository, the keys, the time.

use std::path::{Path, PathBuf};

use channels::policy::Rollout;
use channels::publish::ceremony::Staged;
use channels::publish::{Draft, Keyring, Lifetimes, Lock, PublishError, Repository, State};
use channels::time::Time;

use super::arguments::{Arguments, Schedule, Start};
use super::passphrase::Passphrases;

/// What all commands need.
pub(super) struct Context {
    pub(super) repository: Repository,
    pub(super) keys: PathBuf,
    pub(super) lifetimes: Lifetimes,
    pub(super) now: Time,
    passphrases: Passphrases,
}

impl Context {
    pub(super) fn new(arguments: &Arguments, now: Time) -> Context {
        let mut lifetimes = Lifetimes::default();
        for (role, span) in &arguments.lifetime {
            let lifetime = match role.as_str() {
                "root" => &mut lifetimes.root,
                "targets" => &mut lifetimes.targets,
                "channel" => &mut lifetimes.channel,
                "snapshot" => &mut lifetimes.snapshot,
                _ => &mut lifetimes.timestamp,
            };
            *lifetime = *span;
        }
        Context {
            repository: Repository::at(&arguments.repository),
            keys: arguments.keys.clone(),
            lifetimes,
            now,
            passphrases: Passphrases::new(arguments.passphrase_file.clone()),
        }
    }

    /// Does something with the keys.
    pub(super) fn with_keyring<T>(
        &self,
        action: impl FnOnce(&mut Keyring<'_>) -> Result<T, PublishError>,
    ) -> Result<T, PublishError> {
        let ask = |key: &str, new: bool| self.passphrases.get(key, new);
        action(&mut Keyring::open(&self.keys, &ask)?)
    }

    /// Keeps other publishers out of a repository that is there.
    pub(super) fn lock(&self) -> Result<Lock, PublishError> {
        self.check_exists()?;
        self.repository.lock()
    }

    /// The state of a repository that is there.
    pub(super) fn state(&self) -> Result<State, PublishError> {
        self.check_exists()?;
        self.repository.load()
    }

    fn check_exists(&self) -> Result<(), PublishError> {
        if self.repository.exists() {
            return Ok(());
        }
        match Staged::load(&self.keys)? {
            Some(_) => Err(PublishError::Unfinished),
            None => Err(PublishError::NoRepository { path: self.repository.path().to_owned() }),
        }
    }

    /// Signs a draft, publishes it and looks at the result as a client does.
    pub(super) fn publish(
        &self,
        keyring: &Keyring<'_>,
        draft: Draft<'_>,
    ) -> Result<(), PublishError> {
        draft.seal(keyring, &self.lifetimes, self.now)?.apply(self.repository.path())?;
        self.repository.check(self.now)
    }

    /// A roll-out, if there is to be one.
    pub(super) fn rollout(&self, schedule: &Schedule) -> Option<Rollout> {
        let start = match schedule.start {
            None => self.now,
            Some(Start::At(time)) => time,
            Some(Start::In(span)) => self.now.plus(span),
        };
        let percent = schedule.percent.unwrap_or(100);
        schedule.over.map(|over| Rollout { start, over: over.as_secs(), percent })
    }

    /// Keys in the tree that is served would soon be everybody's.
    pub(super) fn check_keys_apart(&self) -> Result<(), PublishError> {
        let (keys, repository) = (absolute(&self.keys), absolute(self.repository.path()));
        if keys.starts_with(&repository) {
            return Err(PublishError::KeysServed { keys, repository });
        }
        Ok(())
    }
}

/// A path without links as far as it exists, the rest of it as it is.
fn absolute(path: &Path) -> PathBuf {
    if let Ok(path) = path.canonicalize() {
        return path;
    }
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    match (path.parent(), path.file_name()) {
        (Some(parent), Some(name)) => absolute(parent).join(name),
        _ => path,
    }
}
