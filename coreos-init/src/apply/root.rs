//! A root directory, and every effect that is ever had on it.
//!
//! No path leaves the root: symbolic links are resolved as if it were `/`. Below a home
//! directory, which its owner can fill with anything, none is followed at all.

use std::cell::Cell;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, OpenHow, RenameFlags, ResolveFlag};
use nix::fcntl::{open, openat, openat2, readlinkat, renameat, renameat2};
use nix::sys::stat::{FileStat, Mode, SFlag, fchmod, fstat, fstatat, mkdirat};
use nix::unistd::{Gid, Uid, UnlinkatFlags, fchown, symlinkat, syncfs, unlinkat};

use super::Error;
use crate::ledger::Place;
use crate::plan::{Owner, file_name, parent};

/// What every temporary name begins with.
const TEMPORARY: &str = ".coreos-init-";
/// How deep an abandoned directory is cleared; what this program makes is never deeper.
const DEPTH: usize = 16;

/// Whether files are given to their owners.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owners {
    /// Yes: only root can.
    Set,
    /// No: everything belongs to whoever runs this.
    Skip,
}

/// A directory that is a machine's root, or will be.
#[derive(Debug)]
pub struct Root {
    top: OwnedFd,
    owners: Owners,
    synced: bool,
    next: Cell<u32>,
    #[cfg(test)]
    pub(super) fault: super::tests::Fault,
}

impl Root {
    /// Opens a directory as a root.
    ///
    /// # Errors
    /// [`Error::Open`].
    pub fn open(path: &Path, owners: Owners) -> Result<Root, Error> {
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let top = open(path, flags, Mode::empty())
            .map_err(|errno| Error::Open { path: path.to_path_buf(), source: errno.into() })?;
        Ok(Root {
            top,
            owners,
            synced: true,
            next: Cell::new(0),
            #[cfg(test)]
            fault: super::tests::Fault::default(),
        })
    }

    /// Leaves it to the kernel when the changes reach the disk. For trees that nothing boots
    /// from before they are packed.
    #[must_use]
    pub fn without_sync(self) -> Root {
        Root { synced: false, ..self }
    }

    /// Whether files are given to their owners here.
    pub fn owners(&self) -> Owners {
        self.owners
    }

    /// Opens a directory; none where there is none.
    pub(super) fn directory(&self, place: &Place) -> io::Result<Option<OwnedFd>> {
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY;
        let confined = place.home.as_deref().and_then(|home| {
            let rest = place.path.strip_prefix(home)?;
            (rest.is_empty() || rest.starts_with('/')).then_some((home, rest))
        });
        let result = match confined {
            None => self.open_in_root(&place.path, flags),
            Some((home, rest)) => self.open_in_root(home, flags).and_then(|home| {
                let rest = rest.trim_start_matches('/');
                if rest.is_empty() {
                    return Ok(home);
                }
                let resolve = ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_SYMLINKS;
                open_how(&home, rest, flags, resolve)
            }),
        };
        absent(result)
    }

    /// Opens what a path names; symbolic links lead where they would lead in the machine.
    pub(super) fn open_in_root(&self, path: &str, flags: OFlag) -> io::Result<OwnedFd> {
        let resolve = ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_MAGICLINKS;
        open_how(&self.top, path, flags, resolve)
    }

    /// Opens a directory, made with all that it lies in if need be. `made` is told of each.
    pub(super) fn make_directory(
        &self,
        place: &Place,
        made: &mut Vec<Place>,
    ) -> io::Result<OwnedFd> {
        if let Some(directory) = self.directory(place)? {
            return Ok(directory);
        }
        if place.path == "/" {
            return Err(Errno::ENOENT.into());
        }
        let above = Place { path: parent(&place.path).to_string(), home: place.home.clone() };
        let above = self.make_directory(&above, made)?;
        self.new_directory(&above, file_name(&place.path), 0o755, Owner::ROOT)?;
        made.push(place.clone());
        self.directory(place)?.ok_or_else(|| Errno::ENOENT.into())
    }

    /// Makes a directory that is never seen with another mode or owner.
    pub(super) fn new_directory(
        &self,
        above: &OwnedFd,
        name: &str,
        mode: u32,
        owner: Owner,
    ) -> io::Result<()> {
        self.new_filled_directory(above, name, mode, owner, |_| Ok(()))
    }

    /// Makes a directory that appears with all that `fill` puts into it or not at all. Nothing
    /// must have its name.
    pub(super) fn new_filled_directory(
        &self,
        above: &OwnedFd,
        name: &str,
        mode: u32,
        owner: Owner,
        fill: impl Fn(&OwnedFd) -> io::Result<()>,
    ) -> io::Result<()> {
        let temporary = self.unused_name(above, |temporary| {
            self.effect()?;
            mkdirat(above, temporary, Mode::S_IRWXU)?;
            let directory = self.open_beneath(above, temporary)?;
            fill(&directory)?;
            self.set(&directory, mode, owner)
        })?;
        let settled = self.effect().and_then(|()| {
            let only = RenameFlags::RENAME_NOREPLACE;
            Ok(renameat2(above, temporary.as_str(), above, name, only)?)
        });
        if settled.is_err() {
            let _ = self.remove_tree(above, OsStr::new(&temporary));
        }
        settled
    }

