//! Text files in a tree, and paths between its files.

use super::FinishError;
use crate::tree::{Kind, Node, Tree};

/// The text of a file that must be there; bytes that are not UTF-8 are replaced.
pub(super) fn read(tree: &Tree, path: &str) -> Result<String, FinishError> {
    match tree.read_file(path) {
        Ok(Some(bytes)) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
        Ok(None) => Err(FinishError::Absent { path: path.to_owned() }),
        Err(source) => Err(FinishError::Read { path: path.to_owned(), source }),
    }
}

/// Replaces the contents of a file; a new one is root's and 0644.
pub(super) fn write(tree: &mut Tree, path: &str, text: String) -> Result<(), FinishError> {
    match tree.get_mut(path) {
        Some(node) if matches!(node.kind, Kind::File(_)) => node.kind = Kind::File(text.into()),
        _ => tree.insert(path, Node::file(0o644, text))?,
    }
    Ok(())
}

/// The target of a link at `link` that leads to `path`, both paths of the tree.
pub(super) fn relative(link: &str, path: &str) -> String {
    let from: Vec<&str> = link.split('/').collect();
    let to: Vec<&str> = path.split('/').collect();
    let directories = &from[..from.len() - 1];
    let common = directories.iter().zip(&to).take_while(|(a, b)| a == b).count();
    let up = vec![".."; directories.len() - common];
    up.into_iter().chain(to[common..].iter().copied()).collect::<Vec<_>>().join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_climb_as_far_as_they_must() {
        for (link, path, wanted) in [
            ("usr/bin/x", "usr/lib/coreos/x", "../lib/coreos/x"),
            ("a", "b", "b"),
            ("a/b", "c", "../c"),
            ("usr/a", "usr/b", "b"),
            ("etc/os-release", "usr/lib/os-release", "../usr/lib/os-release"),
        ] {
            assert_eq!(relative(link, path), wanted, "{link}");
        }
    }
}
