//! A publisher that dies: whatever it was doing, clients accept what it leaves, and the next
//! publisher goes on from there.

mod support;

use std::fs;
use std::io::{self, BufRead, BufReader};
use std::num::NonZero;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use channels::policy::{Channel, Rollout};
use channels::publish::ceremony::{Staged, keys_of, rotate_channel, set_keys, stage};
use channels::publish::operations::{self, PublishOptions};
use channels::publish::packing::{Packing, PatchFrom, Source};
use channels::publish::payload::Payload;
use channels::publish::retire::retire;
use channels::publish::{
    Draft, Keyring, Lifetimes, Plan, Protection, PublishError, Repository, State,
};
use support::{Workshop, fresh_update, now};

fn nobody(_: &str, _: bool) -> io::Result<String> {
    Err(io::Error::other("no key here has a passphrase"))
}

fn copy_tree(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_tree(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).unwrap();
        }
    }
}

/// A repository with two releases in alpha and one in beta.
fn workshop() -> Workshop {
    let workshop = Workshop::with_repository();
    workshop.publish("0.9");
    workshop.publish("1.0");
    workshop.publish("1.1");
    workshop.good("promote 1.0 --to beta --soak 0s");
    workshop.release("1.2", b"1.2", &[]);
    workshop
}

/// Kills the publisher after each of the steps of `plan` and looks what clients make of it: one
/// that has seen the repository before, and a new one.
fn survives(workshop: &Workshop, name: &str, plan: &Plan) {
    let before = fresh_update(&workshop.repository()).unwrap();
    let mut offers = Vec::new();
    for count in 0..=plan.steps.len() {
        let copy = workshop.path("copy");
        copy_tree(&workshop.repository(), &copy);
        let old_client = workshop.client();
        old_client.update(&copy).unwrap();
        for step in &plan.steps[..count] {
            step.apply(&copy).unwrap();
        }
        let fresh = fresh_update(&copy);
        let offered = fresh.unwrap_or_else(|error| panic!("{name}, {count} steps: {error}"));
        assert_eq!(old_client.update(&copy).as_ref(), Ok(&offered), "{name}, {count} steps");
        offers.push(offered);

        // The next publisher goes on from there.
        let again = workshop.run("--repository copy refresh");
        assert_eq!(again.code, 0, "{name}, {count} steps: {again:?}");
        old_client.update(&copy).unwrap_or_else(|error| panic!("{name}, {count} steps: {error}"));
        fs::remove_dir_all(copy).unwrap();
    }
    assert_eq!(offers[0], before);
    // Everything becomes visible at once.
    offers.dedup();
    assert!(offers.len() <= 2, "{name}: {offers:?}");
}

type Operation = for<'s> fn(&Workshop, &'s State) -> Result<Draft<'s>, PublishError>;

#[test]
fn clients_accept_what_a_dead_publisher_leaves() {
    let operations: [(&str, Operation); 8] = [
        ("publish", |workshop, state| {
            let payload = Payload::read(&workshop.path("release-1.2"))?;
            let options = PublishOptions::default();
            operations::publish(state, payload, Channel::Alpha, options, now())
        }),
        ("publish with packs", |workshop, state| {
            let payload = Payload::read(&workshop.path("release-1.2"))?;
            let (version, parts) = (payload.version.clone(), payload.files.clone());
            let options = PublishOptions::default();
            let mut draft = operations::publish(state, payload, Channel::Alpha, options, now())?;
            let packing = Packing { from: PatchFrom::Newest(2), threads: NonZero::<usize>::MIN };
            let old = packing.from.choose(state, Channel::Alpha, &version)?;
            let repository = Repository::at(workshop.repository());
            let (source, scratch) = (Source { version: &version, parts }, workshop.path("scratch"));
            let packs =
                packing.build(&repository, &source, true, &old, &scratch, &mut |_: &str| ())?;
            assert_eq!(packs.len(), 6);
            operations::add_packs(&mut draft, Channel::Alpha, packs);
            Ok(draft)
        }),
        ("retire", |_, state| retire(state, &["0.9".parse().unwrap()])),
        ("promote", |workshop, state| {
            let (repository, version) =
                (Repository::at(workshop.repository()), "1.1".parse().unwrap());
            let (to, soak) = (Channel::Beta, Duration::ZERO);
            operations::promote(&repository, state, &version, to, soak, None, now())
        }),
        ("rollout", |_, state| {
            let rollout = Rollout { start: now(), over: 3600, percent: 100 };
            let version = "1.1".parse().unwrap();
            operations::set_rollout(state, &version, Channel::Alpha, Some(rollout))
        }),
        ("halt", |_, state| {
            operations::set_halt(state, &"1.0".parse().unwrap(), &Channel::PATH[..2], None)
        }),
        ("new snapshot", |_, state| {
            let mut draft = Draft::of(state);
            draft.renew_snapshot();
            Ok(draft)
        }),
        ("timestamp", |_, state| Ok(Draft::of(state))),
    ];
    let workshop = workshop();
    let state = Repository::at(workshop.repository()).load().unwrap();
    let keyring = Keyring::open(&workshop.path("keys"), &nobody).unwrap();
    for (name, operation) in operations {
        let draft = operation(&workshop, &state).unwrap();
        let plan = draft.seal(&keyring, &Lifetimes::default(), now()).unwrap();
        assert!(!plan.steps.is_empty());
        survives(&workshop, name, &plan);
    }
}

