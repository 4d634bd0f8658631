//! The packages of a lock as one tree: unpacked, laid over each other, configured.
//!
//! lock → store → every package unpacked (as many at a time as there are processors) → one tree
//! → [`configure`]
//!
//! No package runs anything, and nothing is written but the spool of contents.

use crate::archive::Transport;
use crate::archive::relation::{self, Relation};
use crate::configure::review::Table;
use crate::configure::{self, ConfigureError, Installed};
use crate::deb::DebError;
use crate::deb::package::{self, Unpacked};
use crate::deb::spool::Spool;
use crate::deb::store::{Store, StoreError};
use crate::lock::{Lock, Package};
use crate::manifest::Accounts;
use crate::progress::Progress;
use crate::sandbox::{self, SandboxError};
use crate::tree::archive::{Entry, FromTar};
use crate::tree::{Kind, Node, Tree, TreeError};
use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// Why the packages make no tree.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UnpackError {
    /// A package is not to be had.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A package is broken.
    #[error("the package {name} cannot be unpacked")]
    Package {
        /// Its name.
        name: String,
        /// Why.
        source: DebError,
    },
    /// Two packages have the same file.
    #[error("{path} is in {first} and in {second}, and neither replaces the other")]
    SameFile {
        /// The file.
        path: String,
        /// One package.
        first: String,
        /// The other one.
        second: String,
    },
    /// A file of a package does not fit the others.
    #[error("a file of the package {name} does not fit the others")]
    Tree {
        /// Its name.
        name: String,
        /// Why.
        source: TreeError,
    },
    /// A hard link of a package leads nowhere.
    #[error("a file of the package {name} does not fit the others")]
    Link {
        /// Its name.
        name: String,
        /// Why.
        source: crate::tree::archive::ArchiveError,
    },
    /// What installation would have done cannot be done.
    #[error("the packages cannot be configured")]
    Configure(#[from] ConfigureError),
    /// Scripts that should run did not.
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
}

/// Unpacks and configures the packages of a lock. Contents go to `spool`. `directory` is an empty
/// one for scripts that run in a sandbox.
pub fn tree(
    lock: &Lock,
    store: &Store,
    table: &Table,
    accounts: &Accounts,
    spool: &Spool,
    directory: &Path,
    progress: &Progress,
) -> Result<FromTar, UnpackError> {
    let stage = progress.stage("unpack");
    stage.expect(lock.packages.iter().map(|package| package.size).sum());
    let unpacked = unpack_all(lock, store, spool, &|bytes| stage.advance(bytes))?;
    stage.finish(&format!("{} packages", unpacked.len()));
    let stage = progress.stage("configure");
    let mut merge = Merge::default();
    for (package, unpacked) in lock.packages.iter().zip(unpacked) {
        merge.add(package, unpacked);
    }
    for (place, package) in merge.packages.iter().enumerate() {
        for diversion in table.get(&package.name).into_iter().flat_map(|known| &known.diversions) {
            merge.diversions.insert(diversion.path.clone(), (diversion.to.clone(), place));
        }
    }
    let (mut from, packages) = merge.finish()?;
    configure::configure(&mut from.tree, &packages, table, accounts)?;
    stage.finish(&format!("{} entries", from.tree.len()));
    if lock.packages.iter().any(|package| table.is_sandboxed(&package.name)) {
        let stage = progress.stage("scripts");
        let ran = sandbox::run(&mut from, &packages, table, &lock.architecture, spool, directory)?;
        stage.finish(&format!("ran those of {} in a sandbox", ran.join(", ")));
    }
    Ok(from)
}

/// Unpacks the packages of a lock into a tree that has links already, such as those of a merged
/// /usr, and configures nothing.
pub fn lay(
    lock: &Lock,
    store: &Store,
    spool: &Spool,
    links: Tree,
) -> Result<(FromTar, Vec<Installed>), UnpackError> {
    let mut merge = Merge { tree: links, ..Merge::default() };
    for (package, unpacked) in lock.packages.iter().zip(unpack_all(lock, store, spool, &|_| ())?) {
        merge.add(package, unpacked);
    }
    merge.finish()
}

/// Unpacks every package, the largest first; the result is in the order of the lock.
fn unpack_all(
    lock: &Lock,
    store: &Store,
    spool: &Spool,
    progress: &(dyn Fn(u64) + Sync),
) -> Result<Vec<Unpacked>, UnpackError> {
    let mut order: Vec<usize> = (0..lock.packages.len()).collect();
    order.sort_by_key(|place| std::cmp::Reverse(lock.packages[*place].size));
    let next = AtomicUsize::new(0);
    let done: Mutex<BTreeMap<usize, Unpacked>> = Mutex::default();
    let failure = Mutex::new(None);
    let threads = thread::available_parallelism().map_or(2, usize::from);
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some(place) = order.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let package = &lock.packages[*place];
                    match unpack(lock, package, store, spool) {
                        Ok(unpacked) => {
                            done.lock().expect("no thread panics").insert(*place, unpacked);
                            progress(package.size);
                        }
                        Err(error) => {
                            next.store(order.len(), Ordering::Relaxed);
                            failure.lock().expect("no thread panics").get_or_insert(error);
                        }
                    }
                }
            });
        }
    });
    match failure.into_inner().expect("no thread panics") {
        Some(error) => Err(error),
        None => Ok(done.into_inner().expect("no thread panics").into_values().collect()),
    }
}

