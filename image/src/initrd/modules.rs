//! Which kernel modules go into the initrd, in which order they load, and
//! what they are loaded for.
//!
//! `modules.dep`, `modules.alias`, `modules.builtin` → [`Index`] → [`Plan`].
//! Knows nothing of files: the texts come in, names and paths go out.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

/// What a kernel's own lists say about its modules.
#[derive(Debug, Clone, Default)]
pub struct Index {
    modules: BTreeMap<String, Module>,
    builtin: BTreeSet<String>,
}

#[derive(Debug, Clone, Default)]
struct Module {
    /// Path under the kernel's module directory.
    path: String,
    /// Names of the modules that must be loaded before.
    needs: Vec<String>,
    /// Hardware patterns in the order of their bytes.
    aliases: BTreeSet<String>,
}

/// What was asked of the index and cannot be had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The manifest names a module that this kernel does not have.
    #[error(
        "the kernel has no module `{name}`, neither as a file nor built in; \
         take it out of the manifest or choose another kernel package"
    )]
    Unknown {
        /// The name as the manifest has it.
        name: String,
    },
    /// A module needs one that no list mentions.
    #[error("modules.dep: `{module}` needs `{missing}`, which it does not list")]
    Dangling {
        /// The module that is in the list.
        module: String,
        /// The path that is not.
        missing: String,
    },
    /// The initrd program loads plain modules only.
    #[error("the module {path} is compressed; the root tree must hold it unpacked")]
    Compressed {
        /// Path under the kernel's module directory.
        path: String,
    },
}

/// The modules of an initrd.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Plan {
    /// Paths under the kernel's module directory by file name in the initrd.
    pub files: BTreeMap<String, String>,
    /// The text of `/lib/modules/load`, read by the initrd program.
    ///
    /// One line per thing to load: `always NAME FILES`, `alias PATTERN NAME
    /// FILES` or `name NAME FILES`, where `FILES` are in load order and end
    /// with the module itself.
    pub load: String,
}

impl Index {
    /// Reads the three lists that `depmod` and the kernel's build leave in
    /// the module directory. Lines that are not understood are passed over:
    /// what matters is asked for by name later, and missed then.
    pub fn parse(dep: &str, alias: &str, builtin: &str) -> Index {
        let mut index = Index::default();
        for line in dep.lines() {
            let Some((path, needs)) = line.split_once(':') else {
                continue;
            };
            let module = index.modules.entry(name_of(path)).or_default();
            path.clone_into(&mut module.path);
            module.needs = needs.split_whitespace().map(name_of).collect();
        }
        for line in alias.lines() {
            let mut words = line.split_whitespace();
            if let (Some("alias"), Some(pattern), Some(name), None) =
                (words.next(), words.next(), words.next(), words.next())
                && let Some(module) = index.modules.get_mut(&canonical(name))
            {
                module.aliases.insert(pattern.to_owned());
            }
        }
        index.builtin = builtin.lines().map(|line| name_of(line.trim())).collect();
        index
    }

    /// Plans an initrd that loads `always` at its start and `hardware` as
    /// the hardware (or the initrd program) asks for it. A module that is
    /// built into the kernel needs nothing.
    pub fn plan(&self, always: &[String], hardware: &[String]) -> Result<Plan, Error> {
        let mut plan = Plan::default();
        let mut lines = Vec::new();
        for name in always {
            if let Some(files) = self.resolve(name, &mut plan)? {
                lines.push(format!("always {} {files}", canonical(name)));
            }
        }
        // The order of the manifest is kept for what always loads; the rest
        // is looked up, and sorted.
        let mut found = BTreeSet::new();
        for name in hardware {
            let Some(files) = self.resolve(name, &mut plan)? else {
                continue;
            };
            let name = canonical(name);
            let aliases = &self.modules[&name].aliases;
            if aliases.is_empty() {
                found.insert(format!("name {name} {files}"));
            }
            for pattern in aliases {
                found.insert(format!("alias {pattern} {name} {files}"));
            }
        }
        lines.extend(found);
        for line in lines {
            writeln!(plan.load, "{line}").expect("a String takes every write");
        }
        Ok(plan)
    }

    /// The files of a module in load order, separated by blanks, entered in
    /// the plan; none if it is built in.
    fn resolve(&self, name: &str, plan: &mut Plan) -> Result<Option<String>, Error> {
        let canonical = canonical(name);
        if !self.modules.contains_key(&canonical) {
            if self.builtin.contains(&canonical) {
                return Ok(None);
            }
            return Err(Error::Unknown { name: name.to_owned() });
        }
        let mut order = Vec::new();
        self.visit(&canonical, &mut BTreeSet::new(), &mut order)?;
        let mut files = Vec::new();
        for path in order {
            let file = path.rsplit('/').next().unwrap_or(path).to_owned();
            if !file.ends_with(".ko") {
                return Err(Error::Compressed { path: path.to_owned() });
            }
            plan.files.insert(file.clone(), path.to_owned());
            files.push(file);
        }
        Ok(Some(files.join(" ")))
    }

