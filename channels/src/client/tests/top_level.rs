//! 5.4 to 5.6: timestamp, snapshot and targets.

use super::refusal;
use crate::client::{self, Limits, Settings};
use crate::fixture::{NOW, Repo, day};
use crate::metadata::{Hashes, SNAPSHOT_FILE};

/// What a test does to a repository that a client has seen in its first version; then the client
/// asks again.
type Attack = fn(&mut Repo);

/// Runs the attacks: name, what is done, what the client says, the versions that it then trusts.
fn run(cases: &[(&str, Attack, &str, [u64; 4])]) {
    for (name, attack, message, versions) in cases {
        let mut repo = Repo::new();
        let store = repo.new_store();
        repo.update(&store).unwrap();
        attack(&mut repo);
        let error = refusal(repo.update(&store));
        assert!(error.contains(message), "{name}: {error}");
        assert_eq!(store.versions(), *versions, "{name}");
    }
}

#[test]
fn an_honest_repository_is_trusted_and_not_fetched_twice() {
    for hashes in [false, true] {
        let mut repo = Repo::new();
        repo.hashes = hashes;
        repo.publish(&["targets", "snapshot", "timestamp"]);
        let store = repo.new_store();
        repo.update(&store).unwrap();
        assert_eq!(store.versions(), [1, 2, 2, 2]);
        let all = ["2.root.json", "timestamp.json", "2.snapshot.json", "2.targets.json"];
        assert_eq!(*repo.requests.borrow(), all);
        repo.requests.borrow_mut().clear();
        repo.update(&store).unwrap();
        assert_eq!(*repo.requests.borrow(), all[..2]);
    }
}

#[test]
fn without_consistent_snapshots_names_have_no_versions() {
    let mut repo = Repo::new();
    repo.root.consistent_snapshot = false;
    repo.publish(&["root", "targets", "snapshot", "timestamp"]);
    let store = repo.new_store();
    repo.update(&store).unwrap();
    let requests = repo.requests.borrow();
    assert_eq!(requests[2..], ["timestamp.json", "snapshot.json", "targets.json"]);
}

#[test]
fn arbitrary_software_is_refused_whoever_else_signed_it() {
    run(&[
        (
            "timestamp",
            |repo| {
                repo.sign_by("timestamp", &[1, 3, 4, 9]);
                repo.publish(&["timestamp"]);
            },
            "timestamp.json cannot be trusted: signed by 0 of the 1 keys",
            [1, 1, 1, 1],
        ),
        (
            "snapshot",
            |repo| {
                repo.sign_by("snapshot", &[1, 2, 4, 9]);
                repo.publish(&["snapshot", "timestamp"]);
            },
            "2.snapshot.json cannot be trusted",
            [1, 2, 1, 1],
        ),
        (
            "targets",
            |repo| {
                repo.sign_by("targets", &[1, 2, 3, 9]);
                repo.publish(&["targets", "snapshot", "timestamp"]);
            },
            "2.targets.json cannot be trusted",
            [1, 2, 2, 1],
        ),
        (
            "a threshold of two",
            |repo| {
                repo.set_keys("snapshot", &[3, 8], 2);
                repo.sign_by("snapshot", &[3]);
                repo.publish(&["root", "snapshot", "timestamp"]);
            },
            "signed by 1 of the 2 keys that the role snapshot needs",
            [2, 2, 1, 1],
        ),
        (
            "changed after signing",
            |repo| {
                repo.publish(&["timestamp"]);
                let bytes = repo.files["Metadata/timestamp.json"].clone();
                let text =
                    String::from_utf8(bytes).unwrap().replace("\"version\": 2", "\"version\": 3");
                repo.put("timestamp.json", text.into_bytes());
            },
            "timestamp.json cannot be trusted",
            [1, 1, 1, 1],
        ),
    ]);
}

#[test]
fn signatures_of_one_key_are_counted_once() {
    let mut repo = Repo::new();
    let store = repo.new_store();
    // The same key under a second id, and twice in the list.
    let key = repo.signers["snapshot"][0].clone();
    repo.root.keys.insert("alias".to_owned(), key.public());
    let role = repo.root.roles.get_mut("snapshot").unwrap();
    role.keyids = vec![key.id(), "alias".to_owned(), key.id()];
    role.threshold = 2;
    repo.publish(&["root", "snapshot", "timestamp"]);
    let mut file: serde_json::Value =
        serde_json::from_slice(&repo.files["Metadata/2.snapshot.json"]).unwrap();
    let mut twin = file["signatures"][0].clone();
    let signatures = file["signatures"].as_array_mut().unwrap();
    signatures.push(twin.clone());
    repo.put("2.snapshot.json", serde_json::to_vec(&file).unwrap());
    let error = refusal(repo.update(&store));
    assert!(error.contains("2.snapshot.json is malformed: two signatures of the key"), "{error}");

    twin["keyid"] = "alias".into();
    file["signatures"][1] = twin;
    repo.put("2.snapshot.json", serde_json::to_vec(&file).unwrap());
    let error = refusal(repo.update(&store));
    assert!(error.contains("signed by 1 of the 2 keys"), "{error}");
}

