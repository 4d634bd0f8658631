use std::cell::Cell;
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::Path;

use cloud_config::Config;
use tempfile::TempDir;

use super::*;
use crate::plan::sample::{file, text, unit, user};
use crate::plan::{Context, decide};

/// What goes wrong before an effect.
#[derive(Debug, Default)]
pub(crate) struct Fault {
    /// How many effects succeed before.
    after: Cell<Option<u32>>,
    /// Whether everything fails from then on, as it does without power.
    lasting: Cell<bool>,
}

impl Fault {
    pub(super) fn strike(&self) -> io::Result<()> {
        match self.after.get() {
            None => Ok(()),
            Some(0) => {
                if !self.lasting.get() {
                    self.after.set(None);
                }
                Err(Errno::ENOSPC.into())
            }
            Some(left) => {
                self.after.set(Some(left - 1));
                Ok(())
            }
        }
    }

    pub(super) fn set(&self, after: u32, lasting: bool) {
        self.after.set(Some(after));
        self.lasting.set(lasting);
    }

    fn has_struck(&self) -> bool {
        self.after.get().is_none_or(|left| left == 0)
    }
}

/// A small machine.
pub(crate) fn machine() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    for path in ["etc/skel/.config", "usr/lib/systemd/system", "home", "var/lib", "run"] {
        fs::create_dir_all(dir.path().join(path)).unwrap();
    }
    for (path, text) in [
        ("etc/passwd", "root:x:0:0::/root:/bin/bash\ncore:x:500:500::/home/core:/bin/bash\n"),
        ("etc/group", "root:x:0:\ncore:x:500:\n"),
        ("etc/shadow", "root:*:1:0:99999:7:::\ncore:*:1:0:99999:7:::\n"),
        ("etc/skel/.profile", "umask 022\n"),
        ("etc/skel/.config/settings", "a\n"),
        ("etc/ssh.conf", "from the image\n"),
        ("usr/lib/systemd/system/etcd.service", "[Install]\nWantedBy=multi-user.target\n"),
    ] {
        fs::write(dir.path().join(path), text).unwrap();
    }
    dir
}

pub(crate) fn owners() -> Owners {
    if nix::unistd::geteuid().is_root() { Owners::Set } else { Owners::Skip }
}

fn root(dir: &Path) -> Root {
    Root::open(dir, owners()).unwrap().without_sync()
}

fn provision(dir: &Path, config: &Config) -> Result<Applied, Error> {
    provision_in(&root(dir), config)
}

fn provision_in(root: &Root, config: &Config) -> Result<Applied, Error> {
    let (facts, _notes) = survey(root, None, config)?;
    let plan = decide(config, &[], &Context { facts, ..Context::default() });
    assert!(plan.findings.is_empty(), "{:?}", plan.findings);
    apply(&plan, root)
}

/// Everything in a directory: path to type, mode, owner and content.
pub(crate) fn tree(dir: &Path) -> Tree {
    let mut entries = BTreeMap::new();
    let mut waiting = vec![dir.to_path_buf()];
    while let Some(directory) = waiting.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            let state = fs::symlink_metadata(&path).unwrap();
            let owner = match owners() {
                Owners::Set => format!("{}:{}", state.uid(), state.gid()),
                Owners::Skip => "-".to_string(),
            };
            let mode = state.mode() & 0o7777;
            let line = if state.is_dir() {
                waiting.push(path.clone());
                format!("directory {mode:o} {owner}")
            } else if state.is_symlink() {
                format!("link {}", fs::read_link(&path).unwrap().display())
            } else {
                format!("file {mode:o} {owner} {}", fs::read_to_string(&path).unwrap())
            };
            let relative = path.strip_prefix(dir).unwrap().display().to_string();
            entries.insert(relative, line);
        }
    }
    entries
}

pub(crate) type Tree = BTreeMap<String, String>;

/// What is different after something, the ledger included.
fn changes(before: &Tree, after: &Tree) -> Vec<String> {
    let gone = before.keys().filter(|path| !after.contains_key(*path));
    let gone = gone.map(|path| format!("{path}: gone"));
    let new = after.iter().filter(|(path, line)| before.get(*path) != Some(line));
    let new = new.map(|(path, line)| format!("{path}: {}", line.replace('\n', "\\n")));
    let mut lines: Vec<_> = gone.chain(new).collect();
    lines.sort();
    lines
}

