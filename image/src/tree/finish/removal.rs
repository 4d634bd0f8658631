//! Takes out what the manifest says the image does not need.

use super::dpkg::Database;
use crate::manifest::Removal;
use crate::tree::Tree;
use crate::tree::glob::Glob;

/// Removes packages, then paths. Returns what of the manifest matched nothing.
pub(super) fn apply(tree: &mut Tree, database: &mut Database, groups: &[Removal]) -> Vec<String> {
    let mut unmatched = Vec::new();
    for group in groups {
        for package in &group.packages {
            if !database.remove(package.as_str(), tree) && !group.optional {
                unmatched.push(format!("package {package}"));
            }
        }
    }
    // Each pattern, and whether it need not be told of: it may match nothing, or it matched.
    let mut globs: Vec<(&Glob, bool)> = groups
        .iter()
        .flat_map(|group| group.paths.iter().map(|glob| (glob, group.optional)))
        .collect();
    tree.remove_where(|path, _| {
        let mut any = false;
        for (glob, settled) in &mut globs {
            if glob.matches(path) {
                (*settled, any) = (true, true);
            }
        }
        any
    });
    let stale = globs.iter().filter(|(_, settled)| !settled);
    unmatched.extend(stale.map(|(glob, _)| format!("path {glob}")));
    unmatched
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::Node;

    #[test]
    fn paths_go_with_what_is_below_and_stale_ones_are_told() {
        let mut tree = Tree::new();
        for path in ["usr/share/man/man1/x", "usr/share/manual", "var/lib/dpkg/status"] {
            tree.insert(path, Node::file(0o644, "")).unwrap();
        }
        let mut database = Database::read(&tree).unwrap();
        let group = |package: &str, paths: [&str; 2], optional| Removal {
            reason: "test".to_owned(),
            optional,
            packages: vec![package.parse().unwrap()],
            paths: paths.map(|glob| Glob::new(glob).unwrap()).to_vec(),
        };
        let groups = [
            group("absent", ["usr/share/man", "etc/no*"], false),
            group("maybe", ["etc/maybe", "etc/may*"], true),
        ];
        let unmatched = apply(&mut tree, &mut database, &groups);
        assert_eq!(unmatched, ["package absent", "path etc/no*"]);
        assert!(tree.contains("usr/share/manual") && !tree.contains("usr/share/man"));
    }
}