#[test]
fn rollbacks_are_refused_for_every_role() {
    let mut repo = Repo::new();
    let store = repo.new_store();
    let first = repo.files["Metadata/timestamp.json"].clone();
    repo.publish(&["targets", "snapshot", "timestamp"]);
    repo.update(&store).unwrap();
    assert_eq!(store.versions(), [1, 2, 2, 2]);

    repo.put("timestamp.json", first);
    let error = refusal(repo.update(&store));
    assert_eq!(error, "timestamp.json is version 1, older than version 2 that was seen before");

    repo.snapshot.version = 0;
    repo.publish(&["snapshot", "timestamp"]);
    let error = refusal(repo.update(&store));
    assert_eq!(error, "snapshot.json is version 1, older than version 2 that was seen before");
    assert_eq!(store.versions(), [1, 2, 2, 2]);

    repo.snapshot.version = 2;
    repo.role("targets").version = 0;
    repo.publish(&["targets", "snapshot", "timestamp"]);
    let error = refusal(repo.update(&store));
    assert_eq!(error, "targets.json is version 1, older than version 2 that was seen before");
    assert_eq!(store.versions(), [1, 4, 2, 2]);
}

#[test]
fn roles_do_not_vanish_from_snapshots() {
    let mut repo = Repo::new();
    repo.delegate("targets", "alpha", 10, &["alpha/*"]);
    repo.publish(&["targets", "snapshot", "timestamp"]);
    let store = repo.new_store();
    repo.update(&store).unwrap();
    repo.snapshot.meta.remove("alpha.json");
    repo.publish(&["snapshot", "timestamp"]);
    let error = refusal(repo.update(&store));
    assert_eq!(error, "alpha.json was in an earlier snapshot and is not in this one");
    assert_eq!(store.version("snapshot"), Some(2));
}

#[test]
fn a_timestamp_of_the_same_version_changes_nothing() {
    let mut repo = Repo::new();
    let store = repo.new_store();
    repo.update(&store).unwrap();
    repo.publish(&["snapshot"]);
    repo.timestamp.version = 0;
    repo.publish(&["timestamp"]);
    repo.update(&store).unwrap();
    assert_eq!(store.versions(), [1, 1, 1, 1]);
}

#[test]
fn a_frozen_repository_is_noticed_when_it_expires() {
    run(&[
        (
            "timestamp",
            |repo| {
                repo.timestamp.expires = day(-1);
                repo.publish(&["timestamp"]);
            },
            "timestamp.json expired at",
            [1, 1, 1, 1],
        ),
        (
            "timestamp, in this second",
            |repo| {
                repo.timestamp.expires = NOW;
                repo.publish(&["timestamp"]);
            },
            "timestamp.json expired at",
            [1, 1, 1, 1],
        ),
        (
            "snapshot",
            |repo| {
                repo.snapshot.expires = day(-1);
                repo.publish(&["snapshot", "timestamp"]);
            },
            "snapshot.json expired at",
            [1, 2, 1, 1],
        ),
        (
            "targets",
            |repo| {
                repo.role("targets").expires = day(-1);
                repo.publish(&["targets", "snapshot", "timestamp"]);
            },
            "targets.json expired at",
            [1, 2, 2, 1],
        ),
    ]);
    // Nothing new at all: what was good has expired meanwhile.
    let repo = Repo::new();
    let store = repo.new_store();
    repo.update(&store).unwrap();
    let error = refusal(client::update(&repo, &store, &Settings::default(), day(31)));
    assert!(error.starts_with("root.json expired at"), "{error}");
}

#[test]
fn an_expired_timestamp_seen_before_is_not_good_again() {
    let mut repo = Repo::new();
    repo.timestamp.expires = day(2);
    repo.publish(&["timestamp"]);
    let store = repo.new_store();
    repo.update(&store).unwrap();
    let error = refusal(client::update(&repo, &store, &Settings::default(), day(3)));
    assert!(error.starts_with("timestamp.json expired at"), "{error}");
    repo.timestamp.expires = day(9);
    repo.publish(&["timestamp"]);
    client::update(&repo, &store, &Settings::default(), day(3)).unwrap();
}

