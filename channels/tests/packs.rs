//! Packs from both sides: what the publisher makes, and what a machine makes of it.

mod support;

use std::fs;
use std::io::Cursor;
use std::path::{Path, PathBuf};

use channels::client::{self, Settings, Target};
use channels::fetch::Directory;
use channels::offer::{Offer, Pack, Part};
use channels::payload::{Decoder, Index};
use channels::policy::Channel;
use channels::store::Memory;
use disk::verity;
use support::{Workshop, now};

/// The releases of a channel, as a machine sees them.
fn offers(repository: &Path, channel: Channel) -> Vec<Offer> {
    let anchor = Some(fs::read(repository.join("metadata/1.root.json")).unwrap());
    let settings = Settings { anchor, ..Settings::default() };
    let (fetch, store) = (Directory::new(repository), Memory::default());
    let view = client::update(&fetch, &store, &settings, now()).unwrap();
    view.offers(channel).unwrap()
}

fn file(repository: &Path, target: &Target) -> PathBuf {
    repository.join("targets").join(target.address().unwrap())
}

fn part(repository: &Path, offer: &Offer, part: Part) -> Vec<u8> {
    let target = Target::consistent(&offer.path(part), offer.files[&part].clone());
    fs::read(file(repository, &target)).unwrap()
}

/// Makes a part of a pack, and of the old part if it is a patch.
fn unpack(repository: &Path, pack: &Pack, old: &[u8]) -> Vec<u8> {
    let bytes = fs::read(file(repository, &Target::consistent(&pack.path, pack.file.clone())));
    let bytes = bytes.unwrap();
    let index = &bytes[..pack.info.index.length as usize];
    let index = Index::parse(index, &pack.info.index).unwrap();
    let mut decoder = Decoder::new();
    let mut whole = Vec::new();
    for number in 0..index.len() {
        let segment = index.segment(number).unwrap();
        let record = &bytes[segment.record.start as usize..segment.record.end as usize];
        let mut out = vec![0; (segment.place.end - segment.place.start) as usize];
        match pack.info.from {
            None => decoder.frame(&index, number, record, &mut out).unwrap(),
            Some(_) => decoder.patch(&index, number, record, old, &mut out).unwrap(),
        }
        whole.extend(out);
    }
    whole
}

fn from(pack: &Pack) -> &str {
    pack.info.from.as_ref().map_or("", |from| from.version.as_str())
}

#[test]
fn a_machine_makes_the_new_release_of_its_own() {
    let workshop = Workshop::with_repository();
    workshop.publish("1.0");
    workshop.publish("1.1");
    let repository = workshop.repository();
    let offers = offers(&repository, Channel::Alpha);
    let [old, new] = offers.as_slice() else { panic!("{offers:?}") };
    let uki = old.files[&Part::Uki].hashes.get_sha256().unwrap();
    for (kind, id) in [(Part::Root, old.release.root_hash.as_str()), (Part::Uki, uki)] {
        let expected = part(&repository, new, kind);
        let frames = new.frames(kind).unwrap();
        assert_eq!(unpack(&repository, frames, &[]), expected);
        let patch = new.patch(kind, id).unwrap();
        assert_eq!(unpack(&repository, patch, &part(&repository, old, kind)), expected);
        assert!(new.patch(kind, &"0".repeat(64)).is_none());
        assert!(old.patch(kind, id).is_none());
    }

    // The tree need not be fetched: it follows from the root.
    let superblock = new.superblock().unwrap();
    let root = part(&repository, new, Part::Root);
    let mut tree = Cursor::new(Vec::new());
    let hash = verity::build(&superblock, &mut root.as_slice(), &mut tree).unwrap();
    assert_eq!(hash.to_string(), new.release.root_hash);
    assert_eq!(tree.into_inner(), part(&repository, new, Part::Verity));
}

#[test]
fn patches_are_from_the_releases_that_machines_have() {
    let workshop = Workshop::with_repository();
    let repository = workshop.repository();
    for version in ["1.0", "1.1", "1.2", "1.3", "1.4"] {
        workshop.publish(version);
    }
    let sources = |channel, version: &str| {
        let offers = offers(&repository, channel);
        let offer = offers.iter().find(|offer| offer.release.version.as_str() == version).unwrap();
        let patches = offer.packs.iter().filter(|pack| pack.info.part == "root");
        let mut sources: Vec<_> = patches.map(|pack| from(pack).to_owned()).collect();
        sources.sort();
        sources
    };
    assert_eq!(sources(Channel::Alpha, "1.0"), [""]);
    assert_eq!(sources(Channel::Alpha, "1.4"), ["", "1.1", "1.2", "1.3"]);
    // Beta's machines come from further away; what was made for alpha goes along.
    workshop.good("promote 1.0 --to beta --soak 0s");
    workshop.good("promote 1.4 --to beta --soak 0s");
    assert_eq!(sources(Channel::Beta, "1.4"), ["", "1.0", "1.1", "1.2", "1.3"]);
    for (version, options, expected) in [
        ("1.5", "--patch-newest 1", &["", "1.4"][..]),
        ("1.6", "--patch-from 1.0 --patch-from 1.5", &["", "1.0", "1.5"]),
        ("1.7", "--patch-newest 0", &[""]),
        ("1.8", "--no-packs", &[]),
    ] {
        workshop.release(version, version.as_bytes(), &[]);
        workshop.good(&format!("publish release-{version} {options}"));
        assert_eq!(sources(Channel::Alpha, version), expected, "{options}");
    }
    workshop.release("1.9", b"x", &[]);
    let error = workshop.bad("publish release-1.9 --patch-from 7.0");
    assert!(error.contains("no channel carries 7.0"), "{error}");
    let told = workshop.good("verify");
    assert!(told.starts_with("good: ") && !told.contains("warning"), "{told}");
}

