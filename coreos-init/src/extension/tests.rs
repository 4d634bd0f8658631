use super::merged::{Expected, Outcome, look};
use super::*;
use crate::ledger::sha256;
use cloud_config::{Bundle, Values};
use std::fs;
use std::io::{Seek, SeekFrom, Write};

fn config(text: &str) -> Config {
    let text = format!("#cloud-config\ncoreos:\n  extensions:\n{text}");
    let (config, findings) = Bundle::local("user-data", text.as_bytes()).decode(&Values::Unknown);
    assert!(!cloud_config::has_errors(&findings), "{findings:?}");
    config
}

fn of_url(bytes: &[u8]) -> Config {
    let hash = sha256(bytes);
    config(&format!("    - {{name: tools, source: 'https://h/t?s3cret', sha256: {hash}}}\n"))
}

/// Prepares a configuration while the network answers this.
fn prepare_with(config: &Config, root: &Path, answer: Result<&[u8], &str>) -> (Prepared, usize) {
    let mut asked = 0;
    let mut get = |_: &Wanted, mut file: &File| {
        asked += 1;
        file.write_all(answer?).map_err(|error| error.to_string())
    };
    let prepared = prepare(config, root, &mut get).remove("tools").unwrap();
    (prepared, asked)
}

#[test]
fn an_image_is_fetched_once_and_only_the_right_one_is_kept() {
    let root = tempfile::tempdir().unwrap();
    let image = b"a file system that is not looked into";
    let config = of_url(image);
    let store = root.path().join("var/lib/coreos-init/extensions");
    let (prepared, _) = prepare_with(&config, root.path(), Err("down"));
    assert_eq!(prepared, Err("down".to_owned()));
    let (prepared, _) = prepare_with(&config, root.path(), Ok(b"other"));
    let why = prepared.unwrap_err();
    assert!(why.starts_with("what https://h/t?... answers is not what was asked for"), "{why}");
    assert!(!store.exists(), "nothing half-fetched stays");

    assert_eq!(prepare_with(&config, root.path(), Ok(image)), (Ok(Ready::default()), 1));
    assert_eq!(prepare_with(&config, root.path(), Err("down")), (Ok(Ready::default()), 0));
    let path = path_of(&config.extensions[0]);
    assert_eq!(fs::read(root.path().join(&path[1..])).unwrap(), image);

    // What no link leads to goes, with what a power cut left.
    let links = root.path().join(&MERGED[1..]);
    fs::create_dir_all(&links).unwrap();
    std::os::unix::fs::symlink(&path, links.join("tools.raw")).unwrap();
    fs::write(store.join("ab.part"), "half").unwrap();
    forget_others(root.path());
    assert_eq!(fs::read_dir(&store).unwrap().count(), 1);
    fs::remove_file(links.join("tools.raw")).unwrap();
    fs::write(links.join("theirs.raw"), "not ours").unwrap();
    forget_others(root.path());
    assert!(!store.exists());
    assert!(links.join("theirs.raw").exists());
}

#[test]
fn an_image_that_did_not_come_whole_goes_on_where_it_ended() {
    let image = b"an image that takes its time";
    let config = of_url(image);
    // Asks, and is given so many bytes more, as a server that knows ranges does.
    let come = |root: &Path, most: usize| {
        let mut begun = Vec::new();
        let mut get = |_: &Wanted, mut file: &File| {
            let start = file.seek(SeekFrom::End(0)).unwrap() as usize;
            begun.push(start);
            let rest = image.get(start..).unwrap_or_default();
            file.write_all(&rest[..most.min(rest.len())]).unwrap();
            if most < rest.len() { Err("it stalled".to_owned()) } else { Ok(()) }
        };
        let prepared = prepare(&config, root, &mut get).remove("tools").unwrap();
        (prepared, begun)
    };
    let stalled = "it stalled; what has come, 1 MiB, is kept for the next time";
    let root = tempfile::tempdir().unwrap();
    assert_eq!(come(root.path(), 10), (Err(stalled.to_owned()), vec![0]));
    assert_eq!(come(root.path(), 10), (Err(stalled.to_owned()), vec![10]));
    assert_eq!(come(root.path(), 10), (Ok(Ready::default()), vec![20]));

    // What is there is something else: it is fetched from the beginning, once.
    let store = Store::of(root.path());
    let part = store.path(&sha256(image)).with_extension("part");
    fs::rename(store.path(&sha256(image)), &part).unwrap();
    fs::write(&part, "what a power cut has left").unwrap();
    assert_eq!(come(root.path(), 99), (Ok(Ready::default()), vec![25, 0]));
    assert_eq!(fs::read(store.path(&sha256(image))).unwrap(), image);
}

