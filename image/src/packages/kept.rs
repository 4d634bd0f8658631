//! A tree on the disk: `data` with the contents of all files, `index` with everything else.

use crate::deb::spool::Spool;
use crate::digest;
use crate::tree::archive::FromTar;
use crate::tree::{Content, Kind, Node, Tree};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::sync::Arc;

/// The file with the contents.
pub(super) const DATA: &str = "data";
const INDEX: &str = "index";

/// One file of a tree: path, permissions, owner, group, extended attributes, kind, time.
#[derive(Debug, Serialize, Deserialize)]
struct Record(String, u32, u32, u32, BTreeMap<String, Vec<u8>>, Kept, u64);

#[derive(Debug, Serialize, Deserialize)]
enum Kept {
    /// A directory.
    D,
    /// A file: where its contents are, and how many bytes.
    F(u64, u64),
    /// A symbolic link.
    S(String),
    /// A hard link.
    H(String),
    /// A character device.
    C(u32, u32),
    /// A block device.
    B(u32, u32),
    /// A named pipe.
    P,
    /// A socket.
    U,
}

/// Puts contents that are in memory into the spool, so that all of them are there.
pub(super) fn take_in(files: &mut FromTar, spool: &Spool) -> io::Result<()> {
    for (_, node) in files.tree.iter_mut() {
        if let Kind::File(content @ Content::Bytes(_)) = &mut node.kind {
            *content = spool.put(&content.to_vec()?)?;
        }
    }
    Ok(())
}

/// Writes the index of a tree whose contents are in `data`; the last line is its digest.
pub(super) fn write(directory: &Path, files: &FromTar) -> io::Result<()> {
    let mut text = String::new();
    // A hard link can be read only after the file that it is another name of.
    let links = |node: &Node| matches!(node.kind, Kind::HardLink(_));
    let first = files.tree.iter().filter(|(_, node)| !links(node));
    for (path, node) in first.chain(files.tree.iter().filter(|(_, node)| links(node))) {
        let kind = match &node.kind {
            Kind::Directory => Kept::D,
            Kind::File(Content::Slice { offset, len, .. }) => Kept::F(*offset, *len),
            Kind::File(Content::Bytes(_)) => return Err(io::ErrorKind::InvalidInput.into()),
            Kind::Symlink(target) => Kept::S(target.clone()),
            Kind::HardLink(target) => Kept::H(target.clone()),
            Kind::CharDevice { major, minor } => Kept::C(*major, *minor),
            Kind::BlockDevice { major, minor } => Kept::B(*major, *minor),
            Kind::Fifo => Kept::P,
            Kind::Socket => Kept::U,
        };
        let time = files.times.get(path).copied().unwrap_or(0);
        let Node { mode, uid, gid, xattrs, .. } = node;
        let record = Record(path.to_owned(), *mode, *uid, *gid, xattrs.clone(), kind, time);
        text += &serde_json::to_string(&record).map_err(io::Error::other)?;
        text.push('\n');
    }
    let digest = digest::of_bytes(text.as_bytes());
    fs::write(directory.join(INDEX), format!("{text}{digest}\n"))
}

/// Waits until a tree is on the disk.
pub(super) fn sync(directory: &Path) -> io::Result<()> {
    [DATA, INDEX].iter().try_for_each(|name| File::open(directory.join(name))?.sync_all())
}

/// Reads a tree; none if there is none, or if it is not as it was written.
pub(super) fn read(directory: &Path) -> Option<FromTar> {
    let text = fs::read_to_string(directory.join(INDEX)).ok()?;
    let (records, digest) = text.trim_end().rsplit_once('\n')?;
    let records = &text[..=records.len()];
    if digest::of_bytes(records.as_bytes()) != digest {
        return None;
    }
    let data = File::open(directory.join(DATA)).ok()?;
    let length = data.metadata().ok()?.len();
    let data = Arc::new(data);
    let mut files = FromTar { tree: Tree::new(), times: BTreeMap::new() };
    for line in records.lines() {
        let Record(path, mode, uid, gid, xattrs, kind, time) = serde_json::from_str(line).ok()?;
        let kind = match kind {
            Kept::D => Kind::Directory,
            Kept::F(offset, len) => {
                offset.checked_add(len).filter(|end| *end <= length)?;
                files.times.insert(path.clone(), time);
                Kind::File(Content::Slice { file: Arc::clone(&data), offset, len })
            }
            Kept::S(target) => Kind::Symlink(target),
            Kept::H(target) => Kind::HardLink(target),
            Kept::C(major, minor) => Kind::CharDevice { major, minor },
            Kept::B(major, minor) => Kind::BlockDevice { major, minor },
            Kept::P => Kind::Fifo,
            Kept::U => Kind::Socket,
        };
        let node = Node { mode, uid, gid, xattrs, kind };
        files.tree.insert_entry(&path, node).ok()?;
    }
    Some(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example(spool: &Spool) -> FromTar {
        let mut tree = Tree::new();
        let mut file = Node::file(0o4755, "contents").owned_by(1, 2);
        file.xattrs.insert("security.capability".to_owned(), vec![1, 0, 255]);
        tree.insert("usr/b", file).unwrap();
        tree.insert("usr/a", Node::new(0, Kind::HardLink("usr/b".to_owned()))).unwrap();
        tree.insert("lib", Node::symlink("usr/lib")).unwrap();
        tree.insert("null", Node::new(0o666, Kind::CharDevice { major: 1, minor: 3 })).unwrap();
        let mut files = FromTar { tree, times: [("usr/b".to_owned(), 77)].into() };
        take_in(&mut files, spool).unwrap();
        files
    }

    #[test]
    fn a_tree_is_read_as_it_was_written() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(DATA);
        let file = File::options().read(true).write(true).create(true).truncate(true).open(path);
        let files = example(&Spool::new(file.unwrap()));
        write(directory.path(), &files).unwrap();
        let back = read(directory.path()).unwrap();
        assert_eq!(back.times, files.times);
        let show = |tree: &Tree| format!("{:?}", tree.iter().collect::<Vec<_>>());
        assert_eq!(show(&back.tree), show(&files.tree));
        assert_eq!(back.tree.read_file("usr/a").unwrap().unwrap(), b"contents");

        let index = directory.path().join(INDEX);
        let text = fs::read_to_string(&index).unwrap();
        for damaged in [text.replace("usr/b", "usr/c"), text[..text.len() / 2].to_owned()] {
            fs::write(&index, damaged).unwrap();
            assert!(read(directory.path()).is_none());
        }
        fs::write(&index, &text).unwrap();
        fs::write(directory.path().join(DATA), "short").unwrap();
        assert!(read(directory.path()).is_none());
    }
}