/// What is different after something, the ledger left out.
fn difference(before: &Tree, dir: &Path) -> Vec<String> {
    let mut lines = changes(before, &tree(dir));
    lines.retain(|line| !line.contains("coreos-init"));
    lines
}

#[track_caller]
fn assert_same(found: &Tree, wanted: &Tree, when: &str) {
    let none: [String; 0] = [];
    assert_eq!(changes(wanted, found), none, "{when}");
}

/// A configuration with something of everything.
fn first() -> Config {
    let mut bob = user("bob");
    bob.ssh_authorized_keys = vec![text("ssh-rsa B")];
    let mut etcd = unit("etcd.service");
    etcd.enable = true;
    let mut masked = unit("tmp.mount");
    masked.mask = true;
    let mut owned = file("/opt/deep/er/app.conf", "one\n");
    owned.owner = Some(text("bob:core"));
    owned.permissions = Some(0o4640);
    Config {
        hostname: Some(text("alpha")),
        ssh_authorized_keys: vec![text("ssh-rsa A")],
        users: vec![bob],
        write_files: vec![owned, file("/etc/ssh.conf", "ours\n"), file("/run/now", "x")],
        units: vec![etcd, masked],
        ..Config::default()
    }
}

/// What it becomes: some stays, some changes, some goes, some is new.
fn second() -> Config {
    let mut config = first();
    config.hostname = Some(text("beta"));
    config.users.clear();
    config.write_files = vec![file("/opt/deep/er/app.conf", "two\n"), file("/srv/new", "n")];
    config.units.clear();
    config
}

#[test]
fn a_root_becomes_what_is_planned() {
    let dir = machine();
    let before = tree(dir.path());
    let applied = provision(dir.path(), &first()).unwrap();
    assert!(!applied.has_failures(), "{applied:?}");
    let owner = |ids: &str| if owners() == Owners::Set { ids.to_string() } else { "-".into() };
    let (root, core, bob) = (owner("0:0"), owner("500:500"), owner("1000:1000"));
    let app = owner("1000:500");
    let key = "authorized_keys: file 600";
    assert_eq!(
        difference(&before, dir.path()),
        [
            format!("etc/group: file 644 {root} root:x:0:\\ncore:x:500:\\nbob:x:1000:\\n"),
            format!("etc/hostname: file 644 {root} alpha\\n"),
            format!(
                "etc/passwd: file 644 {root} root:x:0:0::/root:/bin/bash\\ncore:x:500:500::/home/core:/bin/bash\\nbob:x:1000:1000::/home/bob:/bin/bash\\n"
            ),
            format!(
                "etc/shadow: file 644 {root} root:*:1:0:99999:7:::\\ncore:*:1:0:99999:7:::\\nbob:*::0:99999:7:::\\n"
            ),
            format!("etc/ssh.conf: file 644 {root} ours\\n"),
            "etc/systemd/system/multi-user.target.wants/etcd.service: link /usr/lib/systemd/system/etcd.service".to_string(),
            format!("etc/systemd/system/multi-user.target.wants: directory 755 {root}"),
            "etc/systemd/system/tmp.mount: link /dev/null".to_string(),
            format!("etc/systemd/system: directory 755 {root}"),
            format!("etc/systemd: directory 755 {root}"),
            format!("home/bob/.config/settings: file 644 {bob} a\\n"),
            format!("home/bob/.config: directory 755 {bob}"),
            format!("home/bob/.profile: file 644 {bob} umask 022\\n"),
            format!("home/bob/.ssh/{key} {bob} ssh-rsa B\\n"),
            format!("home/bob/.ssh: directory 700 {bob}"),
            format!("home/bob: directory 700 {bob}"),
            format!("home/core/.config/settings: file 644 {core} a\\n"),
            format!("home/core/.config: directory 755 {core}"),
            format!("home/core/.profile: file 644 {core} umask 022\\n"),
            format!("home/core/.ssh/{key} {core} ssh-rsa A\\n"),
            format!("home/core/.ssh: directory 700 {core}"),
            format!("home/core: directory 700 {core}"),
            format!("opt/deep/er/app.conf: file 4640 {app} one\\n"),
            format!("opt/deep/er: directory 755 {root}"),
            format!("opt/deep: directory 755 {root}"),
            format!("opt: directory 755 {root}"),
            format!("run/now: file 644 {root} x"),
        ]
    );
    let ledger = fs::metadata(dir.path().join("var/lib/coreos-init/ledger.json")).unwrap();
    assert_eq!(ledger.mode() & 0o777, 0o600);
}

