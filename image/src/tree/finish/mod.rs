//! Makes the tree of installed packages the root file system of the image.
//!
//! files of the packages → kernel taken out → packages and paths removed → accounts fixed → project's
//! files laid over → units enabled → writable directories emptied → [`RootTree`]
//!
//! Each step is a function over a [`Tree`] that touches nothing else. The result depends on the
//! packages, the manifest, the overlay, the programs and the version, and on nothing else: no clock,
//! no environment. What an image has below `/var`, `/home` and the other writable places is
//! turned into tmpfiles.d lines that make it again on the machine's own disk.

pub mod accounts;
pub mod audit;
pub mod dpkg;
mod elf;
mod error;
mod kernel;
mod os_release;
mod removal;
mod state;
mod text;
mod units;
mod update;

use super::archive::FromTar;
use super::{Kind, Node, Tree};
use crate::bill::Bill;
use crate::configure;
use crate::configure::review::{Scripts, Table};
use crate::manifest::{Manifest, Permission, Program, Version};
use accounts::Accounts;
use audit::Missing;
use dpkg::{Database, Package};
pub use error::FinishError;
pub use kernel::Kernel;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::thread;

/// What a root tree is made from.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// The manifest.
    pub manifest: &'a Manifest,
    /// The files of the packages, as installing leaves them.
    pub packages: &'a FromTar,
    /// The directory that the manifest's overlay directories are relative to.
    pub project: &'a Path,
    /// Built programs by the name the manifest has for them.
    pub programs: &'a BTreeMap<String, PathBuf>,
    /// The version of the image.
    pub version: &'a Version,
}

/// A finished root file system.
#[derive(Debug)]
pub struct RootTree {
    /// The files. Contents are read from the packages and the overlay when they are used.
    pub tree: Tree,
    /// Its files whose contents are not those of a package: what a project changes from build to
    /// build.
    pub own: BTreeSet<String>,
    /// The kernel, which is not in the tree; its modules are.
    pub kernel: Kernel,
    /// What is known of these packages: licences, mended faults.
    pub bill: Bill,
    /// The packages whose files are in the tree, by name.
    pub packages: Vec<Package>,
    /// When the newest file of any package was made, in seconds since 1970: a time for the
    /// image that depends on its inputs only.
    pub epoch: u64,
    /// Enabled units: the links that were made, as `link -> target`.
    pub enabled: Vec<String>,
    /// Links by which packages enabled units in `/etc`, which were dropped.
    pub dropped: Vec<String>,
    /// Removals of the manifest that matched nothing.
    pub unmatched: Vec<String>,
    /// What files of the tree need and the tree does not have.
    pub missing: Vec<Missing>,
}

/// Makes the root file system of the image.
pub fn root_tree(request: &Request<'_>) -> Result<RootTree, FinishError> {
    thread::scope(|scope| {
        // Of the packages as they are: the image has no documents.
        let bill = scope.spawn(|| Bill::of_tree(&request.packages.tree));
        let root = finish(request)?;
        let bill = bill.join().expect("the bill's thread returns its errors");
        let bill =
            bill.map_err(|source| FinishError::Read { path: "usr/share/doc".to_owned(), source })?;
        let mut bill = bill.only(root.packages.iter().map(|package| package.name.as_str()));
        let table = Table::of(request.manifest);
        for (name, item) in &mut bill.packages {
            item.scripts = table.is_sandboxed(name).then_some(Scripts::Sandboxed);
        }
        Ok(RootTree { bill, ..root })
    })
}

/// The files of packages that stay in an image, without what the project adds.
pub fn remaining(packages: &FromTar, manifest: &Manifest) -> Result<Tree, FinishError> {
    let mut tree = packages.tree.clone();
    let mut database = Database::read(&tree)?;
    removal::apply(&mut tree, &mut database, &manifest.remove);
    Ok(tree)
}

