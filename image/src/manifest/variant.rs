//! A manifest that says only in what it differs from another one.
//!
//! `extends = "coreos.toml"` at its beginning names the other one, relative to its own place.
//! What it gives of single values replaces, what it gives of lists is added; packages and units
//! can be left out as well. Chains of variants work, circles do not.

use super::{
    Accounts, Compression, Id, Initrd, Kernel, Login, Manifest, ManifestError, Mirror, PackageName,
    Permission, Program, Removal, Size, Snapshot, UnitName, Version, parse_toml,
};
use crate::configure::review::Reviewed;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Variants of variants that are followed.
const MAX_DEPTH: usize = 8;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Variant {
    /// The manifest that this one differs from.
    extends: PathBuf,
    id: Option<Id>,
    name: Option<String>,
    version: Option<Version>,
    channel: Option<Id>,
    packages: Option<Packages>,
    #[serde(default)]
    remove: Vec<Removal>,
    #[serde(default)]
    script: Vec<Reviewed>,
    accounts: Option<VariantAccounts>,
    #[serde(default)]
    overlay: Vec<PathBuf>,
    #[serde(default)]
    program: Vec<Program>,
    #[serde(default)]
    permission: Vec<Permission>,
    units: Option<Units>,
    kernel: Option<Kernel>,
    initrd: Option<Initrd>,
    disk: Option<Disk>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Packages {
    architecture: Option<Id>,
    suite: Option<Id>,
    components: Option<Vec<Id>>,
    mirror: Option<Mirror>,
    security_mirror: Option<Mirror>,
    snapshot: Option<Snapshot>,
    /// Packages beside those of the other manifest.
    #[serde(default)]
    install: Vec<PackageName>,
    /// Packages of the other manifest that are not asked for.
    #[serde(default)]
    without: Vec<PackageName>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct VariantAccounts {
    #[serde(default)]
    users: BTreeMap<super::AccountName, u32>,
    #[serde(default)]
    groups: BTreeMap<super::AccountName, u32>,
    /// In place of those of the other manifest.
    login: Option<Vec<Login>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Units {
    default: Option<UnitName>,
    #[serde(default)]
    enable: Vec<UnitName>,
    /// Units of the other manifest that are not enabled.
    #[serde(default)]
    without: Vec<UnitName>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Disk {
    esp: Option<Size>,
    root: Option<Size>,
    verity: Option<Size>,
    state: Option<Size>,
    compression: Option<Compression>,
}

/// Whether a text is a variant.
#[derive(Deserialize)]
struct Probe {
    extends: Option<PathBuf>,
}

/// The manifest that `path`, which has this text, extends; none if it stands for itself.
pub(super) fn extended(text: &str, path: &Path) -> Option<PathBuf> {
    // A text that is no TOML is told of by the reader of manifests.
    let probe: Probe = toml::from_str(text).ok()?;
    let directory = path.parent().unwrap_or(Path::new(""));
    Some(directory.join(probe.extends?))
}

/// Reads the text of a variant and the manifest it extends, through `read`.
pub(super) fn parse(
    text: &str,
    path: &Path,
    depth: usize,
    read: &dyn Fn(&Path, usize) -> Result<Manifest, ManifestError>,
) -> Result<Manifest, ManifestError> {
    let variant: Variant = parse_toml(text, path)?;
    let directory = path.parent().unwrap_or(Path::new(""));
    let base = directory.join(&variant.extends);
    if depth >= MAX_DEPTH {
        return Err(ManifestError::Circle { path: path.to_owned() });
    }
    variant.apply(read(&base, depth + 1)?, path)
}

impl Variant {
    fn apply(self, mut base: Manifest, path: &Path) -> Result<Manifest, ManifestError> {
        let unknown = |name: String| ManifestError::NotExtended { path: path.to_owned(), name };
        set(&mut base.id, self.id);
        set(&mut base.name, self.name);
        set(&mut base.version, self.version);
        set(&mut base.channel, self.channel);
        // What the other manifest removes need not be here.
        base.remove.iter_mut().for_each(|removal| removal.optional = true);
        if let Some(packages) = self.packages {
            set(&mut base.packages.architecture, packages.architecture);
            set(&mut base.packages.suite, packages.suite);
            set(&mut base.packages.components, packages.components);
            set(&mut base.packages.mirror, packages.mirror);
            set(&mut base.packages.security_mirror, packages.security_mirror);
            base.packages.snapshot = packages.snapshot.or(base.packages.snapshot);
            for name in packages.without {
                leave_out(&mut base.packages.install, &name)
                    .ok_or_else(|| unknown(format!("the package {name}")))?;
            }
            base.packages.install.extend(packages.install);
        }
        if let Some(accounts) = self.accounts {
            let Accounts { users, groups, login } = &mut base.accounts;
            users.extend(accounts.users);
            groups.extend(accounts.groups);
            set(login, accounts.login);
        }
        if let Some(units) = self.units {
            set(&mut base.units.default, units.default);
            for name in units.without {
                leave_out(&mut base.units.enable, &name)
                    .ok_or_else(|| unknown(format!("the unit {name}")))?;
            }
            base.units.enable.extend(units.enable);
        }
        base.remove.extend(self.remove);
        base.scripts.extend(self.script);
        base.overlay.extend(self.overlay);
        base.programs.extend(self.program);
        base.permissions.extend(self.permission);
        set(&mut base.kernel, self.kernel);
        set(&mut base.initrd, self.initrd);
        if let Some(disk) = self.disk {
            set(&mut base.disk.esp, disk.esp);
            set(&mut base.disk.root, disk.root);
            set(&mut base.disk.verity, disk.verity);
            set(&mut base.disk.state, disk.state);
            set(&mut base.disk.compression, disk.compression);
        }
        Ok(base)
    }
}

fn set<T>(value: &mut T, other: Option<T>) {
    if let Some(other) = other {
        *value = other;
    }
}

/// Takes something out of a list, if it is there.
fn leave_out<T: PartialEq>(list: &mut Vec<T>, what: &T) -> Option<T> {
    list.iter().position(|known| known == what).map(|place| list.remove(place))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    const BASE: &str = include_str!("../../coreos.toml");

    /// Reads `variant.toml` with this text, beside the project's manifest.
    fn read(text: &str) -> Result<Manifest, ManifestError> {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("coreos.toml"), BASE).unwrap();
        let path = directory.path().join("variant.toml");
        fs::write(&path, text).unwrap();
        Manifest::read(&path)
    }

    #[test]
    fn a_variant_differs_in_what_it_says() {
        let variant = read(
            "extends = \"coreos.toml\"\nname = \"Small\"\noverlay = [\"more\"]\n\
             [packages]\ninstall = [\"strace\"]\nwithout = [\"docker.io\"]\n\
             [units]\nwithout = [\"docker.socket\"]\n[accounts.groups]\nextra = 240\n",
        )
        .unwrap();
        let base = Manifest::parse(BASE, Path::new("coreos.toml")).unwrap();
        assert_eq!((variant.name.as_str(), &variant.id), ("Small", &base.id));
        let names: Vec<&str> = variant.packages.install.iter().map(PackageName::as_str).collect();
        assert!(names.contains(&"strace") && !names.contains(&"docker.io"));
        assert_eq!(names.len(), base.packages.install.len());
        assert_eq!(variant.units.enable.len(), base.units.enable.len() - 1);
        assert_eq!(variant.overlay.last().unwrap(), Path::new("more"));
        assert_eq!(variant.accounts.groups.len(), base.accounts.groups.len() + 1);
        assert!(variant.remove.iter().all(|removal| removal.optional));
    }

    #[test]
    fn mistakes_in_a_variant_have_their_place() {
        for (text, wanted) in [
            ("extends = \"coreos.toml\"\nnmae = \"x\"\n", "variant.toml:2:1: unknown field `nmae`"),
            (
                "extends = \"coreos.toml\"\n[packages]\nwithout = [\"emacs\"]\n",
                "leaves out the package emacs, which the manifest it extends does not have",
            ),
            ("extends = \"gone.toml\"\n", "cannot read the manifest "),
            ("extends = \"variant.toml\"\n", "variant.toml extends itself"),
        ] {
            let message = read(text).unwrap_err().to_string();
            assert!(message.contains(wanted), "{message}");
        }
    }
}
