//! Which scripts of packages have been looked at, and what is done in their place.
//!
//! No script of a package runs in a build. Each one that would run on an installation is known
//! here by the SHA-256 of its text, together with what it does and what does the same: an action
//! of the table, a finisher that looks at the whole tree, or nothing with a reason. A script that
//! is not known stops the writing of a lock. The manifest may add to the table.

use super::actions::{Alternative, Copy, Directory, Diversion, File, Group, Link, Mode, User};
use crate::deb::control::Control;
use crate::digest;
use crate::manifest::Manifest;
use serde::{Deserialize, Serialize};
use similar::TextDiff;
use std::fmt;

/// The scripts of Debian's packages that the project has looked at.
const REVIEWED: &str = include_str!("reviewed.toml");
/// Lines of a script that are shown at most.
const MAX_LINES: usize = 60;

/// What is known of scripts.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Table {
    /// By package; a later entry counts before an earlier one.
    #[serde(rename = "script")]
    scripts: Vec<Reviewed>,
}

/// What the scripts of one package do, and what does it instead.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reviewed {
    /// The package; `*` at the end stands for what differs from release to release.
    pub package: String,
    /// SHA-256 of the scripts that were looked at.
    #[serde(default)]
    pub reviewed: Vec<String>,
    /// What becomes of them, if nothing does the same instead.
    #[serde(default)]
    pub scripts: Option<Scripts>,
    /// What they do, and what does it instead.
    #[serde(default)]
    pub does: String,
    /// Users.
    #[serde(default)]
    pub users: Vec<User>,
    /// Groups.
    #[serde(default)]
    pub groups: Vec<Group>,
    /// Directories.
    #[serde(default)]
    pub directories: Vec<Directory>,
    /// Files with a text.
    #[serde(default)]
    pub files: Vec<File>,
    /// Files that are copies of others.
    #[serde(default)]
    pub copies: Vec<Copy>,
    /// Symbolic links.
    #[serde(default)]
    pub links: Vec<Link>,
    /// Owners and modes.
    #[serde(default)]
    pub modes: Vec<Mode>,
    /// Names that several packages want.
    #[serde(default)]
    pub alternatives: Vec<Alternative>,
    /// Files of other packages that stand elsewhere.
    #[serde(default)]
    pub diversions: Vec<Diversion>,
}

/// What becomes of scripts for which nothing does the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scripts {
    /// They run, in a user namespace over the unpacked tree.
    Sandboxed,
}

/// A script that nobody has looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Whose it is.
    pub package: String,
    /// Which it is, such as `postinst`.
    pub script: String,
    /// Its digest, for the table.
    pub digest: String,
    /// Its text, what changes from release to release replaced.
    pub text: String,
    /// The text that was looked at, if a package with it is there.
    pub before: Option<String>,
}

impl Table {
    /// The project's table and the manifest's entries.
    #[must_use]
    pub fn of(manifest: &Manifest) -> Table {
        let mut table: Table = toml::from_str(REVIEWED).expect("the table is tested");
        table.scripts.extend(manifest.scripts.iter().cloned());
        table
    }

    /// What is known of a package's scripts.
    #[must_use]
    pub fn get(&self, package: &str) -> Option<&Reviewed> {
        self.scripts.iter().rev().find(|known| known.is_of(package))
    }

    /// Whether the scripts of a package run in a sandbox.
    #[must_use]
    pub fn is_sandboxed(&self, package: &str) -> bool {
        self.get(package).is_some_and(|known| known.scripts == Some(Scripts::Sandboxed))
    }

    /// The scripts of a package that are not known. `older` are the records of the package that
    /// was there before: what was looked at is there to be compared with.
    #[must_use]
    pub fn check(&self, package: &str, control: &Control, older: Option<&Control>) -> Vec<Finding> {
        if self.is_sandboxed(package) {
            return Vec::new();
        }
        let known: Vec<&Reviewed> =
            self.scripts.iter().filter(|known| known.is_of(package)).collect();
        let pattern = known.last().map_or(package, |known| known.package.as_str());
        let mut findings = Vec::new();
        for (script, text) in &control.scripts {
            let text = normal(package, pattern, text);
            let digest = digest::of_bytes(text.as_bytes());
            let is_known =
                |digest: &String| known.iter().any(|known| known.reviewed.contains(digest));
            if !is_known(&digest) {
                let before = older
                    .and_then(|older| older.scripts.get(script))
                    .map(|text| normal(package, pattern, text))
                    .filter(|text| is_known(&digest::of_bytes(text.as_bytes())));
                let (package, script) = (package.to_owned(), script.clone());
                findings.push(Finding { package, script, digest, text, before });
            }
        }
        findings
    }
}

impl Reviewed {
    fn is_of(&self, package: &str) -> bool {
        match self.package.strip_suffix('*') {
            Some(begin) => package.starts_with(begin),
            None => self.package == package,
        }
    }
}

/// A script as it is hashed: what its package's name has in place of the `*` of the table is
/// replaced by `*`, so that a kernel's script is the same for every kernel.
fn normal(package: &str, pattern: &str, text: &str) -> String {
    let differs = pattern.strip_suffix('*').and_then(|begin| package.strip_prefix(begin));
    match differs.filter(|part| part.len() > 3) {
        Some(part) => text.replace(part, "*"),
        None => text.to_owned(),
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Finding { package, script, digest, text, before } = self;
        writeln!(formatter, "{package}: {script}, SHA-256 {digest}")?;
        if let Some(before) = before {
            return write_difference(formatter, before, text);
        }
        let lines: Vec<&str> = fold(text);
        for line in lines.iter().take(MAX_LINES) {
            writeln!(formatter, "  + {line}")?;
        }
        if lines.len() > MAX_LINES {
            writeln!(formatter, "  + … and {} more lines", lines.len() - MAX_LINES)?;
        }
        Ok(())
    }
}

