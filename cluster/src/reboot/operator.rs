//! What people do to a group.

use std::time::SystemTime;

use super::record::Halt;
use super::{MOST_SLOTS, RebootError, RebootLock, Result, escaped, unix};
use crate::txn::Txn;

impl RebootLock {
    /// Sets how many may hold a slot at a time, and returns how many might before. Nobody loses a
    /// slot by it.
    ///
    /// # Errors
    /// [`RebootError::Slots`] if that cannot be.
    pub async fn set_slots(&self, slots: u32) -> Result<u32> {
        if !(1..=MOST_SLOTS).contains(&slots) {
            return Err(RebootError::Slots(slots));
        }
        let before = self.status().await?.slots;
        self.client.put(&self.key("slots"), slots.to_string()).await?;
        Ok(before)
    }

    /// Sets how many machines may fail with a release before nobody takes it any more.
    ///
    /// # Errors
    /// [`RebootError::Slots`] if that cannot be.
    pub async fn set_failures(&self, failures: u32) -> Result<()> {
        if !(1..=MOST_SLOTS).contains(&failures) {
            return Err(RebootError::Slots(failures));
        }
        self.client.put(&self.key("failures"), failures.to_string()).await?;
        Ok(())
    }

    /// Releases the slot of a machine that will not do it, and takes it out of the queue.
    ///
    /// # Errors
    /// [`RebootError::NotHeld`] if it neither holds one nor waits.
    pub async fn unlock(&self, machine: &str) -> Result<()> {
        let keys = [self.holder_key(machine), self.queue_key(machine)];
        for key in &keys {
            if self.client.commit(Txn::new().present(key).delete(key)).await?.done {
                return Ok(());
            }
        }
        let (machine, group) = (machine.to_owned(), self.group.clone());
        Err(RebootError::NotHeld { machine, group, token: None })
    }

    /// Stops all reboots of the group. Who holds a slot already finishes.
    ///
    /// # Errors
    /// Any of etcd's.
    pub async fn halt(&self, reason: &str, now: SystemTime) -> Result<()> {
        let halt = Halt { reason: reason.to_owned(), since: unix(now) };
        let value = serde_json::to_vec(&halt).unwrap_or_default();
        self.client.put(&self.key("halt"), value).await?;
        Ok(())
    }

    /// Lets the group go on: removes the halt, and forgets failures, of `version` or of every
    /// release.
    ///
    /// # Errors
    /// Any of etcd's.
    pub async fn resume(&self, version: Option<&str>) -> Result<()> {
        let verdicts = match version {
            Some(version) => self.key(&format!("verdicts/{}/", escaped(version))),
            None => self.key("verdicts/"),
        };
        let mut txn = Txn::new().delete_below(&verdicts);
        if version.is_none() {
            txn = txn.delete(&self.key("halt"));
        }
        self.client.commit(txn).await?;
        Ok(())
    }
}
