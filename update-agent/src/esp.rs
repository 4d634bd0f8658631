//! The boot entries on the EFI system partition.
//!
//! Every step that changes what boots is one rename or one removal, made durable before the next.
//! A name that is written to never ends in `.efi`, so the boot loader never sees half a file.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use channels::payload::ReadAt;
use disk::entry::{DIRECTORY, Entry};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::statvfs::statvfs;

/// The name under which a boot entry is written before it becomes one.
pub const PENDING: &str = "update.tmp";

/// A file beside the boot entries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Its name.
    pub name: String,
    /// Its size in bytes.
    pub size: u64,
}

/// The directory of the boot entries.
pub trait Entries {
    /// Its files.
    fn list(&self) -> io::Result<Vec<Listed>>;
    /// Bytes that are free.
    fn free(&self) -> io::Result<u64>;
    /// Begins a new, empty file.
    fn create(&self, name: &str) -> io::Result<Box<dyn Write + '_>>;
    /// Makes a file's content durable.
    fn sync(&self, name: &str) -> io::Result<()>;
    /// Opens a file.
    fn open(&self, name: &str) -> io::Result<Box<dyn Read + '_>>;
    /// Opens a file for reading anywhere.
    fn open_at(&self, name: &str) -> io::Result<Box<dyn ReadAt + '_>>;
    /// Renames a file, durably, replacing what has the new name.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    /// Removes a file, durably.
    fn remove(&self, name: &str) -> io::Result<()>;
}

/// The boot entries among the files, with the names they are listed under.
pub fn entries(files: &[Listed]) -> Vec<(Entry, String)> {
    let parse = |file: &Listed| Some((Entry::parse(&file.name)?, file.name.clone()));
    files.iter().filter_map(parse).collect()
}

/// A directory of a mounted file system.
#[derive(Debug)]
pub struct Directory {
    path: PathBuf,
}

impl Directory {
    /// The boot entries of the partition that is mounted at `esp`.
    pub fn new(esp: &Path) -> Directory {
        Directory { path: esp.join(DIRECTORY) }
    }

    /// FAT keeps names and places of files apart from the files: both are synced.
    fn settle(&self) -> io::Result<()> {
        let directory = File::open(&self.path)?;
        directory.sync_all()?;
        nix::unistd::syncfs(&directory).map_err(io::Error::from)
    }
}

impl Entries for Directory {
    fn list(&self) -> io::Result<Vec<Listed>> {
        let mut files = Vec::new();
        for entry in fs::read_dir(&self.path)? {
            let entry = entry?;
            let metadata = entry.metadata()?;
            if let (true, Ok(name)) = (metadata.is_file(), entry.file_name().into_string()) {
                files.push(Listed { name, size: metadata.len() });
            }
        }
        files.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(files)
    }

    fn free(&self) -> io::Result<u64> {
        let stat = statvfs(&self.path)?;
        Ok(stat.blocks_available() * stat.fragment_size())
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn Write + '_>> {
        let path = self.path.join(name);
        Ok(Box::new(OpenOptions::new().write(true).create(true).truncate(true).open(path)?))
    }

    fn sync(&self, name: &str) -> io::Result<()> {
        File::open(self.path.join(name))?.sync_all()?;
        self.settle()
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn Read + '_>> {
        let file = File::open(self.path.join(name))?;
        // What is read is to be what the disk has.
        use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};
        posix_fadvise(&file, 0, 0, PosixFadviseAdvice::POSIX_FADV_DONTNEED)?;
        Ok(Box::new(file))
    }

    fn open_at(&self, name: &str) -> io::Result<Box<dyn ReadAt + '_>> {
        Ok(Box::new(File::open(self.path.join(name))?))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.path.join(from), self.path.join(to))?;
        self.settle()
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.path.join(name))?;
        self.settle()
    }
}

/// The EFI system partition, mounted as long as this lives.
#[derive(Debug)]
pub struct Mounted {
    point: PathBuf,
    /// The boot entries on it.
    pub entries: Directory,
}

impl Mounted {
    /// Mounts the partition `node` at `point`.
    pub fn mount(node: &Path, point: &Path) -> io::Result<Mounted> {
        fs::create_dir_all(point)?;
        // What a killed agent has left; never anything else is mounted there.
        while umount2(point, MntFlags::MNT_DETACH).is_ok() {}
        let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
        // No `flush`: every step is synced where it counts.
        mount(Some(node), point, Some("vfat"), flags, Some("umask=0077"))?;
        Ok(Mounted { point: point.to_owned(), entries: Directory::new(point) })
    }

    /// Where it is mounted.
    pub fn point(&self) -> &Path {
        &self.point
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        // Everything that counts is durable; a mount that stays is replaced next time.
        let _ = umount2(&self.point, MntFlags::empty())
            .or_else(|_| umount2(&self.point, MntFlags::MNT_DETACH));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_written_under_another_name_and_renamed() {
        let esp = tempfile::tempdir().unwrap();
        fs::create_dir_all(esp.path().join(DIRECTORY)).unwrap();
        let directory = Directory::new(esp.path());
        directory.create(PENDING).unwrap().write_all(b"kernel").unwrap();
        directory.sync(PENDING).unwrap();
        assert!(entries(&directory.list().unwrap()).is_empty());
        directory.rename(PENDING, "coreos_2+3.efi").unwrap();
        let files = directory.list().unwrap();
        assert_eq!(files, [Listed { name: "coreos_2+3.efi".into(), size: 6 }]);
        assert_eq!(entries(&files)[0].0.version.as_str(), "2");
        let mut text = String::new();
        directory.open("coreos_2+3.efi").unwrap().read_to_string(&mut text).unwrap();
        assert_eq!(text, "kernel");
        directory.remove("coreos_2+3.efi").unwrap();
        assert!(directory.remove("coreos_2+3.efi").is_err());
        assert!(directory.free().unwrap() > 0);
    }
}
