//! The program from the builder's side: releases on their way through the channels.

mod support;

use std::fs;
use std::os::unix::fs::MetadataExt;

use serde_json::{Value, json};
use support::Workshop;

#[test]
fn a_release_goes_from_alpha_to_beta_to_stable() {
    let workshop = Workshop::with_repository();
    workshop.publish("1.0");
    workshop.publish("1.1");
    workshop.good("promote 1.0 --to beta --soak 0s");
    workshop.good("promote 1.0 --to stable --soak 0s");
    workshop.good("promote 1.1 --to beta --soak 0s");
    assert_eq!(workshop.versions("alpha"), ["1.1", "1.0"]);
    assert_eq!(workshop.versions("beta"), ["1.1", "1.0"]);
    assert_eq!(workshop.versions("stable"), ["1.0"]);
    let good = workshop.good("verify");
    assert!(good.starts_with("good: metadata, rules and 34 files"), "{good}");
    let offered = workshop.client().update(&workshop.repository()).unwrap();
    assert_eq!(offered, [vec!["1.0", "1.1"], vec!["1.0", "1.1"], vec!["1.0"]]);
    // What is the same is stored once.
    let root = fs::read_dir(workshop.repository().join("targets/stable")).unwrap();
    assert!(root.map(|file| file.unwrap().metadata().unwrap()).all(|file| file.nlink() == 3));
}

#[test]
fn what_would_break_the_order_is_refused() {
    let workshop = Workshop::with_repository();
    for version in ["1.0", "1.1", "1.2"] {
        workshop.publish(version);
    }
    workshop.good("promote 1.1 --to beta --soak 0s");
    workshop.release("0.9", b"old", &[]);
    workshop.release("2.0", b"new", &[]);
    let cases = [
        ("publish release-0.9", "alpha carries 1.2 already: a channel never goes back to 0.9"),
        ("publish release-1.2", "alpha carries 1.2 already"),
        ("publish release-2.0 --channel beta", "a release enters at alpha, not at beta"),
        ("publish release-2.0 --channel stable", "a release enters at alpha, not at stable"),
        ("promote 1.2 --to stable --soak 0s", "1.2 is not in beta, so it cannot go to stable"),
        ("promote 1.0 --to beta --soak 0s", "beta carries 1.1 already: a channel never goes back"),
        ("promote 1.1 --to beta --soak 0s", "beta carries 1.1 already"),
        ("promote 1.2 --to alpha", "alpha is where releases begin"),
        ("promote 1.2 --to beta", "less than the 1d that --soak asks for"),
        ("promote 7.0 --to beta", "7.0 is not in alpha"),
        ("rollout 7.0 --over 1h", "no channel carries 7.0"),
        ("rollout 1.1 --over 1h", "1.1 is in alpha and beta: name one with --channel"),
        ("rollout 1.2 --over 1h --channel stable", "stable does not carry 1.2"),
        ("halt 7.0", "no channel carries 7.0"),
        ("halt 1.2 --channel beta", "beta does not carry 1.2"),
        ("diff 1.0 7.0", "no channel carries 7.0"),
    ];
    let before = workshop.status();
    for (arguments, message) in cases {
        let error = workshop.bad(arguments);
        assert!(error.contains(message), "{arguments}: {error}");
        assert_eq!(error.lines().count(), 1, "{error}");
    }
    let after = workshop.status();
    assert_eq!(before["channels"], after["channels"]);
    assert_eq!(before["roles"], after["roles"]);
    workshop.good("verify");
}

#[test]
fn a_halted_release_is_not_promoted_until_it_may_go_on() {
    let workshop = Workshop::with_repository();
    workshop.publish("1.0");
    let told = workshop.run_arguments(&["halt", "1.0", "--reason", "it eats disks"]);
    assert!(told.stdout.contains("1.0 in alpha: halted since 2"), "{told:?}");
    assert!(workshop.good("status").contains(": it eats disks"));
    assert!(workshop.bad("promote 1.0 --to beta --soak 0s").contains("1.0 is halted in alpha"));
    assert_eq!(workshop.good("halt 1.0 --undo"), "1.0 in alpha: all machines\n");
    workshop.good("promote 1.0 --to beta --soak 0s");
    workshop.good("halt 1.0");
    let status = workshop.status();
    for channel in 0..2 {
        assert_eq!(status["channels"][channel]["releases"][0]["share"], 0);
    }
}

