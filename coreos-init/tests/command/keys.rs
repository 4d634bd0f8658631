//! Every key, and the files that it becomes: those of coreos-cloudinit as coreos-cloudinit writes
//! them. Each `keys/NAME.yaml` is applied to a root; `NAME.tree` is what is there then and was not
//! before, with modes, owners and content.

use std::collections::BTreeSet;
use std::fs;

use crate::root::Root;
use crate::{coreos_init, fixture, run};

/// The entries of a listing, each with its content.
fn entries(listing: &str) -> Vec<String> {
    let mut entries: Vec<String> = Vec::new();
    for line in listing.lines() {
        match entries.last_mut() {
            Some(last) if line.starts_with("    ") => last.push_str(&format!("{line}\n")),
            _ => entries.push(format!("{line}\n")),
        }
    }
    entries
}

/// What is new or different, but for directories on the way and the ledger.
fn written(before: &str, after: &str) -> String {
    let before: BTreeSet<String> = entries(before).into_iter().collect();
    let ours = |entry: &String| {
        let directory = entry.split(' ').next().is_some_and(|path| path.ends_with('/'));
        let home = entry.starts_with("/home/") || entry.starts_with("/var/home/");
        !before.contains(entry)
            && !entry.starts_with("/var/lib/coreos-init/ledger")
            && (!directory || home)
    };
    entries(after).into_iter().filter(ours).collect()
}

#[test]
fn every_key_becomes_its_files() {
    if !nix::unistd::geteuid().is_root() {
        return; // owners are part of the trees
    }
    // After a change that is meant: UPDATE_TREES=1, and look at what git says has changed.
    #[allow(clippy::disallowed_methods)]
    let update = std::env::var_os("UPDATE_TREES").is_some();
    let mut failures = Vec::new();
    let mut count = 0;
    let mut paths: Vec<_> =
        fs::read_dir(fixture("keys")).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    for path in paths.iter().filter(|path| path.extension().is_some_and(|e| e == "yaml")) {
        let root = Root::new();
        for (path, text) in [
            ("usr/share/zoneinfo/Europe/Berlin", "TZif"),
            ("etc/ssl/certs/ca-certificates.crt", "# the image's own\n"),
        ] {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let before = root.listing();
        let mut command = coreos_init();
        command.arg("apply").arg("--root").arg(root.path()).arg("--from-file").arg(path);
        let (code, _, err) = run(&mut command);
        let tree = path.with_extension("tree");
        let want = fs::read_to_string(&tree).unwrap_or_default();
        let got = written(&before, &root.listing());
        if code == 0 && update {
            fs::write(&tree, &got).unwrap();
        } else if code != 0 || got != want {
            failures.push(format!("{} ({code})\n{err}\n{got}", tree.display()));
        }
        // What is configured is configured: a second run changes nothing.
        let once = root.listing();
        let (_, out, _) = run(&mut command);
        if !out.starts_with("nothing to do") || root.listing() != once {
            failures.push(format!("{}: not the same again\n{out}", path.display()));
        }
        // And what is taken out goes.
        let empty = root.path().join("empty");
        fs::write(&empty, "#cloud-config\n").unwrap();
        let mut command = coreos_init();
        command.arg("apply").arg("--root").arg(root.path()).arg("--from-file").arg(&empty);
        run(&mut command);
        fs::remove_file(&empty).unwrap();
        let left = written(&before, &root.listing());
        let left: Vec<_> = entries(&left).into_iter().filter(|entry| !stays(entry)).collect();
        if !left.is_empty() {
            failures.push(format!("{}: left over\n{}", path.display(), left.concat()));
        }
        count += 1;
    }
    assert!(count >= 30, "{count} fixtures");
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// What is left on purpose: homes, what goes with the boot, and files that are edited and now
/// have nothing of ours in them.
fn stays(entry: &str) -> bool {
    let text = entry.lines().skip(1).collect::<String>();
    let edited = ["/etc/environment", "/etc/fstab"].iter().any(|path| entry.starts_with(path));
    entry.starts_with("/home/")
        || entry.starts_with("/var/home/")
        || entry.starts_with("/run/")
        || (edited && text.is_empty())
        || entry.starts_with("/etc/coreos/update.conf")
        || entry.starts_with("/etc/shadow")
}
