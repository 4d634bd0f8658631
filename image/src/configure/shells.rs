//! The list of shells, which packages add to by files in a directory.

use super::{ConfigureError, files_in, put, text};
use crate::tree::Tree;

const BASE: &str = "usr/share/debianutils/shells";
const ADDED: &str = "usr/share/debianutils/shells.d";

/// Writes `/etc/shells`: each shell by both of its paths, below `/` and below `/usr`.
pub(super) fn write(tree: &mut Tree) -> Result<(), ConfigureError> {
    if !tree.contains(BASE) {
        return Ok(());
    }
    let mut list = text(tree, BASE)?;
    let mut shells: Vec<String> = Vec::new();
    for line in list.lines().filter(|line| line.starts_with('/')) {
        shells.push(line.to_owned());
    }
    let base = shells.len();
    let mut wanted = shells.clone();
    for path in files_in(tree, ADDED, "") {
        wanted.extend(text(tree, &path)?.lines().map(str::to_owned));
    }
    for shell in wanted.iter().filter(|shell| shell.starts_with('/')) {
        // The same by its real path, as /bin is /usr/bin.
        for name in [shell.clone(), format!("/usr{shell}")] {
            if !shells.contains(&name) && tree.lookup(&name).is_some() {
                shells.push(name);
            }
        }
    }
    shells[base..].iter().for_each(|shell| list += &format!("{shell}\n"));
    put(tree, "etc/shells", list)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shells_have_both_of_their_paths() {
        let mut tree = Tree::new();
        for (path, text) in [
            ("usr/bin/sh", ""),
            ("usr/bin/bash", ""),
            (BASE, "# shells\n/bin/sh\n"),
            ("usr/share/debianutils/shells.d/bash", "/bin/bash\n/usr/bin/bash\n"),
            ("usr/share/debianutils/shells.d/gone", "/usr/bin/gone\n"),
        ] {
            put(&mut tree, path, text).unwrap();
        }
        tree.insert("bin", crate::tree::Node::symlink("usr/bin")).unwrap();
        write(&mut tree).unwrap();
        assert_eq!(
            text(&tree, "etc/shells").unwrap(),
            "# shells\n/bin/sh\n/usr/bin/sh\n/bin/bash\n/usr/bin/bash\n"
        );
    }
}