/// The custom data of a release in a channel's newest metadata.
fn custom(workshop: &Workshop, channel: &str, version: &str) -> Value {
    let metadata = workshop.repository().join("metadata");
    let read = |file: String| -> Value {
        serde_json::from_slice(&fs::read(metadata.join(file)).unwrap()).unwrap()
    };
    let status = workshop.status();
    let roles = status["roles"].as_array().unwrap();
    let role = roles.iter().find(|role| role["name"] == channel).unwrap();
    let targets = read(format!("{}.{channel}.json", role["version"]));
    let path = format!("{channel}/coreos_{version}.manifest.json");
    targets["signed"]["targets"][path]["custom"]["release"].clone()
}

#[test]
fn what_machines_need_to_know_is_signed_with_the_release() {
    let workshop = Workshop::with_repository();
    let directory = workshop.release("1.0", b"abc", &[]);
    let manifest = fs::read(directory.join("coreos_1.0.manifest.json")).unwrap();
    let manifest: Value = serde_json::from_slice(&manifest).unwrap();
    workshop.good(
        "publish release-1.0 --epoch 3 --min-version 0.5 --over 24h --percent 50 \
         --start 2030-01-01T08:00:00Z",
    );
    let release = custom(&workshop, "alpha", "1.0");
    assert_eq!(release["sequence"], 1);
    assert_eq!(release["epoch"], 3);
    assert_eq!(release["min_version"], "0.5");
    assert_eq!(release["root_hash"], manifest["root_hash"]);
    let rollout = json!({"start": "2030-01-01T08:00:00Z", "over": 86400, "percent": 50});
    assert_eq!(release["rollout"], rollout);
    assert!(release.get("halted").is_none());

    // The next one keeps the epoch; a lower one is refused.
    workshop.publish("1.1");
    assert_eq!(custom(&workshop, "alpha", "1.1")["epoch"], 3);
    assert_eq!(custom(&workshop, "alpha", "1.1")["sequence"], 2);
    workshop.release("1.2", b"x", &[]);
    let error = workshop.bad("publish release-1.2 --epoch 2");
    assert!(error.contains("alpha is at security epoch 3: it never goes back to 2"), "{error}");

    // A roll-out belongs to one channel, and ends when it is told to.
    workshop.good("promote 1.0 --to beta --soak 0s --over 2h --start +1h");
    assert_eq!(custom(&workshop, "beta", "1.0")["rollout"]["over"], 7200);
    assert_eq!(custom(&workshop, "alpha", "1.0")["rollout"], rollout);
    workshop.good("rollout 1.0 --channel beta --everyone");
    assert!(custom(&workshop, "beta", "1.0").get("rollout").is_none());
    let told = workshop.good("rollout 1.1 --over 10h --percent 20");
    assert!(told.starts_with("1.1 in alpha: 0 % of machines now, 20 % by "), "{told}");
}