/// The tree with an empty bill.
fn finish(request: &Request<'_>) -> Result<RootTree, FinishError> {
    let manifest = request.manifest;
    let mut tree = request.packages.tree.clone();

    let kernel = kernel::take(&mut tree)?;
    let mut database = Database::read(&tree)?;
    let epoch = database.newest_file(&tree, &request.packages.times);
    let modules = modules(&tree);
    let unmatched = removal::apply(&mut tree, &mut database, &manifest.remove);
    if modules != self::modules(&tree) {
        // The index must name none that is not there.
        configure::index_modules(&mut tree)?;
    }
    database.move_below_usr(&mut tree)?;
    let accounts = Accounts::fix(&mut tree, &manifest.accounts)?;
    let dropped = units::drop_enablement(&mut tree);

    for directory in &manifest.overlay {
        tree.lay_over(&request.project.join(directory))?;
    }
    for program in &manifest.programs {
        place_program(&mut tree, program, request.programs)?;
    }
    if let Some(settings) = &manifest.update {
        update::write(&mut tree, settings, request.project)?;
    }
    set_permissions(&mut tree, &manifest.permissions, &accounts)?;
    os_release::write(&mut tree, manifest, request.version)?;
    let enabled = units::enable(&mut tree, &manifest.units)?;
    state::empty(&mut tree, &accounts, &manifest.accounts.login)?;

    if !tree.contains("etc/ld.so.cache") {
        return Err(FinishError::Absent { path: "etc/ld.so.cache".to_owned() });
    }
    let missing = audit::missing(&tree)?;
    let packages = database.into_packages();
    let bill = Bill::default();
    let own = own(&tree, &request.packages.tree);
    Ok(RootTree { tree, own, kernel, bill, packages, epoch, enabled, dropped, unmatched, missing })
}

/// How many kernel modules there are.
fn modules(tree: &Tree) -> usize {
    tree.below("usr/lib/modules").filter(|(path, _)| path.ends_with(".ko")).count()
}

/// The files of `tree` with contents that `packages` does not have at this place.
fn own(tree: &Tree, packages: &Tree) -> BTreeSet<String> {
    let content = |node: &Node| match &node.kind {
        Kind::File(content) => Some(content.clone()),
        _ => None,
    };
    tree.iter()
        .filter(|(path, node)| match (content(node), packages.get(path).and_then(content)) {
            (Some(own), Some(theirs)) => !own.is_same(&theirs),
            (own, _) => own.is_some(),
        })
        .map(|(path, _)| path.to_owned())
        .collect()
}

/// Puts a program of the project and the links to it into the tree.
fn place_program(
    tree: &mut Tree,
    program: &Program,
    built: &BTreeMap<String, PathBuf>,
) -> Result<(), FinishError> {
    let from = built
        .get(&program.name)
        .ok_or_else(|| FinishError::NotBuilt { name: program.name.clone() })?;
    tree.place_file(program.path.as_str(), from, 0o755)?;
    for link in &program.links {
        let target = text::relative(link.as_str(), program.path.as_str());
        tree.insert(link.as_str(), Node::symlink(target))?;
    }
    Ok(())
}

/// Sets the owners and modes that the manifest wants different.
fn set_permissions(
    tree: &mut Tree,
    permissions: &[Permission],
    accounts: &Accounts,
) -> Result<(), FinishError> {
    for permission in permissions {
        let unknown = |name: &str| FinishError::UnknownAccount { name: name.to_owned() };
        let uid = permission
            .user
            .as_ref()
            .map(|name| accounts.uid(name.as_str()).ok_or_else(|| unknown(name.as_str())))
            .transpose()?;
        let gid = permission
            .group
            .as_ref()
            .map(|name| accounts.gid(name.as_str()).ok_or_else(|| unknown(name.as_str())))
            .transpose()?;
        for (path, node) in tree.iter_mut() {
            if permission.paths.iter().any(|glob| glob.matches(path)) {
                node.mode = permission.mode.map_or(node.mode, |mode| mode & 0o7777);
                node.uid = uid.unwrap_or(node.uid);
                node.gid = gid.unwrap_or(node.gid);
            }
        }
    }
    Ok(())
}
