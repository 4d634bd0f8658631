//! How long each part of the boot took.

use nix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

/// One part of the boot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stage {
    /// What it belongs to and what it is: `initrd/root`.
    pub name: String,
    /// When it began, since the kernel started.
    pub start_ms: u64,
    /// How long it took.
    pub duration_ms: u64,
}

/// A watch that is pressed at the end of each part.
#[derive(Debug)]
pub struct Stages {
    group: &'static str,
    mark: u64,
    done: Vec<Stage>,
}

impl Stages {
    /// Starts the watch for a group of parts.
    pub fn start(group: &'static str) -> Stages {
        Stages { group, mark: since_boot_ms(), done: Vec::new() }
    }

    /// Ends a part; the next begins.
    pub fn done(&mut self, name: &str) {
        self.done_at(name, since_boot_ms());
    }

    fn done_at(&mut self, name: &str, now: u64) {
        let name = format!("{}/{name}", self.group);
        let duration_ms = now.saturating_sub(self.mark);
        self.done.push(Stage { name, start_ms: self.mark, duration_ms });
        self.mark = now;
    }

    /// The parts that have ended.
    pub fn into_stages(self) -> Vec<Stage> {
        self.done
    }
}

/// Milliseconds since the kernel started.
fn since_boot_ms() -> u64 {
    // The clock exists on every kernel that runs this program.
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC);
    let now = now.map_or(std::time::Duration::ZERO, std::time::Duration::from);
    super::milliseconds(now)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_follow_each_other_without_gap() {
        let mut stages = Stages { group: "initrd", mark: 100, done: Vec::new() };
        stages.done_at("disk", 130);
        stages.done_at("root", 131);
        let stage = |name: &str, start_ms, duration_ms| Stage {
            name: name.to_string(),
            start_ms,
            duration_ms,
        };
        assert_eq!(
            stages.into_stages(),
            [stage("initrd/disk", 100, 30), stage("initrd/root", 130, 1)]
        );
    }

    #[test]
    fn the_clock_runs_from_the_start_of_the_kernel() {
        let first = since_boot_ms();
        assert!(first > 0 && since_boot_ms() >= first);
    }
}