    /// Appends a module's path after those of everything that it needs.
    fn visit<'index>(
        &'index self,
        name: &str,
        seen: &mut BTreeSet<String>,
        order: &mut Vec<&'index str>,
    ) -> Result<(), Error> {
        if !seen.insert(name.to_owned()) {
            return Ok(());
        }
        let module = &self.modules[name];
        // depmod lists what is needed first last.
        for needed in module.needs.iter().rev() {
            if self.modules.contains_key(needed) {
                self.visit(needed, seen, order)?;
            } else if !self.builtin.contains(needed) {
                return Err(Error::Dangling { module: name.to_owned(), missing: needed.clone() });
            }
        }
        order.push(&module.path);
        Ok(())
    }
}

/// The name of the module in a file: `kernel/drivers/md/dm-mod.ko.xz` is
/// `dm_mod`.
fn name_of(path: &str) -> String {
    let file = path.rsplit('/').next().unwrap_or(path);
    canonical(file.split_once(".ko").map_or(file, |(name, _)| name))
}

/// Names with `-` and `_` are one name to the kernel.
fn canonical(name: &str) -> String {
    name.replace('-', "_")
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEP: &str = "\
kernel/drivers/md/dm-verity.ko: kernel/drivers/md/dm-bufio.ko kernel/drivers/md/dm-mod.ko kernel/lib/rs.ko
kernel/drivers/md/dm-bufio.ko: kernel/drivers/md/dm-mod.ko
kernel/drivers/md/dm-mod.ko:
kernel/lib/rs.ko:
kernel/fs/fat/vfat.ko: kernel/fs/fat/fat.ko
kernel/fs/fat/fat.ko:
kernel/drivers/block/virtio_blk.ko:
kernel/drivers/firmware/plain.ko:
kernel/drivers/net/squeezed.ko.xz:
kernel/drivers/net/torn.ko: kernel/drivers/net/absent.ko
";
    const ALIAS: &str = "\
# Aliases extracted from modules themselves.
alias virtio:d00000002v* virtio_blk
alias fs-vfat vfat
alias acpi*:B:* virtio-blk
";
    const BUILTIN: &str = "kernel/fs/ext4/ext4.ko\nkernel/drivers/nvme/host/nvme-core.ko\n";

    fn plan(always: &[&str], hardware: &[&str]) -> Result<Plan, Error> {
        let owned = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>();
        Index::parse(DEP, ALIAS, BUILTIN).plan(&owned(always), &owned(hardware))
    }

    #[test]
    fn every_line_of_the_load_list_has_its_files_in_load_order() {
        let plan = plan(&["dm_verity"], &["vfat", "plain", "virtio_blk"]).expect("all known");
        assert_eq!(
            plan.load,
            "\
always dm_verity rs.ko dm-mod.ko dm-bufio.ko dm-verity.ko
alias acpi*:B:* virtio_blk virtio_blk.ko
alias fs-vfat vfat fat.ko vfat.ko
alias virtio:d00000002v* virtio_blk virtio_blk.ko
name plain plain.ko
"
        );
        assert_eq!(plan.files["dm-bufio.ko"], "kernel/drivers/md/dm-bufio.ko");
        assert_eq!(plan.files.len(), 8);
    }

    #[test]
    fn what_is_built_in_needs_no_file() {
        assert_eq!(plan(&["ext4"], &["nvme-core"]), Ok(Plan::default()));
    }

    #[test]
    fn the_order_of_the_manifest_is_the_order_of_loading() {
        let forth = plan(&["plain", "virtio_blk"], &[]).expect("known").load;
        let back = plan(&["virtio_blk", "plain"], &[]).expect("known").load;
        assert!(forth.starts_with("always plain "));
        assert!(back.starts_with("always virtio_blk "));
    }

    #[test]
    fn hyphens_and_underscores_are_one() {
        assert_eq!(plan(&["dm-verity"], &[]), plan(&["dm_verity"], &[]));
    }

    #[test]
    fn what_cannot_be_loaded_is_refused_by_name() {
        for (name, message) in [
            ("e1000", "no module `e1000`"),
            ("squeezed", "squeezed.ko.xz is compressed"),
            ("torn", "`torn` needs `absent`"),
        ] {
            let error = plan(&[], &[name]).expect_err(name).to_string();
            assert!(error.contains(message), "{error}");
        }
    }
}
