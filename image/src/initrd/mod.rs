//! The first filesystem of a boot: one program and the modules it loads.
//!
//! tree + program → [`entries`] → [`pack`]: two archives ([`cpio`]), each compressed
//!
//! What the program in it relies on: it is `/init`; modules lie flat in
//! `/lib/modules`; `/lib/modules/load` says in which order they load and
//! what for ([`modules::Plan`]); the directories to mount on are there.

pub mod cpio;
pub mod modules;

use std::io;

use zstd::zstd_safe;

use self::cpio::{Entries, Entry};
use crate::tree::Tree;

/// Where the kernel unpacks to, and where the program mounts.
const DIRECTORIES: [&str; 7] = ["dev", "lib", "lib/modules", "proc", "run", "sys", "sysroot"];
/// Where the kernel looks for the first program.
const PROGRAM: &str = "init";
/// The best level saves a tenth more and takes eight times as long, which every
/// change to the program in it would wait for.
const LEVEL: i32 = 12;

/// Why there is no initrd.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The modules cannot be had.
    #[error("kernel {kernel}")]
    Modules {
        /// The kernel's version.
        kernel: String,
        /// Which, and why.
        source: modules::Error,
    },
    /// The root tree lacks a file.
    #[error("the root tree has no file {path}")]
    Missing {
        /// Path in the tree.
        path: String,
    },
    /// A file of the root tree cannot be read.
    #[error("cannot read {path} of the root tree")]
    Read {
        /// Path in the tree.
        path: String,
        /// Why not.
        source: io::Error,
    },
}

/// Gathers what goes in: `program` as `/init`, and of the kernel's modules
/// those named `always` and `hardware` with all that they need.
pub fn entries(
    tree: &Tree,
    kernel: &str,
    always: &[String],
    hardware: &[String],
    program: Vec<u8>,
) -> Result<Entries, Error> {
    let base = format!("usr/lib/modules/{kernel}");
    let list = |name: &str| {
        let text = read(tree, &format!("{base}/{name}"))?;
        Ok::<_, Error>(String::from_utf8_lossy(&text).into_owned())
    };
    let (dep, alias) = (list("modules.dep")?, list("modules.alias")?);
    let index = modules::Index::parse(&dep, &alias, &list("modules.builtin")?);
    let plan = index
        .plan(always, hardware)
        .map_err(|source| Error::Modules { kernel: kernel.to_owned(), source })?;

    let mut entries: Entries =
        DIRECTORIES.iter().map(|&path| (path.to_owned(), Entry::Directory)).collect();
    entries.insert(PROGRAM.to_owned(), Entry::Program(program));
    entries.insert("lib/modules/load".to_owned(), Entry::File(plan.load.into_bytes()));
    for (file, path) in plan.files {
        let module = read(tree, &format!("{base}/{path}"))?;
        entries.insert(format!("lib/modules/{file}"), Entry::File(module));
    }
    Ok(entries)
}

/// Packs entries for the kernel: a zstd frame with everything but the program, and one with it.
/// The program alone is another one in every build: a frame of the `earlier` initrd that holds
/// the same is taken as it is.
pub fn pack(entries: &Entries, earlier: Option<&[u8]>) -> io::Result<Vec<u8>> {
    let (program, rest): (Entries, Entries) =
        entries.clone().into_iter().partition(|(path, _)| path == PROGRAM);
    let frames = frames(earlier.unwrap_or_default());
    let mut packed = Vec::new();
    for archive in [cpio::archive(&rest), cpio::archive(&program)] {
        let holds = |frame: &&&[u8]| {
            zstd::bulk::decompress(frame, archive.len()).is_ok_and(|found| found == archive)
        };
        match frames.iter().find(holds) {
            Some(frame) => packed.extend_from_slice(frame),
            None => packed.extend(zstd::bulk::compress(&archive, LEVEL)?),
        }
    }
    Ok(packed)
}

/// The zstd frames that are one behind the other, up to what is none.
fn frames(mut bytes: &[u8]) -> Vec<&[u8]> {
    let mut frames = Vec::new();
    while !bytes.is_empty()
        && let Ok(length) = zstd_safe::find_frame_compressed_size(bytes)
        && let Some((frame, rest)) = bytes.split_at_checked(length)
    {
        frames.push(frame);
        bytes = rest;
    }
    frames
}

fn read(tree: &Tree, path: &str) -> Result<Vec<u8>, Error> {
    match tree.read_file(path) {
        Ok(Some(bytes)) => Ok(bytes),
        Ok(None) => Err(Error::Missing { path: path.to_owned() }),
        Err(source) => Err(Error::Read { path: path.to_owned(), source }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::Node;

    fn tree() -> Tree {
        let mut tree = Tree::new();
        for (path, content) in [
            ("modules.dep", "kernel/b.ko: kernel/a.ko\nkernel/a.ko:\n"),
            ("modules.alias", "alias pci:* b\n"),
            ("modules.builtin", "kernel/c.ko\n"),
            ("kernel/a.ko", "module a"),
            ("kernel/b.ko", "module b"),
        ] {
            let path = format!("usr/lib/modules/6.1/{path}");
            tree.insert(&path, Node::file(0o644, content)).expect("a good path");
        }
        tree
    }

    fn names(list: &[&str]) -> Vec<String> {
        list.iter().map(|&name| name.to_owned()).collect()
    }

    #[test]
    fn the_initrd_holds_the_program_the_modules_and_the_list() {
        let entries = entries(&tree(), "6.1", &names(&["c"]), &names(&["b"]), b"elf".to_vec())
            .expect("all there");
        let file = |path: &str| entries[path].clone();
        assert_eq!(file("init"), Entry::Program(b"elf".to_vec()));
        assert_eq!(file("lib/modules/a.ko"), Entry::File(b"module a".to_vec()));
        assert_eq!(file("lib/modules/load"), Entry::File(b"alias pci:* b a.ko b.ko\n".to_vec()));
        assert_eq!(file("sysroot"), Entry::Directory);
    }

    #[test]
    fn what_is_missing_is_named() {
        let program = || b"elf".to_vec();
        for (kernel, module, message) in
            [("6.2", "b", "no file usr/lib/modules/6.2/modules.dep"), ("6.1", "z", "kernel 6.1")]
        {
            let error = entries(&tree(), kernel, &names(&[module]), &[], program())
                .expect_err(message)
                .to_string();
            assert!(error.contains(message), "{error}");
        }
    }

    #[test]
    fn an_initrd_is_two_frames_and_is_the_same_with_an_earlier_one() {
        let made = |program: &[u8], modules: &[&str], earlier: Option<&[u8]>| {
            let program = program.to_vec();
            let entries = entries(&tree(), "6.1", &[], &names(modules), program).expect("there");
            (pack(&entries, earlier).expect("packs"), entries)
        };
        let (packed, entries) = made(b"elf", &["b"], None);
        let frames = frames(&packed);
        assert_eq!(frames.len(), 2);
        assert_eq!(frames.concat(), packed);
        let archives = zstd::decode_all(&packed[..]).expect("frames");
        assert_eq!(cpio::read(&archives), Some(entries));
        for earlier in [
            &packed[..],
            &made(b"elf 2", &["b"], None).0,
            &made(b"elf", &["a"], None).0,
            &packed[..packed.len() - 3],
            b"no frame",
        ] {
            assert!(made(b"elf", &["b"], Some(earlier)).0 == packed);
        }
    }
}