/// Shows what of a script is not as it was when it was looked at.
fn write_difference(formatter: &mut fmt::Formatter<'_>, old: &str, new: &str) -> fmt::Result {
    writeln!(formatter, "  it was reviewed, and has changed:")?;
    let difference = TextDiff::from_lines(old, new);
    let text = difference.unified_diff().context_radius(3).to_string();
    let lines: Vec<&str> = text.lines().collect();
    for line in lines.iter().take(MAX_LINES) {
        writeln!(formatter, "  {line}")?;
    }
    match lines.len().saturating_sub(MAX_LINES) {
        0 => Ok(()),
        more => writeln!(formatter, "  … and {more} more lines"),
    }
}

/// The lines that somebody has to read: what debhelper adds to thousands of packages is one line.
fn fold(text: &str) -> Vec<&str> {
    let mut inside = false;
    let mut lines = Vec::new();
    for line in text.lines() {
        if line.starts_with("# End automatically added") {
            inside = false;
        } else if line.starts_with("# Automatically added by") {
            inside = true;
            lines.push(line);
        } else if !inside && !line.trim().is_empty() {
            lines.push(line);
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(text: &str) -> Table {
        toml::from_str(text).unwrap()
    }

    fn control(script: &str) -> Control {
        let scripts = [("postinst".to_owned(), script.to_owned())].into();
        Control { scripts, ..Control::default() }
    }

    #[test]
    fn the_project_s_table_is_one_and_says_what_scripts_do() {
        let table = table(REVIEWED);
        for known in &table.scripts {
            assert!(!known.does.is_empty(), "{}", known.package);
            assert!(!known.reviewed.is_empty(), "{}", known.package);
        }
        let names: Vec<&str> = table.scripts.iter().map(|known| known.package.as_str()).collect();
        let mut sorted = names.clone();
        sorted.sort_unstable();
        sorted.dedup();
        assert_eq!(names, sorted, "packages are listed once, in order");
    }

    #[test]
    fn a_changed_script_is_found_and_shown() {
        let good = "#!/bin/sh\nldconfig\n";
        let known = format!(
            "[[script]]\npackage = \"a\"\ndoes = \"x\"\nreviewed = [\"{}\"]\n",
            digest::of_bytes(good.as_bytes())
        );
        let table = table(&known);
        assert!(table.check("a", &control(good), None).is_empty());
        let bad = "#!/bin/sh\n# Automatically added by dh_x\nhidden\n# End automatically added section\nrm -rf /\n";
        let findings = table.check("a", &control(bad), None);
        let text = findings[0].to_string();
        assert!(text.starts_with("a: postinst, SHA-256 "), "{text}");
        assert!(text.contains("+ rm -rf /\n") && !text.contains("hidden"), "{text}");
        assert_eq!(table.check("b", &control(good), None).len(), 1);
        assert!(table.check("b", &Control::default(), None).is_empty());
    }

    #[test]
    fn of_a_script_that_was_reviewed_the_difference_is_shown() {
        let old = "#!/bin/sh\nset -e\nldconfig\nexit 0\n";
        let known = format!(
            "[[script]]\npackage = \"a\"\ndoes = \"x\"\nreviewed = [\"{}\"]\n",
            digest::of_bytes(old.as_bytes())
        );
        let table = table(&known);
        let new = control("#!/bin/sh\nset -e\nldconfig\nuseradd a\nexit 0\n");
        let text = table.check("a", &new, Some(&control(old)))[0].to_string();
        assert!(text.ends_with(" ldconfig\n  +useradd a\n   exit 0\n"), "{text}");
        // A script that nobody looked at is nothing to compare with.
        let text = table.check("a", &new, Some(&control("other\n")))[0].to_string();
        assert!(text.contains("  + useradd a\n"), "{text}");
    }

    #[test]
    fn scripts_that_are_to_run_need_no_review() {
        let text = "[[script]]\npackage = \"a\"\nscripts = \"sandboxed\"\n";
        assert!(table(text).check("a", &control("anything\n"), None).is_empty());
        assert!(table(text).is_sandboxed("a") && !table(text).is_sandboxed("b"));
        let error = toml::from_str::<Table>(&text.replace("sandboxed", "free")).unwrap_err();
        assert!(error.to_string().contains("expected `sandboxed`"), "{error}");
    }

    #[test]
    fn a_kernel_s_script_is_the_same_for_every_kernel() {
        let script = |version: &str| format!("version={version}\ndepmod {version}\n");
        let same = digest::of_bytes(b"version=*\ndepmod *\n");
        let known = format!(
            "[[script]]\npackage = \"linux-image-6*\"\ndoes = \"x\"\nreviewed = [\"{same}\"]\n"
        );
        let table = table(&known);
        for version in ["6.12.1-amd64", "6.13.0-arm64"] {
            let short = version.strip_prefix('6').unwrap();
            let control = control(&script(version).replace(version, short));
            assert!(table.check(&format!("linux-image-{version}"), &control, None).is_empty());
        }
    }
}
