//! The D-Bus interface of CoreOS's update_engine, for those who know it: status and progress of
//! `com.coreos.update1`, and the request to update now.
//!
//! `busctl call com.coreos.update1 /com/coreos/update1 com.coreos.update1.Manager GetStatus`

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use zbus::fdo;
use zbus::object_server::SignalEmitter;

use crate::live::{self, Activity, Live};

const NAME: &str = "com.coreos.update1";
const PATH: &str = "/com/coreos/update1";

/// How often the state of the moment is looked at.
const LOOK: Duration = Duration::from_millis(500);

/// `(last_checked_time, progress, current_operation, new_version, new_size)`.
type Status = (i64, f64, String, String, i64);

struct Manager {
    run: PathBuf,
    version: String,
    wake: Arc<AtomicBool>,
}

#[zbus::interface(name = "com.coreos.update1.Manager")]
impl Manager {
    /// Asks the service to check now.
    fn attempt_update(&self) {
        self.wake.store(true, Ordering::Relaxed);
    }

    /// There is nothing to reset: every check begins anew.
    fn reset_status(&self) -> fdo::Result<()> {
        Ok(())
    }

    /// What is being done.
    fn get_status(&self) -> Status {
        status(&live::read(&self.run), &self.version)
    }

    /// What is being done has changed.
    #[zbus(signal)]
    async fn status_update(
        emitter: &SignalEmitter<'_>,
        last_checked_time: i64,
        progress: f64,
        current_operation: &str,
        new_version: &str,
        new_size: i64,
    ) -> zbus::Result<()>;
}

/// The moment, in the words of update_engine.
fn status(live: &Live, running: &str) -> Status {
    (
        live.checked.map_or(0, channels::time::Time::unix),
        match live.activity {
            Activity::Downloading | Activity::Verifying => live.progress,
            _ => 0.0,
        },
        operation(live.activity).to_owned(),
        live.version.clone().unwrap_or_else(|| running.to_owned()),
        i64::try_from(live.size).unwrap_or(i64::MAX),
    )
}

/// What update_engine calls an activity.
pub fn operation(activity: Activity) -> &'static str {
    match activity {
        Activity::Idle => "UPDATE_STATUS_IDLE",
        Activity::Checking => "UPDATE_STATUS_CHECKING_FOR_UPDATE",
        Activity::Downloading => "UPDATE_STATUS_DOWNLOADING",
        Activity::Verifying => "UPDATE_STATUS_VERIFYING",
        Activity::Finalizing => "UPDATE_STATUS_FINALIZING",
        Activity::RebootNeeded => "UPDATE_STATUS_UPDATED_NEED_REBOOT",
    }
}

/// Answers on the system's bus in a thread of its own, as long as the process lives. A machine
/// without a bus has the command line.
pub fn serve(run: &Path, version: &str, wake: Arc<AtomicBool>) {
    let manager = Manager { run: run.to_owned(), version: version.to_owned(), wake };
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let done = runtime.map_err(|error| error.to_string()).and_then(|runtime| {
            runtime.block_on(answer(manager)).map_err(|error| error.to_string())
        });
        if let Err(error) = done {
            log::warn!("no answers on D-Bus: {error}");
        }
    });
}

async fn answer(manager: Manager) -> zbus::Result<()> {
    let (run, version) = (manager.run.clone(), manager.version.clone());
    let bus =
        zbus::connection::Builder::system().serve_at(PATH, manager).name(NAME).build().await?;
    let emitter = SignalEmitter::new(&bus, PATH)?;
    let mut last = None;
    loop {
        let now = status(&live::read(&run), &version);
        if last.as_ref() != Some(&now) {
            Manager::status_update(&emitter, now.0, now.1, &now.2, &now.3, now.4).await?;
            last = Some(now);
        }
        tokio::time::sleep(LOOK).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_moment_is_told_in_the_old_words() {
        let live = Live {
            activity: Activity::Downloading,
            version: Some("1.2".into()),
            progress: 0.5,
            size: 7,
            ..Live::default()
        };
        let expected = (0, 0.5, "UPDATE_STATUS_DOWNLOADING".to_owned(), "1.2".to_owned(), 7);
        assert_eq!(status(&live, "1.1"), expected);
        assert_eq!(status(&Live::default(), "1.1").3, "1.1");
    }
}
