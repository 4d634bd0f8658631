//! What a client remembers: rotation, lost and damaged stores, wrong clocks, power cuts.

use super::refusal;
use crate::client::{self, Floor, Settings};
use crate::fixture::{MemoryStore, NOW, Repo, day};
use crate::store::Store;

#[test]
fn a_repository_recovers_from_versions_that_an_attacker_raised() {
    // Which roles get new keys, which versions start again from 1.
    let cases: [(&[&str], &[&str]); 3] = [
        (&["timestamp"], &["timestamp"]),
        (&["timestamp", "snapshot"], &["timestamp", "snapshot"]),
        (&["snapshot"], &["targets"]),
    ];
    for (rotated, reset) in cases {
        for with_floor in [false, true] {
            let mut repo = Repo::new();
            repo.timestamp.version = 100;
            repo.snapshot.version = 100;
            repo.role("targets").version = 100;
            repo.publish(&["targets", "snapshot", "timestamp"]);
            let store = repo.new_store();
            let mut floor = repo.update(&store).unwrap().floor().clone();
            if !with_floor {
                floor = Floor::default();
            }
            for (seed, role) in (50..).zip(rotated) {
                repo.set_keys(role, &[seed], 1);
            }
            for role in reset {
                match *role {
                    "timestamp" => repo.timestamp.version = 0,
                    "snapshot" => repo.snapshot.version = 0,
                    role => repo.role(role).version = 0,
                }
            }
            repo.publish(&["root", "targets", "snapshot", "timestamp"]);
            let settings = Settings { floor, ..Settings::default() };
            client::update(&repo, &store, &settings, NOW).unwrap();
            for role in reset {
                assert_eq!(store.version(role), Some(1), "{rotated:?}");
            }
        }
    }
}

#[test]
fn a_new_key_beside_the_old_one_forgets_nothing() {
    let mut repo = Repo::new();
    repo.publish(&["timestamp"]);
    let store = repo.new_store();
    repo.update(&store).unwrap();
    repo.set_keys("timestamp", &[2, 50], 1);
    repo.timestamp.version = 0;
    repo.publish(&["root", "timestamp"]);
    let error = refusal(repo.update(&store));
    assert_eq!(error, "timestamp.json is version 1, older than version 2 that was seen before");
}

fn damage_all_but_root(store: &MemoryStore, damage: fn(&mut Vec<u8>)) {
    let mut files = store.files.borrow_mut();
    files.iter_mut().filter(|(role, _)| *role != "root").for_each(|(_, bytes)| damage(bytes));
}

#[test]
fn the_floor_holds_when_the_store_is_lost_or_damaged() {
    let mut repo = Repo::new();
    let old = repo.files.clone();
    repo.publish(&["root", "targets", "snapshot", "timestamp"]);
    let store = repo.new_store();
    let floor = repo.update(&store).unwrap().floor().clone();
    let kept = serde_json::to_string(&floor).unwrap();
    let settings = Settings { floor: serde_json::from_str(&kept).unwrap(), ..Settings::default() };

    // Files of the first versions, under the names that the client asks for.
    let (first_timestamp, root) = (old["Metadata/timestamp.json"].clone(), "Metadata/2.root.json");
    let ways: [fn(&MemoryStore); 3] = [
        |store| store.files.borrow_mut().retain(|role, _| role == "root"),
        |store| damage_all_but_root(store, |bytes| bytes.truncate(20)),
        |store| damage_all_but_root(store, |bytes| bytes.fill(0)),
    ];
    for damage in ways {
        let store = repo.new_store();
        repo.update(&store).unwrap();
        damage(&store);
        let mut replay = Repo { files: repo.files.clone(), ..Repo::new() };
        replay.put("timestamp.json", first_timestamp.clone());
        let error = refusal(client::update(&replay, &store, &settings, NOW));
        assert_eq!(error, "timestamp.json is version 1, older than version 2 that was seen before");
        // The repository as it is gets the client going again.
        client::update(&repo, &store, &settings, NOW).unwrap();
        assert_eq!(store.versions(), [2, 2, 2, 2]);
    }
    // The root too: a mirror cannot hide the newer one.
    let mut replay = Repo { files: repo.files.clone(), ..Repo::new() };
    replay.files.remove(root);
    let error = refusal(client::update(&replay, &repo.new_store(), &settings, NOW));
    assert_eq!(error, "root.json is version 1, older than version 2 that was seen before");
}

