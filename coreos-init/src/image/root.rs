//! The root of a machine as a boot would lay it, from the file systems of its disk.
//!
//! ```text
//! EROFS                        /, read-only
//! state: etc/upper             over the EROFS's /etc, as overlayfs does
//! state: var home root opt srv in the place of the EROFS's
//! ```
//!
//! Of overlayfs, upper files, merged directories and whiteouts are known; what its extended
//! attributes say (a directory that was removed and made again) is not: there the image's files
//! are seen, too.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::rc::Rc;

use disk::erofs::{Found, ReadError, Reader};
use ext4_view::{Ext4, FileType, Metadata};
use nix::errno::Errno;
use nix::sys::stat::SFlag;

use super::Protected;
use super::state::into_io;
use crate::apply::{Owners, State, View};
use crate::fetched::{self, Files};
use crate::initrd::state::{DIRECTORIES, ETC_UPPER};
use crate::ledger::Place;

/// Links that one path may lead over, as in the kernel.
const LINKS: usize = 40;
/// The longest target of a link.
const TARGET: u64 = 4096;

/// The root of a disk image.
#[derive(Debug, Clone)]
pub struct ImageRoot {
    erofs: Rc<RefCell<Lower>>,
    top: Found,
    state: Option<Ext4>,
}

/// The read-only file system, and what is known of it.
#[derive(Debug)]
struct Lower {
    reader: Reader<Protected>,
    /// Names and inodes of directories that were looked into, by their own inode.
    directories: BTreeMap<u64, Rc<BTreeMap<String, u64>>>,
}

/// Something in the root.
#[derive(Debug, Clone)]
pub struct Node {
    /// Its path, without a link in it.
    path: String,
    state: State,
    /// Where it is on the state.
    upper: Option<String>,
    /// What it is in the image.
    lower: Option<Found>,
}

impl ImageRoot {
    /// The root in a partition, without a state.
    pub(super) fn open(partition: Protected) -> Result<ImageRoot, ReadError> {
        let mut reader = Reader::open(partition)?;
        let top = reader.root()?;
        let lower = Lower { reader, directories: BTreeMap::new() };
        Ok(ImageRoot { erofs: Rc::new(RefCell::new(lower)), top, state: None })
    }

    /// The same root with a state.
    pub(super) fn with(&self, state: Option<Ext4>) -> ImageRoot {
        ImageRoot { state, ..self.clone() }
    }

    pub(super) fn has_state(&self) -> bool {
        self.state.is_some()
    }

    fn top(&self) -> Node {
        Node {
            path: "/".to_owned(),
            state: of_lower(&self.top),
            upper: None,
            lower: Some(self.top.clone()),
        }
    }

    /// What has this name in a directory.
    fn child(&self, above: &Node, name: &str) -> io::Result<Option<Node>> {
        if !above.state.is(SFlag::S_IFDIR) {
            return Err(Errno::ENOTDIR.into());
        }
        let path = format!("{}/{name}", above.path.trim_end_matches('/'));
        let covering = DIRECTORIES.iter().find(|(covered, _)| path[1..] == **covered);
        if let Some((_, mode)) = covering {
            let upper = self.upper(&path)?;
            let state = upper.as_ref().map_or_else(|| directory(*mode), of_upper);
            let upper = upper.is_some().then(|| path.clone());
            return Ok(Some(Node { path, state, upper, lower: None }));
        }
        let upper_path = match (path.as_str(), &above.upper) {
            ("/etc", _) => Some(format!("/{ETC_UPPER}")),
            (_, Some(above)) => Some(format!("{above}/{name}")),
            (_, None) => None,
        };
        let upper = match &upper_path {
            Some(path) => self.upper(path)?,
            None => None,
        };
        let whiteout = |upper: &Metadata| upper.file_type() == FileType::CharacterDevice;
        if above.lower.is_some() && upper.as_ref().is_some_and(whiteout) {
            return Ok(None);
        }
        let merged = upper.as_ref().is_none_or(Metadata::is_dir);
        let lower = match &above.lower {
            Some(above) if merged => self.lower(above, name)?,
            _ => None,
        };
        let lower = lower.filter(|lower| upper.is_none() || lower.is_directory());
        let Some(state) = upper.as_ref().map(of_upper).or(lower.as_ref().map(of_lower)) else {
            return Ok(None);
        };
        let upper = upper.and(upper_path);
        Ok(Some(Node { path, state, upper, lower }))
    }

