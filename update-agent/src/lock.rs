//! One agent at a time: a lock on a file that names its holder.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Between two attempts.
const PAUSE: Duration = Duration::from_millis(100);

/// The lock is held as long as this lives.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

/// Why there is no lock.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Somebody else has it.
    #[error("another update-agent is at work ({holder}); `update-agent watch` shows how far it is")]
    Busy {
        /// Who.
        holder: String,
    },
    /// The file cannot be used.
    #[error("cannot lock {path}", path = path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

impl Lock {
    /// Takes the lock in a directory, or says who has it.
    pub fn take(directory: &Path, name: &str) -> Result<Lock, LockError> {
        let path = directory.join(name);
        let failed = |source| LockError::File { path: path.clone(), source };
        fs::create_dir_all(directory).map_err(failed)?;
        let open =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path);
        let mut file = open.map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let holder = fs::read_to_string(&path).unwrap_or_default().trim().to_owned();
                return Err(LockError::Busy { holder });
            }
            Err(TryLockError::Error(source)) => return Err(failed(source)),
        }
        let written = file
            .set_len(0)
            .and_then(|()| file.write_all(format!("pid {}\n", std::process::id()).as_bytes()));
        written.map_err(failed)?;
        Ok(Lock { _file: file })
    }
}

impl Lock {
    /// Takes the lock as soon as it is free, if that is soon.
    pub fn take_within(
        directory: &Path,
        name: &str,
        patience: Duration,
    ) -> Result<Lock, LockError> {
        let begin = Instant::now();
        loop {
            match Lock::take(directory, name) {
                Err(LockError::Busy { .. }) if begin.elapsed() < patience => sleep(PAUSE),
                other => return other,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_agent_is_told_who_the_first_is() {
        let directory = tempfile::tempdir().unwrap();
        let lock = Lock::take(directory.path(), "lock").unwrap();
        let error = Lock::take(directory.path(), "lock").unwrap_err().to_string();
        let first = format!("(pid {})", std::process::id());
        assert!(error.contains(&first), "{error}");
        drop(lock);
        Lock::take(directory.path(), "lock").unwrap();
    }
}
