//! Images by their hash.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use nix::libc::O_NOFOLLOW;
use sha2::{Digest, Sha256};

use super::{Get, MERGED, open};
use crate::fetched::{Wanted, make_private};

/// Where images are kept, below the root.
const STORE: &str = "/var/lib/coreos-init/extensions";
/// What the name of an image ends with that is not whole yet.
const PART: &str = ".part";

/// The images that a root has.
#[derive(Debug, Clone)]
pub struct Store {
    directory: PathBuf,
}

fn failed(error: &io::Error) -> String {
    format!("cannot write {STORE}: {error}")
}

fn length(file: &File) -> Result<u64, String> {
    file.metadata().map(|state| state.len()).map_err(|error| failed(&error))
}

/// The path of an image on the machine.
pub(super) fn path_of(sha256: &str) -> String {
    format!("{STORE}/{sha256}.raw")
}

impl Store {
    /// That of a root; it need not be there yet.
    pub fn of(root: &Path) -> Store {
        Store { directory: root.join(STORE.trim_start_matches('/')) }
    }

    /// The image with this hash.
    pub fn open(&self, sha256: &str) -> Option<File> {
        open(&self.path(sha256))
    }

    /// Gets an image, which has its name only when it is whole, is what was asked for, and is on
    /// the disk. What has come of one that did not come whole is kept, and the next time goes on
    /// from there.
    pub(super) fn fill(&self, wanted: &Wanted, get: &mut Get<'_>) -> Result<File, String> {
        make_private(&self.directory).map_err(|error| failed(&error))?;
        let sha256 = wanted.sha256.as_deref().unwrap_or_default();
        let part = self.directory.join(format!("{sha256}{PART}"));
        let mut options = File::options();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        options.custom_flags(O_NOFOLLOW);
        let file = options.open(&part).map_err(|error| failed(&error))?;
        let resumed = length(&file)? > 0;
        let mut filled = self.fill_part(wanted, sha256, &part, &file, get);
        if resumed && filled.is_err() && length(&file)? == 0 {
            // What was there from before was no beginning of it.
            filled = self.fill_part(wanted, sha256, &part, &file, get);
        }
        filled.map_err(|why| match length(&file) {
            Ok(come @ 1..) => {
                let come = come.div_ceil(1 << 20);
                format!("{why}; what has come, {come} MiB, is kept for the next time")
            }
            _ => {
                let _ = fs::remove_file(&part);
                let _ = fs::remove_dir(&self.directory);
                why
            }
        })?;
        Ok(file)
    }

    /// The same with a file in the store, which is empty if something else came.
    fn fill_part(
        &self,
        wanted: &Wanted,
        sha256: &str,
        part: &Path,
        file: &File,
        get: &mut Get<'_>,
    ) -> Result<(), String> {
        get(wanted, file)?;
        let got = sha256_of(file).map_err(|error| failed(&error))?;
        if got != sha256 {
            file.set_len(0).map_err(|error| failed(&error))?;
            let url = host::http::redacted(&wanted.url);
            return Err(format!(
                "what {url} answers is not what was asked for: its SHA-256 is {got}"
            ));
        }
        file.sync_all().map_err(|error| failed(&error))?;
        fs::rename(part, self.path(sha256)).map_err(|error| failed(&error))?;
        File::open(&self.directory)
            .and_then(|directory| directory.sync_all())
            .map_err(|error| failed(&error))
    }

    /// Whether an image is not what its name says any more; it goes then, to be fetched anew.
    pub fn drop_damaged(&self, sha256: &str) -> bool {
        let damaged = self.open(sha256).is_some_and(|file| match sha256_of(&file) {
            Ok(got) => got != sha256,
            // The disk does not give it back.
            Err(_) => true,
        });
        damaged && fs::remove_file(self.path(sha256)).is_ok()
    }

    pub(super) fn path(&self, sha256: &str) -> PathBuf {
        self.directory.join(format!("{sha256}.raw"))
    }
}

/// Removes the images that no link of a root leads to, and what an interrupted download left.
pub fn forget_others(root: &Path) {
    let below = |path: &str| root.join(path.trim_start_matches('/'));
    let links = fs::read_dir(below(MERGED)).into_iter().flatten().flatten();
    let used: BTreeSet<PathBuf> =
        links.filter_map(|entry| fs::read_link(entry.path()).ok()).collect();
    let store = below(STORE);
    for entry in fs::read_dir(&store).into_iter().flatten().flatten() {
        if !used.contains(&Path::new(STORE).join(entry.file_name())) {
            // What cannot be removed is in nobody's way.
            let _ = fs::remove_file(entry.path());
        }
    }
    // Only an empty one goes.
    let _ = fs::remove_dir(&store);
}

/// The SHA-256 of a file, in hex.
pub(super) fn sha256_of(mut file: &File) -> io::Result<String> {
    file.seek(SeekFrom::Start(0))?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 16];
    loop {
        match file.read(&mut buffer) {
            Ok(0) => break,
            Ok(length) => hash.update(&buffer[..length]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(crate::ledger::hex(&hash.finalize()))
}
