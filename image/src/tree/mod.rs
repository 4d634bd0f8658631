//! A root file system in memory: names, owners and modes here, contents where they already lie.
//!
//! tar → [`Tree`] → finished [`Tree`] → a file system image
//!
//! - [`archive`] reads a tar into a tree without copying the contents;
//! - [`overlay`] lays the project's own files over it;
//! - [`finish`] makes a package tree the root of the image: `finish::root_tree`.
//!
//! Paths are relative, `/`-separated and without a leading slash; `""` is the root directory.
//! Every node but the root has a directory as its parent: [`Tree::insert`] sees to it.

pub mod archive;
pub mod content;
pub mod export;
pub mod finish;
pub mod glob;
mod lookup;
pub mod overlay;

pub use content::Content;
use std::collections::BTreeMap;
use std::ops::Bound;

/// A file system tree. The order of iteration is the byte order of whole paths.
#[derive(Debug, Clone)]
pub struct Tree {
    nodes: BTreeMap<String, Node>,
}

/// One file of any kind.
#[derive(Debug, Clone)]
pub struct Node {
    /// The twelve permission bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Extended attributes by full name, such as `security.capability`.
    pub xattrs: BTreeMap<String, Vec<u8>>,
    /// What it is.
    pub kind: Kind,
}

/// What a [`Node`] is.
#[derive(Debug, Clone)]
pub enum Kind {
    /// A directory; its entries are the nodes below its path.
    Directory,
    /// A regular file.
    File(Content),
    /// A symbolic link and its target as written.
    Symlink(String),
    /// A character device.
    CharDevice {
        /// Major number.
        major: u32,
        /// Minor number.
        minor: u32,
    },
    /// A block device.
    BlockDevice {
        /// Major number.
        major: u32,
        /// Minor number.
        minor: u32,
    },
    /// A named pipe.
    Fifo,
    /// A socket.
    Socket,
    /// One more name of the file at this path. The target is never itself a hard link; the
    /// mode, owner and attributes that count are the target's.
    HardLink(String),
}

/// Why a tree refused a change.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TreeError {
    /// A path with an empty, `.` or `..` component.
    #[error("{path:?} is not a path inside a tree")]
    BadPath {
        /// The path as given.
        path: String,
    },
    /// A file or a dangling link stands where a directory is needed.
    #[error("cannot place {path}: {parent} is not a directory")]
    NotADirectory {
        /// The path to be placed.
        path: String,
        /// The part of it that is in the way.
        parent: String,
    },
    /// A directory with entries would be replaced by something else.
    #[error("cannot replace {path}: it is a directory with files in it")]
    NotEmpty {
        /// The directory.
        path: String,
    },
    /// A hard link to nothing, to a directory or to another link.
    #[error("{path} is a hard link to {target}, which is not a file in the tree")]
    BadHardLink {
        /// The link.
        path: String,
        /// What it names.
        target: String,
    },
}

impl Node {
    /// A directory owned by root.
    #[must_use]
    pub fn directory(mode: u32) -> Node {
        Node::new(mode, Kind::Directory)
    }

    /// A regular file owned by root.
    #[must_use]
    pub fn file(mode: u32, content: impl Into<Content>) -> Node {
        Node::new(mode, Kind::File(content.into()))
    }

    /// A symbolic link owned by root.
    #[must_use]
    pub fn symlink(target: impl Into<String>) -> Node {
        Node::new(0o777, Kind::Symlink(target.into()))
    }

    /// Any kind, owned by root, without extended attributes.
    #[must_use]
    pub fn new(mode: u32, kind: Kind) -> Node {
        Node { mode, uid: 0, gid: 0, xattrs: BTreeMap::new(), kind }
    }

    /// The same node with another owner.
    #[must_use]
    pub fn owned_by(mut self, uid: u32, gid: u32) -> Node {
        (self.uid, self.gid) = (uid, gid);
        self
    }

    /// Whether this is a directory.
    #[must_use]
    pub fn is_directory(&self) -> bool {
        matches!(self.kind, Kind::Directory)
    }
}

impl Default for Tree {
    fn default() -> Tree {
        Tree::new()
    }
}

impl Tree {
    /// A tree that is only its root directory, 0755 and root's.
    #[must_use]
    pub fn new() -> Tree {
        Tree { nodes: BTreeMap::from([(String::new(), Node::directory(0o755))]) }
    }

    /// The node with exactly this name; symbolic links are not followed.
    #[must_use]
    pub fn get(&self, path: &str) -> Option<&Node> {
        self.nodes.get(path)
    }

    /// As [`Tree::get`], to change it in place. Do not turn a directory into something else.
    pub fn get_mut(&mut self, path: &str) -> Option<&mut Node> {
        self.nodes.get_mut(path)
    }

    /// Whether there is a node with exactly this name.
    #[must_use]
    pub fn contains(&self, path: &str) -> bool {
        self.nodes.contains_key(path)
    }

