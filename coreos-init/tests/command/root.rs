//! A directory that stands for a machine's root.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};

use tempfile::TempDir;

pub(crate) struct Root(TempDir);

impl Root {
    /// A root as the image has it, as far as provisioning looks.
    pub(crate) fn new() -> Root {
        Root::on(|_| {})
    }

    /// The same in a directory that something is mounted on before.
    pub(crate) fn on(mount: impl FnOnce(&Path)) -> Root {
        let root = Root(tempfile::tempdir().unwrap());
        mount(root.path());
        for (path, text) in [
            (
                "etc/passwd",
                "root:x:0:0:root:/root:/bin/bash\ncore:x:500:500::/home/core:/bin/bash\n",
            ),
            ("etc/group", "root:x:0:\nshadow:x:42:\ndocker:x:998:\ncore:x:500:\n"),
            ("etc/shadow", "root:*:20000:0:99999:7:::\ncore:*:20000:0:99999:7:::\n"),
            ("etc/gshadow", "root:*::\nshadow:*::\ndocker:!::\ncore:!::\n"),
            ("etc/skel/.profile", "umask 022\n"),
            ("usr/share/coreos/update.conf", "GROUP=stable\nSERVER=https://updates.invalid\n"),
            ("usr/lib/systemd/system/etcd.service", "[Install]\nWantedBy=multi-user.target\n"),
            ("usr/lib/systemd/system/docker.service", "[Install]\nWantedBy=multi-user.target\n"),
        ] {
            let path = root.0.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        for secret in ["etc/shadow", "etc/gshadow"] {
            let mode = fs::Permissions::from_mode(0o640);
            fs::set_permissions(root.0.path().join(secret), mode).unwrap();
        }
        root
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    pub(crate) fn read(&self, path: &str) -> String {
        fs::read_to_string(self.path().join(path)).unwrap()
    }

    /// Gives all of it to somebody.
    pub(crate) fn give_to(&self, uid: u32) {
        for path in self.paths() {
            chown(&path, Some(uid), Some(uid)).unwrap();
        }
    }

    fn paths(&self) -> Vec<PathBuf> {
        let mut found = vec![self.path().to_path_buf()];
        let mut next = 0;
        while next < found.len() {
            if fs::symlink_metadata(&found[next]).unwrap().is_dir() {
                let entries = fs::read_dir(&found[next]).unwrap();
                found.extend(entries.map(|entry| entry.unwrap().path()));
            }
            next += 1;
        }
        found
    }

    /// Everything outside `/usr`, sorted: path, mode, owner and content. Owners are those that
    /// root would set; who is not root sees none.
    pub(crate) fn listing(&self) -> String {
        self.entries().into_iter().collect()
    }

    /// The same, entry by entry.
    pub(crate) fn entries(&self) -> BTreeSet<String> {
        let mut entries = BTreeSet::new();
        for path in self.paths() {
            let name = format!("/{}", path.strip_prefix(self.path()).unwrap().display());
            if name == "/" || name.starts_with("/usr") {
                continue;
            }
            let state = fs::symlink_metadata(&path).unwrap();
            let (mode, uid, gid) = (state.mode() & 0o7777, state.uid(), state.gid());
            let entry = if state.is_symlink() {
                format!("{name} -> {}\n", fs::read_link(&path).unwrap().display())
            } else if state.is_dir() {
                format!("{name}/ {mode:04o} {uid}:{gid}\n")
            } else {
                let text = fs::read_to_string(&path).unwrap();
                let lines: String = text.lines().map(|line| format!("    {line}\n")).collect();
                format!("{name} {mode:04o} {uid}:{gid}\n{lines}")
            };
            entries.insert(entry);
        }
        entries
    }
}
