//! A set of packages as an extension: what of them and of all they need the image does not have.
//!
//! names → [`resolve`] beside the image's own lock → [`Lock`] → unpacked → only `usr` and `opt`,
//! without what the image's manifest removes everywhere → looked through → [`Packed`]
//!
//! The image's packages stay as they are locked, so what comes along fits them. Nothing of a
//! package runs, neither here nor on the machine.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use crate::archive::control::Paragraph;
use crate::archive::index::{Candidate, Index};
use crate::archive::{Transport, solve};
use crate::configure::review::Table;
use crate::deb::spool::Spool;
use crate::deb::store::{Store, StoreError};
use crate::deb::{DebError, package};
use crate::lock::update::{self, UpdateError};
use crate::lock::{Lock, LockError};
use crate::manifest::{Manifest, PackageName};
use crate::packages::native::{self, UnpackError};
use crate::packages::{self, PackagesError};
use crate::progress::{Progress, Size};
use crate::sysext::{OWN, PLACES};
use crate::tree::finish::audit::{self, Missing};
use crate::tree::finish::{self, FinishError};
use crate::tree::{Kind, Node, Tree, TreeError};

/// Links of the merged /usr that packages still reach through.
const MERGED: [&str; 4] = ["bin", "lib", "lib64", "sbin"];
/// Users and groups below this number are the same on every system.
const FIRST_DYNAMIC: u32 = 100;
/// Set-user-ID, set-group-ID.
const SET_ID: u32 = 0o6000;
/// How many of a list are told.
const TOLD: usize = 8;

/// What a set of packages is made from.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// What the image is made of.
    pub manifest: &'a Manifest,
    /// The image's packages.
    pub base: &'a Lock,
    /// The packages that are asked for.
    pub asked: &'a [String],
    /// The file of the keys that the archives are signed with.
    pub keyring: &'a Path,
    /// Where packages are kept.
    pub cache: &'a Path,
    /// The digest of this program.
    pub builder: &'a str,
    /// Whether files may have set-user-ID bits and capabilities.
    pub privileged: bool,
    /// Now, in seconds since 1970.
    pub now: u64,
}

/// The files of a set of packages.
#[derive(Debug)]
pub struct Packed {
    /// The files, below `usr` and `opt`.
    pub tree: Tree,
    /// Files that an extension cannot hold.
    pub left_out: Vec<String>,
    /// Packages with scripts, and which those are: `tcpdump (postinst)`.
    pub scripts: Vec<String>,
}