    /// What the state has at a path of its own.
    fn upper(&self, path: &str) -> io::Result<Option<Metadata>> {
        let Some(state) = &self.state else { return Ok(None) };
        match state.symlink_metadata(path).map_err(into_io) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            result => result.map(Some),
        }
    }

    fn lower(&self, above: &Found, name: &str) -> io::Result<Option<Found>> {
        let number = self.lower_names(above)?.get(name).copied();
        let node = number.map(|number| self.erofs.borrow_mut().reader.node(number));
        node.transpose().map_err(damaged)
    }

    fn lower_names(&self, above: &Found) -> io::Result<Rc<BTreeMap<String, u64>>> {
        let mut lower = self.erofs.borrow_mut();
        if let Some(names) = lower.directories.get(&above.inode) {
            return Ok(Rc::clone(names));
        }
        let names = lower.reader.entries(above).map_err(damaged)?;
        let names: Rc<BTreeMap<_, _>> = Rc::new(names.into_iter().collect());
        lower.directories.insert(above.inode, Rc::clone(&names));
        Ok(names)
    }

    /// What a path leads to. `follow`: links on the way, and the last one, are followed.
    fn resolve(&self, from: Vec<Node>, path: &str, follow: bool) -> io::Result<Option<Node>> {
        let mut way = from;
        let mut names: VecDeque<String> = path.split('/').map(str::to_owned).collect();
        let mut links = 0;
        while let Some(name) = names.pop_front() {
            match name.as_str() {
                "" | "." => continue,
                ".." => {
                    way.truncate(way.len().saturating_sub(1).max(1));
                    continue;
                }
                _ => {}
            }
            let above = way.last().ok_or(Errno::ENOENT)?;
            let Some(node) = self.child(above, &name)? else { return Ok(None) };
            if !node.state.is(SFlag::S_IFLNK) {
                way.push(node);
                continue;
            }
            links += 1;
            if !follow || links > LINKS {
                return Err(Errno::ELOOP.into());
            }
            let target = self.target_of(&node)?;
            let target = target.to_str().ok_or(Errno::EILSEQ)?;
            if target.starts_with('/') {
                way.truncate(1);
            }
            for name in target.split('/').rev() {
                names.push_front(name.to_owned());
            }
        }
        Ok(way.pop())
    }

    fn target_of(&self, node: &Node) -> io::Result<OsString> {
        if !node.state.is(SFlag::S_IFLNK) {
            return Err(Errno::EINVAL.into());
        }
        let bytes = match (&node.upper, &self.state, &node.lower) {
            (Some(path), Some(state), _) => {
                state.read_link(path.as_str()).map_err(into_io)?.as_ref().to_vec()
            }
            (_, _, Some(lower)) => self.lower_content(lower, TARGET)?,
            _ => return Err(Errno::ENOENT.into()),
        };
        Ok(OsString::from_vec(bytes))
    }

    fn content_of(&self, node: &Node, limit: u64) -> io::Result<Option<Vec<u8>>> {
        if !node.state.is(SFlag::S_IFREG) || node.state.size > limit {
            return Ok(None);
        }
        match (&node.upper, &self.state, &node.lower) {
            (Some(path), Some(state), _) => state.read(path.as_str()).map_err(into_io).map(Some),
            (_, _, Some(lower)) => self.lower_content(lower, limit).map(Some),
            _ => Err(Errno::ENOENT.into()),
        }
    }

    fn lower_content(&self, lower: &Found, limit: u64) -> io::Result<Vec<u8>> {
        self.erofs.borrow_mut().reader.content(lower, limit).map_err(damaged)
    }
}

impl View for ImageRoot {
    type Directory = Node;

    fn owners(&self) -> Owners {
        Owners::Set
    }