#[test]
fn a_second_apply_changes_nothing() {
    let dir = machine();
    provision(dir.path(), &first()).unwrap();
    let before = tree(dir.path());
    let inode = |path: &str| fs::metadata(dir.path().join(path)).unwrap().ino();
    let inodes = ["etc/hostname", "var/lib/coreos-init/ledger.json"].map(inode);
    let again = root(dir.path());
    again.fault.set(0, true); // an effect would fail
    let applied = provision_in(&again, &first()).unwrap();
    assert!(applied.items.iter().all(|item| item.outcome == Outcome::Unchanged), "{applied:?}");
    assert_eq!(tree(dir.path()), before);
    assert_eq!(["etc/hostname", "var/lib/coreos-init/ledger.json"].map(inode), inodes);
}

#[test]
fn a_boot_writes_only_what_boots_forget() {
    let dir = machine();
    provision(dir.path(), &first()).unwrap();
    let ledger = dir.path().join("var/lib/coreos-init/ledger.json");
    let inode = fs::metadata(&ledger).unwrap().ino();
    fs::remove_file(dir.path().join("run/now")).unwrap();
    let applied = provision(dir.path(), &first()).unwrap();
    let written: Vec<_> =
        applied.items.iter().filter(|item| item.outcome == Outcome::Written).collect();
    assert_eq!(written.len(), 1);
    assert_eq!(written[0].path, "/run/now");
    assert_eq!(fs::metadata(&ledger).unwrap().ino(), inode);
}

#[test]
fn mode_owner_and_content_are_put_right() {
    let dir = machine();
    provision(dir.path(), &first()).unwrap();
    let good = tree(dir.path());
    fs::write(dir.path().join("etc/hostname"), "gamma\n").unwrap();
    fs::remove_file(dir.path().join("etc/systemd/system/tmp.mount")).unwrap();
    fs::write(dir.path().join("etc/systemd/system/tmp.mount"), "[Mount]\n").unwrap();
    let wide = fs::Permissions::from_mode(0o777);
    fs::set_permissions(dir.path().join("opt/deep/er/app.conf"), wide.clone()).unwrap();
    fs::set_permissions(dir.path().join("home/bob/.ssh"), wide).unwrap();
    provision(dir.path(), &first()).unwrap();
    assert_eq!(tree(dir.path()), good);
}

#[test]
fn what_vanished_from_the_config_vanishes_from_the_root() {
    let dir = machine();
    provision(dir.path(), &first()).unwrap();
    let before = tree(dir.path());
    let applied = provision(dir.path(), &second()).unwrap();
    assert!(!applied.has_failures(), "{applied:?}");
    let changed = difference(&before, dir.path());
    let gone: Vec<_> = changed.iter().filter_map(|line| line.strip_suffix(": gone")).collect();
    assert_eq!(
        gone,
        [
            "etc/ssh.conf",
            "etc/systemd/system/multi-user.target.wants/etcd.service",
            "etc/systemd/system/multi-user.target.wants",
            "etc/systemd/system/tmp.mount",
            "home/bob/.ssh/authorized_keys",
        ]
    );
    assert!(changed.iter().any(|line| line.starts_with("etc/hostname: ") && line.contains("beta")));
    assert!(!fs::read_to_string(dir.path().join("etc/passwd")).unwrap().contains("bob"));
}

#[test]
fn what_somebody_changed_since_is_kept() {
    let dir = machine();
    provision(dir.path(), &first()).unwrap();
    fs::write(dir.path().join("etc/ssh.conf"), "mine\n").unwrap();
    let applied = provision(dir.path(), &second()).unwrap();
    assert_eq!(fs::read_to_string(dir.path().join("etc/ssh.conf")).unwrap(), "mine\n");
    assert_eq!(
        applied.notes,
        ["/etc/ssh.conf is no longer configured, but was changed since: kept"]
    );
}

#[test]
fn what_the_image_has_comes_back() {
    let (dir, image) = (machine(), machine());
    provision(dir.path(), &first()).unwrap();
    let (root, image) = (root(dir.path()), root(image.path()));
    let (facts, _) = survey(&root, Some(&image), &second()).unwrap();
    let plan = decide(&second(), &[], &Context { facts, ..Context::default() });
    let applied = apply(&plan, &root).unwrap();
    let item = applied.items.iter().find(|item| item.path == "/etc/ssh.conf").unwrap();
    assert_eq!(item.outcome, Outcome::Restored);
    assert_eq!(fs::read_to_string(dir.path().join("etc/ssh.conf")).unwrap(), "from the image\n");
}