#[test]
fn a_damaged_pack_and_a_rotten_release_are_found() {
    let workshop = Workshop::with_repository();
    workshop.publish("1.0");
    workshop.publish("1.1");
    let repository = workshop.repository();
    let offers = offers(&repository, Channel::Alpha);
    let damage = |path: &Path| {
        let mut bytes = fs::read(path).unwrap();
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        fs::write(path, bytes).unwrap();
    };
    let patch = offers[1].patch(Part::Root, &offers[0].release.root_hash).unwrap();
    let path = file(&repository, &Target::consistent(&patch.path, patch.file.clone()));
    damage(&path);
    let told = workshop.run("verify");
    assert_eq!(told.code, 1);
    assert!(told.stdout.contains("record of segment 0 is not the one that is signed"), "{told:?}");
    damage(&path);
    workshop.good("verify");

    // Nothing is built upon a release that has rotted.
    let target =
        Target::consistent(&offers[1].path(Part::Root), offers[1].files[&Part::Root].clone());
    damage(&file(&repository, &target));
    workshop.release("1.2", b"1.2", &[]);
    let error = workshop.bad("publish release-1.2");
    assert!(error.contains("changed while it was read, or is damaged"), "{error}");
    assert_eq!(workshop.versions("alpha"), ["1.1", "1.0"]);
}

#[test]
fn releases_retire_and_their_files_go_later() {
    let workshop = Workshop::with_repository();
    for version in ["1.0", "1.1", "1.2", "1.3"] {
        workshop.publish(version);
    }
    workshop.release("1.4", b"1.4", &[]);
    workshop.good("publish release-1.4 --min-version 1.2");
    for version in ["1.0", "1.1", "1.2"] {
        workshop.good(&format!("promote {version} --to beta --soak 0s"));
    }
    for (arguments, message) in [
        ("retire 1.4", "1.4 stays in alpha: it is the newest there"),
        ("retire 1.2", "1.2 stays in beta: it is the newest there"),
        ("retire 7.0", "no channel carries 7.0"),
        ("retire 1.2 1.3", "older machines reach 1.4 only by it"),
    ] {
        let error = workshop.bad(arguments);
        assert!(error.contains(message), "{arguments}: {error}");
    }
    let count =
        |directory: &str| fs::read_dir(workshop.repository().join(directory)).unwrap().count();
    let before = count("targets/alpha");
    assert_eq!(
        workshop.good("retire 1.0"),
        "retired 1.0: `channels prune` frees the space later\n"
    );
    assert_eq!(workshop.versions("alpha"), ["1.4", "1.3", "1.2", "1.1"]);
    assert_eq!(workshop.versions("beta"), ["1.2", "1.1"]);
    assert_eq!(count("targets/alpha"), before);
    let client = workshop.client();
    client.update(&workshop.repository()).unwrap();

    // Seen unneeded now, and removed only when that was long enough ago.
    assert!(workshop.good("prune").starts_with("removed 0 files"));
    assert_eq!(count("targets/alpha"), before);
    assert!(workshop.good("verify").contains("see `channels prune`"));
    let told = workshop.good("prune --after 0s");
    assert!(told.contains(", 0 wait"), "{told}");
    assert!(count("targets/alpha") < before);
    assert!(!workshop.good("verify").contains("warning"));
    assert!(count("metadata") < 12, "{}", count("metadata"));
    client.update(&workshop.repository()).unwrap();

    assert!(workshop.good("retire --keep 1").starts_with("retired 1.1, 1.3:"));
    assert_eq!(workshop.good("retire --keep 1"), "nothing to retire\n");
    // A number is never used again, and the old version never comes back.
    workshop.publish("1.5");
    assert_eq!(workshop.status()["channels"][0]["releases"][0]["sequence"], 6);
    assert!(workshop.bad("publish release-1.0").contains("never goes back to 1.0"));
    workshop.good("verify");
    client.update(&workshop.repository()).unwrap();
}
