//! A machine's root as it is looked at: a directory, or what a disk image holds.

use std::ffi::OsString;
use std::io;
use std::os::fd::OwnedFd;

use nix::sys::stat::{FileStat, SFlag};

use super::root::{Owners, Root};
use crate::ledger::Place;

/// What a file is, and whose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct State {
    /// File type and permission bits, as `st_mode`.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Bytes of a file, or of a link's target.
    pub size: u64,
}

impl State {
    /// Whether it is of this type.
    pub fn is(&self, kind: SFlag) -> bool {
        self.mode & SFlag::S_IFMT.bits() == kind.bits()
    }

    /// The permission bits.
    pub fn permissions(&self) -> u32 {
        self.mode & 0o7777
    }
}

impl From<FileStat> for State {
    fn from(state: FileStat) -> State {
        State {
            mode: state.st_mode,
            uid: state.st_uid,
            gid: state.st_gid,
            size: u64::try_from(state.st_size).unwrap_or(0),
        }
    }
}

/// All that planning asks of a root. Symbolic links are resolved as if it were `/`; below a home
/// directory none is followed.
pub trait View {
    /// A directory that was found.
    type Directory;

    /// Whether whose a file is counts.
    fn owners(&self) -> Owners;

    /// A directory; none where there is none.
    ///
    /// # Errors
    /// It cannot be looked at, as of openat2(2).
    fn directory(&self, place: &Place) -> io::Result<Option<Self::Directory>>;

    /// What has this name in a directory, a link not followed.
    ///
    /// # Errors
    /// It cannot be looked at.
    fn look(&self, directory: &Self::Directory, name: &str) -> io::Result<Option<State>>;

    /// The content of a regular file, up to a limit; none if it is longer or something else.
    ///
    /// # Errors
    /// It cannot be read, or is not there.
    fn content(
        &self,
        directory: &Self::Directory,
        name: &str,
        limit: u64,
    ) -> io::Result<Option<Vec<u8>>>;

    /// Where a symbolic link points.
    ///
    /// # Errors
    /// It cannot be read, or is none.
    fn target(&self, directory: &Self::Directory, name: &str) -> io::Result<OsString>;

    /// The content and the state of the regular file that a path leads to.
    ///
    /// # Errors
    /// It cannot be read, has more than `limit` bytes, or is no regular file.
    fn read(&self, path: &str, limit: u64) -> io::Result<Option<(Vec<u8>, State)>>;

    /// The names in a directory, sorted; none where there is no such directory.
    ///
    /// # Errors
    /// It cannot be read.
    fn list(&self, path: &str) -> io::Result<Vec<OsString>>;
}

impl View for Root {
    type Directory = OwnedFd;

    fn owners(&self) -> Owners {
        Root::owners(self)
    }

    fn directory(&self, place: &Place) -> io::Result<Option<OwnedFd>> {
        Root::directory(self, place)
    }

    fn look(&self, directory: &OwnedFd, name: &str) -> io::Result<Option<State>> {
        Ok(Root::look(self, directory, name)?.map(State::from))
    }

    fn content(&self, directory: &OwnedFd, name: &str, limit: u64) -> io::Result<Option<Vec<u8>>> {
        Root::content(self, directory, name, limit)
    }

    fn target(&self, directory: &OwnedFd, name: &str) -> io::Result<OsString> {
        Root::target(self, directory, name)
    }

    fn read(&self, path: &str, limit: u64) -> io::Result<Option<(Vec<u8>, State)>> {
        let read = Root::read(self, path, limit)?;
        Ok(read.map(|(content, state)| (content, State::from(state))))
    }

    fn list(&self, path: &str) -> io::Result<Vec<OsString>> {
        Root::list(self, path)
    }
}