    /// Number of nodes, the root included.
    #[must_use]
    #[allow(clippy::len_without_is_empty, reason = "a tree has at least its root")]
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Every node with its path; a directory comes before what is in it.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Node)> {
        self.nodes.iter().map(|(path, node)| (path.as_str(), node))
    }

    /// As [`Tree::iter`], to change nodes in place.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (&str, &mut Node)> {
        self.nodes.iter_mut().map(|(path, node)| (path.as_str(), node))
    }

    /// Everything below `directory`, itself not included.
    pub fn below(&self, directory: &str) -> impl Iterator<Item = (&str, &Node)> {
        let (start, end) = below_bounds(directory);
        self.nodes.range((start, end)).map(|(path, node)| (path.as_str(), node))
    }

    /// The entries of `directory`: their names in it, and the nodes.
    pub fn children(&self, directory: &str) -> impl Iterator<Item = (&str, &Node)> {
        let prefix = if directory.is_empty() { 0 } else { directory.len() + 1 };
        self.below(directory)
            .map(move |(path, node)| (&path[prefix..], node))
            .filter(|(name, _)| !name.contains('/'))
    }

    /// Puts a node at `path`, in place of what was there. Parents that are missing are made
    /// (0755, root's); parents that are symbolic links are followed, so `lib/x` of a merged
    /// `/usr` lands in `usr/lib/x`. Putting a directory over a directory keeps the entries.
    pub fn insert(&mut self, path: &str, node: Node) -> Result<(), TreeError> {
        let path = self.real_parents(path)?;
        if !node.is_directory() && self.below(&path).next().is_some() {
            return Err(TreeError::NotEmpty { path });
        }
        if let Kind::HardLink(target) = &node.kind
            && !self.get(target).is_some_and(|node| {
                !matches!(node.kind, Kind::Directory | Kind::HardLink(_)) && *target != path
            })
        {
            return Err(TreeError::BadHardLink { path, target: target.clone() });
        }
        let mut parent = path.as_str();
        while let Some((above, _)) = parent.rsplit_once('/') {
            if self.nodes.contains_key(above) {
                break;
            }
            self.nodes.insert(above.to_owned(), Node::directory(0o755));
            parent = above;
        }
        // Other names of what was here keep the old file.
        if self.nodes.get(&path).is_some_and(|old| matches!(old.kind, Kind::File(_))) {
            self.remove(&path);
        }
        self.nodes.insert(path, node);
        Ok(())
    }

    /// Takes out `path` and everything below it; says how many nodes went. If another name of a
    /// removed file stays, the file stays under that name. The root itself cannot be removed,
    /// only emptied.
    pub fn remove(&mut self, path: &str) -> usize {
        let (start, end) = below_bounds(path);
        let mut doomed: Vec<String> =
            self.nodes.range((start, end)).map(|(path, _)| path.clone()).collect();
        if !path.is_empty() && self.nodes.contains_key(path) {
            doomed.push(path.to_owned());
        }
        self.take_out(&doomed);
        doomed.len()
    }

    /// Takes out every node that `doomed` says yes to, with what is below it. Returns the paths
    /// that were said yes to, not those below them.
    pub fn remove_where(&mut self, mut doomed: impl FnMut(&str, &Node) -> bool) -> Vec<String> {
        let mut chosen: Vec<String> = Vec::new();
        let mut all = Vec::new();
        for (path, node) in self.iter().filter(|(path, _)| !path.is_empty()) {
            // Paths below a chosen one need not follow it directly: `a`, `a-b`, `a/c`.
            let below = path.match_indices('/').any(|(cut, _)| {
                chosen.binary_search_by(|chosen| chosen.as_str().cmp(&path[..cut])).is_ok()
            });
            if below {
                all.push(path.to_owned());
            } else if doomed(path, node) {
                all.push(path.to_owned());
                chosen.push(path.to_owned());
            }
        }
        self.take_out(&all);
        chosen
    }

    /// Bytes in regular files, each counted once however many names it has.
    #[must_use]
    pub fn total_size(&self) -> u64 {
        self.nodes
            .values()
            .map(|node| if let Kind::File(content) = &node.kind { content.len() } else { 0 })
            .sum()
    }

    /// Removes the nodes of `paths` and gives a file whose first name went to its next one.
    fn take_out(&mut self, paths: &[String]) {
        let mut orphans: BTreeMap<String, Node> = BTreeMap::new();
        for path in paths {
            if let Some(node) = self.nodes.remove(path)
                && !matches!(node.kind, Kind::Directory | Kind::HardLink(_))
            {
                orphans.insert(path.clone(), node);
            }
        }
        let mut heirs: BTreeMap<String, String> = BTreeMap::new();
        for (path, node) in &mut self.nodes {
            let Kind::HardLink(target) = &mut node.kind else { continue };
            if let Some(heir) = heirs.get(target) {
                heir.clone_into(target);
            } else if let Some(file) = orphans.remove(target) {
                heirs.insert(target.clone(), path.clone());
                *node = file;
            }
        }
    }
}

