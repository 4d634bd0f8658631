//! What an update costs: our patches beside the field's own tools, on the same images in one run.
//!
//! ```text
//! delta-bench locks image/coreos.lock DIR      lock files of older releases, from today's archives
//! delta-bench compare NEW NAME=OLD …           release directories → a table
//! ```
//!
//! Every step runs as a process of its own under time(1), ours as well, so that CPU seconds and
//! peak memory are measured in the same way. Needs the packages `time`, `zstd`, `xdelta3` and
//! `casync`. `make bench` calls it.

mod locks;
mod measure;
mod ours;
mod peers;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use measure::{AnyError, Cost, mib};

/// The parts that a machine fetches.
const PARTS: [&str; 2] = ["root", "efi"];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match words.as_slice() {
        ["locks", lock, directory] => locks::write(Path::new(lock), Path::new(directory)),
        ["compare", new, olds @ ..] if !olds.is_empty() => compare(Path::new(new), olds),
        ["frames", part, new, out] => ours::frames(part, Path::new(new), Path::new(out)),
        ["patch", part, old, new, out] => {
            ours::patch(part, Path::new(old), Path::new(new), Path::new(out))
        }
        ["apply", old, pack, out] => ours::apply(Path::new(old), Path::new(pack), Path::new(out)),
        _ => Err("usage: delta-bench locks LOCK DIR | compare NEW NAME=OLD ...".into()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// A file of a release directory, by the end of its name.
fn part(release: &Path, part: &str) -> Result<PathBuf, AnyError> {
    let ending = format!(".{part}");
    let mut found = std::fs::read_dir(release)?.flatten().map(|entry| entry.path());
    let found = found.find(|path| path.to_string_lossy().ends_with(&ending));
    found.ok_or_else(|| format!("no {ending} in {}", release.display()).into())
}

fn compare(new: &Path, olds: &[&str]) -> Result<(), AnyError> {
    let scratch = tempfile::tempdir_in(new)?;
    let mut full = Cost::default();
    for kind in PARTS {
        full.add(&ours::made_frames(kind, &part(new, kind)?, scratch.path())?);
    }
    println!("full: {} as zstd frames, made in {:.1} s CPU", mib(full.bytes), full.make);
    for named in olds {
        let (name, old) = named.split_once('=').ok_or("write it as NAME=DIRECTORY")?;
        println!("\n{name}");
        println!(
            "{:<26} {:>11} {:>8} {:>7} {:>9} {:>10} {:>9}",
            "", "download", "of full", "ours x", "make CPU", "apply CPU", "apply mem"
        );
        let mut rows: Vec<(&str, Cost)> = Vec::new();
        for (method, run) in peers::METHODS {
            let mut cost = Cost::default();
            for kind in PARTS {
                let (old, new) = (part(Path::new(old), kind)?, part(new, kind)?);
                let place = tempfile::tempdir_in(scratch.path())?;
                cost.add(&run(kind, &old, &new, place.path())?);
            }
            rows.push((method, cost));
        }
        let ours = rows[0].1.bytes.max(1);
        rows.push(("full, frames", full.clone()));
        for (method, cost) in rows {
            println!(
                "{method:<26} {:>11} {:>6.2} % {:>7.1} {:>7.1} s {:>8.2} s {:>9}",
                mib(cost.bytes),
                cost.bytes as f64 * 100.0 / full.bytes as f64,
                cost.bytes as f64 / ours as f64,
                cost.make,
                cost.apply,
                mib(cost.memory),
            );
        }
    }
    Ok(())
}
