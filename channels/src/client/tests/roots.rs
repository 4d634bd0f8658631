//! 5.2 and 5.3: the chain of roots.

use super::refusal;
use crate::client::{self, Limits, Settings};
use crate::fixture::{MemoryStore, NOW, Repo, day};
use crate::metadata::signing_bytes;
use crate::store::Store;

#[test]
fn the_chain_is_followed_to_its_end_and_kept() {
    let mut repo = Repo::new();
    let store = repo.new_store();
    for _ in 0..3 {
        repo.publish(&["root"]);
    }
    repo.update(&store).unwrap();
    assert_eq!(store.versions(), [4, 1, 1, 1]);
    let wanted = ["2.root.json", "3.root.json", "4.root.json", "5.root.json", "timestamp.json"];
    assert_eq!(repo.requests.borrow()[..5], wanted);
    assert_eq!(store.load("root").unwrap().unwrap(), repo.files["Metadata/4.root.json"]);
}

#[test]
fn a_new_root_needs_the_old_keys_and_its_own() {
    // Seeds and threshold of the new root's role, who signs it, whether it is trusted.
    let cases: [(&[u8], u64, &[u8], bool); 10] = [
        (&[1], 1, &[1], true),
        (&[9], 1, &[1, 9], true),
        (&[9], 1, &[9], false),
        (&[9], 1, &[1], false),
        (&[1, 8, 9], 2, &[1, 9], true),
        (&[1, 8, 9], 2, &[1], false),
        (&[1, 8, 9], 2, &[8, 9], false),
        (&[1, 8], 3, &[1, 8], false),
        (&[9], 1, &[], false),
        (&[9], 1, &[3, 2], false),
    ];
    for (seeds, threshold, signers, trusted) in cases {
        let mut repo = Repo::new();
        let store = repo.new_store();
        repo.set_keys("root", seeds, threshold);
        repo.sign_by("root", signers);
        repo.publish(&["root"]);
        let result = repo.update(&store);
        if trusted {
            result.unwrap();
        } else {
            let error = refusal(result);
            assert!(error.starts_with("2.root.json cannot be trusted: signed by"), "{error}");
        }
        assert_eq!(store.version("root"), Some(if trusted { 2 } else { 1 }), "{signers:?}");
    }
}

#[test]
fn a_root_must_have_the_version_of_its_name() {
    for version in [1, 3, 7] {
        let mut repo = Repo::new();
        let store = repo.new_store();
        repo.root.version = version - 1;
        repo.publish(&["root"]);
        let served = repo.files[&format!("Metadata/{version}.root.json")].clone();
        repo.put("2.root.json", served);
        let error = refusal(repo.update(&store));
        assert_eq!(error, format!("2.root.json is version {version}, not 2"));
        assert_eq!(store.version("root"), Some(1));
    }
}

#[test]
fn expiry_counts_for_the_last_root_only() {
    let mut repo = Repo::new();
    repo.root.expires = day(-100);
    repo.root.version = 0;
    repo.publish(&["root"]);
    let store = repo.new_store();
    repo.publish(&["root"]);
    assert!(refusal(repo.update(&store)).starts_with("root.json expired at"));
    // It is kept all the same, so that the next update goes on from there.
    assert_eq!(store.versions(), [2, 0, 0, 0]);
    repo.root.expires = day(1);
    repo.publish(&["root"]);
    repo.update(&store).unwrap();
    assert_eq!(store.version("root"), Some(3));
    // The very second of the expiry is too late.
    repo.root.expires = NOW;
    repo.publish(&["root"]);
    assert!(refusal(repo.update(&store)).starts_with("root.json expired at"));
}

#[test]
fn the_number_of_new_roots_is_bounded() {
    let mut repo = Repo::new();
    for _ in 0..20 {
        repo.publish(&["root"]);
    }
    let store = repo.new_store();
    let limits = Limits { roots: 5, ..Limits::default() };
    let settings = Settings { limits, ..Settings::default() };
    client::update(&repo, &store, &settings, NOW).unwrap();
    assert_eq!(store.version("root"), Some(6));
    client::update(&repo, &store, &settings, NOW).unwrap();
    assert_eq!(store.version("root"), Some(11));
}

#[test]
fn the_first_root_is_checked_before_anything_is_fetched() {
    let repo = Repo::new();
    let mut unsigned = repo.files["Metadata/1.root.json"].clone();
    let at = unsigned.windows(4).position(|part| part == b"sig\"").unwrap() + 8;
    unsigned[at] = if unsigned[at] == b'0' { b'1' } else { b'0' };
    let cases = [
        (None, "no trusted root metadata"),
        (Some(b"{}".to_vec()), "root.json is malformed"),
        (Some(b"".to_vec()), "root.json is malformed"),
        (Some(repo.files["Metadata/timestamp.json"].clone()), "not of `timestamp`"),
        (Some(unsigned), "root.json cannot be trusted: signed by 0 of the 1 keys"),
    ];
    for (root, message) in cases {
        let store = MemoryStore::default();
        if let Some(root) = root {
            store.save("root", &root).unwrap();
        }
        let error = refusal(repo.update(&store));
        assert!(error.contains(message), "{error}");
    }
    assert!(repo.requests.borrow().is_empty());
}

#[test]
fn a_built_in_root_counts_if_the_store_has_none_newer() {
    let mut repo = Repo::new();
    let first = repo.files["Metadata/1.root.json"].clone();
    repo.publish(&["root"]);
    let second = repo.files["Metadata/2.root.json"].clone();
    let damaged = second[..second.len() / 2].to_vec();
    // What is stored, what is built in, which root is asked for first.
    let cases = [
        (None, &first, "2.root.json"),
        (None, &second, "3.root.json"),
        (Some(&first), &second, "3.root.json"),
        (Some(&second), &first, "3.root.json"),
        (Some(&damaged), &first, "2.root.json"),
    ];
    for (stored, anchor, request) in cases {
        let store = MemoryStore::default();
        if let Some(stored) = stored {
            store.save("root", stored).unwrap();
        }
        repo.requests.borrow_mut().clear();
        let settings = Settings { anchor: Some(anchor.clone()), ..Settings::default() };
        client::update(&repo, &store, &settings, NOW).unwrap();
        assert_eq!(repo.requests.borrow()[0], request);
    }
    let settings = Settings { anchor: Some(damaged), ..Settings::default() };
    let error = refusal(client::update(&repo, &repo.new_store(), &settings, NOW));
    assert!(error.starts_with("the built-in root is malformed"), "{error}");
}

#[test]
fn unknown_members_of_a_root_are_part_of_what_is_signed() {
    let mut repo = Repo::new();
    let store = repo.new_store();
    repo.publish(&["root"]);
    let file = String::from_utf8(repo.files["Metadata/2.root.json"].clone()).unwrap();
    let more = file.replacen("\"signed\": {", "\"signed\": {\"new\": 1,", 1);
    repo.put("2.root.json", more.clone().into_bytes());
    assert!(refusal(repo.update(&store)).contains("2.root.json cannot be trusted"));

    let mut value: serde_json::Value = serde_json::from_str(&more).unwrap();
    let message = crate::metadata::canonical::encode(&value["signed"]);
    assert_ne!(message, signing_bytes(&repo.root));
    value["signatures"][0]["sig"] = hex::encode(repo.signers["root"][0].sign(&message)).into();
    repo.put("2.root.json", serde_json::to_vec(&value).unwrap());
    repo.update(&store).unwrap();
    assert_eq!(store.version("root"), Some(2));
}
