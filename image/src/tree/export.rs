//! A tree as a tar: for containers, for looking into, for comparing.
//!
//! POSIX (pax), in the order of paths, so the same tree is the same bytes. Extended attributes are
//! `SCHILY.xattr` records.

use super::{Kind, Node, Tree};
use std::io::{self, Write};
use tar::{Builder, EntryType, Header};

/// Writes a tree; every file has the time `epoch`, in seconds since 1970.
pub fn write_tar(tree: &Tree, epoch: u64, out: impl Write) -> io::Result<()> {
    let mut tar = Builder::new(out);
    // The file of a hard link must come before it.
    let links = |node: &Node| matches!(node.kind, Kind::HardLink(_));
    let first = tree.iter().filter(|(_, node)| !links(node));
    for (path, node) in first.chain(tree.iter().filter(|(_, node)| links(node))) {
        if matches!(node.kind, Kind::Socket) {
            continue;
        }
        let records = node
            .xattrs
            .iter()
            .map(|(name, value)| (format!("SCHILY.xattr.{name}"), value.clone()))
            .collect::<Vec<_>>();
        if !records.is_empty() && !links(node) {
            let records = records.iter().map(|(name, value)| (name.as_str(), value.as_slice()));
            tar.append_pax_extensions(records)?;
        }
        let mut header = Header::new_gnu();
        header.set_mode(node.mode);
        header.set_uid(u64::from(node.uid));
        header.set_gid(u64::from(node.gid));
        header.set_mtime(epoch);
        header.set_size(0);
        let name = format!("./{path}");
        match &node.kind {
            Kind::Directory => {
                header.set_entry_type(EntryType::Directory);
                tar.append_data(&mut header, format!("{name}/"), io::empty())?;
            }
            Kind::File(content) => {
                header.set_entry_type(EntryType::Regular);
                header.set_size(content.len());
                tar.append_data(&mut header, name, content.reader())?;
            }
            Kind::Symlink(target) => {
                header.set_entry_type(EntryType::Symlink);
                tar.append_link(&mut header, name, target)?;
            }
            Kind::HardLink(target) => {
                header.set_entry_type(EntryType::Link);
                tar.append_link(&mut header, name, format!("./{target}"))?;
            }
            Kind::CharDevice { major, minor } | Kind::BlockDevice { major, minor } => {
                header.set_entry_type(match node.kind {
                    Kind::CharDevice { .. } => EntryType::Char,
                    _ => EntryType::Block,
                });
                header.set_device_major(*major)?;
                header.set_device_minor(*minor)?;
                tar.append_data(&mut header, name, io::empty())?;
            }
            Kind::Fifo => {
                header.set_entry_type(EntryType::Fifo);
                tar.append_data(&mut header, name, io::empty())?;
            }
            Kind::Socket => {}
        }
    }
    tar.into_inner()?.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        let mut tree = Tree::new();
        let mut file = Node::file(0o4755, "contents").owned_by(1, 2);
        file.xattrs.insert("security.capability".to_owned(), vec![1, 0, 10, 255]);
        tree.insert("usr/b", file).unwrap();
        tree.insert("usr/a", Node::new(0o4755, Kind::HardLink("usr/b".to_owned()))).unwrap();
        tree.insert(&format!("usr/{}", "n".repeat(150)), Node::file(0o644, "")).unwrap();
        tree.insert("lib", Node::symlink("usr/lib")).unwrap();
        tree.insert("null", Node::new(0o666, Kind::CharDevice { major: 1, minor: 3 })).unwrap();
        tree.insert("tmp", Node::directory(0o1777)).unwrap();
        let mut file = tempfile::tempfile().unwrap();
        write_tar(&tree, 77, &file).unwrap();
        std::io::Seek::rewind(&mut file).unwrap();
        let back = Tree::from_tar(file).unwrap();
        assert!(back.times.values().all(|time| *time == 77));
        let show = |tree: &Tree| {
            let lines = tree.iter().map(|(path, node)| {
                let Node { mode, uid, gid, xattrs, kind } = node;
                // A link has the owner and mode of its file.
                match kind {
                    Kind::HardLink(_) => format!("{path} {kind:?}"),
                    _ => format!("{path} {mode:o} {uid} {gid} {xattrs:?} {kind:?}"),
                }
            });
            lines.collect::<Vec<_>>()
        };
        assert_eq!(show(&back.tree), show(&tree));
    }
}
