//! The project's own files, laid over a tree.
//!
//! Owner is root. Modes do not come from the working copy, whose umask is anyone's: a file is
//! 0755 if its owner may execute it and 0644 otherwise, a directory is 0755 unless the tree has
//! it already. What needs another mode says so in the manifest.

use super::{Content, Kind, Node, Tree, TreeError};
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// Why a directory could not be laid over a tree.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OverlayError {
    /// It cannot be read.
    #[error("cannot read {path}", path = path.display())]
    Read {
        /// The file or directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A name or link target that is not UTF-8.
    #[error("{path}: its name or target is not UTF-8", path = path.display())]
    NotUtf8 {
        /// The file.
        path: PathBuf,
    },
    /// A device, socket or pipe.
    #[error("{path} is neither a file, a directory nor a symbolic link", path = path.display())]
    Special {
        /// The file.
        path: PathBuf,
    },
    /// It contradicts the tree.
    #[error("cannot lay {path} over the root tree", path = path.display())]
    Tree {
        /// The file.
        path: PathBuf,
        /// Why.
        source: TreeError,
    },
}

impl Tree {
    /// Lays a directory of this machine over the tree. Contents are read when the tree is used.
    pub fn lay_over(&mut self, directory: &Path) -> Result<(), OverlayError> {
        self.lay_over_at(directory, "")
    }

    /// Puts one file of this machine at `path` of the tree.
    pub fn place_file(&mut self, path: &str, from: &Path, mode: u32) -> Result<(), OverlayError> {
        let content = File::open(from)
            .and_then(Content::from_file)
            .map_err(|source| OverlayError::Read { path: from.to_owned(), source })?;
        self.insert(path, Node::file(mode, content))
            .map_err(|source| OverlayError::Tree { path: from.to_owned(), source })
    }

    fn lay_over_at(&mut self, directory: &Path, at: &str) -> Result<(), OverlayError> {
        let unreadable = |path: &Path, source| OverlayError::Read { path: path.to_owned(), source };
        let mut entries = fs::read_dir(directory)
            .and_then(Iterator::collect::<io::Result<Vec<_>>>)
            .map_err(|source| unreadable(directory, source))?;
        entries.sort_unstable_by_key(fs::DirEntry::file_name);
        for entry in entries {
            let from = entry.path();
            let not_utf8 = || OverlayError::NotUtf8 { path: from.clone() };
            let name = entry.file_name().into_string().map_err(|_| not_utf8())?;
            let path = if at.is_empty() { name } else { format!("{at}/{name}") };
            let metadata = entry.metadata().map_err(|source| unreadable(&from, source))?;
            if metadata.is_file() {
                let executable = metadata.permissions().mode() & 0o100 != 0;
                self.place_file(&path, &from, if executable { 0o755 } else { 0o644 })?;
                continue;
            }
            let node = if metadata.is_dir() {
                Node::directory(0o755)
            } else if metadata.is_symlink() {
                let target = fs::read_link(&from).map_err(|source| unreadable(&from, source))?;
                Node::symlink(target.to_str().ok_or_else(not_utf8)?)
            } else {
                return Err(OverlayError::Special { path: from });
            };
            // A directory that is there, through whatever links, keeps its owner and mode.
            let there = self.lookup(&path).is_some_and(|node| matches!(node.kind, Kind::Directory));
            if !(metadata.is_dir() && there) {
                self.insert(&path, node)
                    .map_err(|source| OverlayError::Tree { path: from.clone(), source })?;
            }
            if metadata.is_dir() {
                self.lay_over_at(&from, &path)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn files_replace_and_directories_keep_their_owner() {
        let directory = tempfile::tempdir().unwrap();
        let on_disk = |path: &str| directory.path().join(path);
        fs::create_dir_all(on_disk("lib/new")).unwrap();
        for (path, mode) in [("lib/plain", 0o600), ("lib/run", 0o700), ("lib/new/x", 0o644)] {
            fs::write(on_disk(path), path).unwrap();
            fs::set_permissions(on_disk(path), fs::Permissions::from_mode(mode)).unwrap();
        }
        symlink("../run", on_disk("lib/link")).unwrap();

        let mut tree = Tree::new();
        tree.insert("usr/lib", Node::directory(0o2755).owned_by(0, 50)).unwrap();
        tree.insert("usr/lib/plain", Node::file(0o4755, "old").owned_by(1, 1)).unwrap();
        tree.insert("lib", Node::symlink("usr/lib")).unwrap();
        tree.lay_over(directory.path()).unwrap();

        let of = |path: &str| tree.get(path).map(|node| (node.mode, node.uid, node.gid)).unwrap();
        assert_eq!(of("usr/lib"), (0o2755, 0, 50));
        assert_eq!(of("usr/lib/plain"), (0o644, 0, 0));
        assert_eq!(of("usr/lib/run"), (0o755, 0, 0));
        assert_eq!(of("usr/lib/new"), (0o755, 0, 0));
        assert_eq!(tree.read_file("lib/new/x").unwrap().unwrap(), b"lib/new/x");
        assert!(
            matches!(&tree.get("usr/lib/link").unwrap().kind, Kind::Symlink(t) if t == "../run")
        );
        assert!(matches!(tree.get("lib").unwrap().kind, Kind::Symlink(_)));
    }

    #[test]
    fn a_file_over_a_full_directory_is_an_error_that_names_both() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("usr"), "").unwrap();
        let mut tree = Tree::new();
        tree.insert("usr/lib/x", Node::file(0o644, "")).unwrap();
        let error = tree.lay_over(directory.path()).unwrap_err();
        assert!(error.to_string().ends_with("/usr over the root tree"), "{error}");
    }

    #[test]
    fn a_missing_directory_is_named() {
        let error = Tree::new().lay_over(Path::new("/no/such/overlay")).unwrap_err();
        assert_eq!(error.to_string(), "cannot read /no/such/overlay");
    }
}
