//! SHA-256 of files and texts, as lower-case hexadecimal.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use ring::digest::{Context, SHA256, digest};

/// The digest of some bytes.
pub fn of_bytes(bytes: &[u8]) -> String {
    hex(digest(&SHA256, bytes).as_ref())
}

/// The digest of a file. `advance` is told how many bytes were read.
pub fn of_file(path: &Path, mut advance: impl FnMut(u64)) -> io::Result<String> {
    of_reader(&File::open(path)?, &mut advance)
}

/// The digest of what is left to read. `advance` is told how many bytes were read.
pub fn of_reader(mut from: impl Read, mut advance: impl FnMut(u64)) -> io::Result<String> {
    let mut hasher = Context::new(&SHA256);
    let mut buffer = vec![0; 1 << 18];
    loop {
        let count = from.read(&mut buffer)?;
        if count == 0 {
            return Ok(hex(hasher.finish().as_ref()));
        }
        hasher.update(&buffer[..count]);
        advance(count as u64);
    }
}

/// The digest of everything in a directory: names, permissions, contents and
/// targets of links. A directory that is not there has none.
pub fn of_directory(path: &Path) -> io::Result<String> {
    let mut hasher = Context::new(&SHA256);
    add(path, &mut hasher)?;
    Ok(hex(hasher.finish().as_ref()))
}

fn add(path: &Path, hasher: &mut Context) -> io::Result<()> {
    let mut entries = fs::read_dir(path)?.collect::<io::Result<Vec<_>>>()?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let (path, name) = (entry.path(), entry.file_name());
        let metadata = fs::symlink_metadata(&path)?;
        let content = if metadata.is_symlink() {
            of_bytes(fs::read_link(&path)?.as_os_str().as_bytes())
        } else if metadata.is_file() {
            of_file(&path, |_| ())?
        } else {
            String::new()
        };
        hasher.update(&(name.len() as u64).to_le_bytes());
        hasher.update(name.as_bytes());
        hasher.update(&metadata.mode().to_le_bytes());
        hasher.update(content.as_bytes());
        if metadata.is_dir() {
            add(&path, hasher)?;
            // Where a directory ends: what follows is beside it.
            hasher.update(&u64::MAX.to_le_bytes());
        }
    }
    Ok(())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_file_and_its_bytes_have_one_digest() {
        let file = tempfile::NamedTempFile::new().expect("temporary file");
        std::fs::write(file.path(), b"abc").expect("written");
        let mut seen = 0;
        let digest = of_file(file.path(), |count| seen += count).expect("readable");
        assert_eq!(digest, of_bytes(b"abc"));
        assert_eq!(digest, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        assert_eq!(seen, 3);
    }

    #[test]
    fn every_change_in_a_directory_changes_its_digest() {
        let root = tempfile::tempdir().expect("temporary directory");
        let path = |name: &str| root.path().join(name);
        let digest = || of_directory(root.path()).expect("readable");
        let mut seen = vec![digest()];
        fs::create_dir(path("a")).expect("made");
        seen.push(digest());
        fs::write(path("a/b"), "1").expect("written");
        seen.push(digest());
        fs::write(path("a/b"), "2").expect("written");
        seen.push(digest());
        fs::rename(path("a/b"), path("b")).expect("moved");
        seen.push(digest());
        fs::set_permissions(path("b"), fs::Permissions::from_mode(0o700)).expect("allowed");
        seen.push(digest());
        std::os::unix::fs::symlink("b", path("c")).expect("linked");
        seen.push(digest());
        let count = seen.len();
        seen.sort();
        seen.dedup();
        assert_eq!(seen.len(), count);
        assert_eq!(digest(), digest());
    }
}