    /// Opens a directory that lies right in another, to change it.
    pub(super) fn open_beneath(&self, above: &OwnedFd, name: &str) -> io::Result<OwnedFd> {
        let flags = OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        Ok(openat(above, name, flags, Mode::empty())?)
    }

    /// Writes a file of a temporary name and returns the name.
    pub(super) fn temporary_file(
        &self,
        directory: &OwnedFd,
        content: &[u8],
        mode: u32,
        owner: Owner,
    ) -> io::Result<String> {
        self.unused_name(directory, |name| self.new_file(directory, name, content, mode, owner))
    }

    /// Writes a file that does not exist.
    pub(super) fn new_file(
        &self,
        directory: &OwnedFd,
        name: &str,
        content: &[u8],
        mode: u32,
        owner: Owner,
    ) -> io::Result<()> {
        self.effect()?;
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_CLOEXEC;
        let file = openat(directory, name, flags, Mode::S_IRUSR | Mode::S_IWUSR)?;
        let mut file = File::from(file);
        self.effect()?;
        file.write_all(content)?;
        self.set(&file, mode, owner)
    }

    /// Makes a symbolic link of a temporary name and returns the name.
    pub(super) fn temporary_link(&self, directory: &OwnedFd, target: &str) -> io::Result<String> {
        self.unused_name(directory, |name| {
            self.effect()?;
            Ok(symlinkat(target, directory, name)?)
        })
    }

    /// Gives what has a temporary name its own, in place of what had it. What cannot be given
    /// it goes.
    pub(super) fn rename(
        &self,
        directory: &OwnedFd,
        temporary: &str,
        name: &str,
    ) -> io::Result<()> {
        let renamed =
            self.effect().and_then(|()| Ok(renameat(directory, temporary, directory, name)?));
        if renamed.is_err() {
            let _ = self.unlink(directory, temporary);
        }
        renamed
    }

    /// Removes a file or link.
    pub(super) fn unlink(&self, directory: &OwnedFd, name: &str) -> io::Result<()> {
        self.effect()?;
        Ok(unlinkat(directory, name, UnlinkatFlags::NoRemoveDir)?)
    }

    /// Removes an empty directory.
    pub(super) fn rmdir(&self, above: &OwnedFd, name: &str) -> io::Result<()> {
        self.effect()?;
        Ok(unlinkat(above, name, UnlinkatFlags::RemoveDir)?)
    }

    /// Removes whatever has this name.
    pub(super) fn remove_tree(&self, above: &OwnedFd, name: &OsStr) -> io::Result<()> {
        self.remove_below(above, name, DEPTH)
    }

    fn remove_below(&self, above: &OwnedFd, name: &OsStr, depth: usize) -> io::Result<()> {
        self.effect()?;
        match unlinkat(above, name, UnlinkatFlags::NoRemoveDir) {
            Err(Errno::EISDIR | Errno::EPERM) if depth > 0 => {}
            result => return Ok(result?),
        }
        let flags = OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let directory = openat(above, name, flags, Mode::empty())?;
        for entry in names(&directory)? {
            self.remove_below(&directory, &entry, depth - 1)?;
        }
        self.effect()?;
        Ok(unlinkat(above, name, UnlinkatFlags::RemoveDir)?)
    }

    /// Removes what an interrupted run left in a directory.
    pub(super) fn sweep(&self, place: &Place) -> io::Result<()> {
        let Some(directory) = self.directory(place)? else { return Ok(()) };
        let flags = OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let listed = openat(&directory, ".", flags, Mode::empty())?;
        for name in names(&listed)? {
            if name.as_bytes().starts_with(TEMPORARY.as_bytes()) {
                self.remove_tree(&directory, &name)?;
            }
        }
        Ok(())
    }

    /// Sets mode and owner of something open.
    pub(super) fn set(&self, file: impl AsFd, mode: u32, owner: Owner) -> io::Result<()> {
        self.effect()?;
        if self.owners == Owners::Set {
            let (uid, gid) = (Uid::from_raw(owner.uid), Gid::from_raw(owner.gid));
            fchown(&file, Some(uid), Some(gid)).map_err(|errno| {
                io::Error::new(
                    io::Error::from(errno).kind(),
                    format!("cannot give it to {}:{}: {}", owner.uid, owner.gid, errno.desc()),
                )
            })?;
        }
        // After the owner: changing that takes the set-id bits away.
        Ok(fchmod(&file, Mode::from_bits_truncate(mode))?)
    }