/// The range of paths strictly below a directory: `/` and the byte after it, `0`, enclose them.
fn below_bounds(directory: &str) -> (Bound<String>, Bound<String>) {
    if directory.is_empty() {
        (Bound::Excluded(String::new()), Bound::Unbounded)
    } else {
        (Bound::Excluded(format!("{directory}/")), Bound::Excluded(format!("{directory}0")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(paths: &[&str]) -> Tree {
        let mut tree = Tree::new();
        for path in paths {
            tree.insert(path, Node::file(0o644, path.as_bytes())).unwrap();
        }
        tree
    }

    fn names(tree: &Tree) -> Vec<&str> {
        tree.iter().map(|(path, _)| path).collect()
    }

    #[test]
    fn inserting_makes_the_parents() {
        assert_eq!(names(&tree(&["a/b/c", "a-b"])), ["", "a", "a-b", "a/b", "a/b/c"]);
    }

    #[test]
    fn inserting_goes_through_links_of_a_merged_usr() {
        let mut tree = tree(&["usr/lib/a"]);
        tree.insert("lib", Node::symlink("usr/lib")).unwrap();
        tree.insert("lib/b", Node::file(0o644, &b""[..])).unwrap();
        assert_eq!(names(&tree), ["", "lib", "usr", "usr/lib", "usr/lib/a", "usr/lib/b"]);
    }

    #[test]
    fn inserting_refuses_what_would_break_the_tree() {
        let mut tree = tree(&["file", "directory/entry"]);
        for path in ["/etc", "a//b", "../x", "a/./b", "", "a/"] {
            let outcome = tree.insert(path, Node::file(0o644, &b""[..]));
            assert!(matches!(outcome, Err(TreeError::BadPath { .. })), "{path:?}: {outcome:?}");
        }
        assert!(matches!(
            tree.insert("file/x", Node::directory(0o755)),
            Err(TreeError::NotADirectory { .. })
        ));
        assert!(matches!(
            tree.insert("directory", Node::symlink("x")),
            Err(TreeError::NotEmpty { .. })
        ));
        assert!(matches!(
            tree.insert("link", Node::new(0, Kind::HardLink("absent".into()))),
            Err(TreeError::BadHardLink { .. })
        ));
        assert_eq!(names(&tree), ["", "directory", "directory/entry", "file"]);
    }

    #[test]
    fn removing_takes_the_subtree_and_nothing_beside_it() {
        let mut tree = tree(&["a/x", "a/y/z", "a-b", "a.c", "ab"]);
        assert_eq!(tree.remove("a"), 4);
        assert_eq!(names(&tree), ["", "a-b", "a.c", "ab"]);
        assert_eq!(tree.remove("absent"), 0);
        assert_eq!(tree.remove(""), 3);
        assert_eq!(names(&tree), [""]);
    }

    #[test]
    fn removing_by_predicate_reports_the_tops() {
        let mut tree = tree(&["a/x", "a-b", "c/a", "d"]);
        let gone = tree.remove_where(|path, _| path == "a" || path == "d" || path == "a/x");
        assert_eq!(gone, ["a", "d"]);
        assert_eq!(names(&tree), ["", "a-b", "c", "c/a"]);
    }

    #[test]
    fn a_file_lives_on_under_its_other_names() {
        let mut tree = tree(&["a"]);
        for path in ["c", "b", "d"] {
            tree.insert(path, Node::new(0, Kind::HardLink("a".into()))).unwrap();
        }
        tree.remove("a");
        let kinds: Vec<String> = tree
            .iter()
            .skip(1)
            .map(|(path, node)| match &node.kind {
                Kind::File(content) => format!("{path}: {} bytes", content.len()),
                Kind::HardLink(target) => format!("{path} is {target}"),
                other => format!("{path}: {other:?}"),
            })
            .collect();
        assert_eq!(kinds, ["b: 1 bytes", "c is b", "d is b"]);
    }

    #[test]
    fn replacing_a_file_leaves_its_other_names_alone() {
        let mut tree = tree(&["a"]);
        tree.insert("b", Node::new(0, Kind::HardLink("a".into()))).unwrap();
        tree.insert("a", Node::file(0o600, &b"new"[..])).unwrap();
        assert_eq!(tree.read_file("b").unwrap().unwrap(), b"a");
        assert_eq!(tree.read_file("a").unwrap().unwrap(), b"new");
    }

    #[test]
    fn children_are_the_direct_entries() {
        let tree = tree(&["a/x/y", "a/z", "a-b"]);
        let names = |directory| tree.children(directory).map(|(name, _)| name).collect::<Vec<_>>();
        assert_eq!(names("a"), ["x", "z"]);
        assert_eq!(names(""), ["a", "a-b"]);
    }
}