fn unpack(
    lock: &Lock,
    locked: &Package,
    store: &Store,
    spool: &Spool,
) -> Result<Unpacked, UnpackError> {
    let file = store.get(locked, &lock.urls(locked), &Transport::default())?;
    let broken = |source| UnpackError::Package { name: locked.name.clone(), source };
    let unpacked = package::unpack(&file, spool).map_err(broken)?;
    let fits = unpacked.control.field("Package") == Some(&locked.name)
        && unpacked.control.field("Version") == Some(&locked.version);
    if !fits {
        return Err(broken(DebError::Format("it is another package than the lock says")));
    }
    Ok(unpacked)
}

/// Packages that are laid over each other.
#[derive(Default)]
struct Merge {
    /// What is there before.
    tree: Tree,
    packages: Vec<Installed>,
    entries: Vec<Vec<Entry>>,
    /// Where a file stands, and whose file stands in its place.
    diversions: BTreeMap<String, (String, usize)>,
}

impl Merge {
    fn add(&mut self, package: &Package, unpacked: Unpacked) {
        self.packages.push(Installed {
            name: package.name.clone(),
            paths: unpacked.entries.iter().map(|entry| entry.path.clone()).collect(),
            control: unpacked.control,
        });
        self.entries.push(unpacked.entries);
    }

    /// Links of directories come first, such as those of a merged /usr, so that what is below
    /// them lands in the right place whatever the order of the packages.
    fn finish(self) -> Result<(FromTar, Vec<Installed>), UnpackError> {
        let Merge { tree, packages, entries, diversions } = self;
        let mut from = FromTar { tree, times: BTreeMap::new() };
        let mut owners: HashMap<String, usize> = HashMap::new();
        let base = packages.iter().position(|package| package.name == "base-files");
        let mut order: Vec<usize> = (0..packages.len()).collect();
        order.sort_by_key(|place| Some(*place) != base);
        let mut entries: Vec<Option<Vec<Entry>>> = entries.into_iter().map(Some).collect();
        for place in order {
            let name = &packages[place].name;
            for entry in entries[place].take().unwrap_or_default() {
                let Entry { path, node, time } = entry;
                let fits = |source| UnpackError::Tree { name: name.clone(), source };
                let real = match path.as_str() {
                    "" => String::new(),
                    path => from.tree.real_parents(path).map_err(fits)?,
                };
                if node.is_directory() {
                    // The first one that has a directory says what it is; a link to one stays.
                    let there = from.tree.lookup(&real).is_some_and(Node::is_directory);
                    if real.is_empty() || !there {
                        add(&mut from, &real, node, name)?;
                    }
                    continue;
                }
                let real = match diversions.get(&real) {
                    Some((to, by)) if *by != place => from.tree.real_parents(to).map_err(fits)?,
                    _ => real,
                };
                if let Some(owner) = owners.get(&real).copied() {
                    let link = |tree: &Tree, node: &Node| match (
                        tree.get(&real).map(|node| &node.kind),
                        &node.kind,
                    ) {
                        (Some(Kind::Symlink(a)), Kind::Symlink(b)) => a == b,
                        _ => false,
                    };
                    if replaces(&packages[owner], &packages[place]) || link(&from.tree, &node) {
                        continue;
                    }
                    if !replaces(&packages[place], &packages[owner]) {
                        let (first, second) = (packages[owner].name.clone(), name.clone());
                        return Err(UnpackError::SameFile { path: real, first, second });
                    }
                }
                if matches!(node.kind, Kind::File(_)) {
                    from.times.insert(real.clone(), time);
                }
                add(&mut from, &real, node, name)?;
                owners.insert(real, place);
            }
        }
        Ok((from, packages))
    }
}

fn add(from: &mut FromTar, path: &str, mut node: Node, name: &str) -> Result<(), UnpackError> {
    // Where the link leads may be below a link to a directory.
    if let Kind::HardLink(target) = &node.kind
        && let Ok(real) = from.tree.real_parents(target)
    {
        node.kind = Kind::HardLink(real);
    }
    from.tree
        .insert_entry(path, node)
        .map_err(|source| UnpackError::Link { name: name.to_owned(), source })
}

/// Whether a package says that it takes the place of files of another one.
fn replaces(package: &Installed, other: &Installed) -> bool {
    let field = package.control.field("Replaces").unwrap_or_default();
    let version = other.control.field("Version").unwrap_or_default();
    let provided = relation::parse(other.control.field("Provides").unwrap_or_default()).concat();
    relation::parse(field).concat().iter().any(|relation: &Relation| {
        let itself = relation.name == other.name && relation.allows(version);
        itself || (relation.bound.is_none() && provided.iter().any(|p| p.name == relation.name))
    })
}
