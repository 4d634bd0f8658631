//! Empties the directories that a machine fills itself.
//!
//! `/var`, `/home` and the like are on the machine's own disk. What the packages have there is
//! made again at boot by tmpfiles.d: directories and links as they were, files from a copy in
//! `/usr/share/factory`. Paths that a package's own tmpfiles.d has already are left to it.

use super::accounts::Accounts;
use super::{FinishError, text};
use crate::manifest::Login;
use crate::tree::{Kind, Node, Tree};
use std::collections::BTreeSet;
use std::fmt::Write;

/// On the machine's disk.
const WRITABLE: [&str; 5] = ["home", "opt", "root", "srv", "var"];
/// File systems of the running system, and of the ESP.
const MOUNT_POINTS: [&str; 9] = ["boot", "dev", "efi", "media", "mnt", "proc", "run", "sys", "tmp"];
/// What `/var` gets at boot.
const TMPFILES: &str = "usr/lib/tmpfiles.d/coreos-var.conf";
const FACTORY: &str = "usr/share/factory";
/// What a new home directory begins with.
const SKELETON: &str = "etc/skel";

/// Empties the writable directories and the mount points; both are there afterwards.
pub(super) fn empty(
    tree: &mut Tree,
    accounts: &Accounts,
    logins: &[Login],
) -> Result<(), FinishError> {
    let declared = declared(tree)?;
    let mut lines = String::from("# What the packages of the image have in writable places.\n");
    let mut copies: Vec<(String, Node)> = Vec::new();
    for directory in WRITABLE {
        for (path, node) in tree.below(directory) {
            if declared.contains(path) {
                continue;
            }
            lines += &line(path, node, accounts);
            if let Kind::File(_) = node.kind {
                copies.push((format!("{FACTORY}/{path}"), node.clone()));
            }
        }
    }
    for login in logins {
        lines += &home(tree, login);
    }
    text::write(tree, TMPFILES, lines)?;
    for (path, node) in copies {
        tree.insert(&path, node)?;
    }
    for directory in WRITABLE.into_iter().chain(MOUNT_POINTS) {
        let itself = tree.get(directory).filter(|node| node.is_directory()).cloned();
        tree.remove(directory);
        tree.insert(directory, itself.unwrap_or_else(|| Node::directory(0o755)))?;
    }
    Ok(())
}

/// The tmpfiles.d line that makes a file again. Sockets, devices and further names of a file
/// are not made again.
fn line(path: &str, node: &Node, accounts: &Accounts) -> String {
    let owner = format!(
        "{:04o} {} {} -",
        node.mode,
        accounts.user_name(node.uid),
        accounts.group_name(node.gid)
    );
    let path = quote(path);
    match &node.kind {
        Kind::Directory => format!("d /{path} {owner}\n"),
        Kind::Symlink(target) => format!("L /{path} - - - - {}\n", quote(target)),
        Kind::File(_) => format!("C /{path} {owner} /{FACTORY}/{path}\n"),
        _ => String::new(),
    }
}

/// The lines that make a login account's home directory.
fn home(tree: &Tree, login: &Login) -> String {
    let Login { name, home, .. } = login;
    let mut lines = format!("d /{home} 0700 {name} {name} -\n");
    for (file, node) in tree.children(SKELETON) {
        if let Kind::File(_) = node.kind {
            let file = quote(file);
            let _ = writeln!(lines, "C /{home}/{file} 0644 {name} {name} - /{SKELETON}/{file}");
        }
    }
    lines
}

/// A path as tmpfiles.d reads it back: `%` begins a specifier, blanks end a field.
fn quote(path: &str) -> String {
    path.chars()
        .map(|letter| match letter {
            '%' => "%%".to_owned(),
            '\\' => "\\\\".to_owned(),
            ' ' | '\t' | '\n' | '"' | '\'' => format!("\\x{:02x}", u32::from(letter)),
            _ => letter.to_string(),
        })
        .collect()
}