#[test]
fn files_that_do_not_belong_together_are_refused() {
    run(&[
        (
            "a snapshot of another version than its name",
            |repo| {
                repo.publish(&["snapshot", "timestamp"]);
                let old = repo.files["Metadata/1.snapshot.json"].clone();
                repo.put("2.snapshot.json", old);
            },
            "2.snapshot.json is version 1, not 2",
            [1, 2, 1, 1],
        ),
        (
            "targets of another version",
            |repo| {
                repo.publish(&["targets", "snapshot", "timestamp"]);
                let old = repo.files["Metadata/1.targets.json"].clone();
                repo.put("2.targets.json", old);
            },
            "2.targets.json is version 1, not 2",
            [1, 2, 2, 1],
        ),
        (
            "another snapshot of the same version",
            |repo| {
                repo.hashes = true;
                repo.publish(&["targets", "snapshot", "timestamp"]);
                repo.snapshot.version = 1;
                repo.snapshot.expires = day(29);
                let timestamp = repo.timestamp.clone();
                repo.publish(&["snapshot"]);
                repo.timestamp = timestamp;
            },
            "2.snapshot.json does not have the hash",
            [1, 2, 1, 1],
        ),
        (
            "other targets of the same version",
            |repo| {
                repo.hashes = true;
                repo.publish(&["targets", "snapshot", "timestamp"]);
                repo.role("targets").version = 1;
                repo.role("targets").expires = day(29);
                repo.publish(&["targets"]);
            },
            "2.targets.json does not have the hash",
            [1, 2, 2, 1],
        ),
        (
            "a timestamp in the place of a snapshot",
            |repo| {
                repo.publish(&["snapshot", "timestamp"]);
                let timestamp = repo.files["Metadata/timestamp.json"].clone();
                repo.put("2.snapshot.json", timestamp);
            },
            "the role snapshot was expected, not of `timestamp`",
            [1, 2, 1, 1],
        ),
        (
            "a shorter file",
            |repo| {
                repo.hashes = true;
                repo.publish(&["targets", "snapshot"]);
                let listed = repo.timestamp.meta.get_mut(SNAPSHOT_FILE).unwrap();
                listed.length = listed.length.map(|length| length + 1);
                repo.publish(&["timestamp"]);
            },
            "2.snapshot.json does not have the",
            [1, 2, 1, 1],
        ),
    ]);
}

#[test]
fn a_file_that_is_missing_stops_the_update_there() {
    run(&[
        (
            "timestamp",
            |repo| {
                repo.files.remove("Metadata/timestamp.json");
            },
            "the repository has no timestamp.json",
            [1, 1, 1, 1],
        ),
        (
            "snapshot",
            |repo| {
                repo.publish(&["snapshot", "timestamp"]);
                repo.files.remove("Metadata/2.snapshot.json");
            },
            "the repository has no 2.snapshot.json",
            [1, 2, 1, 1],
        ),
        (
            "targets",
            |repo| {
                repo.publish(&["targets", "snapshot", "timestamp"]);
                repo.files.remove("Metadata/2.targets.json");
            },
            "the repository has no 2.targets.json",
            [1, 2, 2, 1],
        ),
    ]);
}

#[test]
fn endless_data_is_cut_off_by_the_signed_or_the_general_length() {
    run(&[
        (
            "root",
            |repo| repo.put("2.root.json", vec![b' '; (512 << 10) + 1]),
            "2.root.json is larger than 524288 bytes",
            [1, 1, 1, 1],
        ),
        (
            "timestamp",
            |repo| repo.put("timestamp.json", vec![b' '; (16 << 10) + 1]),
            "timestamp.json is larger than 16384 bytes",
            [1, 1, 1, 1],
        ),
        (
            "snapshot by its signed length",
            |repo| {
                repo.hashes = true;
                repo.publish(&["targets", "snapshot", "timestamp"]);
                repo.files.get_mut("Metadata/2.snapshot.json").unwrap().push(b' ');
            },
            "2.snapshot.json is larger than",
            [1, 2, 1, 1],
        ),
        (
            "targets by their signed length",
            |repo| {
                repo.hashes = true;
                repo.publish(&["targets", "snapshot", "timestamp"]);
                repo.files.get_mut("Metadata/2.targets.json").unwrap().push(b' ');
            },
            "2.targets.json is larger than",
            [1, 2, 2, 1],
        ),
    ]);
    let mut repo = Repo::new();
    repo.publish(&["targets", "snapshot", "timestamp"]);
    let limits = Limits { snapshot: 10, ..Limits::default() };
    let settings = Settings { limits, ..Settings::default() };
    let error = refusal(client::update(&repo, &repo.new_store(), &settings, NOW));
    assert_eq!(error, "2.snapshot.json is larger than 10 bytes");
}

#[test]
fn a_hash_that_nobody_can_compute_is_none() {
    let mut repo = Repo::new();
    let unknown: Hashes = serde_json::from_str(r#"{"blake3": "00"}"#).unwrap();
    repo.timestamp.meta.get_mut(SNAPSHOT_FILE).unwrap().hashes = Some(unknown);
    repo.publish(&["timestamp"]);
    let error = refusal(repo.update(&repo.new_store()));
    assert_eq!(error, "1.snapshot.json does not have the hash that is signed for it");
}