#[test]
fn a_file_of_the_machine_is_used_where_it_is() {
    let root = tempfile::tempdir().unwrap();
    let with = |more: &str| config(&format!("    - {{name: tools, source: /opt/t.raw{more}}}\n"));
    let prepare = |config: &Config| prepare_with(config, root.path(), Err("down")).0;
    assert_eq!(prepare(&with("")), Err("there is no file /opt/t.raw on this machine".to_owned()));
    fs::create_dir(root.path().join("opt")).unwrap();
    fs::write(root.path().join("opt/t.raw"), "image").unwrap();
    assert_eq!(prepare(&with("")), Ok(Ready::default()));
    assert_eq!(prepare(&with(&format!(", sha256: {}", sha256(b"image")))), Ok(Ready::default()));
    let why = prepare(&with(&format!(", sha256: {}", sha256(b"other")))).unwrap_err();
    assert!(why.starts_with("/opt/t.raw is not what was asked for"), "{why}");
    let why = prepare(&with(&format!(", root_hash: {}", sha256(b"tree")))).unwrap_err();
    assert_eq!(why, "it has no verity tree that `root_hash` could be of");
    fs::remove_file(root.path().join("opt/t.raw")).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", root.path().join("opt/t.raw")).unwrap();
    assert!(prepare(&with("")).is_err(), "a link may lead out of the root");
}

#[test]
fn what_an_image_is_for_must_be_this_system() {
    let system = System { id: "coreos-rs".to_owned() };
    let config = config("    - {name: tools, source: /opt/t.raw}\n");
    let check = |name: &str, text: &str| {
        let releases = Some([(name.to_owned(), text.to_owned())].into());
        Image { releases, ..Image::default() }.check(&config.extensions[0], &system)
    };
    for (name, text, why) in [
        ("tools", "ID=coreos-rs\nSYSEXT_LEVEL=1\n", ""),
        ("tools", "ID=\"coreos-rs\"\nARCHITECTURE=_any\n", ""),
        ("tools", "ID=_any\n", ""),
        ("tool", "ID=_any\n", "its name is `tool`, not `tools`"),
        ("tools", "ID=flatcar\n", "it is for `flatcar`, and this system is `coreos-rs`"),
        ("tools", "ID=_any\nARCHITECTURE=riscv64\n", "it is for riscv64 processors"),
    ] {
        let got = check(name, text).err().unwrap_or_default();
        assert!(got.starts_with(why) && got.is_empty() == why.is_empty(), "{name} {text}: {got}");
    }
    let empty = Image { releases: Some(BTreeMap::new()), ..Image::default() };
    let why = empty.check(&config.extensions[0], &system).unwrap_err();
    assert!(why.starts_with("it is no extension"), "{why}");
}

#[test]
fn rubbish_is_no_image_and_no_panic() {
    let mut file = tempfile::tempfile().unwrap();
    for size in [0, 511, 4096, 1 << 20] {
        file.write_all(&vec![0xa5; size]).unwrap();
        assert_eq!(Image::read(&file), Image::default(), "{size}");
    }
}

#[test]
fn what_is_not_merged_is_told_and_what_is_damaged_goes() {
    let root = tempfile::tempdir().unwrap();
    let hash = sha256(b"tree");
    let expected = |root_hash: Option<&String>, sha256: Option<String>| {
        let (name, root_hash) = ("tools".to_owned(), root_hash.cloned());
        [Expected { name, line: Some(4), sha256, root_hash }]
    };
    let outcome = |expected: &[Expected]| look(expected, root.path()).remove(0).outcome;
    let told = |outcome: Outcome| match outcome {
        Outcome::Failed(why) => why,
        other => panic!("{other:?}"),
    };
    let why = told(outcome(&expected(None, None)));
    assert_eq!(why, "it is not merged; see `journalctl -u systemd-sysext.service`");

    let store = root.path().join("var/lib/coreos-init/extensions");
    fs::create_dir_all(&store).unwrap();
    let image = store.join(format!("{}.raw", sha256(b"image")));
    fs::write(&image, "image").unwrap();
    told(outcome(&expected(None, Some(sha256(b"image")))));
    assert!(image.exists());
    fs::write(&image, "imagf").unwrap();
    let why = told(outcome(&expected(None, Some(sha256(b"image")))));
    assert!(why.contains("fetched anew at the next boot") && !image.exists(), "{why}");

    let release = root.path().join("usr/lib/extension-release.d/extension-release.tools");
    fs::create_dir_all(release.parent().unwrap()).unwrap();
    fs::write(release, "").unwrap();
    assert_eq!(outcome(&expected(None, None)), Outcome::Unverified);
    let why = told(outcome(&expected(Some(&hash), None)));
    assert_eq!(why, "it is merged, but not checked by its root hash");
    let device = root.path().join("sys/block/dm-1/dm");
    fs::create_dir_all(&device).unwrap();
    fs::write(device.join("name"), format!("{hash}-verity\n")).unwrap();
    assert_eq!(outcome(&expected(Some(&hash), None)), Outcome::Verified);
}
