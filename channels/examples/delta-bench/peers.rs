//! The field's own tools, each as its manual says to make and to apply a difference.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use crate::measure::{AnyError, Cost, run, same, size, text};
use crate::ours;

/// Makes and applies the difference between two files in a directory of its own.
type Method = fn(&str, &Path, &Path, &Path) -> Result<Cost, AnyError>;

/// All methods, ours first.
pub(crate) const METHODS: [(&str, Method); 5] = [
    ("segment patch", ours::made_patch),
    ("zstd -9 --patch-from", zstd),
    ("xdelta3 -6", xdelta),
    ("casync, 64 KiB chunks", |_, old, new, place| casync(old, new, place, "64K")),
    ("casync, 16 KiB chunks", |_, old, new, place| casync(old, new, place, "16K")),
];

fn zstd(_: &str, old: &Path, new: &Path, place: &Path) -> Result<Cost, AnyError> {
    let (patch, out) = (place.join("patch"), place.join("out"));
    let from = format!("--patch-from={}", text(old)?);
    let made = ["-q", "-9", "--long=30", &from, text(new)?, "-o", text(&patch)?];
    let (make, _) = run("zstd", &made)?;
    let applied = ["-q", "-d", "--long=30", &from, text(&patch)?, "-o", text(&out)?];
    let (apply, memory) = run("zstd", &applied)?;
    same(&out, new)?;
    Ok(Cost { bytes: size(&patch)?, make, apply, memory })
}

fn xdelta(_: &str, old: &Path, new: &Path, place: &Path) -> Result<Cost, AnyError> {
    let (patch, out) = (place.join("patch"), place.join("out"));
    let window = ["-B", "1073741824"];
    let [b, bytes] = window;
    let made = ["-e", "-6", b, bytes, "-s", text(old)?, text(new)?, text(&patch)?];
    let (make, _) = run("xdelta3", &made)?;
    let applied = ["-d", b, bytes, "-s", text(old)?, text(&patch)?, text(&out)?];
    let (apply, memory) = run("xdelta3", &applied)?;
    same(&out, new)?;
    Ok(Cost { bytes: size(&patch)?, make, apply, memory })
}

/// The index, and the chunks that the old file does not have.
fn casync(old: &Path, new: &Path, place: &Path, chunk: &str) -> Result<Cost, AnyError> {
    let chunk = format!("--chunk-size={chunk}");
    let make = |name: &str, file: &Path| {
        let (store, index) =
            (place.join(format!("{name}.castr")), place.join(format!("{name}.caibx")));
        let store_option = format!("--store={}", store.display());
        let made = ["make", &chunk, &store_option, text(&index)?, text(file)?];
        Ok::<_, AnyError>((run("casync", &made)?, store, index))
    };
    let (_, old_store, _) = make("old", old)?;
    let ((made, _), new_store, index) = make("new", new)?;
    let old_chunks: BTreeSet<_> = chunks(&old_store)?.into_iter().map(|(name, _)| name).collect();
    let fresh = chunks(&new_store)?.into_iter().filter(|(name, _)| !old_chunks.contains(name));
    let bytes = fresh.map(|(_, bytes)| bytes).sum::<u64>() + size(&index)?;
    let out = place.join("out");
    let store = format!("--store={}", new_store.display());
    let seed = format!("--seed={}", old.display());
    let applied = ["extract", &store, &seed, text(&index)?, text(&out)?];
    let (apply, memory) = run("casync", &applied)?;
    same(&out, new)?;
    Ok(Cost { bytes, make: made, apply, memory })
}

/// The chunks of a store: names and bytes.
fn chunks(store: &Path) -> Result<Vec<(String, u64)>, AnyError> {
    let mut found = Vec::new();
    for directory in fs::read_dir(store)? {
        for file in fs::read_dir(directory?.path())? {
            let file = file?;
            found.push((file.file_name().to_string_lossy().into_owned(), file.metadata()?.len()));
        }
    }
    Ok(found)
}