#[test]
fn only_a_release_that_is_what_its_manifest_says_is_published() {
    let workshop = Workshop::with_repository();
    type Damage = fn(&std::path::Path);
    let edit = |directory: &std::path::Path, change: &dyn Fn(&mut Value)| {
        let path = directory.join("coreos_1.0.manifest.json");
        let mut manifest = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        change(&mut manifest);
        fs::write(&path, serde_json::to_vec(&manifest).unwrap()).unwrap();
    };
    let files: [(Damage, &str); 5] = [
        (|d| fs::write(d.join("coreos_1.0.root"), "x").unwrap(), "coreos_1.0.root is not the file"),
        (
            |d| fs::remove_file(d.join("coreos_1.0.efi")).unwrap(),
            "cannot read release-1.0/coreos_1.0.efi",
        ),
        (|d| fs::remove_file(d.join("coreos_1.0.manifest.json")).unwrap(), "0 files in it end in"),
        (|d| fs::write(d.join("b.manifest.json"), "x").unwrap(), "2 files in it end in"),
        (
            |d| fs::write(d.join("coreos_1.0.manifest.json"), "{}").unwrap(),
            "its manifest cannot be read",
        ),
    ];
    for (damage, message) in files {
        let directory = workshop.release("1.0", b"abc", &[]);
        damage(&directory);
        let error = workshop.bad("publish release-1.0");
        assert!(error.contains(message), "{error}");
        fs::remove_dir_all(directory).unwrap();
    }
    type Change<'a> = &'a dyn Fn(&mut Value);
    let manifests: [(Change<'_>, &str); 7] = [
        (&|m| m["version"] = json!("../1"), "`../1` is not a version"),
        (&|m| m["version"] = json!("1.1"), "must be named coreos_1.1.manifest.json"),
        (&|m| m["root_hash"] = json!("00"), "`00` is not a root hash"),
        (&|m| m["root_hash"] = json!("00".repeat(32)), "the root hash is "),
        (&|m| m["parts"]["root"]["file"] = json!("../x"), "another name for coreos_1.0.root"),
        (&|m| m["parts"]["uki"] = m["parts"]["root"].clone(), "another name for coreos_1.0.efi"),
        (
            &|m| {
                m["parts"].as_object_mut().unwrap().remove("verity");
            },
            "does not speak of coreos_1.0.verity",
        ),
    ];
    for (change, message) in manifests {
        let directory = workshop.release("1.0", b"abc", &[]);
        edit(&directory, change);
        let error = workshop.bad("publish release-1.0");
        assert!(error.contains(message), "{error}");
    }
    assert!(workshop.bad("publish nowhere").contains("cannot read nowhere"));
    assert!(workshop.versions("alpha").is_empty());
    // Packages as a list are read, too.
    let directory = workshop.release("1.0", b"abc", &[]);
    edit(&directory, &|m| m["packages"] = json!([{"name": "bash", "version": "5"}]));
    workshop.good("publish release-1.0");
}

#[test]
fn differences_are_packages_sizes_and_what_is_fetched() {
    let workshop = Workshop::with_repository();
    workshop.release("1.0", &[1, 2, 3, 4], &[("bash", "5.2"), ("old", "1"), ("same", "1")]);
    workshop.release("1.1", &[1, 2, 9, 4, 1, 9], &[("bash", "5.3"), ("new", "2"), ("same", "1")]);
    workshop.good("publish release-1.0");
    workshop.good("publish release-1.1");
    let told = workshop.good("diff 1.0 1.1");
    for line in [
        "1.0 -> 1.1: packages: 1 changed, 1 added, 1 removed",
        "  bash 5.2 -> 5.3",
        "  + new 2",
        "  - old 1",
        "new blocks        4.0 KiB",
        "a machine on 1.0 fetches, of ",
        "  by the patch   ",
    ] {
        assert!(told.contains(line), "{told}");
    }
    let value: Value = serde_json::from_str(&workshop.good("diff 1.0 1.1 --json")).unwrap();
    assert_eq!(value["new_blocks"], 4096);
    assert_eq!(value["sizes"]["root"], json!([4 * 4096, 6 * 4096]));
    // The patch is what is in the repository; frames are those with something new.
    let size = |name: &str| {
        let mut files = fs::read_dir(workshop.repository().join("targets/alpha")).unwrap();
        let file = files.find_map(|file| {
            let file = file.unwrap();
            file.file_name().to_str().unwrap().ends_with(name).then(|| file.metadata().unwrap())
        });
        file.unwrap().len()
    };
    let patch = size("1.1.from_1.0.root.patch") + size("1.1.from_1.0.efi.patch");
    assert_eq!(value["patch"], patch);
    let full = size("1.1.root.zst") + size("1.1.efi.zst");
    assert_eq!(value["full"], full);
    assert_eq!(value["frames"], full + 2 * 4096);
    let same: Value = serde_json::from_str(&workshop.good("diff 1.1 1.1 --json")).unwrap();
    assert_eq!(same["new_blocks"], 0);
    assert_eq!(same["patch"], Value::Null);
    // Without packs a machine fetches plain files.
    workshop.release("1.2", &[1], &[]);
    workshop.good("publish release-1.2 --no-packs");
    let plain: Value = serde_json::from_str(&workshop.good("diff 1.1 1.2 --json")).unwrap();
    assert_eq!((&plain["patch"], &plain["frames"]), (&Value::Null, &Value::Null));
    assert_eq!(plain["full"], 2 * 4096 + "a kernel for 1.2".len());
    assert!(workshop.good("diff 1.1 1.2").contains("by the patch   there is none for this step"));
}

#[test]
fn mistakes_on_the_command_line_are_told_in_one_line() {
    let workshop = Workshop::new();
    for arguments in [
        "status",
        "publish x",
        "refresh",
        "verify",
        "keys rotate alpha",
        "root renew",
        "serve repository",
    ] {
        let error = workshop.bad(arguments);
        if arguments != "publish x" {
            assert!(error.contains("no repository in repository: make one with"), "{error}");
        }
    }
    workshop.good("init --no-passphrase");
    let cases = [
        ("init", 1, "there is a repository in repository already"),
        ("--keys repository/keys --repository repository init", 1, "would be served"),
        ("keys new chief", 1, "`chief` is no role"),
        ("keys new alpha --keys repository/metadata", 1, "would be served"),
        ("keys rotate alpha --with nothing", 1, "no key nothing in keys"),
        ("keys rotate root --no-passphrase", 1, "root has 3 keys: say which one with --replace"),
        ("root threshold 4", 1, "4 of 3 keys cannot sign for root"),
        ("root threshold 0", 1, "0 of 3 keys cannot sign for root"),
        ("root export x", 1, "no root waits for signatures"),
        ("root import x", 1, "no root waits for signatures"),
        ("root sign x --key y", 1, "cannot read x"),
        ("refresh --lifetime timestamp=0s", 2, "must be good for some time"),
        ("refresh --lifetime all=1d", 2, "`all` is none of"),
        ("publish x --channel edge", 2, "`edge` is no channel: use alpha, beta or stable"),
        ("promote 1 --to beta --soak 5", 2, "`5` is not a span of time"),
        ("rollout 1", 2, "--over"),
        ("rollout 1 --over 1h --start noon", 2, "`noon` is not a time"),
        ("rollout 1 --over 1h --percent 101", 2, "101 is not in 1..=100"),
        ("halt 1/2", 2, "is not a version"),
        ("serve repository --listen nowhere", 2, "invalid socket address"),
        ("serve repository --listen 192.0.2.1:1", 1, "cannot listen on 192.0.2.1:1"),
    ];
    for (arguments, code, message) in cases {
        let told = workshop.run(arguments);
        assert_eq!(told.code, code, "{arguments}: {told:?}");
        assert!(told.stderr.contains(message), "{arguments}: {told:?}");
    }
}

#[test]
fn a_damaged_repository_is_told_and_not_built_upon() {
    let workshop = Workshop::with_repository();
    workshop.publish("1.0");
    let metadata = workshop.repository().join("metadata");
    let damage = |file: &str, content: &[u8], message: &str| {
        let path = metadata.join(file);
        let before = fs::read(&path).unwrap();
        fs::write(&path, content).unwrap();
        for command in ["verify", "refresh", "publish release-1.0"] {
            let error = workshop.bad(command);
            assert!(error.contains(message), "{command}: {error}");
        }
        fs::write(&path, before).unwrap();
        workshop.good("verify");
    };
    let timestamp = fs::read_to_string(metadata.join("timestamp.json")).unwrap();
    damage("timestamp.json", b"{}", "timestamp.json is malformed");
    damage("timestamp.json", &timestamp.as_bytes()[..100], "timestamp.json is malformed");
    let forged = timestamp.replace("\"version\": 2", "\"version\": 3");
    assert_ne!(forged, timestamp);
    damage("timestamp.json", forged.as_bytes(), "timestamp.json cannot be trusted");
    damage("2.snapshot.json", b"{}", "2.snapshot.json does not have the hash");
    damage("2.alpha.json", b"{}", "2.alpha.json does not have the hash");
    damage("1.root.json", timestamp.as_bytes(), "1.root.json is malformed");
    fs::remove_file(metadata.join("2.alpha.json")).unwrap();
    assert!(workshop.bad("status").contains("the repository is incomplete: no 2.alpha.json"));
}

#[test]
fn verify_reads_every_byte_and_knows_what_does_not_belong() {
    let workshop = Workshop::with_repository();
    workshop.publish("1.0");
    let targets = workshop.repository().join("targets");
    fs::write(targets.join("alpha/stray"), "x").unwrap();
    let told = workshop.run("verify");
    assert_eq!(told.code, 0, "{told:?}");
    assert!(told.stdout.contains("warning: no channel speaks of targets/alpha/stray"), "{told:?}");
    fs::write(workshop.repository().join("metadata/root.key"), "x").unwrap();
    let root = fs::read_dir(targets.join("alpha")).unwrap();
    let root = root.map(|file| file.unwrap().path());
    let root =
        root.filter(|path| path.extension().is_some_and(|end| end == "root")).last().unwrap();
    let mut bytes = fs::read(&root).unwrap();
    bytes[5000] ^= 1;
    fs::write(&root, bytes).unwrap();
    let told = workshop.run("verify");
    assert_eq!(told.code, 1, "{told:?}");
    for line in [
        "error: metadata/root.key looks like a private key, and would be served",
        "error: alpha/coreos_1.0.root: not the hash that is signed for it",
    ] {
        assert!(told.stdout.contains(line), "{told:?}");
    }
    // What rotted is not carried on to the next channel.
    let error = workshop.bad("promote 1.0 --to beta --soak 0s");
    assert!(error.contains("changed while it was read, or is damaged"), "{error}");
    assert!(workshop.versions("beta").is_empty());
}

#[test]
fn signatures_are_renewed_before_they_expire() {
    let workshop = Workshop::with_repository();
    let version = |role: &str| {
        let status = workshop.status();
        let roles = status["roles"].as_array().unwrap().clone();
        roles.iter().find(|view| view["name"] == role).unwrap()["version"].as_u64().unwrap()
    };
    let told = workshop.good("refresh");
    assert!(told.starts_with("signed the timestamp: good until "), "{told}");
    assert_eq!((version("timestamp"), version("snapshot"), version("alpha")), (2, 1, 1));
    // With longer lifetimes the present signatures are more than half over.
    let told = workshop
        .good("refresh --lifetime snapshot=100d --lifetime channel=900d --lifetime root=9000d");
    assert!(
        told.starts_with("signed the timestamp, and alpha, beta, stable, snapshot: good"),
        "{told}"
    );
    assert!(told.contains("root expires at "), "{told}");
    assert_eq!((version("timestamp"), version("snapshot"), version("alpha")), (3, 2, 2));
    workshop.good("refresh --all");
    assert_eq!((version("targets"), version("stable"), version("root")), (2, 3, 1));

    // A key that needs a passphrase is not asked for by the way, but the expiry is told.
    fs::write(workshop.path("passphrase"), "secret\n").unwrap();
    workshop.good("keys rotate alpha --passphrase-file passphrase");
    let told = workshop.good("refresh --lifetime channel=900d");
    assert!(told.contains("signed the timestamp, and beta, stable: good"), "{told}");
    assert!(told.contains("alpha expires at "), "{told}");
    assert!(told.contains("`channels refresh --all`"), "{told}");
    let error = workshop.bad("refresh --all");
    assert!(error.contains("no passphrase for alpha-"), "{error}");
    workshop.good("refresh --all --passphrase-file passphrase");
    fs::write(workshop.path("wrong"), "wrong\n").unwrap();
    let error = workshop.bad("refresh --all --passphrase-file wrong");
    assert!(error.contains("caused by: wrong passphrase"), "{error}");
    workshop.good("verify");
}
