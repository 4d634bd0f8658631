//! A machine that is switched off: its folder, its disks and how it is wired.

use std::fs::{self, File};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::accelerator::Accelerator;
use crate::console::Display;
use crate::disks;
use crate::error::{Error, Result};
use crate::firmware::Firmware;
use crate::machine::Machine;
use crate::node;
use crate::ports;
use crate::ssh::{self, Target};
use crate::trunk::Trunk;
use crate::wiring::{Cable, Cards, LEASE, Network, Wiring};

/// Enough for etcd and Docker, and small enough that two fit on any host.
const MEMORY: u32 = 2048;

/// Size of the disk that the image grows into at its first boot, in MiB.
const DISK: u64 = 10 * 1024;

/// A machine that is switched off. [`Hardware::boot`] makes it a running
/// [`Machine`], which gives it back when it is switched off; so no disk is
/// ever used twice at a time.
#[derive(Debug)]
pub struct Hardware {
    pub(crate) wiring: Wiring,
    pub(crate) target: Target,
    public_key: String,
    /// What carries its network, if that is tagged.
    trunk: Option<Trunk>,
    /// Held as long as the machine exists: one process per folder.
    _lock: File,
}

impl Hardware {
    /// A fresh machine called `name`, whose disk reads as `image` until it is
    /// written. Its folder under `machines` is emptied first.
    pub fn new(
        machines: &Path,
        name: &str,
        image: &Path,
        accelerator: Accelerator,
        firmware: &Firmware,
    ) -> Result<Self> {
        if !image.is_file() {
            return Err(Error::NotBuilt { path: image.to_owned(), target: "image" });
        }
        let (folder, lock) = claim(machines, name)?;
        let made = Self::build(name, &folder, lock, image, accelerator, firmware);
        if made.is_err() {
            // Best effort: the error says more than half a machine would.
            let _ = fs::remove_dir_all(&folder);
        }
        made
    }

    fn build(
        name: &str,
        folder: &Path,
        lock: File,
        image: &Path,
        accelerator: Accelerator,
        firmware: &Firmware,
    ) -> Result<Self> {
        let disk = folder.join("disk.qcow2");
        disks::overlay(image, &disk, DISK)?;
        let variables = folder.join("variables.fd");
        fs::copy(&firmware.variables, &variables).map_err(Error::file("write", &variables))?;
        let identity = folder.join("id_ed25519");
        let public_key = ssh::make_key(&identity, name)?;
        let ssh_port = ports::free()?;
        let wiring = Wiring {
            name: name.to_owned(),
            accelerator,
            firmware: Firmware { variables, ..firmware.clone() },
            memory: MEMORY,
            processors: 2,
            cards: Cards::Virtio,
            disks: vec![disk],
            kernel: None,
            initrd: None,
            disc: None,
            fw_cfg: Vec::new(),
            firmware_strings: Vec::new(),
            network: Network { ssh_port, guest: LEASE, isolated: false },
            tagged: None,
            cable: None,
            screen: false,
        };
        let target = Target::forwarded(ssh_port, identity, folder.to_owned());
        Ok(Self { wiring, target, public_key, trunk: None, _lock: lock })
    }

    /// Removes it and its folder.
    pub fn scrap(self) -> Result<()> {
        let folder = self.target.folder;
        fs::remove_dir_all(&folder).map_err(Error::file("remove", folder))
    }

    /// With `mib` of memory.
    #[must_use]
    pub fn memory(mut self, mib: u32) -> Self {
        self.wiring.memory = mib;
        self
    }

    /// With `disc` in the CD-ROM drive, or no drive.
    #[must_use]
    pub fn disc(mut self, disc: Option<PathBuf>) -> Self {
        self.wiring.disc = disc;
        self
    }

    /// With `file` in the firmware configuration device, as `name`.
    #[must_use]
    pub fn fw_cfg(mut self, name: &str, file: PathBuf) -> Self {
        self.wiring.fw_cfg.push((name.to_owned(), file));
        self
    }

    /// With `string` in the firmware's tables, for the guest to find (SMBIOS type 11).
    #[must_use]
    pub fn firmware_string(mut self, string: String) -> Self {
        self.wiring.firmware_strings.push(string);
        self
    }

    /// With VMware's cards. The firmware here cannot read from its disk adapter, so it is handed
    /// the boot entry `uki` that is on the disk.
    #[must_use]
    pub fn of_vmware(mut self, uki: PathBuf) -> Self {
        self.wiring.cards = Cards::Vmware;
        self.kernel(uki, None)
    }

    /// Started with `kernel` and `initrd` instead of what is on its disk.
    #[must_use]
    pub fn kernel(mut self, kernel: PathBuf, initrd: Option<PathBuf>) -> Self {
        (self.wiring.kernel, self.wiring.initrd) = (Some(kernel), initrd);
        self
    }

    /// Started from its disk.
    #[must_use]
    pub fn no_kernel(mut self) -> Self {
        (self.wiring.kernel, self.wiring.initrd) = (None, None);
        self
    }

    /// With an empty disk in the first one's place.
    pub fn empty_disk(&mut self) -> Result<()> {
        let disk = &self.wiring.disks[0];
        fs::remove_file(disk).map_err(Error::file("remove", disk))?;
        disks::empty(disk, DISK)
    }

