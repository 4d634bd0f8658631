//! What an output directory was built from, so that nothing is built twice.
//!
//! The stamp is written last and names every input by its digest and every
//! output by size and time: a missing, cut or changed output is built anew.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;
use std::time::UNIX_EPOCH;

use serde::{Deserialize, Serialize};

/// Name of the stamp in the output directory.
pub const FILE: &str = "stamp.json";

/// The digests of everything that a build depends on, by name.
pub type Inputs = BTreeMap<String, String>;

/// One build.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Stamp {
    /// What went in.
    pub inputs: Inputs,
    /// What came out, by file name.
    pub outputs: BTreeMap<String, Output>,
}

/// A result as it was when the build ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Output {
    /// Size in bytes.
    pub size: u64,
    /// Time of the last change, in nanoseconds since 1970.
    pub modified: u128,
}

/// Whether an earlier build still stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// Same inputs, and every output is as it was left.
    UpToDate,
    /// The names of inputs or outputs that are not as they were.
    Changed(Vec<String>),
    /// Nothing has been built here.
    New,
}

impl Stamp {
    /// The stamp in an output directory; none if there is none that can be
    /// understood.
    pub fn read(directory: &Path) -> Option<Stamp> {
        serde_json::from_slice(&fs::read(directory.join(FILE)).ok()?).ok()
    }

    /// Records outputs that stand in `directory`.
    pub fn new(inputs: Inputs, directory: &Path, outputs: &[String]) -> io::Result<Stamp> {
        let outputs = outputs
            .iter()
            .map(|name| Ok((name.clone(), observe(&directory.join(name))?)))
            .collect::<io::Result<_>>()?;
        Ok(Stamp { inputs, outputs })
    }

    /// The stamp as text.
    pub fn to_json(&self) -> String {
        let mut text = serde_json::to_string_pretty(self).expect("maps of plain values");
        text.push('\n');
        text
    }

    /// Compares with what a build would use now, and with the outputs as
    /// they are now. `wanted` are the outputs that the build would leave.
    pub fn compare(&self, inputs: &Inputs, directory: &Path, wanted: &[String]) -> State {
        let mut changed: Vec<String> = inputs
            .keys()
            .chain(self.inputs.keys())
            .filter(|&name| inputs.get(name) != self.inputs.get(name))
            .cloned()
            .collect();
        changed.extend(wanted.iter().filter(|name| !self.stands(directory, name)).cloned());
        changed.sort();
        changed.dedup();
        if changed.is_empty() { State::UpToDate } else { State::Changed(changed) }
    }

    /// Whether that output is in `directory` as it was left there.
    pub fn stands(&self, directory: &Path, name: &str) -> bool {
        let left = self.outputs.get(name);
        left.is_some_and(|left| observe(&directory.join(name)).is_ok_and(|now| now == *left))
    }
}

fn observe(path: &Path) -> io::Result<Output> {
    let metadata = fs::metadata(path)?;
    let modified = metadata.modified()?.duration_since(UNIX_EPOCH).unwrap_or_default();
    Ok(Output { size: metadata.len(), modified: modified.as_nanos() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inputs(pairs: &[(&str, &str)]) -> Inputs {
        pairs.iter().map(|&(name, digest)| (name.to_owned(), digest.to_owned())).collect()
    }

    #[test]
    fn a_build_stands_until_something_changes() {
        let root = tempfile::tempdir().expect("temporary directory");
        let path = root.path();
        let outputs = ["disk".to_owned()];
        fs::write(path.join("disk"), "bytes").expect("written");
        let before = inputs(&[("manifest", "1"), ("program", "2")]);
        let stamp = Stamp::new(before.clone(), path, &outputs).expect("outputs are there");
        fs::write(path.join(FILE), stamp.to_json()).expect("written");

        let read = Stamp::read(path).expect("a stamp");
        assert_eq!(read, stamp);
        assert_eq!(read.compare(&before, path, &outputs), State::UpToDate);
        let after = inputs(&[("manifest", "1"), ("program", "3"), ("new", "4")]);
        let changed = ["new", "program"].map(str::to_owned).to_vec();
        assert_eq!(read.compare(&after, path, &outputs), State::Changed(changed));

        fs::write(path.join("disk"), "byte").expect("written");
        let changed = State::Changed(outputs.to_vec());
        assert_eq!(read.compare(&before, path, &outputs), changed);
        fs::remove_file(path.join("disk")).expect("removed");
        assert_eq!(read.compare(&before, path, &outputs), changed);
    }

    #[test]
    fn a_stamp_that_cannot_be_read_is_none() {
        let root = tempfile::tempdir().expect("temporary directory");
        assert_eq!(Stamp::read(root.path()), None);
        fs::write(root.path().join(FILE), "{\"inputs\":").expect("written");
        assert_eq!(Stamp::read(root.path()), None);
    }
}