#[test]
fn links_lead_where_they_would_in_the_machine() {
    let (dir, outside) = (machine(), tempfile::tempdir().unwrap());
    symlink(outside.path(), dir.path().join("absolute")).unwrap();
    symlink("../../../../../../../..", dir.path().join("etc/up")).unwrap();
    let inside = dir.path().join(outside.path().strip_prefix("/").unwrap());
    fs::create_dir_all(&inside).unwrap();
    let config = Config {
        write_files: vec![file("/absolute/a", "a"), file("/etc/up/b", "b")],
        ..Config::default()
    };
    provision(dir.path(), &config).unwrap();
    assert_eq!(fs::read_to_string(inside.join("a")).unwrap(), "a");
    assert_eq!(fs::read_to_string(dir.path().join("b")).unwrap(), "b");
    assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 0);
}

#[test]
fn a_user_cannot_lead_the_keys_elsewhere() {
    type Trap = fn(&Path);
    let traps: [(&str, Trap); 3] = [
        ("a link to /etc", |ssh| symlink("/etc", ssh).unwrap()),
        ("a file", |ssh| fs::write(ssh, "x").unwrap()),
        ("a directory in the file's place", |ssh| {
            fs::create_dir_all(ssh.join("authorized_keys/x")).unwrap();
        }),
    ];
    for (name, trap) in traps {
        let dir = machine();
        fs::create_dir(dir.path().join("home/core")).unwrap();
        trap(&dir.path().join("home/core/.ssh"));
        let before = tree(dir.path());
        let applied = provision(dir.path(), &first()).unwrap();
        let failed: Vec<_> = applied
            .items
            .iter()
            .filter(|item| matches!(item.outcome, Outcome::Failed(_)))
            .map(|item| item.path.as_str())
            .collect();
        assert!(failed.contains(&"/home/core/.ssh/authorized_keys"), "{name}: {failed:?}");
        assert!(failed.iter().all(|path| path.starts_with("/home/core/")), "{name}: {failed:?}");
        assert!(!tree(dir.path()).contains_key("etc/authorized_keys"), "{name}");
        assert_eq!(tree(dir.path())["etc"], before["etc"], "{name}");
        assert!(dir.path().join("home/bob/.ssh/authorized_keys").exists(), "{name}");
    }
}

#[test]
fn an_impossible_path_is_told_before_anything_changes() {
    for path in ["/etc/passwd/x", "/etc", "/home", "/etc/skel/.profile/a/b"] {
        let dir = machine();
        let before = tree(dir.path());
        let mut config = first();
        config.write_files.push(file(path, "x"));
        let error = provision(dir.path(), &config).unwrap_err();
        assert_eq!(error.to_string(), format!("cannot write {path} (write_files, 5:1)"));
        assert_same(&tree(dir.path()), &before, path);
    }
}

#[test]
fn a_root_that_does_not_take_the_whole_still_lets_people_in() {
    let dir = machine();
    let root = root(dir.path());
    let mut config = first();
    config.write_files.push(file("/etc/passwd/x", "x"));
    let (facts, _) = survey(&root, None, &config).unwrap();
    let context = Context { facts, ..Context::default() };
    let attempt = apply_or_rescue(&config, &[], &context, &root).unwrap();
    assert_eq!(
        attempt.refused.unwrap().to_string(),
        "cannot write /etc/passwd/x (write_files, 5:1)"
    );
    assert!(!attempt.applied.has_failures());
    let found = tree(dir.path());
    assert!(found["etc/hostname"].ends_with("alpha\n"));
    assert!(found["home/core/.ssh/authorized_keys"].ends_with("ssh-rsa A\n"));
    assert!(!found.contains_key("opt/deep/er/app.conf"));
}

#[test]
fn a_damaged_ledger_is_told_and_replaced() {
    let dir = machine();
    provision(dir.path(), &first()).unwrap();
    let path = dir.path().join("var/lib/coreos-init/ledger.json");
    fs::write(&path, "{ torn").unwrap();
    let (facts, notes) = survey(&root(dir.path()), None, &first()).unwrap();
    assert_eq!(facts.ledger, Ledger::default());
    assert_eq!(
        notes,
        ["/var/lib/coreos-init/ledger.json is damaged: what earlier configurations left stays"]
    );
    let mut config = first();
    config.users.clear(); // bob is taken for the image's own now
    provision(dir.path(), &config).unwrap();
    assert!(Ledger::parse(&fs::read_to_string(&path).unwrap()).is_ok());
}

