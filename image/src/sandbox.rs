//! Scripts of packages, run in a user namespace over the unpacked tree.
//!
//! tree → tar → user namespace (unpacked, scripts run, packed) → tar → what differs → tree
//!
//! For a package whose script the manifest calls `scripts = "sandboxed"`, when nothing else will
//! do: what a script writes depends on the script, so the build says whose scripts ran. The
//! scripts see the tree and nothing else of this machine: no network, no other processes, and no
//! capability that would lead out of it. Owners are kept where the user has subordinate ids
//! (subuid(5)) or is root; without them everything that is new belongs to root.
//!
//! What runs in it are unshare(1), mount(8), tar(1) and chroot(8) of this machine, then
//! setpriv(1) and the shell of the tree.

use crate::configure::Installed;
use crate::configure::review::Table;
use crate::deb::ar::Limit;
use crate::deb::spool::{Spool, SpoolError};
use crate::tree::archive::{self, ArchiveError, Entry, FromTar};
use crate::tree::{Content, Kind, Node, Tree, export};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

/// Runs in the user namespace first. Root maps the ids from outside, and only a program that begins
/// after that is root in there.
const WAIT: &str = "read -r go && exec unshare --mount --pid --fork --ipc --uts --net \
    --kill-child sh -c \"$1\" sandbox \"$2\"";
/// What is done in there.
const INSIDE: &str = include_str!("sandbox.sh");
/// The scripts that run when a package is installed, in their order, with their argument.
const RUN: [(&str, &str); 2] = [("preinst", "install"), ("postinst", "configure")];
/// Where the scripts stand while they run.
const SCRIPTS: &str = "var/lib/dpkg/.scripts";
/// What is no part of an image, whatever is in it.
const OUTSIDE: [&str; 6] = ["dev", "proc", "run", "sys", "tmp", SCRIPTS];
/// The first of the 65536 ids that stand for those of the tree when root builds: above what
/// people and containers have.
const BASE: u32 = 0x7000_0000;
/// The most that a tree may grow to.
const MAX_TREE: u64 = 16 << 30;
/// Lines of what a script said that are shown if it fails.
const LINES: usize = 12;

/// Why scripts did not run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SandboxError {
    /// The packages are of another machine.
    #[error(
        "the scripts of {packages} cannot run: they are of {architecture}, this machine is not; say in the manifest what to do instead of them"
    )]
    Architecture {
        /// Whose scripts.
        packages: String,
        /// The lock's architecture.
        architecture: String,
    },
    /// A program of this machine is missing, or no namespace can be made.
    #[error("cannot start {program} for the scripts of packages")]
    Start {
        /// The program.
        program: &'static str,
        /// Why.
        source: io::Error,
    },
    /// The directory cannot be used.
    #[error("cannot use {path} for the scripts of packages", path = path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A script failed.
    #[error("the sandboxed scripts of packages failed ({status}):\n{said}")]
    Failed {
        /// How it ended.
        status: ExitStatus,
        /// The end of what it said.
        said: String,
    },
    /// What came out is no tree.
    #[error("what the scripts of packages left cannot be read")]
    Read(#[from] ArchiveError),
    /// It cannot be kept.
    #[error("what the scripts of packages left cannot be written")]
    Write(#[source] io::Error),
}

/// Where owners of the tree's files come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Owners {
    /// Root gives the namespace ids of its own.
    Own,
    /// The user's subordinate ids.
    Subordinate,
    /// There is only one id.
    One,
}

/// Runs the scripts of the packages that the table says so of, in the order of `packages`.
/// What they say goes into `directory`, which is made. Returns the names of these packages.
pub fn run(
    files: &mut FromTar,
    packages: &[Installed],
    table: &Table,
    architecture: &str,
    spool: &Spool,
    directory: &Path,
) -> Result<Vec<String>, SandboxError> {
    let sandboxed: Vec<&Installed> = packages
        .iter()
        .filter(|package| table.is_sandboxed(&package.name))
        .filter(|package| RUN.iter().any(|(name, _)| package.control.scripts.contains_key(*name)))
        .collect();
    let names: Vec<String> = sandboxed.iter().map(|package| package.name.clone()).collect();
    if names.is_empty() {
        return Ok(names);
    }
    let native = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    if architecture != native {
        let (packages, architecture) = (names.join(", "), architecture.to_owned());
        return Err(SandboxError::Architecture { packages, architecture });
    }
    fs::create_dir_all(directory)
        .map_err(|source| SandboxError::Directory { path: directory.to_owned(), source })?;
    let said = directory.join("said");
    let owners = owners();
    let child = start(&said, owners)?;
    let staged = stage(&files.tree, &sandboxed).map_err(ArchiveError::Tree)?;
    let after = exchange(child, &staged, spool, &said)?;
    take_over(files, after, owners == Owners::One)?;
    Ok(names)
}

