//! What an agent remembers from one life to the next.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::model::{GlobalOrder, Order};

/// What an agent remembers, as it is stored on the machine's disk. The texts of the units are
/// kept beside it, by their digests.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Memory {
    /// The boot it is from: what was started in an earlier one is not running.
    pub boot_id: String,
    /// The orders that were in force.
    pub orders: BTreeMap<String, Order>,
    /// The global units.
    pub globals: BTreeMap<String, GlobalOrder>,
    /// The machine's metadata.
    pub metadata: BTreeMap<String, String>,
    /// For each unit the order that it was started for, so that what has done its work is not
    /// started again.
    pub started: BTreeMap<String, u64>,
}

impl Memory {
    /// The same in the boot `boot_id`.
    pub fn in_boot(mut self, boot_id: &str) -> Memory {
        if self.boot_id != boot_id {
            self.started.clear();
            self.boot_id = boot_id.to_string();
        }
        self
    }
}