#[test]
fn databases_that_are_no_text_are_not_touched() {
    let dir = machine();
    fs::write(dir.path().join("etc/passwd"), b"\xff\xfe").unwrap();
    let error = provision(dir.path(), &first()).unwrap_err();
    assert_eq!(error.to_string(), "cannot edit /etc/passwd: it is not UTF-8 text");
}

/// A copy of a directory, modes and owners included.
fn copy(from: &Path) -> TempDir {
    fn copy_into(from: &Path, to: &Path) {
        for entry in fs::read_dir(from).unwrap() {
            let from = entry.unwrap().path();
            let to = to.join(from.file_name().unwrap());
            let state = fs::symlink_metadata(&from).unwrap();
            if state.is_symlink() {
                symlink(fs::read_link(&from).unwrap(), &to).unwrap();
                continue;
            }
            if state.is_dir() {
                fs::create_dir(&to).unwrap();
                copy_into(&from, &to);
            } else {
                fs::copy(&from, &to).unwrap();
            }
            if owners() == Owners::Set {
                chown(&to, Some(state.uid()), Some(state.gid())).unwrap();
            }
            fs::set_permissions(&to, state.permissions()).unwrap();
        }
    }
    let to = tempfile::tempdir().unwrap();
    copy_into(from, to.path());
    to
}

#[test]
fn a_machine_without_power_has_every_file_old_or_new() {
    let start = machine();
    provision(start.path(), &first()).unwrap();
    let old = tree(start.path());
    let done = copy(start.path());
    provision(done.path(), &second()).unwrap();
    let new = tree(done.path());

    for effects in 0.. {
        let dir = copy(start.path());
        let cut = root(dir.path());
        cut.fault.set(effects, true);
        let result = provision_in(&cut, &second());
        if !cut.fault.has_struck() {
            assert!(!result.unwrap().has_failures());
            assert!(effects > 20, "only {effects} effects");
            break;
        }
        for (path, line) in tree(dir.path()) {
            let known = old.get(&path) == Some(&line) || new.get(&path) == Some(&line);
            let ours =
                format!("/{path}").contains("/.coreos-init-") || path.ends_with("/ledger.json");
            // A new directory may be there before what is to be in it.
            let early = line.starts_with("directory") && new.contains_key(&path);
            assert!(known || ours || early, "after {effects} effects: {path}: {line}");
        }
        provision(dir.path(), &second()).unwrap();
        assert_same(&tree(dir.path()), &new, &format!("after {effects} effects"));
    }
}

#[test]
fn a_power_cut_followed_by_another_config_leaves_nothing_of_the_first() {
    let start = machine();
    let done = copy(start.path());
    let other = Config { hostname: Some(text("other")), ..Config::default() };
    provision(done.path(), &other).unwrap();
    let expected = tree(done.path());
    for effects in 0.. {
        let dir = copy(start.path());
        let cut = root(dir.path());
        cut.fault.set(effects, true);
        let _ = provision_in(&cut, &first());
        let finished = !cut.fault.has_struck();
        provision(dir.path(), &other).unwrap();
        // Homes and their directories stay, as does what boots forget.
        let stays = |path: &str| {
            ["home/", "run/", "opt", "etc/systemd"].iter().any(|start| path.starts_with(start))
                || path.ends_with("ledger.json")
                || path == "etc/ssh.conf"
        };
        let mut found = tree(dir.path());
        found.retain(|path, _| !stays(path) || path.contains("/.coreos-init-"));
        let mut wanted = expected.clone();
        wanted.retain(|path, _| !stays(path));
        assert_same(&found, &wanted, &format!("after {effects} effects"));
        if finished {
            break;
        }
    }
}

#[test]
fn an_effect_that_fails_changes_nothing_or_is_told() {
    let start = machine();
    provision(start.path(), &first()).unwrap();
    let old = tree(start.path());
    for effects in 0.. {
        let dir = copy(start.path());
        let root = root(dir.path());
        root.fault.set(effects, false);
        let result = provision_in(&root, &second());
        if root.fault.after.get().is_some_and(|left| left > 0) {
            break;
        }
        match result {
            Err(_) => assert_same(&tree(dir.path()), &old, &format!("after {effects} effects")),
            Ok(applied) => {
                let trees = tree(dir.path());
                let left: Vec<_> = trees.keys().filter(|p| p.contains("/.coreos-init-")).collect();
                assert!(left.is_empty() || applied.has_failures(), "{left:?}");
            }
        }
    }
}
