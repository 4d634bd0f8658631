//! A slot that is held.

use std::time::SystemTime;

use super::record::{Holder, Phase, Verdict};
use super::state::Held;
use super::{RebootError, RebootLock, Result, unix};
use crate::error::Error;
use crate::txn::Txn;

/// A slot, which stays held until it is released: dropping this does nothing.
#[derive(Clone, Debug)]
pub struct Hold {
    lock: RebootLock,
    holder: Holder,
    token: i64,
}

impl RebootLock {
    /// The slot that `machine` took with `token`, after its reboot; none if it was released by
    /// hand, or belongs to somebody else by now.
    ///
    /// # Errors
    /// As of [`RebootLock::status`].
    pub async fn held(&self, machine: &str, token: i64) -> Result<Option<Hold>> {
        let group = self.status().await?;
        let held = group.held_by(machine).filter(|held| held.token == token);
        Ok(held.map(|held| Hold::new(self.clone(), held.clone())))
    }
}

impl Hold {
    pub(super) fn new(lock: RebootLock, held: Held) -> Self {
        Self { lock, holder: held.holder, token: held.token }
    }

    /// What makes it this machine's: to be stored where a reboot does not reach it.
    pub fn token(&self) -> i64 {
        self.token
    }

    /// What is stored of it.
    pub fn holder(&self) -> &Holder {
        &self.holder
    }

    /// Tells the others how far this machine has come.
    ///
    /// # Errors
    /// [`RebootError::NotHeld`] if the slot was released by hand: do not reboot.
    pub async fn enter(&mut self, phase: Phase) -> Result<()> {
        let holder = Holder { phase, ..self.holder.clone() };
        let key = self.lock.holder_key(&holder.machine);
        let value = serde_json::to_vec(&holder).unwrap_or_default();
        self.commit(|txn| txn.put(&key, value)).await?;
        self.holder = holder;
        Ok(())
    }

    /// Gives the slot back: the machine is up and healthy.
    ///
    /// # Errors
    /// [`RebootError::NotHeld`] if it was released by hand.
    pub async fn release(&self) -> Result<()> {
        let key = self.lock.holder_key(&self.holder.machine);
        match self.commit(|txn| txn.delete(&key)).await {
            // It may have been done; then there is nothing left to do.
            Err(RebootError::Etcd(error)) if error.is_uncertain() => {
                match self.lock.held(&self.holder.machine, self.token).await? {
                    Some(_) => self.commit(|txn| txn.delete(&key)).await,
                    None => Ok(()),
                }
            }
            result => result,
        }
    }

    /// Gives the slot back and says that `version` failed here: from now on nobody in the group
    /// takes it, or only as many as the group tolerates.
    ///
    /// # Errors
    /// As of [`Hold::release`].
    pub async fn fail(&self, version: &str, reason: &str, now: SystemTime) -> Result<()> {
        let key = self.lock.holder_key(&self.holder.machine);
        let (verdict_key, value) = self.lock.verdict(version, &self.holder.machine, reason, now);
        self.commit(|txn| txn.delete(&key).put(&verdict_key, value)).await
    }

    async fn commit(&self, write: impl FnOnce(Txn) -> Txn) -> Result<()> {
        let Self { lock, holder, token } = self;
        let demand = Txn::new().created_in(&lock.holder_key(&holder.machine), *token);
        if lock.client.commit(write(demand)).await?.done {
            return Ok(());
        }
        let (machine, group) = (holder.machine.clone(), lock.group.clone());
        Err(RebootError::NotHeld { machine, group, token: Some(*token) })
    }
}

impl RebootLock {
    /// Says that `version` failed on a machine that holds no slot, because it rebooted without
    /// one or its slot was released by hand.
    ///
    /// # Errors
    /// Any of etcd's.
    pub async fn report_failure(
        &self,
        version: &str,
        machine: &str,
        reason: &str,
        now: SystemTime,
    ) -> std::result::Result<(), Error> {
        let (key, value) = self.verdict(version, machine, reason, now);
        self.client.put(&key, value).await.map(drop)
    }

    fn verdict(
        &self,
        version: &str,
        machine: &str,
        reason: &str,
        now: SystemTime,
    ) -> (String, Vec<u8>) {
        let verdict = Verdict {
            version: version.to_owned(),
            machine: machine.to_owned(),
            reason: reason.to_owned(),
            at: unix(now),
        };
        let value = serde_json::to_vec(&verdict).unwrap_or_default();
        (self.verdict_key(version, machine), value)
    }
}
