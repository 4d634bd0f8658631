//! What tmpfiles.d makes in `/etc`, which is a part of the image. The rest is made at boot.

use super::ConfigureError;
use super::actions::Numbers;
use super::{files_in, text};
use crate::tree::{Node, Tree};
use std::collections::BTreeMap;

const DIRECTORY: &str = "usr/lib/tmpfiles.d";

/// Makes directories and links in `/etc`.
pub(super) fn apply(tree: &mut Tree, numbers: &Numbers) -> Result<(), ConfigureError> {
    for file in files_in(tree, DIRECTORY, ".conf") {
        for line in text(tree, &file)?.lines() {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let field = |index: usize| fields.get(index).copied().filter(|field| *field != "-");
            let (Some(kind), Some(path)) = (field(0), field(1)) else { continue };
            let Some(path) = path.strip_prefix('/').filter(|path| path.starts_with("etc/")) else {
                continue;
            };
            // With this sign only credentials or an operator's wish make it.
            if path.contains('%') || kind.contains(['^', '!']) {
                continue;
            }
            match (kind.trim_end_matches(['+', '$', '-', '=']), field(6)) {
                ("d" | "D", _) => {
                    let mode = field(2).and_then(|mode| u32::from_str_radix(mode, 8).ok());
                    let mode = mode.unwrap_or(0o755);
                    let owner =
                        (number(&numbers.users, field(3)), number(&numbers.groups, field(4)));
                    match tree.get_mut(path) {
                        Some(node) if node.is_directory() => {
                            (node.mode, node.uid, node.gid) = (mode, owner.0, owner.1);
                        }
                        _ => tree.insert(path, Node::directory(mode).owned_by(owner.0, owner.1))?,
                    }
                }
                ("L", Some(target)) if kind.contains('+') || !tree.contains(path) => {
                    tree.insert(path, Node::symlink(target))?;
                }
                _ => {}
            }
        }
    }
    Ok(())
}

fn number(table: &BTreeMap<String, u32>, name: Option<&str>) -> u32 {
    name.and_then(|name| name.parse().ok().or_else(|| table.get(name).copied())).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::Kind;

    #[test]
    fn only_etc_is_made() {
        let mut tree = Tree::new();
        let lines = "d /etc/store 0700 root staff\nL+ /etc/mtab - - - - ../proc/self/mounts\n\
                     d /var/lib/x 0755\nf^ /etc/hosts - - - - c\nL$ /etc/a - - - - b\n# d /etc/no\n";
        tree.insert("usr/lib/tmpfiles.d/x.conf", Node::file(0o644, lines)).unwrap();
        tree.insert("etc/store", Node::directory(0o755)).unwrap();
        let groups = BTreeMap::from([("staff".to_owned(), 50)]);
        apply(&mut tree, &Numbers { groups, ..Numbers::default() }).unwrap();
        let store = tree.get("etc/store").unwrap();
        assert_eq!((store.mode, store.gid), (0o700, 50));
        assert!(
            matches!(&tree.get("etc/mtab").unwrap().kind, Kind::Symlink(to) if to == "../proc/self/mounts")
        );
        assert!(tree.contains("etc/a"));
        for path in ["var", "etc/hosts", "etc/no"] {
            assert!(!tree.contains(path), "{path}");
        }
    }
}
