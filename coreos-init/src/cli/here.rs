//! This machine, while it runs: what its boot has found out already.

use std::fs::{self, File};
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::mount::{OpenTreeFlags, open_tree};

use crate::apply::{Owners, Root};
use crate::fetched::{self, Wanted};
use crate::net::Lease;
use crate::reading::Outside;
use crate::report::{self, FOUND, REPORT, Report};
use crate::source::{self, Found, LastError, SourceName};

/// The machine that this program runs on.
#[derive(Debug)]
pub(super) struct Here {
    /// How it was configured.
    pub(super) report: Report,
    /// What it was configured by.
    pub(super) found: Option<Found>,
}

/// Why it is not known.
#[derive(Debug, thiserror::Error)]
pub(super) enum HereError {
    #[error(transparent)]
    Report(#[from] report::Error),
    #[error(transparent)]
    Found(#[from] LastError),
}

impl Here {
    /// Looks at what the boot has left.
    pub(super) fn look() -> Result<Here, HereError> {
        let report = Report::read(Path::new(REPORT))?;
        Ok(Here { report, found: source::load(Path::new(FOUND))? })
    }

    /// Another configuration for this machine: what the platform says of it stays.
    pub(super) fn with(&self, other: Found) -> Found {
        match &self.found {
            Some(found) if other.source == SourceName::File => Found {
                meta_data: found.meta_data.clone(),
                network: found.network.clone(),
                ..other
            },
            _ => other,
        }
    }
}

impl Outside for Here {
    /// The lease of the boot, as far as its addresses go: variables stand for them.
    fn lease(&mut self, _needed: bool, _ipv6: bool) -> Result<Option<Lease>, String> {
        Ok(lease(&self.report))
    }

    fn get(&mut self, wanted: &Wanted) -> Result<Vec<u8>, String> {
        fetched::over_http(wanted, Path::new(host::http::SYSTEM_ROOTS))
    }

    fn download(&mut self, wanted: &Wanted, file: &File) -> Result<(), String> {
        fetched::download(wanted, Path::new(host::http::SYSTEM_ROOTS), file)
    }
}

fn lease(report: &Report) -> Option<Lease> {
    let by = |how: &str| {
        let known = report.variables.iter();
        let known: Vec<(&str, &str)> = known
            .filter_map(|known| {
                let interface = known.origin.strip_prefix(how)?.split_whitespace().next()?;
                Some((interface, known.value.as_str()))
            })
            .collect();
        known
    };
    let (leased, given) = (by("DHCP on "), by("routers on "));
    let (interface, _) = leased.iter().chain(&given).next()?;
    Some(Lease {
        interface: (*interface).to_string(),
        address: leased.iter().find_map(|(_, value)| value.parse().ok()),
        ipv6: given.iter().filter_map(|(_, value)| value.parse().ok()).collect(),
        prefix: 0,
        router: None,
        routes: Vec::new(),
        dns: Vec::new(),
        server: std::net::Ipv4Addr::UNSPECIFIED,
        lease_seconds: 0,
        client_id: Vec::new(),
    })
}

/// The image's own root, where `/etc` is a file system of its own that covers the image's: what
/// a configuration put over a file of the image can then be undone.
pub(super) fn image(root: &Path) -> Option<Root> {
    let device = |path: &Path| fs::metadata(path).ok().map(|state| state.dev());
    if root != Path::new("/") || device(root) == device(Path::new("/etc")) {
        return None;
    }
    // A copy of the mount without those below it, that nobody else sees.
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let tree = open_tree(rustix::fs::CWD, "/", flags).ok()?;
    let path = format!("/proc/self/fd/{}", tree.as_raw_fd());
    Root::open(Path::new(&path), Owners::Set).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Variable;

    #[test]
    fn the_lease_of_the_boot_is_in_its_report() {
        let variable = |name: &str, value: &str, origin: &str| Variable {
            name: name.to_string(),
            value: value.to_string(),
            origin: origin.to_string(),
        };
        let mut report = Report::default();
        assert_eq!(lease(&report), None);
        report.variables = vec![
            variable("hostname", "a", "metadata"),
            variable("private_ipv4", "10.0.0.2", "DHCP on eth0"),
            variable("public_ipv4", "10.0.0.2", "DHCP on eth0 (same as the private address)"),
            variable("private_ipv6", "fd00::2", "routers on eth0"),
        ];
        let lease = lease(&report).unwrap();
        assert_eq!(lease.interface, "eth0");
        assert_eq!(lease.address, Some([10, 0, 0, 2].into()));
        assert_eq!(lease.ipv6, ["fd00::2".parse::<std::net::Ipv6Addr>().unwrap()]);
    }
}