#[test]
fn the_floor_covers_the_snapshot_and_what_it_lists() {
    let mut repo = Repo::new();
    repo.publish(&["targets", "snapshot", "timestamp"]);
    let floor = repo.update(&repo.new_store()).unwrap().floor().clone();
    let settings = Settings { floor, ..Settings::default() };
    repo.snapshot.version = 0;
    repo.publish(&["snapshot", "timestamp"]);
    let error = refusal(client::update(&repo, &repo.new_store(), &settings, NOW));
    assert!(error.starts_with("snapshot.json is version 1, older"), "{error}");
    repo.snapshot.version = 5;
    repo.role("targets").version = 0;
    repo.publish(&["targets", "snapshot", "timestamp"]);
    let error = refusal(client::update(&repo, &repo.new_store(), &settings, NOW));
    assert!(error.starts_with("targets.json is version 1, older"), "{error}");
}

#[test]
fn a_clock_that_is_behind_cannot_revive_what_expired() {
    let mut repo = Repo::new();
    repo.timestamp.expires = day(2);
    repo.publish(&["timestamp"]);
    repo.timestamp.issued = Some(day(10));
    repo.timestamp.expires = day(12);
    repo.publish(&["timestamp"]);
    let store = repo.new_store();
    let view = client::update(&repo, &store, &Settings::default(), day(10)).unwrap();
    let floor = view.floor().clone();

    // The clock falls back to a time before the machine was built, and does not wedge it.
    let view = client::update(&repo, &store, &Settings::default(), day(-9000)).unwrap();
    assert_eq!(view.now(), day(10));
    // Only the floor knows the time here, and what it was when this expired.
    repo.timestamp.expires = day(9);
    repo.publish(&["timestamp"]);
    let settings = Settings { floor, ..Settings::default() };
    let error = refusal(client::update(&repo, &repo.new_store(), &settings, day(-9000)));
    assert_eq!(error, format!("timestamp.json expired at {}, now is {}", day(9), day(10)));
}

#[test]
fn a_power_cut_at_any_write_leaves_a_client_that_goes_on() {
    let mut repo = Repo::new();
    let store = repo.new_store();
    repo.update(&store).unwrap();
    let before = store.files.borrow().clone();
    repo.set_keys("timestamp", &[50], 1);
    repo.set_keys("root", &[1, 51], 2);
    repo.sign_by("root", &[1, 51]);
    repo.publish(&["root", "root", "targets", "snapshot", "timestamp"]);
    let mut cuts = 0;
    loop {
        let store = MemoryStore::default();
        *store.files.borrow_mut() = before.clone();
        store.changes_left.set(Some(cuts));
        let cut = repo.update(&store).is_err();
        store.changes_left.set(None);
        repo.update(&store).unwrap();
        assert_eq!(store.versions(), [3, 2, 2, 2], "after {cuts} writes");
        if !cut {
            break;
        }
        cuts += 1;
    }
    assert_eq!(cuts, 7);
}

#[test]
fn what_is_stored_is_the_file_byte_for_byte() {
    let mut repo = Repo::new();
    let mut odd = repo.files["Metadata/timestamp.json"].clone();
    odd.extend(b"\n \n");
    repo.put("timestamp.json", odd.clone());
    let store = repo.new_store();
    repo.update(&store).unwrap();
    assert_eq!(store.load("timestamp").unwrap().unwrap(), odd);
}