/// The paths that tmpfiles.d files of the tree make, without their leading slash.
fn declared(tree: &Tree) -> Result<BTreeSet<String>, FinishError> {
    let mut paths = BTreeSet::new();
    for directory in ["usr/lib/tmpfiles.d", "etc/tmpfiles.d"] {
        for (path, _) in tree.below(directory).filter(|(path, _)| path.ends_with(".conf")) {
            for line in text::read(tree, path)?.lines() {
                let mut fields = line.split_whitespace();
                let (Some(kind), Some(path)) = (fields.next(), fields.next()) else { continue };
                // Those that create; `x`, `z` and the like only treat what is there.
                if kind.starts_with(['d', 'D', 'f', 'F', 'C', 'L', 'q', 'Q', 'v']) {
                    paths.insert(path.trim_matches(['"', '\'', '/']).to_owned());
                }
            }
        }
    }
    Ok(paths)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::finish::accounts::{Group, User};

    fn accounts() -> Accounts {
        let user = |name: &str, uid| User {
            name: name.to_owned(),
            uid,
            gid: uid,
            gecos: String::new(),
            home: "/".to_owned(),
            shell: "/bin/sh".to_owned(),
        };
        let group = |name: &str, gid| Group { name: name.to_owned(), gid, members: Vec::new() };
        Accounts {
            users: vec![user("root", 0), user("etcd", 232)],
            groups: vec![group("root", 0), group("etcd", 232)],
        }
    }

    fn put(tree: &mut Tree, path: &str, node: Node) {
        tree.insert(path, node).unwrap();
    }

    #[test]
    fn what_was_there_is_made_again_at_boot() {
        let mut tree = Tree::new();
        put(&mut tree, "var/lib/etcd", Node::directory(0o700).owned_by(232, 232));
        put(&mut tree, "var/lib/data file", Node::file(0o640, "data"));
        put(&mut tree, "var/lib/declared", Node::directory(0o755));
        put(&mut tree, "var/run", Node::symlink("/run"));
        put(&mut tree, "root/.profile", Node::file(0o644, "profile"));
        put(&mut tree, "root", Node::directory(0o700));
        put(&mut tree, "etc/skel/.bashrc", Node::file(0o644, ""));
        put(&mut tree, "dev/null", Node::new(0o666, Kind::CharDevice { major: 1, minor: 3 }));
        put(&mut tree, "tmp", Node::directory(0o1777));
        let other = "# d /var/lib\nd /var/lib/declared/ 0755 root root\nx /var/run\n";
        put(&mut tree, "usr/lib/tmpfiles.d/other.conf", Node::file(0o644, other));
        let login = Login {
            name: "core".parse().unwrap(),
            id: 500,
            home: "home/core".parse().unwrap(),
            shell: "bin/bash".parse().unwrap(),
            groups: Vec::new(),
        };
        empty(&mut tree, &accounts(), &[login]).unwrap();

        let lines = text::read(&tree, TMPFILES).unwrap();
        assert_eq!(
            lines.lines().skip(1).collect::<Vec<_>>(),
            [
                "C /root/.profile 0644 root root - /usr/share/factory/root/.profile",
                "d /var/lib 0755 root root -",
                "C /var/lib/data\\x20file 0640 root root - /usr/share/factory/var/lib/data\\x20file",
                "d /var/lib/etcd 0700 etcd etcd -",
                "L /var/run - - - - /run",
                "d /home/core 0700 core core -",
                "C /home/core/.bashrc 0644 core core - /etc/skel/.bashrc",
            ]
        );
        let copy = tree.read_file("usr/share/factory/var/lib/data file").unwrap();
        assert_eq!(copy.as_deref(), Some(&b"data"[..]));
        for directory in WRITABLE.iter().chain(&MOUNT_POINTS) {
            assert!(tree.get(directory).is_some_and(Node::is_directory), "{directory}");
            assert_eq!(tree.below(directory).count(), 0, "{directory}");
        }
        assert_eq!(tree.get("root").unwrap().mode, 0o700);
        assert_eq!(tree.get("tmp").unwrap().mode, 0o1777);
    }
}
