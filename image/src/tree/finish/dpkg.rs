//! The packages' own records: which there are, and which file is whose.
//!
//! On a machine the records are read by scanners only, so the list of packages moves below
//! `/usr`, without those whose files were removed.

use super::{FinishError, text};
use crate::tree::{Node, Tree};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// Where dpkg keeps its records.
const DATABASE: &str = "var/lib/dpkg";
/// Where the image keeps the list of packages.
const STATUS: &str = "usr/lib/sysimage/dpkg/status";

/// A package in the image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Package {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Its architecture, or `all`.
    pub architecture: String,
    /// What it takes when installed, in KiB; its own estimate.
    pub installed_size: u64,
}

/// The records of one tree.
#[derive(Debug)]
pub struct Database {
    packages: BTreeMap<String, Record>,
}

#[derive(Debug)]
struct Record {
    package: Package,
    /// The paragraph of the status file.
    paragraph: String,
    /// Paths of the tree, directories included.
    files: Vec<String>,
}

impl Database {
    /// Reads the records of a tree as dpkg left it.
    pub fn read(tree: &Tree) -> Result<Database, FinishError> {
        let path = format!("{DATABASE}/status");
        let status = text::read(tree, &path)?;
        let mut packages = BTreeMap::new();
        let mut line = 1;
        for paragraph in status.split("\n\n") {
            if let Some(package) = parse_paragraph(paragraph) {
                let package = package.map_err(|reason| FinishError::Malformed {
                    path: path.clone(),
                    line,
                    reason,
                })?;
                let files = file_list(tree, &package)?;
                let record = Record { paragraph: paragraph.trim_end().to_owned(), files, package };
                packages.insert(record.package.name.clone(), record);
            }
            line += paragraph.matches('\n').count() + 2;
        }
        Ok(Database { packages })
    }

    /// Removes the files of a package and its record; false if there is no such package.
    /// Directories go if they are empty and no other package has them.
    pub fn remove(&mut self, name: &str, tree: &mut Tree) -> bool {
        let Some(record) = self.packages.remove(name) else { return false };
        let (directories, files): (Vec<&String>, Vec<&String>) =
            record.files.iter().partition(|path| tree.get(path).is_some_and(Node::is_directory));
        let files: BTreeSet<&str> = files.into_iter().map(String::as_str).collect();
        tree.remove_where(|path, _| files.contains(path));
        let shared: BTreeSet<&str> = self
            .packages
            .values()
            .flat_map(|record| record.files.iter().map(String::as_str))
            .collect();
        // What is in a directory sorts behind it.
        for path in directories.into_iter().collect::<BTreeSet<_>>().into_iter().rev() {
            if !shared.contains(path.as_str()) && tree.below(path).next().is_none() {
                tree.remove(path);
            }
        }
        true
    }

    /// The latest time of a file that came in a package.
    pub(super) fn newest_file(&self, tree: &Tree, times: &BTreeMap<String, u64>) -> u64 {
        self.packages
            .values()
            .flat_map(|record| &record.files)
            .filter_map(|path| tree.get(path).and_then(|_| times.get(path)))
            .max()
            .copied()
            .unwrap_or(0)
    }

    /// Takes dpkg's records out of the tree and writes the list of packages below `/usr`,
    /// with a link for scanners that look in the usual place.
    pub(super) fn move_below_usr(&self, tree: &mut Tree) -> Result<(), FinishError> {
        let status: String =
            self.packages.values().map(|record| format!("{}\n\n", record.paragraph)).collect();
        text::write(tree, STATUS, status)?;
        tree.remove(DATABASE);
        let target = text::relative(DATABASE, STATUS.trim_end_matches("/status"));
        tree.insert(DATABASE, Node::symlink(target))?;
        Ok(())
    }

    /// The packages, by name.
    #[must_use]
    pub fn into_packages(self) -> Vec<Package> {
        self.packages.into_values().map(|record| record.package).collect()
    }
}

/// Reads a paragraph of the status file; `None` if it is of no installed package.
fn parse_paragraph(paragraph: &str) -> Option<Result<Package, &'static str>> {
    let field =
        |name: &str| paragraph.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
    if !field("Status")?.ends_with(" installed") {
        return None;
    }
    let text = |name: &str| field(name).map(|value| value.trim().to_owned());
    let package = || {
        Ok(Package {
            name: text("Package").ok_or("a package has no name")?,
            version: text("Version").ok_or("a package has no version")?,
            architecture: text("Architecture").ok_or("a package has no architecture")?,
            installed_size: match text("Installed-Size") {
                Some(size) => size.parse().map_err(|_| "a package's size is not a number")?,
                None => 0,
            },
        })
    };
    Some(package())
}

