//! Images by their hash.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

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
    /// the disk.
    pub(super) fn fill(&self, wanted: &Wanted, get: &mut Get<'_>) -> Result<File, String> {
        let want = wanted.sha256.as_deref().unwrap_or_default();
        let failed = |error: io::Error| format!("cannot write {STORE}: {error}");
        make_private(&self.directory).map_err(failed)?;
        let part = self.directory.join(format!("{want}{PART}"));
        let mut options = File::options();
        options.read(true).write(true).create(true).truncate(true).mode(0o600);
        let file = options.open(&part).map_err(failed)?;
        let filled = get(wanted, &file).and_then(|()| {
            let got = sha256_of(&file).map_err(failed)?;
            if got != want {
                let url = host::http::redacted(&wanted.url);
                return Err(format!(
                    "what {url} answers is not what was asked for: its SHA-256 is {got}"
                ));
            }
            file.sync_all().map_err(failed)?;
            fs::rename(&part, self.path(want)).map_err(failed)?;
            File::open(&self.directory).and_then(|directory| directory.sync_all()).map_err(failed)
        });
        if filled.is_err() {
            // It would take its space for nothing.
            let _ = fs::remove_file(&part);
            let _ = fs::remove_dir(&self.directory);
        }
        filled.map(|()| file)
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

    fn path(&self, sha256: &str) -> PathBuf {
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
