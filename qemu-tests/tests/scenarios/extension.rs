//! A system extension of packages: built, served, merged and checked.

use std::fs;
use std::path::Path;
use std::sync::atomic::Ordering;

use qemu_tests::report::Report;
use qemu_tests::{Machine, Result};

use crate::checks::Checks;
use crate::document::{self, Document};
use crate::lab::Lab;

/// What its program has in it.
const MARK: &[u8] = b"jq: error";
/// A small program and the two libraries that come along, exactly.
const LOCK: &str = "qemu-tests/tests/scenarios/extension.lock";

/// An extension on the host.
pub(crate) struct Extension {
    document: Document,
    sha256: String,
    root_hash: String,
    /// Where a byte of its program lies in the image.
    inside: usize,
}

impl Extension {
    /// Builds `tools` in `folder` and serves it. The first answer breaks off before its end.
    pub(crate) fn serve(lab: &Lab, folder: &Path) -> Result<Self> {
        let path = folder.join("tools.raw");
        let output = path.to_string_lossy();
        let arguments = ["sysext", "--packages", "jq", "--packages-lock", LOCK, "-o", &*output];
        let told = lab.image_tells(&arguments)?;
        let value = |label: &str| {
            let line = told.lines().find_map(|line| line.strip_prefix(label));
            line.map(|value| value.trim().to_owned()).unwrap_or_default()
        };
        let bytes = fs::read(&path).map_err(qemu_tests::Error::file("read", &path))?;
        let inside = bytes.windows(MARK.len()).position(|part| part == MARK).unwrap_or_default();
        let lacks = bytes.len() / 3;
        Ok(Self {
            inside,
            document: document::serve_broken(bytes, lacks)?,
            sha256: value("SHA-256"),
            root_hash: value("root hash"),
        })
    }

    /// What a configuration says of it, below `coreos`, so far from the left.
    pub(crate) fn entry(&self, indent: &str) -> String {
        let Self { document: Document { address, .. }, sha256, root_hash, .. } = self;
        format!(
            "{indent}extensions:\n{indent}    - name: tools\n{indent}      source: {address}\n\
             {indent}      sha256: {sha256}\n{indent}      root_hash: {root_hash}\n"
        )
    }

    /// What must be so after every boot.
    pub(crate) fn check(&self, machine: &Machine, report: &Report, checks: &mut Checks) {
        let read = |script: &str| machine.read(script);
        checks.equal("its program", read("echo '[1, 2]' | jq add"), "3");
        checks.contains("systemd-sysext", read("systemd-sysext status"), "tools");
        let device = format!("sudo dmsetup status {}-verity", self.root_hash);
        checks.contains("its verity device", read(&device), "verity V");
        checks.contains("/usr", read("grep ' /usr ' /proc/mounts"), "/extensions/tools/usr");
        let told = read("sudo coreos-init status");
        checks.contains("what is said of it", told, "tools: merged, every block checked");
        let parts = self.document.parts.load(Ordering::Relaxed);
        checks.holds("only what was missing was fetched again, once", parts == 1, parts);
        let merged = report.extension("tools");
        checks.holds("the report says so", merged == Some("verified"), format_args!("{merged:?}"));
    }

    /// A byte of its image that is changed on the disk: the block fails to read, and nothing else.
    pub(crate) fn damage(&self, machine: &Machine, checks: &mut Checks) -> Result<()> {
        let at = self.inside;
        machine.read(&format!(
            "printf X | sudo dd of=$(readlink /var/lib/extensions/tools.raw) bs=1 seek={at} \
             conv=notrunc status=none && sync && echo 3 | sudo tee /proc/sys/vm/drop_caches"
        ))?;
        let read = machine
            .read("cat /usr/bin/jq /usr/lib/x86_64-linux-gnu/libjq.so.1 2>&1 >/dev/null; true");
        checks.contains("a damaged block", read, "Input/output error");
        checks.contains("who knows", machine.read("sudo dmesg"), "is corrupted");
        Ok(())
    }
}
