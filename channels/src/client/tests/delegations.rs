//! 5.6.7 and 5.7: the search for a target, and the target itself.

use super::refusal;
use crate::client::{self, Limits, Settings};
use crate::fixture::{NOW, Repo, day};

/// Delegations as (delegator, role, paths, terminating).
type Graph = &'static [(&'static str, &'static str, &'static [&'static str], bool)];

fn repo(graph: Graph) -> Repo {
    let mut repo = Repo::new();
    for (seed, (delegator, role, paths, terminating)) in (100..).zip(graph) {
        repo.delegate(delegator, role, seed, paths);
        let delegations = repo.role(delegator).delegations.as_mut().unwrap();
        delegations.roles.last_mut().unwrap().terminating = *terminating;
        // One more key for a role that two roles delegate to.
        let key = crate::fixture::TestKey::new(seed);
        let signers = repo.signers.get_mut(*role).unwrap();
        if !signers.contains(&key) {
            signers.push(key);
        }
    }
    publish_all(&mut repo);
    repo
}

fn publish_all(repo: &mut Repo) {
    let roles: Vec<_> = repo.targets.keys().cloned().collect();
    repo.publish(&roles.iter().map(String::as_str).collect::<Vec<_>>());
    repo.publish(&["snapshot", "timestamp"]);
}

#[test]
fn roles_are_visited_in_order_and_depth_first() {
    const ALL: &[&str] = &["*"];
    let cases: [(Graph, &str); 9] = [
        (&[("targets", "a", ALL, false), ("targets", "b", ALL, false)], "a b"),
        (
            &[
                ("targets", "a", ALL, false),
                ("targets", "b", ALL, false),
                ("a", "c", ALL, false),
                ("a", "d", ALL, false),
            ],
            "a c d b",
        ),
        (
            &[
                ("targets", "a", ALL, false),
                ("targets", "b", ALL, false),
                ("a", "c", ALL, false),
                ("c", "d", ALL, false),
            ],
            "a c d b",
        ),
        // A terminating role ends the search, but for its own delegations.
        (
            &[
                ("targets", "a", ALL, false),
                ("targets", "b", ALL, false),
                ("a", "c", ALL, true),
                ("a", "d", ALL, false),
                ("c", "e", ALL, false),
            ],
            "a c e",
        ),
        (&[("targets", "a", ALL, true), ("targets", "b", ALL, false)], "a"),
        // One that does not cover the path does not end it.
        (&[("targets", "a", &["x"], true), ("targets", "b", ALL, false)], "b"),
        // A cycle, and a role that two others delegate to.
        (&[("targets", "a", ALL, false), ("a", "b", ALL, false), ("b", "a", ALL, false)], "a b"),
        (
            &[
                ("targets", "a", ALL, false),
                ("targets", "b", ALL, false),
                ("b", "c", ALL, false),
                ("a", "c", ALL, false),
            ],
            "a c b",
        ),
        (
            &[
                ("targets", "a", &["m*"], false),
                ("a", "b", &["n*"], false),
                ("targets", "c", &["missin?"], false),
            ],
            "a c",
        ),
    ];
    for (graph, visited) in cases {
        let repo = repo(graph);
        let store = repo.new_store();
        let view = repo.update(&store).unwrap();
        repo.requests.borrow_mut().clear();
        assert_eq!(refusal(view.find("missing")), "no role offers missing");
        let requests = repo.requests.borrow();
        let names: Vec<_> = requests.iter().map(|file| file.split('.').nth(1).unwrap()).collect();
        assert_eq!(names.join(" "), visited);
    }
}

#[test]
fn the_first_role_in_order_wins_and_a_path_must_be_covered_all_along() {
    let mut repo = repo(&[
        ("targets", "a", &["x/*", "*.md"], false),
        ("targets", "b", &["x/*"], false),
        ("a", "c", &["x/c*"], false),
    ]);
    for (role, path) in [
        ("a", "x/1"),
        ("b", "x/1"),
        ("b", "x/2"),
        ("c", "x/c1"),
        ("c", "y/c1"),
        ("c", "x/d"),
        ("a", "x/y/z"),
    ] {
        repo.add_target(role, path, format!("{path} by {role}").as_bytes());
    }
    publish_all(&mut repo);
    let store = repo.new_store();
    let view = repo.update(&store).unwrap();
    let cases = [
        ("x/1", Some("x/1 by a")),
        ("x/2", Some("x/2 by b")),
        ("x/c1", Some("x/c1 by c")),
        ("y/c1", None),
        ("x/d", None),
        ("x/y/z", None),
    ];
    for (path, content) in cases {
        match content {
            Some(content) => {
                let target = view.find(path).unwrap();
                assert_eq!(view.fetch(&target).unwrap(), content.as_bytes());
            }
            None => assert_eq!(refusal(view.find(path)), format!("no role offers {path}")),
        }
    }
    // A role lists only what it is trusted with.
    let listed = view.targets_of("a").unwrap();
    assert_eq!(listed.keys().collect::<Vec<_>>(), ["x/1"]);
    assert_eq!(refusal(view.targets_of("c")), "the repository does not delegate to c");
}

#[test]
fn hashed_bins_are_searched() {
    let mut repo = repo(&[("targets", "bin-a", &[], false), ("targets", "bin-b", &[], false)]);
    // SHA-256 of "foo" begins with 2c.
    let delegations = repo.role("targets").delegations.as_mut().unwrap();
    for (delegation, prefix) in delegations.roles.iter_mut().zip(["0", "2c"]) {
        delegation.paths = None;
        delegation.path_hash_prefixes = Some(vec![prefix.to_owned()]);
    }
    repo.add_target("bin-a", "foo", b"wrong bin");
    repo.add_target("bin-b", "foo", b"right bin");
    publish_all(&mut repo);
    let store = repo.new_store();
    let view = repo.update(&store).unwrap();
    assert_eq!(view.fetch(&view.find("foo").unwrap()).unwrap(), b"right bin");
}

#[test]
fn a_key_of_one_channel_signs_for_no_other() {
    // Who signs stable; all of them have keys of their own.
    let signed_by: [(&[u8], bool); 4] =
        [(&[103], true), (&[101], false), (&[102, 101], false), (&[4], false)];
    for (signers, trusted) in signed_by {
        let mut repo = Repo::new();
        for (seed, channel) in [(101, "alpha"), (102, "beta"), (103, "stable")] {
            repo.delegate("targets", channel, seed, &[&format!("{channel}/*")]);
        }
        repo.add_target("stable", "stable/os", b"a release");
        repo.sign_by("stable", signers);
        // A leaked alpha key can say what it likes, but only of alpha's paths.
        repo.add_target("alpha", "stable/evil", b"evil");
        repo.add_target("alpha", "alpha/evil", b"evil");
        publish_all(&mut repo);
        let store = repo.new_store();
        let view = repo.update(&store).unwrap();
        let found = view.find("stable/os");
        assert_eq!(found.is_ok(), trusted, "{signers:?}");
        if let Err(error) = found {
            assert!(error.to_string().ends_with("stable.json cannot be trusted"), "{error}");
            assert!(view.targets_of("stable").is_err());
        } else {
            assert_eq!(refusal(view.find("stable/evil")), "no role offers stable/evil");
        }
        assert_eq!(view.targets_of("alpha").unwrap().len(), 1);
    }
}

#[test]
fn a_role_that_one_delegator_trusts_is_not_trusted_by_another() {
    let mut repo = Repo::new();
    repo.delegate("targets", "a", 101, &["a/*"]);
    repo.delegate("targets", "b", 102, &["b/*"]);
    repo.delegate("a", "shared", 103, &["a/*"]);
    repo.delegate("b", "shared", 104, &["b/*"]);
    repo.add_target("shared", "a/x", b"good");
    repo.add_target("shared", "b/x", b"bad");
    publish_all(&mut repo);
    let store = repo.new_store();
    let view = repo.update(&store).unwrap();
    view.find("a/x").unwrap();
    let error = refusal(view.find("b/x"));
    assert!(error.contains("shared.json cannot be trusted"), "{error}");
}

#[test]
fn delegated_metadata_is_checked_as_all_other() {
    type Attack = fn(&mut Repo);
    let cases: [(&str, Attack, &str); 6] = [
        (
            "not in the snapshot",
            |repo| {
                repo.snapshot.meta.remove("a.json");
            },
            "a.json is not in the snapshot",
        ),
        (
            "expired",
            |repo| {
                repo.role("a").expires = day(-1);
                repo.publish(&["a"]);
            },
            "a.json expired at",
        ),
        (
            "missing",
            |repo| {
                repo.files.remove("Metadata/2.a.json");
            },
            "the repository has no 2.a.json",
        ),
        (
            "another version",
            |repo| {
                let old = repo.files["Metadata/1.a.json"].clone();
                repo.put("2.a.json", old);
            },
            "2.a.json is version 1, not 2",
        ),
        ("malformed", |repo| repo.put("2.a.json", b"[]".to_vec()), "2.a.json is malformed"),
        (
            "too large",
            |repo| repo.put("2.a.json", vec![b' '; (8 << 20) + 1]),
            "larger than 8388608",
        ),
    ];
    for (name, attack, message) in cases {
        let mut repo = repo(&[("targets", "a", &["x"], false)]);
        attack(&mut repo);
        repo.publish(&["snapshot", "timestamp"]);
        let store = repo.new_store();
        let view = repo.update(&store).unwrap();
        let error = refusal(view.find("x"));
        assert!(error.contains(message), "{name}: {error}");
        assert_eq!(store.version("a"), None, "{name}");
    }
}

#[test]
fn the_number_of_visited_roles_is_bounded() {
    let mut repo = Repo::new();
    for number in 0..40_u8 {
        repo.delegate("targets", &format!("r{number}"), 100 + number, &["*"]);
    }
    publish_all(&mut repo);
    let store = repo.new_store();
    let error = refusal(repo.update(&store).unwrap().find("x"));
    assert_eq!(error, "x was not found in 32 roles");
    assert_eq!(repo.requests.borrow().iter().filter(|file| file.contains(".r")).count(), 32);
    let limits = Limits { visits: 100, ..Limits::default() };
    let settings = Settings { limits, ..Settings::default() };
    let view = client::update(&repo, &store, &settings, NOW).unwrap();
    assert_eq!(refusal(view.find("x")), "no role offers x");
}

#[test]
fn delegations_that_contradict_themselves_do_not_parse() {
    type Change = fn(&mut crate::metadata::Delegations);
    let cases: [(Change, &str); 5] = [
        (|all| all.roles[0].name = "root".to_owned(), "a delegation to a role named `root`"),
        (|all| all.roles[0].name = String::new(), "a delegation to a role named ``"),
        (|all| all.roles.push(all.roles[0].clone()), "two delegations to the role a"),
        (|all| all.roles[0].allowed.threshold = 0, "the threshold of the role a is 0"),
        (|all| all.roles[0].paths = None, "one of them for the role a"),
    ];
    for (change, message) in cases {
        let mut repo = repo(&[("targets", "a", &["*"], false)]);
        change(repo.role("targets").delegations.as_mut().unwrap());
        repo.publish(&["targets", "snapshot", "timestamp"]);
        let error = refusal(repo.update(&repo.new_store()));
        assert!(error.contains(message), "{error}");
    }
}

#[test]
fn only_the_signed_bytes_of_a_target_are_accepted() {
    let mut repo = Repo::new();
    repo.add_target("targets", "dir/os", b"content");
    repo.publish(&["targets", "snapshot", "timestamp"]);
    let served = repo.files.keys().find(|file| file.starts_with("Targets/dir/")).unwrap().clone();
    let cases: [(Option<&[u8]>, &str); 5] = [
        (Some(b"content"), ""),
        (Some(b"CONTENT"), "dir/os does not have the hash that is signed for it"),
        (Some(b"conten"), "dir/os does not have the 7 bytes that are signed for it"),
        (Some(b"content and much more"), "dir/os does not have the 7 bytes"),
        (None, "the repository has no dir/os"),
    ];
    for (content, message) in cases {
        match content {
            Some(content) => repo.files.insert(served.clone(), content.to_vec()),
            None => repo.files.remove(&served),
        };
        let store = repo.new_store();
        let view = repo.update(&store).unwrap();
        let fetched = view.fetch(&view.find("dir/os").unwrap());
        match fetched {
            Ok(bytes) => assert_eq!((bytes.as_slice(), message), (&b"content"[..], "")),
            Err(error) => {
                assert!(!message.is_empty() && error.to_string().starts_with(message), "{error}");
            }
        }
    }
}