    /// What has this name in a directory, a link not followed.
    pub(super) fn look(&self, directory: &OwnedFd, name: &str) -> io::Result<Option<FileStat>> {
        absent(fstatat(directory, name, AtFlags::AT_SYMLINK_NOFOLLOW).map_err(Into::into))
    }

    /// The content of a regular file, up to a limit; none if it is longer or something else.
    pub(super) fn content(
        &self,
        directory: &OwnedFd,
        name: &str,
        limit: u64,
    ) -> io::Result<Option<Vec<u8>>> {
        let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
        read_regular(openat(directory, name, flags, Mode::empty())?, limit)
    }

    /// Where a symbolic link points.
    pub(super) fn target(&self, directory: &OwnedFd, name: &str) -> io::Result<OsString> {
        Ok(readlinkat(directory, name)?)
    }

    /// The content and the state of the regular file that a path leads to.
    pub(super) fn read(&self, path: &str, limit: u64) -> io::Result<Option<(Vec<u8>, FileStat)>> {
        let flags = OFlag::O_RDONLY | OFlag::O_NONBLOCK;
        let Some(file) = absent(self.open_in_root(path, flags))? else { return Ok(None) };
        let state = fstat(&file)?;
        match read_regular(file, limit)? {
            Some(content) => Ok(Some((content, state))),
            None => Err(io::Error::other(format!("not a file of at most {limit} bytes"))),
        }
    }

    /// The names in a directory, sorted; none where there is no such directory.
    pub(super) fn list(&self, path: &str) -> io::Result<Vec<OsString>> {
        match absent(self.open_in_root(path, OFlag::O_DIRECTORY))? {
            Some(directory) => names(&directory),
            None => Ok(Vec::new()),
        }
    }

    /// Waits until all changes of the file systems that these directories are on are safe.
    pub(super) fn sync(&self, places: impl IntoIterator<Item = Place>) -> io::Result<()> {
        let mut done = Vec::new();
        for place in places {
            if !self.synced {
                break;
            }
            let Some(directory) = self.directory(&place)? else { continue };
            let device = fstat(&directory)?.st_dev;
            if !done.contains(&device) {
                let flags = OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
                syncfs(openat(&directory, ".", flags, Mode::empty())?)?;
                done.push(device);
            }
        }
        Ok(())
    }

    /// Makes something of a name that nothing has; what an interrupted run left there goes, and
    /// so does what is only half made.
    fn unused_name(
        &self,
        directory: &OwnedFd,
        make: impl Fn(&str) -> io::Result<()>,
    ) -> io::Result<String> {
        let number = self.next.get();
        self.next.set(number.wrapping_add(1));
        let name = format!("{TEMPORARY}{number}");
        let mut made = make(&name);
        if matches!(&made, Err(error) if error.raw_os_error() == Some(Errno::EEXIST as i32)) {
            self.remove_tree(directory, OsStr::new(&name))?;
            made = make(&name);
        }
        if made.is_err() {
            let _ = self.remove_tree(directory, OsStr::new(&name));
        }
        made.map(|()| name)
    }

    /// Lets every effect fail once so many have been.
    #[cfg(test)]
    pub(crate) fn fail_after(&self, effects: u32) {
        self.fault.set(effects, true);
    }

    /// Stands before every effect, for tests to let it fail.
    fn effect(&self) -> io::Result<()> {
        #[cfg(test)]
        self.fault.strike()?;
        Ok(())
    }
}

fn open_how(
    directory: &OwnedFd,
    path: &str,
    flags: OFlag,
    resolve: ResolveFlag,
) -> io::Result<OwnedFd> {
    let how = OpenHow::new().flags(flags | OFlag::O_CLOEXEC).resolve(resolve);
    // The kernel may ask to try again when something was renamed at the same moment.
    for _ in 0..8 {
        match openat2(directory, path, how) {
            Err(Errno::EAGAIN) => {}
            result => return Ok(result?),
        }
    }
    Err(Errno::EAGAIN.into())
}

fn absent<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn read_regular(file: OwnedFd, limit: u64) -> io::Result<Option<Vec<u8>>> {
    if !is(&fstat(&file)?, SFlag::S_IFREG) {
        return Ok(None);
    }
    let mut content = Vec::new();
    File::from(file).take(limit + 1).read_to_end(&mut content)?;
    Ok((content.len() as u64 <= limit).then_some(content))
}

/// Whether something is of this type.
fn is(state: &FileStat, kind: SFlag) -> bool {
    state.st_mode & SFlag::S_IFMT.bits() == kind.bits()
}

fn names(directory: &OwnedFd) -> io::Result<Vec<OsString>> {
    let mut names = Vec::new();
    for entry in Dir::from_fd(directory.try_clone()?)?.iter() {
        let name = entry?.file_name().to_bytes().to_vec();
        if name != b"." && name != b".." {
            names.push(OsString::from_vec(name));
        }
    }
    names.sort();
    Ok(names)
}
