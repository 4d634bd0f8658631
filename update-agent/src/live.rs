//! What the agent is doing right now, for whoever looks: a file in `/run`, replaced as it goes on.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use channels::time::Time;
use serde::{Deserialize, Serialize};

/// The file's name.
pub const FILE: &str = "status.json";

/// The progress is not written more often than that.
const INTERVAL: Duration = Duration::from_millis(250);

/// What is being done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Activity {
    /// Nothing.
    #[default]
    Idle,
    /// The repository is asked.
    Checking,
    /// A release is downloaded and written.
    Downloading,
    /// What was written is read back.
    Verifying,
    /// The boot entry is written.
    Finalizing,
    /// A release waits for the reboot.
    RebootNeeded,
}

/// The state of the moment.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Live {
    /// What is being done.
    pub activity: Activity,
    /// The release it is done with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// From 0 to 1, of the present activity.
    pub progress: f64,
    /// Bytes fetched of the release.
    pub fetched: u64,
    /// Bytes of the release's root.
    pub size: u64,
    /// When the repository was asked last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checked: Option<Time>,
    /// What went wrong last, until something goes well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// When the repository is asked next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_check: Option<Time>,
    /// Why the machine does not reboot yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiting: Option<String>,
}

/// Writes it.
#[derive(Debug)]
pub struct Board {
    path: PathBuf,
    /// The state of the moment.
    pub live: Live,
    shown: Option<Instant>,
}

impl Board {
    /// Goes on from what the file says.
    pub fn open(run: &Path) -> Board {
        Board { path: run.join(FILE), live: read(run), shown: None }
    }

    /// Changes it and writes it.
    pub fn set(&mut self, change: impl FnOnce(&mut Live)) {
        change(&mut self.live);
        self.write();
    }

    /// Changes it, and writes it if that was not done a moment ago.
    pub fn step(&mut self, change: impl FnOnce(&mut Live)) {
        change(&mut self.live);
        if self.shown.is_none_or(|shown| shown.elapsed() >= INTERVAL) {
            self.write();
        }
    }

    fn write(&mut self) {
        self.shown = Some(Instant::now());
        let text = serde_json::to_vec(&self.live).expect("strings and numbers");
        // Whoever only looks must not wait; that nobody can look stops nothing.
        let temporary = self.path.with_extension("tmp");
        let written =
            std::fs::write(&temporary, text).and_then(|()| std::fs::rename(&temporary, &self.path));
        if let Err(error) = written {
            log::debug!("cannot write {}: {error}", self.path.display());
        }
    }
}

/// What the file says; nothing in particular if it says nothing.
pub fn read(run: &Path) -> Live {
    let bytes = std::fs::read(run.join(FILE)).unwrap_or_default();
    serde_json::from_slice(&bytes).unwrap_or_default()
}
