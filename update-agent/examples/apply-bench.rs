//! How many bytes and how much work an update costs on this machine.
//!
//! `apply-bench REPOSITORY ROOT.json OLD-RELEASE-DIR VERSION [unpatched]` writes the release
//! `VERSION` of the repository over a disk in a file that runs the old one, as a machine does, and
//! prints bytes fetched, processor seconds, memory, and the speed beside that of `dd` with fsync on
//! the same disk. `unpatched` is as if the publisher had made no patch for this pair. The repository
//! is a directory: the net is not measured.
#![allow(clippy::disallowed_methods)]

use std::error::Error;
use std::fs::{self, File};
use std::io::{self, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Instant, SystemTime};

use channels::client::{self, Settings};
use channels::policy::Channel;
use channels::store::Memory;
use disk::gpt::Table;
use disk::layout::{Layout, Role, Sizes, Slot};
use disk::verity::RootHash;
use sha2::{Digest, Sha256};
use update_agent::device::{FileDevice, Region};
use update_agent::esp::Directory;
use update_agent::install::{self, Phase, Site, Wanted};
use update_agent::slots::Slots;
use update_agent::source::Source;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

const MIB: u64 = 1 << 20;

fn main() -> Result<()> {
    let words: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    let [repository, anchor, old, version, how @ ..] = words.as_slice() else {
        return Err("apply-bench REPOSITORY ROOT.json OLD-RELEASE-DIR VERSION [unpatched]".into());
    };
    let unpatched = how == [Path::new("unpatched")];
    let home = tempfile::tempdir_in(".")?;
    let (disk, esp) = (home.path().join("disk"), home.path().join("esp"));
    let running = lay_out(old, &disk, &esp)?;
    let entry = hex::encode(Sha256::digest(fs::read(entry_path(&esp, &running.version))?));

    let source = Source::directory(repository);
    let settings = Settings { anchor: Some(fs::read(anchor)?), ..Settings::default() };
    let store = Memory::default();
    let view = client::update(&source, &store, &settings, SystemTime::now().into())?;
    let offers = view.offers(Channel::Alpha)?;
    let version = version.display().to_string();
    let offer = offers.iter().find(|offer| offer.release.version.as_str() == version);
    let offer = offer.ok_or("the repository does not offer this version in alpha")?;
    let mut wanted = Wanted::of(offer, &view, &running.root, Some(&entry), 3)?;
    if unpatched {
        (wanted.root.patch, wanted.uki.patch) = (None, None);
    }
    let whole = Region::whole(Arc::new(FileDevice::open(&disk, true)?));
    let slots =
        Slots::find(&whole, &running.root, &|_, place, _| whole.part(place.start, place.end))?;
    let (entries, stop) = (Directory::new(&esp), AtomicBool::new(false));
    let site = Site {
        slots: &slots,
        entries: &entries,
        staging: &home.path().join("staging"),
        running: &running.version.parse()?,
        resume: false,
        stop: &stop,
    };

    let (begin, used) = (Instant::now(), processor_seconds()?);
    let mut blocks_done = None;
    let installed = install::install(&wanted, &site, &source, &mut |progress| {
        if progress.phase == Phase::Verify && blocks_done.is_none() {
            blocks_done = Some(begin.elapsed());
        }
    })?;
    install::activate(&wanted, &site)?;
    let (wall, used) = (begin.elapsed().as_secs_f64(), processor_seconds()? - used);
    let size = wanted.root.plain.file.length;
    let dd = dd(home.path(), size / MIB)?;
    let written = blocks_done.unwrap_or_default().as_secs_f64();
    println!("{} -> {version}{}", running.version, if unpatched { ", unpatched" } else { "" });
    println!(
        "  fetched        {:.2} MB of {:.1} MB",
        installed.fetched as f64 / 1e6,
        size as f64 / 1e6
    );
    println!("  from           {:?}", installed.tally);
    println!("  processor      {used:.1} s");
    println!("  wall           {wall:.1} s, {written:.1} s of it until all is written and synced");
    println!("  memory         {:.1} MB at most", peak_memory_kib()? as f64 / 1024.0);
    println!(
        "  dd with fsync  {dd:.1} s; the writing reaches {:.0} % of its speed",
        dd / written * 100.0
    );
    Ok(())
}

struct Running {
    version: String,
    root: RootHash,
}

fn entry_path(esp: &Path, version: &str) -> PathBuf {
    esp.join("EFI/Linux").join(format!("coreos_{version}.efi"))
}

/// A disk in a file, with the release in slot A.
fn lay_out(release: &Path, disk: &Path, esp: &Path) -> Result<Running> {
    let manifest = fs::read_dir(release)?
        .flatten()
        .map(|entry| entry.path())
        .find(|path| path.to_string_lossy().ends_with(".manifest.json"))
        .ok_or("no release in the directory")?;
    let manifest: serde_json::Value = serde_json::from_slice(&fs::read(manifest)?)?;
    let word = |name: &str| manifest[name].as_str().unwrap_or_default().to_owned();
    let (version, root) = (word("version"), word("root_hash").parse::<RootHash>()?);
    let sizes = Sizes { esp: 64 * MIB, root: 1024 * MIB, verity: 16 * MIB, state: MIB };
    let layout = Layout::plan(&sizes, b"bench", Some(&root))?;
    let mut file = File::create(disk)?;
    file.set_len(layout.disk_size())?;
    Table::from_layout(&layout)?.write(&mut file)?;
    for (role, ending) in [(Role::Root(Slot::A), "root"), (Role::Verity(Slot::A), "verity")] {
        // Not by way of memory, which is measured.
        let mut from = File::open(release.join(format!("coreos_{version}.{ending}")))?;
        file.seek(SeekFrom::Start(layout.partition(role).offset()))?;
        io::copy(&mut from, &mut file)?;
    }
    file.sync_all()?;
    fs::create_dir_all(esp.join("EFI/Linux"))?;
    fs::copy(release.join(format!("coreos_{version}.efi")), entry_path(esp, &version))?;
    Ok(Running { version, root })
}

/// Seconds that dd needs for so many MiB, fsync included.
fn dd(directory: &Path, mib: u64) -> Result<f64> {
    let out = directory.join("dd");
    let begin = Instant::now();
    let status = Command::new("dd")
        .args(["if=/dev/zero", "bs=4M", "conv=fsync", "status=none"])
        .arg(format!("count={}", mib / 4))
        .arg(format!("of={}", out.display()))
        .status()?;
    if !status.success() {
        return Err("dd failed".into());
    }
    Ok(begin.elapsed().as_secs_f64())
}

/// Processor seconds of this process so far.
fn processor_seconds() -> Result<f64> {
    let text = fs::read_to_string("/proc/self/stat")?;
    let fields: Vec<&str> =
        text.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks: u64 = [11, 12].iter().filter_map(|at| fields.get(*at)?.parse::<u64>().ok()).sum();
    Ok(ticks as f64 / 100.0)
}

fn peak_memory_kib() -> Result<u64> {
    let text = fs::read_to_string("/proc/self/status")?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let number = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
    number.ok_or_else(|| "no VmHWM".into())
}