#[test]
fn clients_accept_a_half_rotated_channel() {
    let workshop = workshop();
    let state = Repository::at(workshop.repository()).load().unwrap();
    let mut keyring = Keyring::open(&workshop.path("keys"), &nobody).unwrap();
    let key = keyring.generate("alpha", Protection::None).unwrap().key.clone();
    let draft = rotate_channel(&state, Channel::Alpha, &key).unwrap();
    let plan = draft.seal(&keyring, &Lifetimes::default(), now()).unwrap();
    survives(&workshop, "rotation of alpha", &plan);
}

#[test]
fn clients_accept_a_half_rotated_root() {
    for roles in
        [&["timestamp"][..], &["snapshot"], &["targets"], &["timestamp", "snapshot", "targets"]]
    {
        let workshop = workshop();
        let repository = Repository::at(workshop.repository());
        let state = repository.load().unwrap();
        let keys = workshop.path("keys");
        let mut keyring = Keyring::open(&keys, &nobody).unwrap();
        let new: Vec<_> = roles
            .iter()
            .map(|role| keyring.generate(role, Protection::None).unwrap().key.clone())
            .collect();
        let lifetimes = Lifetimes::default();
        let mut staged = stage(&keys, &state.root, &lifetimes, now(), |root| {
            let mut changes = roles.iter().zip(&new);
            changes.try_for_each(|(role, key)| set_keys(root, role, std::slice::from_ref(key), 1))
        })
        .unwrap();
        staged.sign_here(&keyring, Some(&state.root)).unwrap();
        let plan = staged.plan(Some(&state), &keyring, &lifetimes, now()).unwrap();
        survives(&workshop, &format!("rotation of {roles:?}"), &plan);
    }
}

#[test]
fn a_key_that_is_lost_is_replaced_and_a_death_in_between_is_mended() {
    let workshop = workshop();
    let old_client = workshop.client();
    old_client.update(&workshop.repository()).unwrap();
    for entry in fs::read_dir(workshop.path("keys")).unwrap() {
        let path = entry.unwrap().path();
        if path.to_string_lossy().contains("/timestamp-") {
            fs::remove_file(path).unwrap();
        }
    }
    let error = workshop.bad("refresh");
    assert!(error.contains("0 of the 1 keys that sign for timestamp are in keys"), "{error}");

    let state = Repository::at(workshop.repository()).load().unwrap();
    let keys = workshop.path("keys");
    let mut keyring = Keyring::open(&keys, &nobody).unwrap();
    let key = keyring.generate("timestamp", Protection::None).unwrap().key.clone();
    let lifetimes = Lifetimes::default();
    let mut staged = stage(&keys, &state.root, &lifetimes, now(), |root| {
        assert_eq!(keys_of(root, "timestamp").len(), 1);
        set_keys(root, "timestamp", &[key], 1)
    })
    .unwrap();
    staged.sign_here(&keyring, Some(&state.root)).unwrap();
    let plan = staged.plan(Some(&state), &keyring, &lifetimes, now()).unwrap();
    // The root comes before the timestamp here, and the publisher dies between the two.
    for step in &plan.steps[..plan.steps.len() - 1] {
        step.apply(&workshop.repository()).unwrap();
    }
    assert!(old_client.update(&workshop.repository()).is_err());
    workshop.good("refresh");
    old_client.update(&workshop.repository()).unwrap();
    assert!(
        Staged::waiting(&keys, Some(&Repository::at(workshop.repository()).load().unwrap().root))
            .unwrap()
            .is_none()
    );
    workshop.good("verify");
}

#[test]
fn a_killed_program_leaves_a_repository_that_clients_accept() {
    let workshop = workshop();
    // Large enough that copying takes a while.
    let blocks: Vec<u8> = (0..4000_u32).map(|number| (number % 251) as u8).collect();
    workshop.release("2.0", &blocks, &[]);
    let client = workshop.client();
    for milliseconds in [0, 2, 5, 10, 20, 30, 45, 60, 90, 130, 200] {
        let mut child = Command::new(env!("CARGO_BIN_EXE_channels"))
            .args(["publish", "release-2.0"])
            .current_dir(workshop.repository().parent().unwrap())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_millis(milliseconds));
        child.kill().unwrap();
        child.wait().unwrap();
        fresh_update(&workshop.repository()).unwrap();
        client.update(&workshop.repository()).unwrap();
    }
    if workshop.versions("alpha")[0] != "2.0" {
        workshop.good("publish release-2.0");
    }
    workshop.good("refresh");
    let good = workshop.good("verify");
    assert!(!good.contains("warning"), "{good}");
}

#[test]
fn two_publishers_do_not_meet() {
    let workshop = workshop();
    // Held by a process of its own: a lock of this one would live on in what other tests start.
    let mut other = Command::new("flock")
        .arg(workshop.repository().join(".lock"))
        .args(["sh", "-c", "echo locked; cat"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(other.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "locked\n");
    for command in [
        "publish release-1.2",
        "refresh",
        "halt 1.0",
        "keys rotate alpha --no-passphrase",
        "root renew",
    ] {
        let error = workshop.bad(command);
        assert!(error.contains("another publisher is at work in repository"), "{error}");
    }
    workshop.good("status");
    workshop.good("verify");
    drop(other.stdin.take());
    other.wait().unwrap();
    workshop.good("publish release-1.2");
}
