//! Kernel modules: which of those packed into the initrd this machine needs, in load order.
//!
//! The image builder resolved names, dependencies and aliases when it built the image and wrote
//! them to `/lib/modules/load`, one module a line:
//!
//! ```text
//! always dm_verity dm-mod.ko dm-bufio.ko dm-verity.ko
//! alias virtio:d00000002v* virtio_blk virtio_blk.ko
//! ```
//!
//! so nothing is left to resolve here: files are loaded left to right.

use std::collections::BTreeSet;
use std::ffi::CStr;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::kmod::{ModuleInitFlags, finit_module};

/// When a module is loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
enum When {
    Always,
    /// A device announces an alias that this pattern matches.
    Alias(String),
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Rule {
    when: When,
    name: String,
    files: Vec<String>,
}

/// The modules of the initrd, and which of them are loaded.
#[derive(Debug)]
pub struct Modules {
    directory: PathBuf,
    rules: Vec<Rule>,
    loaded: BTreeSet<String>,
    failed: Vec<String>,
}

impl Modules {
    /// Reads the load list in `directory`. A missing list means that the kernel has everything
    /// built in.
    pub fn open(directory: &Path) -> Self {
        let text = fs::read_to_string(directory.join("load")).unwrap_or_default();
        Self {
            directory: directory.to_owned(),
            rules: parse(&text),
            loaded: BTreeSet::new(),
            failed: Vec::new(),
        }
    }

    /// Loads the modules that every machine needs.
    pub fn load_always(&mut self) {
        self.load_where(|rule| rule.when == When::Always);
    }

    /// Loads what the devices now under `sysfs` ask for. Returns how many modules that were;
    /// each may have brought new devices, so the caller asks again until it is none.
    pub fn load_for_devices(&mut self, sysfs: &Path) -> usize {
        let before = self.loaded.len();
        let aliases = modaliases(sysfs);
        self.load_where(|rule| match &rule.when {
            When::Alias(pattern) => aliases.iter().any(|alias| matches(pattern, alias)),
            When::Always => false,
        });
        self.loaded.len() - before
    }

    /// Takes the modules that could not be loaded, with the kernel's reason.
    pub fn take_failures(&mut self) -> Vec<String> {
        std::mem::take(&mut self.failed)
    }