    fn directory(&self, place: &Place) -> io::Result<Option<Node>> {
        let confined = place.home.as_deref().and_then(|home| {
            let rest = place.path.strip_prefix(home)?;
            (rest.is_empty() || rest.starts_with('/')).then_some((home, rest))
        });
        let found = match confined {
            None => self.resolve(vec![self.top()], &place.path, true)?,
            Some((home, rest)) => match self.resolve(vec![self.top()], home, true)? {
                Some(home) => self.resolve(vec![home], rest, false)?,
                None => None,
            },
        };
        match found {
            Some(node) if !node.state.is(SFlag::S_IFDIR) => Err(Errno::ENOTDIR.into()),
            found => Ok(found),
        }
    }

    fn look(&self, directory: &Node, name: &str) -> io::Result<Option<State>> {
        Ok(self.child(directory, name)?.map(|node| node.state))
    }

    fn content(&self, directory: &Node, name: &str, limit: u64) -> io::Result<Option<Vec<u8>>> {
        let node = self.child(directory, name)?.ok_or(Errno::ENOENT)?;
        self.content_of(&node, limit)
    }

    fn target(&self, directory: &Node, name: &str) -> io::Result<OsString> {
        let node = self.child(directory, name)?.ok_or(Errno::ENOENT)?;
        self.target_of(&node)
    }

    fn read(&self, path: &str, limit: u64) -> io::Result<Option<(Vec<u8>, State)>> {
        let Some(node) = self.resolve(vec![self.top()], path, true)? else { return Ok(None) };
        match self.content_of(&node, limit)? {
            Some(content) => Ok(Some((content, node.state))),
            None => Err(io::Error::other(format!("not a file of at most {limit} bytes"))),
        }
    }

    fn list(&self, path: &str) -> io::Result<Vec<OsString>> {
        let place = Place { path: path.to_owned(), home: None };
        let Some(directory) = self.directory(&place)? else { return Ok(Vec::new()) };
        let mut names = BTreeSet::new();
        let mut gone = BTreeSet::new();
        if let (Some(path), Some(state)) = (&directory.upper, &self.state) {
            for entry in state.read_dir(path.as_str()).map_err(into_io)? {
                let entry = entry.map_err(into_io)?;
                let name = OsStr::from_bytes(entry.file_name().as_ref()).to_owned();
                let whiteout = entry.file_type().map_err(into_io)? == FileType::CharacterDevice;
                if whiteout && directory.lower.is_some() {
                    gone.insert(name);
                } else if name != "." && name != ".." {
                    names.insert(name);
                }
            }
        }
        if let Some(lower) = &directory.lower {
            let lower = self.lower_names(lower)?;
            names.extend(lower.keys().map(OsString::from).filter(|name| !gone.contains(name)));
        }
        Ok(names.into_iter().collect())
    }
}

impl Files for ImageRoot {
    fn file(&self, path: &str) -> Option<Vec<u8>> {
        self.read(path, fetched::LIMIT).ok().flatten().map(|(content, _)| content)
    }
}

fn directory(mode: u32) -> State {
    State { mode: SFlag::S_IFDIR.bits() | mode, uid: 0, gid: 0, size: 0 }
}

fn of_lower(found: &Found) -> State {
    State { mode: found.mode.into(), uid: found.uid, gid: found.gid, size: found.size }
}

fn of_upper(metadata: &Metadata) -> State {
    let kind = match metadata.file_type() {
        FileType::BlockDevice => SFlag::S_IFBLK,
        FileType::CharacterDevice => SFlag::S_IFCHR,
        FileType::Directory => SFlag::S_IFDIR,
        FileType::Fifo => SFlag::S_IFIFO,
        FileType::Regular => SFlag::S_IFREG,
        FileType::Socket => SFlag::S_IFSOCK,
        FileType::Symlink => SFlag::S_IFLNK,
    };
    let mode = kind.bits() | u32::from(metadata.mode());
    State { mode, uid: metadata.uid(), gid: metadata.gid(), size: metadata.len() }
}

fn damaged(error: ReadError) -> io::Error {
    match error {
        ReadError::Io(error) => error,
        ReadError::Damaged(what) => io::Error::other(format!("the root is damaged: {what}")),
    }
}
