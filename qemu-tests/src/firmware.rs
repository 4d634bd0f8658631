//! The UEFI firmware that machines start with.

use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// Where Debian and Ubuntu keep OVMF.
pub const FOLDER: &str = "/usr/share/OVMF";

/// Code and empty variables, the 4 MiB build first: Debian 13 and Ubuntu 24.04
/// have no other.
const PAIRS: [(&str, &str); 2] =
    [("OVMF_CODE_4M.fd", "OVMF_VARS_4M.fd"), ("OVMF_CODE.fd", "OVMF_VARS.fd")];

/// The same with System Management Mode, without which nothing keeps the system from changing the
/// variables that Secure Boot relies on. Its empty variables are the same.
const SECURE_PAIRS: [(&str, &str); 2] =
    [("OVMF_CODE_4M.secboot.fd", "OVMF_VARS_4M.fd"), ("OVMF_CODE.secboot.fd", "OVMF_VARS.fd")];

/// The two halves of an OVMF build. They must be of one size, so they are
/// chosen as a pair.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Firmware {
    /// The program, mapped read-only.
    pub code: PathBuf,
    /// The template of the variables; each machine has its own copy.
    pub variables: PathBuf,
    /// Whether it enforces Secure Boot once it has keys, which needs hardware that keeps its
    /// variables from the system.
    pub secure: bool,
}

impl Firmware {
    /// The best pair in `folder`.
    pub fn find(folder: &Path) -> Result<Self> {
        Self::best(folder, &PAIRS, false)
    }

    /// The best pair in `folder` that can enforce Secure Boot; it has no keys yet, and so is in
    /// setup mode. Without System Management Mode (`protected`) it enforces just the same, but
    /// nothing keeps the system from changing its variables.
    pub fn find_secure(folder: &Path, protected: bool) -> Result<Self> {
        if protected { Self::best(folder, &SECURE_PAIRS, true) } else { Self::find(folder) }
    }

    fn best(folder: &Path, pairs: &[(&str, &str)], secure: bool) -> Result<Self> {
        pairs
            .iter()
            .map(|(code, variables)| Self {
                code: folder.join(code),
                variables: folder.join(variables),
                secure,
            })
            .find(|pair| pair.code.is_file() && pair.variables.is_file())
            .ok_or_else(|| Error::NoFirmware { folder: folder.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn a_whole_pair_is_chosen_and_the_larger_one_first() {
        let folder = tempfile::tempdir().unwrap();
        let add = |name: &str| fs::write(folder.path().join(name), "").unwrap();
        let found = || Firmware::find(folder.path()).map(|pair| pair.code);

        let error = found().unwrap_err();
        assert!(error.is_usage() && error.to_string().contains("apt-get install ovmf"), "{error}");

        add("OVMF_CODE_4M.fd");
        add("OVMF_CODE.fd");
        add("OVMF_VARS.fd");
        assert_eq!(found().unwrap(), folder.path().join("OVMF_CODE.fd"));

        add("OVMF_VARS_4M.fd");
        assert_eq!(found().unwrap(), folder.path().join("OVMF_CODE_4M.fd"));
    }
}
