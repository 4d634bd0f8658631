//! A repository as one consistent snapshot shows it, and the search for targets in it.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::rc::Rc;

use super::{ClientError, Floor, Session, Target};
use crate::fetch::Area;
use crate::metadata::{Delegation, Root, Snapshot, TargetFile, Targets, Trusted};
use crate::time::Time;

/// A repository whose top-level metadata is trusted and up to date.
#[derive(Debug)]
pub struct View<'a> {
    pub(super) session: Session<'a>,
    pub(super) root: Trusted<Root>,
    pub(super) snapshot: Trusted<Snapshot>,
    pub(super) targets: Trusted<Targets>,
    pub(super) floor: Floor,
    pub(super) now: Time,
}

/// A role to be visited, and the one that sends us there.
struct Visit {
    delegator: Rc<Trusted<Targets>>,
    delegation: Delegation,
}

impl View<'_> {
    /// What is not to be forgotten, to be given to the next update.
    pub fn floor(&self) -> &Floor {
        &self.floor
    }

    /// The time that counted: the clock's, or a later one that is known to have passed.
    pub fn now(&self) -> Time {
        self.now
    }

    /// The top-level targets metadata.
    pub fn targets(&self) -> &Targets {
        &self.targets
    }

    /// The targets of one role that the top-level role delegates to: those that the role has and
    /// is trusted with. No other role is asked.
    pub fn targets_of(&self, role: &str) -> Result<BTreeMap<String, TargetFile>, ClientError> {
        let Some(delegation) = self.targets.delegated().iter().find(|other| other.name == role)
        else {
            return Err(ClientError::NoRole { role: role.to_owned() });
        };
        let mut targets = self.load(&self.targets, delegation)?.targets.clone();
        targets.retain(|path, _| delegation.covers(path));
        Ok(targets)
    }

    /// A target by its role and path, as [`Self::targets_of`] lists it.
    pub fn target(&self, path: &str, file: TargetFile) -> Target {
        Target { path: path.to_owned(), file, consistent: self.root.consistent_snapshot }
    }

    /// Searches all roles for a target, the most trusted ones first (5.6.7).
    pub fn find(&self, path: &str) -> Result<Target, ClientError> {
        let mut visited = BTreeSet::from(["targets".to_owned()]);
        let mut role = Rc::new(self.targets.clone());
        // The next role to visit is the last one.
        let mut pending: Vec<Visit> = Vec::new();
        loop {
            if let Some(file) = role.targets.get(path) {
                return Ok(self.target(path, file.clone()));
            }
            let mut children = Vec::new();
            for delegation in role.delegated().iter().filter(|child| child.covers(path)) {
                let delegation = delegation.clone();
                let terminating = delegation.terminating;
                children.push(Visit { delegator: Rc::clone(&role), delegation });
                if terminating {
                    pending.clear();
                    break;
                }
            }
            pending.extend(children.into_iter().rev());
            let next = loop {
                let Some(next) = pending.pop() else {
                    return Err(ClientError::NoTarget { path: path.to_owned() });
                };
                if !visited.contains(&next.delegation.name) {
                    break next;
                }
            };
            let visits = self.session.limits.visits;
            if visited.len() >= visits {
                return Err(ClientError::TooManyRoles { path: path.to_owned(), visits });
            }
            role = Rc::new(self.load(&next.delegator, &next.delegation)?);
            visited.insert(next.delegation.name);
        }
    }

    fn load(
        &self,
        delegator: &Targets,
        delegation: &Delegation,
    ) -> Result<Trusted<Targets>, ClientError> {
        let authority = delegator.authority(delegation);
        let consistent = self.root.consistent_snapshot;
        self.session.load_targets(
            &delegation.name,
            consistent,
            &self.snapshot,
            &authority,
            self.now,
        )
    }

    /// Fetches a target into memory (5.7). Large ones are better streamed: from
    /// [`Target::address`] through [`Target::check`].
    pub fn fetch(&self, target: &Target) -> Result<Vec<u8>, ClientError> {
        let file = || target.path.clone();
        let Some(address) = target.address() else {
            return Err(ClientError::Hash { file: file() });
        };
        let limit = target.file.length;
        let Some(bytes) = self.session.fetch.get(Area::Targets, &address, limit)? else {
            return Err(ClientError::Missing { file: file() });
        };
        if bytes.len() as u64 != limit {
            return Err(ClientError::Length { file: file(), expected: limit });
        }
        let mut checked = Vec::with_capacity(bytes.len());
        match target.check(bytes.as_slice()).read_to_end(&mut checked) {
            Ok(_) => Ok(checked),
            Err(_) => Err(ClientError::Hash { file: file() }),
        }
    }
}