    fn load_where(&mut self, wanted: impl Fn(&Rule) -> bool) {
        let files: Vec<String> =
            self.rules.iter().filter(|r| wanted(r)).flat_map(|r| r.files.clone()).collect();
        for file in files {
            if self.loaded.insert(file.clone())
                && let Err(reason) = load(&self.directory.join(&file), c"")
            {
                self.failed.push(format!("kernel module {file}: {reason}"));
            }
        }
    }
}

/// Loads one module file. A module that is there already, or whose hardware is not (a
/// processor without the instructions of an accelerated hash), is no failure.
fn load(path: &Path, parameters: &CStr) -> io::Result<()> {
    let file = fs::File::open(path)?;
    match finit_module(&file, parameters, ModuleInitFlags::empty()) {
        Ok(()) | Err(Errno::EEXIST | Errno::ENODEV) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

/// Loads a module by its name, and first what it depends on, from the directory of one kernel
/// release, as its `modules.dep` has it: `kernel/net/bridge.ko: kernel/net/stp.ko kernel/net/llc.ko`,
/// what is needed first coming last. `parameters` are the module's own.
///
/// # Errors
///
/// There is no such module, or the kernel does not take one of them.
pub fn load_named(directory: &Path, name: &str, parameters: &CStr) -> io::Result<()> {
    let text = fs::read_to_string(directory.join("modules.dep"))?;
    let (file, needs) = needs(&text, name).ok_or_else(|| {
        let message = format!("this release has no kernel module {name}");
        io::Error::new(io::ErrorKind::NotFound, message)
    })?;
    for needed in needs {
        load(&directory.join(needed), c"")?;
    }
    load(&directory.join(file), parameters)
}

/// The file of a module and those of what it needs, in the order of loading.
fn needs<'t>(text: &'t str, name: &str) -> Option<(&'t str, Vec<&'t str>)> {
    text.lines().find_map(|line| {
        let (file, needs) = line.split_once(':')?;
        let stem = file.rsplit('/').next()?.split('.').next()?;
        let same = stem.replace('-', "_") == name.replace('-', "_");
        same.then(|| (file, needs.split_whitespace().rev().collect()))
    })
}

fn parse(text: &str) -> Vec<Rule> {
    text.lines()
        .filter_map(|line| {
            let mut words = line.split_whitespace().map(str::to_owned);
            let when = match words.next()?.as_str() {
                "always" => When::Always,
                "alias" => When::Alias(words.next()?),
                _ => return None,
            };
            Some(Rule { when, name: words.next()?, files: words.collect() })
        })
        .collect()
}

/// Every alias that a device of this machine announces.
fn modaliases(sysfs: &Path) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for bus in fs::read_dir(sysfs.join("bus")).into_iter().flatten().flatten() {
        for device in fs::read_dir(bus.path().join("devices")).into_iter().flatten().flatten() {
            if let Ok(alias) = fs::read_to_string(device.path().join("modalias")) {
                found.insert(alias.trim_end().to_owned());
            }
        }
    }
    found
}

/// Whether a shell pattern of `modules.alias` (`*`, `?`, `[a-b]`) matches a device's alias.
fn matches(pattern: &str, alias: &str) -> bool {
    fn step(p: &[u8], s: &[u8]) -> bool {
        match (p.first(), s.first()) {
            (None, None) => true,
            (Some(b'*'), _) => step(&p[1..], s) || (!s.is_empty() && step(p, &s[1..])),
            (Some(b'?'), Some(_)) => step(&p[1..], &s[1..]),
            (Some(b'['), Some(&c)) => match p.iter().position(|&b| b == b']') {
                Some(end) => in_class(&p[1..end], c) && step(&p[end + 1..], &s[1..]),
                None => false,
            },
            (Some(a), Some(b)) => a == b && step(&p[1..], &s[1..]),
            _ => false,
        }
    }
    step(pattern.as_bytes(), alias.as_bytes())
}

fn in_class(class: &[u8], c: u8) -> bool {
    let mut rest = class;
    while let [first, tail @ ..] = rest {
        if let [b'-', last, after @ ..] = tail {
            if (*first..=*last).contains(&c) {
                return true;
            }
            rest = after;
        } else {
            if *first == c {
                return true;
            }
            rest = tail;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_the_kernel_means_them() {
        for (pattern, alias, expected) in [
            ("virtio:d00000002v*", "virtio:d00000002v00001AF4", true),
            ("virtio:d00000002v*", "virtio:d00000001v00001AF4", false),
            ("scsi:t-0x05*", "scsi:t-0x05", true),
            (
                "pci:v00008086d00002922sv*sd*bc*sc*i*",
                "pci:v00008086d00002922sv00001AF4sd00001100bc01sc06i01",
                true,
            ),
            (
                "pci:v*d*sv*sd*bc01sc06i01*",
                "pci:v00008086d00002922sv00001AF4sd00001100bc01sc06i01",
                true,
            ),
            ("acpi*:QEMU0002:*", "acpi:QEMU0002:", true),
            ("x[0-3a]y", "x2y", true),
            ("x[0-3a]y", "xay", true),
            ("x[0-3a]y", "x4y", false),
            ("x[0-3", "x1", false),
            ("", "x", false),
        ] {
            assert_eq!(matches(pattern, alias), expected, "{pattern} on {alias}");
        }
    }

    #[test]
    fn the_load_list_is_read_in_order_and_unknown_lines_are_passed_over() {
        let rules = parse(
            "always dm_verity dm-mod.ko dm-verity.ko\nalias virtio:d2v* virtio_blk virtio_blk.ko\nfuture x y\n\n",
        );
        assert_eq!(rules.len(), 2);
        assert_eq!(rules[0].files, ["dm-mod.ko", "dm-verity.ko"]);
        assert_eq!(rules[1].when, When::Alias("virtio:d2v*".into()));
    }

    #[test]
    fn what_a_module_needs_comes_before_it() {
        let text = "kernel/net/802/stp.ko: kernel/net/llc/llc.ko\n\
                    kernel/net/8021q/8021q.ko: kernel/net/802/garp.ko kernel/net/802/stp.ko kernel/net/llc/llc.ko\n\
                    kernel/drivers/md/dm-mod.ko.xz:\n";
        let of = |name| needs(text, name);
        assert_eq!(
            of("8021q"),
            Some((
                "kernel/net/8021q/8021q.ko",
                vec!["kernel/net/llc/llc.ko", "kernel/net/802/stp.ko", "kernel/net/802/garp.ko"]
            ))
        );
        assert_eq!(of("dm_mod"), Some(("kernel/drivers/md/dm-mod.ko.xz", Vec::new())));
        assert_eq!(of("mod"), None);
        let directory = tempfile::tempdir().unwrap();
        let load = |name| load_named(directory.path(), name, c"").unwrap_err();
        assert_eq!(load("bonding").kind(), io::ErrorKind::NotFound);
        fs::write(directory.path().join("modules.dep"), text).unwrap();
        assert_eq!(load("bonding").to_string(), "this release has no kernel module bonding");
    }
}