/// The tree with the scripts and what runs them.
fn stage(tree: &Tree, packages: &[&Installed]) -> Result<Tree, crate::tree::TreeError> {
    let mut tree = tree.clone();
    tree.remove_where(|_, node| {
        matches!(node.kind, Kind::CharDevice { .. } | Kind::BlockDevice { .. } | Kind::Socket)
    });
    let mut all = String::from("set -e\ncd /\n");
    for package in packages {
        let (name, fields) = (&package.name, &package.control);
        for (script, argument) in RUN {
            let Some(text) = fields.scripts.get(script) else { continue };
            let path = format!("{SCRIPTS}/{name}.{script}");
            tree.insert(&path, Node::file(0o755, text.as_str()))?;
            // Of a package's name nothing needs to be quoted (Debian policy, 5.6.7).
            all += &format!(
                "export DPKG_MAINTSCRIPT_PACKAGE={name} DPKG_MAINTSCRIPT_NAME={script} DPKG_MAINTSCRIPT_PACKAGE_REFCOUNT=1\n\
                 /{path} {argument} || {{ echo \"{name}: {script} ended with $?\" >&2; exit 1; }}\n"
            );
        }
    }
    tree.insert(&format!("{SCRIPTS}/all"), Node::file(0o755, all))?;
    for directory in ["dev", "proc", "run", "sys", "tmp"] {
        if !tree.contains(directory) {
            tree.insert(directory, Node::directory(0o755))?;
        }
    }
    Ok(tree)
}

