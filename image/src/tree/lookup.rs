//! Names in a tree as the running system will see them: symbolic links followed, `/` the tree.

use super::{Kind, Node, Tree, TreeError};
use std::io;

/// Links followed before a path counts as a loop; the kernel's own limit.
const MAX_LINKS: u32 = 40;

/// Where following a path ended.
enum Walk {
    /// At this node.
    Found(String),
    /// At a name whose parent directories exist but which itself does not, or whose missing
    /// parents could be made: nothing on the way is in the way.
    Missing(String),
    /// At this path, which is neither a directory nor absent.
    Blocked(String),
}

impl Tree {
    /// The path that `path` stands for once every symbolic link, the last one included, is
    /// followed; `None` if that is nothing. Accepts absolute paths and `..`.
    #[must_use]
    pub fn resolve(&self, path: &str) -> Option<String> {
        match self.walk(path, true) {
            Walk::Found(path) => Some(path),
            Walk::Missing(_) | Walk::Blocked(_) => None,
        }
    }

    /// The node that `path` stands for, links of both kinds followed.
    #[must_use]
    pub fn lookup(&self, path: &str) -> Option<&Node> {
        let node = self.get(&self.resolve(path)?)?;
        match &node.kind {
            Kind::HardLink(target) => self.get(target),
            _ => Some(node),
        }
    }

    /// The bytes of the regular file that `path` stands for; `None` if it is no such file.
    pub fn read_file(&self, path: &str) -> io::Result<Option<Vec<u8>>> {
        match self.lookup(path).map(|node| &node.kind) {
            Some(Kind::File(content)) => content.to_vec().map(Some),
            _ => Ok(None),
        }
    }

    /// `path` with the links in its parents followed, its last name left as it is. The result
    /// can be inserted: what is missing of its parents can be made.
    pub fn real_parents(&self, path: &str) -> Result<String, TreeError> {
        let bad = |part: &str| part.is_empty() || part == "." || part == "..";
        if path.split('/').any(bad) || path.contains('\0') {
            return Err(TreeError::BadPath { path: path.to_owned() });
        }
        match self.walk(path, false) {
            Walk::Found(path) | Walk::Missing(path) => Ok(path),
            Walk::Blocked(parent) => {
                Err(TreeError::NotADirectory { path: path.to_owned(), parent })
            }
        }
    }

    fn walk(&self, path: &str, follow_last: bool) -> Walk {
        // Components still to go, the next one last.
        let mut ahead: Vec<String> = path.split('/').rev().map(str::to_owned).collect();
        let mut here = String::new();
        let mut links = 0;
        let mut missing = false;
        while let Some(part) = ahead.pop() {
            match part.as_str() {
                "" | "." => continue,
                ".." => {
                    here.truncate(here.rfind('/').unwrap_or(0));
                    continue;
                }
                _ => {}
            }
            if !missing && !self.get(&here).is_some_and(Node::is_directory) {
                return Walk::Blocked(here);
            }
            let next = if here.is_empty() { part } else { format!("{here}/{part}") };
            match self.get(&next).map(|node| &node.kind) {
                Some(Kind::Symlink(target)) if follow_last || !ahead.is_empty() => {
                    links += 1;
                    if links > MAX_LINKS {
                        return Walk::Blocked(next);
                    }
                    if target.starts_with('/') {
                        here.clear();
                    }
                    ahead.extend(target.split('/').rev().map(str::to_owned));
                }
                found => {
                    missing = found.is_none();
                    here = next;
                }
            }
        }
        if missing { Walk::Missing(here) } else { Walk::Found(here) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree() -> Tree {
        let mut tree = Tree::new();
        tree.insert("usr/lib/x", Node::file(0o644, "x")).unwrap();
        for (path, target) in [
            ("lib", "usr/lib"),
            ("absolute", "/lib/x"),
            ("usr/lib/up", "../../absolute"),
            ("escape", "../../../usr/lib/x"),
            ("loop", "loop"),
            ("dangling", "nowhere/at/all"),
        ] {
            tree.insert(path, Node::symlink(target)).unwrap();
        }
        tree
    }

    #[test]
    fn links_resolve_inside_the_tree() {
        for (path, want) in [
            ("lib/x", Some("usr/lib/x")),
            ("/lib/x", Some("usr/lib/x")),
            ("absolute", Some("usr/lib/x")),
            ("lib/up", Some("usr/lib/x")),
            ("escape", Some("usr/lib/x")),
            ("lib/../lib/./x", Some("usr/lib/x")),
            ("", Some("")),
            ("loop", None),
            ("dangling", None),
            ("absent", None),
            ("usr/lib/x/y", None),
        ] {
            assert_eq!(tree().resolve(path).as_deref(), want, "{path}");
        }
    }

    #[test]
    fn real_parents_leave_the_last_name() {
        let tree = tree();
        assert_eq!(tree.real_parents("lib/up").unwrap(), "usr/lib/up");
        assert_eq!(tree.real_parents("lib/new/deep").unwrap(), "usr/lib/new/deep");
        assert_eq!(tree.real_parents("absolute").unwrap(), "absolute");
        assert!(matches!(tree.real_parents("lib/x/y"), Err(TreeError::NotADirectory { .. })));
        assert!(matches!(tree.real_parents("loop/y"), Err(TreeError::NotADirectory { .. })));
    }

    #[test]
    fn files_are_read_through_links() {
        let mut tree = tree();
        tree.insert("hard", Node::new(0, Kind::HardLink("usr/lib/x".into()))).unwrap();
        for path in ["usr/lib/x", "absolute", "hard", "/lib/up"] {
            assert_eq!(tree.read_file(path).unwrap().as_deref(), Some(&b"x"[..]), "{path}");
        }
        assert_eq!(tree.read_file("usr").unwrap(), None);
        assert_eq!(tree.read_file("dangling").unwrap(), None);
    }
}