    /// With ssh forwarded to `guest`, for a machine that has a fixed address.
    #[must_use]
    pub fn address(mut self, guest: Ipv4Addr) -> Self {
        self.wiring.network.guest = guest;
        self
    }

    /// With ssh at `port` of the host's loopback address, if it is free.
    pub fn ssh_port(mut self, port: u16) -> Result<Self> {
        ports::claim(port)?;
        self.wiring.network.ssh_port = port;
        self.target.address.set_port(port);
        Ok(self)
    }

    /// Unable to reach the host or anything behind it; ssh still comes in.
    #[must_use]
    pub fn isolated(mut self) -> Self {
        self.wiring.network.isolated = true;
        self
    }

    /// At a port of a switch that has the built-in network as this VLAN, and nothing untagged.
    pub fn tagged(mut self, vlan: u16) -> Result<Self> {
        let trunk = self.trunk.insert(Trunk::new(vlan)?);
        self.wiring.tagged = Some(trunk.ends());
        Ok(self)
    }

    /// Wired to `network` instead of the built-in one, where it is to have the address of node
    /// `number`. `name` is its name there.
    pub fn wired(mut self, network: &Arc<node::Network>, name: &str, number: u8) -> Result<Self> {
        let mac = format!("52:54:01:00:00:{number:02x}");
        self.wiring.cable = Some(Cable { tap: network.tap(name)?, mac });
        self.target.address = (network.address(number), 22).into();
        self.target.network = Some(Arc::clone(network));
        Ok(self)
    }

    /// With another disk in the first one's place, which reads as `image` until it is written.
    /// Whoever logs in next finds another machine.
    pub fn replace_disk(&mut self, image: &Path) -> Result<()> {
        disks::overlay(image, &self.wiring.disks[0], DISK)?;
        self.target.forget()
    }

    /// With a graphics card.
    #[must_use]
    pub fn screen(mut self) -> Self {
        self.wiring.screen = true;
        self
    }

    /// Logging in with the private key `identity` instead of the machine's own.
    #[must_use]
    pub fn identity(mut self, identity: PathBuf) -> Self {
        self.target.identity = identity;
        self
    }

    /// Adds an empty disk of `mib`.
    pub fn add_disk(&mut self, mib: u64) -> Result<()> {
        let disk = self.folder().join(format!("disk-{}.qcow2", self.wiring.disks.len()));
        disks::empty(&disk, mib)?;
        self.wiring.disks.push(disk);
        Ok(())
    }

    /// Inverts the byte of the first disk at `offset`, as a dying disk may.
    pub fn flip_byte(&self, offset: u64) -> Result<()> {
        disks::flip(&self.wiring.disks[0], offset).map(drop)
    }

    /// Where its disks, keys and logs are.
    pub fn folder(&self) -> &Path {
        &self.target.folder
    }

    /// The public half of the machine's own ssh key.
    pub fn public_key(&self) -> &str {
        &self.public_key
    }

    /// What executes its instructions.
    pub fn accelerator(&self) -> Accelerator {
        self.wiring.accelerator
    }

    /// Switches it on. `display` is shown the console while it runs.
    pub fn boot(self, display: Option<Display>) -> Result<Machine> {
        Machine::power_on(self, display)
    }
}

/// Makes or empties the folder of the machine `name` and locks it.
fn claim(machines: &Path, name: &str) -> Result<(PathBuf, File)> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if name.is_empty() || name.starts_with('.') || !name.chars().all(plain) {
        return Err(Error::BadName { name: name.to_owned() });
    }
    let folder = std::path::absolute(machines.join(name)).map_err(Error::file("name", name))?;
    fs::create_dir_all(&folder).map_err(Error::file("make", &folder))?;
    let path = folder.join("lock");
    let lock = File::create(&path).map_err(Error::file("open", &path))?;
    lock.try_lock().map_err(|_| Error::InUse { folder: folder.clone() })?;
    for entry in fs::read_dir(&folder).map_err(Error::file("list", &folder))?.flatten() {
        let old = entry.path();
        if old != path {
            let removed =
                if old.is_dir() { fs::remove_dir_all(&old) } else { fs::remove_file(&old) };
            removed.map_err(Error::file("remove", old))?;
        }
    }
    Ok((folder, lock))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_emptied_for_a_new_machine_and_locked_while_it_exists() {
        let machines = tempfile::tempdir().unwrap();
        let (folder, lock) = claim(machines.path(), "node1").unwrap();
        fs::write(folder.join("disk.qcow2"), "old").unwrap();
        fs::create_dir(folder.join("old")).unwrap();
        let error = claim(machines.path(), "node1").unwrap_err();
        assert!(matches!(error, Error::InUse { .. }), "{error}");
        assert!(folder.join("disk.qcow2").exists());
        claim(machines.path(), "node2").unwrap();

        drop(lock);
        let (folder, _lock) = claim(machines.path(), "node1").unwrap();
        let left: Vec<_> = fs::read_dir(folder).unwrap().flatten().map(|e| e.file_name()).collect();
        assert_eq!(left, ["lock"]);
    }

    #[test]
    fn a_name_that_leaves_the_folder_is_refused() {
        let machines = tempfile::tempdir().unwrap();
        for name in ["", ".", "..", "a/b", "/etc", "a b", "ä"] {
            let error = claim(machines.path(), name).unwrap_err();
            assert!(matches!(error, Error::BadName { .. }), "{name:?}: {error}");
        }
    }
}