/// What owners this user can give files.
fn owners() -> Owners {
    if nix::unistd::geteuid().is_root() {
        return Owners::Own;
    }
    let probe = Command::new("unshare")
        .args(["--user", "--map-root-user", "--map-auto", "true"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    match probe.is_ok_and(|status| status.success()) {
        true => Owners::Subordinate,
        false => Owners::One,
    }
}

/// Starts the namespace. It waits for a tar on its standard input and answers with one.
fn start(said: &Path, owners: Owners) -> Result<Child, SandboxError> {
    let failed = |source| SandboxError::Start { program: "unshare", source };
    let log = File::create(said).map_err(failed)?;
    let mut command = Command::new("unshare");
    command.arg("--user");
    match owners {
        // Who is to be root in there must have one of its ids already.
        Owners::Own => {
            command.uid(BASE).gid(BASE);
        }
        Owners::Subordinate => {
            command.args(["--map-root-user", "--map-auto"]);
        }
        Owners::One => {
            command.arg("--map-root-user");
        }
    }
    let keep = if owners == Owners::One { "--no-same-owner" } else { "--same-owner" };
    command.args(["sh", "-c", WAIT, "sandbox", INSIDE, keep]);
    command.env_clear().env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(log);
    let child = command.spawn().map_err(failed)?;
    if owners == Owners::Own {
        map_ids(&child).map_err(failed)?;
    }
    Ok(child)
}

/// Gives the namespace of a child that has made one its ids.
fn map_ids(child: &Child) -> io::Result<()> {
    let own = fs::read_link("/proc/self/ns/user")?;
    let process = PathBuf::from(format!("/proc/{}", child.id()));
    // It has its namespace in no time, or has ended.
    while fs::read_link(process.join("ns/user"))? == own {
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    for name in ["uid_map", "gid_map"] {
        fs::write(process.join(name), format!("0 {BASE} 65536\n"))?;
    }
    Ok(())
}

/// Sends a tree and takes the answer.
fn exchange(
    mut child: Child,
    tree: &Tree,
    spool: &Spool,
    said: &Path,
) -> Result<Vec<Entry>, SandboxError> {
    let mut input = child.stdin.take().expect("it is a pipe");
    // Its first line says that the ids are there. If the child ends early, its own words say why.
    let sent = input.write_all(b"\n").and_then(|()| export::write_tar(tree, 0, &mut input));
    drop(input);
    let output = child.stdout.take().expect("it is a pipe");
    let mut output = io::BufReader::with_capacity(1 << 16, Limit::new(output, MAX_TREE));
    let mut entries = Vec::new();
    let read = archive::read_entries(
        &mut output,
        &mut |_: &mut String, content: &mut dyn Read, size| {
            spool.take(content, size).map_err(|error| match error {
                SpoolError::Read(error) => SandboxError::Read(ArchiveError::Read(error)),
                SpoolError::Write(error) => SandboxError::Write(error),
            })
        },
        &mut |entry| {
            entries.push(entry);
            Ok(())
        },
    );
    if read.is_ok() {
        // tar(1) fills its last record up behind the end of the archive.
        let _ = io::copy(&mut output, &mut io::sink());
    }
    drop(output);
    let status =
        child.wait().map_err(|source| SandboxError::Start { program: "unshare", source })?;
    if !status.success() || sent.is_err() {
        let text = fs::read(said).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<&str> = text.lines().collect();
        let said: Vec<String> = lines[lines.len().saturating_sub(LINES)..]
            .iter()
            .map(|line| format!("  {line}"))
            .collect();
        return Err(SandboxError::Failed { status, said: said.join("\n") });
    }
    read?;
    Ok(entries)
}

/// Makes the tree what the scripts left.
fn take_over(
    files: &mut FromTar,
    entries: Vec<Entry>,
    one_owner: bool,
) -> Result<(), ArchiveError> {
    let inside = |path: &str| {
        !OUTSIDE
            .iter()
            .any(|out| path == *out || path.strip_prefix(out).is_some_and(|p| p.starts_with('/')))
    };
    let found: BTreeMap<String, Node> =
        entries.into_iter().map(|entry| (entry.path, entry.node)).collect();
    let names: BTreeSet<&String> = found.keys().collect();
    let gone = |path: &str, node: &Node| {
        let carried =
            !matches!(node.kind, Kind::Socket | Kind::CharDevice { .. } | Kind::BlockDevice { .. });
        carried && inside(path) && !path.is_empty() && !names.contains(&path.to_owned())
    };
    for path in files.tree.remove_where(gone) {
        files.times.remove(&path);
    }
    // A hard link can come only after the file that it is another name of.
    let links = |node: &Node| matches!(node.kind, Kind::HardLink(_));
    let (links, first): (Vec<_>, Vec<_>) = found.iter().partition(|(_, node)| links(node));
    for (path, mut node) in
        first.into_iter().chain(links).map(|(path, node)| (path.as_str(), node.clone()))
    {
        if !inside(path) {
            continue;
        }
        let old = files.tree.get(path);
        if let Some(old) = old {
            // An attribute is lost on the way where nobody may set it.
            if node.xattrs.is_empty() {
                node.xattrs.clone_from(&old.xattrs);
            }
            if one_owner {
                (node.uid, node.gid) = (old.uid, old.gid);
            }
        }
        if old.is_some_and(|old| is_same(old, &node)) {
            continue;
        }
        // What a script has written is of no time that another build would have.
        if matches!(node.kind, Kind::File(_)) {
            files.times.insert(path.to_owned(), 0);
        }
        files.tree.insert_entry(path, node)?;
    }
    Ok(())
}

/// Whether two nodes are the same, contents included.
fn is_same(old: &Node, new: &Node) -> bool {
    let owned = |node: &Node| (node.mode, node.uid, node.gid);
    if let (Kind::HardLink(a), Kind::HardLink(b)) = (&old.kind, &new.kind) {
        return a == b;
    }
    let kind = match (&old.kind, &new.kind) {
        (Kind::File(a), Kind::File(b)) => same_bytes(a, b),
        (Kind::Symlink(a), Kind::Symlink(b)) => return a == b,
        (Kind::Directory, Kind::Directory) | (Kind::Fifo, Kind::Fifo) => true,
        _ => false,
    };
    kind && owned(old) == owned(new) && old.xattrs == new.xattrs
}

fn same_bytes(a: &Content, b: &Content) -> bool {
    if a.len() != b.len() {
        return false;
    }
    let (mut left, mut right) = (vec![0; 1 << 16], vec![0; 1 << 16]);
    let mut at = 0;
    while at < a.len() {
        let count = usize::try_from(a.len() - at).unwrap_or(usize::MAX).min(left.len());
        let fill = |content: &Content, buffer: &mut [u8]| {
            let mut done = 0;
            while done < buffer.len() {
                match content.read_at(&mut buffer[done..], at + done as u64) {
                    Ok(more) if more > 0 => done += more,
                    _ => return false,
                }
            }
            true
        };
        let read = fill(a, &mut left[..count]) && fill(b, &mut right[..count]);
        if !read || left[..count] != right[..count] {
            return false;
        }
        at += count as u64;
    }
    true
}
