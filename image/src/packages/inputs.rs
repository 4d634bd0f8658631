//! Everything that the package tar depends on, in one comparable form.

use crate::manifest::{Id, Packages};
use sha2::{Digest, Sha256};

/// Runs in the installed root, whose path is `$1`, before it is packed: kernel modules are
/// unpacked so that updates can find their unchanged blocks, and indexed again under their
/// new names.
const CUSTOMIZE: &str = r#"chroot "$1" sh -euc '
cd /usr/lib/modules
find . -name "*.ko.xz" -print0 | xargs -0 -r -n 64 -P 4 xz --decompress
for version in *; do depmod "$version"; done'"#;

/// Raised when the installer's other arguments change.
const FORMAT: u32 = 1;

/// What is installed, from where and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inputs {
    pub(super) architecture: String,
    pub(super) suite: String,
    /// Address, suite and components of each archive.
    pub(super) archives: Vec<String>,
    /// Sorted, each once.
    pub(super) packages: Vec<String>,
    pub(super) customize: &'static str,
}

impl Inputs {
    /// The inputs that a manifest asks for.
    #[must_use]
    pub fn new(packages: &Packages) -> Inputs {
        let components: Vec<&str> = packages.components.iter().map(Id::as_str).collect();
        let components = components.join(" ");
        let suite = packages.suite.as_str();
        let archives = [
            (&packages.mirror, suite.to_owned()),
            (&packages.mirror, format!("{suite}-updates")),
            (&packages.security_mirror, format!("{suite}-security")),
        ];
        let mut names: Vec<String> = packages.install.iter().map(ToString::to_string).collect();
        names.sort();
        names.dedup();
        Inputs {
            architecture: packages.architecture.to_string(),
            suite: suite.to_owned(),
            archives: archives
                .map(|(mirror, suite)| format!("{mirror} {suite} {components}"))
                .into(),
            packages: names,
            customize: CUSTOMIZE,
        }
    }

    /// The SHA-256 of the inputs in hexadecimal: the same for the same result, as far as it is
    /// not the archive that has changed.
    #[must_use]
    pub fn digest(&self) -> String {
        let mut hash = Sha256::new();
        let mut line = |name: &str, value: &str| {
            hash.update(format!("{name} {} {value}\n", value.len()));
        };
        line("format", &FORMAT.to_string());
        line("architecture", &self.architecture);
        line("suite", &self.suite);
        self.archives.iter().for_each(|archive| line("archive", archive));
        self.packages.iter().for_each(|package| line("package", package));
        line("customize", self.customize);
        hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A small `[packages]` table.
    pub(in crate::packages) fn packages(install: &[&str]) -> Packages {
        let word = |text: &str| text.parse().unwrap();
        Packages {
            architecture: word("amd64"),
            suite: word("trixie"),
            components: vec![word("main")],
            mirror: "http://mirror/debian".parse().unwrap(),
            security_mirror: "http://mirror/security".parse().unwrap(),
            install: install.iter().map(|name| name.parse().unwrap()).collect(),
        }
    }

    #[test]
    fn the_digest_depends_on_every_input_and_not_on_their_order() {
        let digest = |packages: &Packages| Inputs::new(packages).digest();
        let base = packages(&["bash", "dash"]);
        assert_eq!(digest(&base), digest(&packages(&["dash", "bash", "dash"])));
        assert_eq!(digest(&base).len(), 64);
        let mut others = vec![packages(&["bash"]); 5];
        others[1].suite = "sid".parse().unwrap();
        others[2].mirror = "http://other".parse().unwrap();
        others[3].components.push("contrib".parse().unwrap());
        others[4].architecture = "arm64".parse().unwrap();
        others.push(base);
        let mut digests: Vec<String> = others.iter().map(digest).collect();
        digests.sort();
        digests.dedup();
        assert_eq!(digests.len(), others.len());
    }
}