/// Why there is no extension of these packages.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nothing would be in it.
    #[error("{names} is in the image already")]
    There {
        /// The packages.
        names: String,
    },
    /// The lock was made for something else.
    #[error("the lock {path} is not of this extension: {reason}; write it anew with --update", path = path.display())]
    Stale {
        /// The file.
        path: PathBuf,
        /// What differs.
        reason: String,
    },
    /// The archives are not to be had.
    #[error(transparent)]
    Archives(#[from] UpdateError),
    /// The packages do not go together.
    #[error(
        "these packages do not go with the image's; if those are old, `image lock --update` renews them"
    )]
    Solve(#[source] solve::SolveError),
    /// A package is not to be had.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A package of the image is broken.
    #[error("the package {name} is broken")]
    Package {
        /// Its name.
        name: String,
        /// Why.
        source: DebError,
    },
    /// There is no place to unpack.
    #[error("cannot use the package cache {path}", path = path.display())]
    Cache {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The packages make no tree.
    #[error(transparent)]
    Unpack(#[from] UnpackError),
    /// A file does not fit the others.
    #[error(transparent)]
    Tree(#[from] TreeError),
    /// The image's packages make no tree.
    #[error("the packages of the image cannot be looked at")]
    Base(#[from] PackagesError),
    /// The image's files make no system.
    #[error("the files of the image cannot be looked at")]
    Finish(#[from] FinishError),
    /// A file of the image would be hidden.
    #[error("{path} is a file of the image, which the extension would hide")]
    Hidden {
        /// The file.
        path: String,
    },
    /// Files that make whoever runs them somebody else.
    #[error("{files} would run with the rights of others: --privileged takes them as they are")]
    Privileged {
        /// The files.
        files: String,
    },
    /// A file of somebody whose number differs from system to system.
    #[error("{path} belongs to the number {id}, which is another account on every system")]
    Owner {
        /// The file.
        path: String,
        /// The number.
        id: u32,
    },
    /// Something that is needed is not there.
    #[error("{missing}; name a package that has it as well")]
    Missing {
        /// What, one after the other.
        missing: String,
    },
    /// The lock cannot be read.
    #[error(transparent)]
    Lock(#[from] LockError),
}

/// Reads the lock at `path` if it is there, and makes sure that it is of this set and this image.
pub fn read_lock(request: &Request<'_>, path: &Path) -> Result<Option<Lock>, Error> {
    let Some(lock) = Lock::read(path)? else { return Ok(None) };
    let stale = |reason: String| Error::Stale { path: path.to_owned(), reason };
    let packages = &request.manifest.packages;
    if lock.architecture != packages.architecture.as_str() {
        return Err(stale(format!("it is for {}", lock.architecture)));
    }
    if lock.asked != sorted(request.asked) {
        return Err(stale(format!("it was made for {}", lock.asked.join(", "))));
    }
    let image = image_packages(request);
    if let Some(there) = lock.packages.iter().find(|package| image.contains(package.name.as_str()))
    {
        return Err(stale(format!("the image itself has {} now", there.name)));
    }
    Ok(Some(lock))
}

/// Chooses the packages that are asked for, and what they need and the image lacks.
pub fn resolve(request: &Request<'_>, progress: &Progress) -> Result<Lock, Error> {
    let image = image_packages(request);
    let there: Vec<&str> = request.asked.iter().map(String::as_str).collect();
    let there: Vec<&str> = there.into_iter().filter(|name| image.contains(name)).collect();
    if !there.is_empty() {
        return Err(Error::There { names: there.join(", ") });
    }
    let transport = Transport::default();
    let archives = update::Request {
        manifest: request.manifest,
        old: Some(request.base),
        keyring: request.keyring,
        cache: request.cache,
        now: request.now,
    };
    let (origins, index) = update::read_archives(&archives, &transport, progress)?;
    let stage = progress.stage("choice");
    let store = Store::open(&request.cache.join("debs"))?;
    // What the image is without but its packages were told of counts as there, unless it is asked
    // for: what only serves to install is not to come along.
    let asked: BTreeSet<&str> = request.asked.iter().map(String::as_str).collect();
    let base =
        request.base.packages.iter().filter(|package| !asked.contains(package.name.as_str()));
    let base = base
        .map(|locked| base_candidate(request.base, locked, &index, &store, &transport))
        .collect::<Result<Vec<_>, _>>()?;
    let chosen = solve::resolve_beside(&index, base, request.asked).map_err(Error::Solve)?;
    let architecture = request.manifest.packages.architecture.as_str();
    let lock = Lock::new(architecture, sorted(request.asked), &origins, &chosen);
    let size: u64 = lock.packages.iter().map(|package| package.size).sum();
    stage.finish(&format!("{} packages, {}", lock.packages.len(), Size(size)));
    Ok(lock)
}

/// A package of the image as it is locked: by the archive if that still has it, else by itself.
fn base_candidate(
    base: &Lock,
    locked: &crate::lock::Package,
    index: &Index,
    store: &Store,
    transport: &Transport,
) -> Result<Rc<Candidate>, Error> {
    if let Some(candidate) = index.version(&locked.name, &locked.version) {
        return Ok(candidate);
    }
    let broken = |source| Error::Package { name: locked.name.clone(), source };
    let file = store.get(locked, &base.urls(locked), transport)?;
    let control = package::control(&file).map_err(broken)?;
    let text = format!(
        "{}\nFilename: {}\nSize: {}\nSHA256: {}\n",
        control.paragraph.trim_end(),
        locked.path,
        locked.size,
        locked.sha256
    );
    let candidate = Candidate::read(locked.archive, Paragraph::first(&text));
    candidate.map(Rc::new).ok_or_else(|| broken(DebError::Format("it does not say what it is")))
}

/// The packages whose files are in the image.
fn image_packages<'a>(request: &Request<'a>) -> BTreeSet<&'a str> {
    let removed = request.manifest.remove.iter().flat_map(|removal| &removal.packages);
    let removed: BTreeSet<&str> = removed.map(PackageName::as_str).collect();
    let names = request.base.packages.iter().map(|package| package.name.as_str());
    names.filter(|name| !removed.contains(name)).collect()
}

/// The files of the packages of a lock, looked through.
pub fn pack(request: &Request<'_>, lock: &Lock, progress: &Progress) -> Result<Packed, Error> {
    let store = Store::open(&request.cache.join("debs"))?;
    update::fetch(lock, &store, &Transport::default(), progress)?;
    let failed = |source| Error::Cache { path: request.cache.to_owned(), source };
    let spool = Spool::new(tempfile::tempfile_in(request.cache).map_err(failed)?);
    let mut links = Tree::new();
    for name in MERGED {
        links.insert(name, Node::symlink(format!("usr/{name}")))?;
        links.insert(&format!("usr/{name}"), Node::directory(0o755))?;
    }
    let stage = progress.stage("unpack");
    let (mut from, installed) = native::lay(lock, &store, &spool, links)?;
    stage.finish(&format!("{} packages", installed.len()));
    for name in MERGED {
        from.tree.remove(name);
    }
    let (tree, left_out) = only_places(&from.tree, request.manifest)?;
    let table = Table::of(request.manifest);
    let scripts = installed.iter().filter_map(|package| {
        let unknown = table.check(&package.name, &package.control, None);
        let names: Vec<&str> = unknown.iter().map(|finding| finding.script.as_str()).collect();
        (!names.is_empty()).then(|| format!("{} ({})", package.name, names.join(", ")))
    });
    let scripts = scripts.collect();
    check_rights(&tree, request.privileged)?;
    check_beside(&tree, request, progress)?;
    Ok(Packed { tree, left_out, scripts })
}

/// What of a tree an extension holds, and the files that it does not.
fn only_places(all: &Tree, manifest: &Manifest) -> Result<(Tree, Vec<String>), Error> {
    let removed = |path: &str| {
        let mut globs = manifest.remove.iter().flat_map(|removal| &removal.paths);
        globs.any(|glob| parents(path).any(|parent| glob.matches(parent)))
    };
    let (mut tree, mut left_out) = (Tree::new(), Vec::new());
    // Links to files come after the files.
    let is_link = |node: &Node| matches!(node.kind, Kind::HardLink(_));
    let first = all.iter().filter(|(_, node)| !is_link(node));
    for (path, node) in first.chain(all.iter().filter(|(_, node)| is_link(node))) {
        if path.is_empty() || removed(path) {
            continue;
        }
        let place = PLACES.iter().any(|place| parents(path).any(|parent| parent == *place));
        match (place, node.is_directory()) {
            // Directories come with what is in them.
            (_, true) => {}
            (true, false) => tree.insert(path, node.clone())?,
            (false, false) => left_out.push(path.to_owned()),
        }
    }
    // With the modes and owners they have.
    let directories: Vec<String> = tree
        .iter()
        .filter(|(path, node)| node.is_directory() && !path.is_empty())
        .map(|(path, _)| path.to_owned())
        .collect();
    for path in directories {
        if let (Some(node), Some(made)) = (all.get(&path), tree.get_mut(&path)) {
            *made = node.clone();
        }
    }
    Ok((tree, left_out))
}

/// A path and everything above it.
fn parents(path: &str) -> impl Iterator<Item = &str> {
    let ends = path.match_indices('/').map(|(end, _)| end).chain([path.len()]);
    ends.map(|end| &path[..end])
}

/// Looks for what makes its user somebody else, and for files of accounts that are not the same
/// everywhere.
fn check_rights(tree: &Tree, privileged: bool) -> Result<(), Error> {
    let raised = |node: &Node| {
        let set_id = node.mode & SET_ID != 0 && !node.is_directory();
        set_id || node.xattrs.contains_key("security.capability")
    };
    let files: Vec<&str> =
        tree.iter().filter(|(_, node)| raised(node)).map(|(path, _)| path).collect();
    if !files.is_empty() && !privileged {
        return Err(Error::Privileged { files: shortened(&files) });
    }
    for (path, node) in tree.iter() {
        if let Some(id) = [node.uid, node.gid].into_iter().find(|id| *id >= FIRST_DYNAMIC) {
            return Err(Error::Owner { path: path.to_owned(), id });
        }
    }
    Ok(())
}

/// Lays the tree over the image's: nothing of the image may be hidden, and nothing may lack what
/// it needs.
fn check_beside(tree: &Tree, request: &Request<'_>, progress: &Progress) -> Result<(), Error> {
    let Request { base: lock, manifest, cache, builder, .. } = *request;
    let of_image = packages::Request { lock, manifest, cache, builder };
    let mut base = packages::tree(&of_image, progress)?;
    let mut all = finish::remaining(&base.files, manifest)?;
    base.keep()?;
    for (path, node) in tree.iter().filter(|(path, _)| !path.is_empty()) {
        match all.get(path).map(Node::is_directory) {
            Some(true) if node.is_directory() => continue,
            Some(_) => return Err(Error::Hidden { path: path.to_owned() }),
            None => {}
        }
        let own = OWN.iter().any(|own| parents(path).any(|parent| parent == *own));
        if own && !node.is_directory() {
            return Err(Error::Hidden { path: path.to_owned() });
        }
        all.insert(path, node.clone())?;
    }
    let missing: Vec<Missing> =
        audit::missing(&all)?.into_iter().filter(|found| tree.contains(&found.path)).collect();
    // Documentation that was left out is linked to.
    let fatal = |found: &&Missing| !matches!(found.needs, audit::Need::Target(_));
    let fatal: Vec<String> = missing.iter().filter(fatal).map(ToString::to_string).collect();
    if !fatal.is_empty() {
        return Err(Error::Missing { missing: fatal[..fatal.len().min(TOLD)].join("; ") });
    }
    for link in missing {
        progress.note(&format!("note: {link}"));
    }
    Ok(())
}

/// The first of a list.
#[must_use]
pub fn shortened<T: AsRef<str>>(all: &[T]) -> String {
    let told: Vec<&str> = all.iter().take(TOLD).map(AsRef::as_ref).collect();
    match all.len().saturating_sub(TOLD) {
        0 => told.join(", "),
        more => format!("{} and {more} more", told.join(", ")),
    }
}

fn sorted(names: &[String]) -> Vec<String> {
    let names: BTreeSet<&String> = names.iter().collect();
    names.into_iter().cloned().collect()
}

/// Writes a lock.
pub fn write_lock(lock: &Lock, path: &Path) -> Result<(), host::durable::WriteError> {
    if fs::read(path).is_ok_and(|there| there == lock.to_text().as_bytes()) {
        return Ok(());
    }
    host::durable::write(path, lock.to_text().as_bytes(), 0o644)
}