/// The paths of a package, as they are in the tree.
fn file_list(tree: &Tree, package: &Package) -> Result<Vec<String>, FinishError> {
    let Package { name, architecture, .. } = package;
    let candidates = [
        format!("{DATABASE}/info/{name}.list"),
        format!("{DATABASE}/info/{name}:{architecture}.list"),
    ];
    let Some(path) = candidates.iter().find(|path| tree.contains(path)) else {
        return Ok(Vec::new());
    };
    let list = text::read(tree, path)?;
    let paths = list.lines().map(|line| line.trim_start_matches('/'));
    Ok(paths.filter_map(|path| tree.real_parents(path).ok()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATUS_TEXT: &str = "Package: one\nStatus: install ok installed\nInstalled-Size: 12\n\
        Architecture: amd64\nMulti-Arch: same\nVersion: 1:2.3-4\nDescription: first\n more\n\n\
        Package: gone\nStatus: deinstall ok config-files\nArchitecture: all\nVersion: 1\n\n\
        Package: two\nStatus: install ok installed\nArchitecture: all\nVersion: 5\n\n";

    fn tree() -> Tree {
        let mut tree = Tree::new();
        for (path, text) in [
            ("usr/bin/one", ""),
            ("usr/share/one/data", ""),
            ("usr/share/two/data", ""),
            ("var/lib/dpkg/status", STATUS_TEXT),
            (
                "var/lib/dpkg/info/one:amd64.list",
                "/.\n/bin/one\n/usr\n/usr/share\n/usr/share/one\n/usr/share/one/data\n\
                 /usr/share/empty\n/usr/share/shared\n",
            ),
            ("var/lib/dpkg/info/two.list", "/.\n/usr/share/two/data\n/usr/share/shared\n"),
        ] {
            tree.insert(path, Node::file(0o644, text)).unwrap();
        }
        tree.insert("bin", Node::symlink("usr/bin")).unwrap();
        tree.insert("usr/share/empty", Node::directory(0o755)).unwrap();
        tree.insert("usr/share/shared", Node::directory(0o755)).unwrap();
        tree
    }

    #[test]
    fn installed_packages_are_read() {
        let packages = Database::read(&tree()).unwrap().into_packages();
        let package = |name: &str, version: &str, architecture: &str, installed_size| Package {
            name: name.to_owned(),
            version: version.to_owned(),
            architecture: architecture.to_owned(),
            installed_size,
        };
        assert_eq!(
            packages,
            [package("one", "1:2.3-4", "amd64", 12), package("two", "5", "all", 0)]
        );
    }

    #[test]
    fn removing_a_package_takes_its_files_and_its_own_directories() {
        let mut tree = tree();
        let mut database = Database::read(&tree).unwrap();
        assert!(database.remove("one", &mut tree));
        assert!(!database.remove("one", &mut tree));
        let left: Vec<&str> = tree.below("usr").map(|(path, _)| path).collect();
        assert_eq!(
            left,
            ["usr/bin", "usr/share", "usr/share/shared", "usr/share/two", "usr/share/two/data"]
        );
    }

    #[test]
    fn the_list_moves_without_what_was_removed() {
        let mut tree = tree();
        let mut database = Database::read(&tree).unwrap();
        database.remove("one", &mut tree);
        database.move_below_usr(&mut tree).unwrap();
        let status = text::read(&tree, "var/lib/dpkg/status").unwrap();
        assert!(status.starts_with("Package: two\n") && status.ends_with("\n\n"));
        assert!(!status.contains("Package: one") && !status.contains("Package: gone"));
        assert!(tree.contains("usr/lib/sysimage/dpkg/status"));
    }

    #[test]
    fn only_files_of_packages_count_for_the_newest() {
        let tree = tree();
        let times =
            [("usr/bin/one", 5), ("usr/share/two/data", 7), ("var/lib/dpkg/status", 9), ("x", 11)]
                .map(|(path, time)| (path.to_owned(), time));
        assert_eq!(Database::read(&tree).unwrap().newest_file(&tree, &times.into()), 7);
    }

    #[test]
    fn a_broken_status_is_named_with_its_line() {
        let mut tree = tree();
        let broken = format!("{STATUS_TEXT}Package: bad\nStatus: install ok installed\n");
        tree.insert("var/lib/dpkg/status", Node::file(0o644, broken)).unwrap();
        let error = Database::read(&tree).unwrap_err().to_string();
        assert_eq!(error, "var/lib/dpkg/status:20 of the root tree: a package has no version");
    }
}
