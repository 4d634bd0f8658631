//! What machines are made of here: the built image, firmware, an accelerator.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use qemu_tests::config_disc::{self, Label, MetaData};
use qemu_tests::{Accelerator, Firmware, Hardware, Result, Workspace, child};

/// From power-on to a login, emulated on a busy host.
pub(crate) const BOOT: Duration = Duration::from_secs(420);

/// For a build of packages that are already there.
const BUILD: Duration = Duration::from_secs(300);

/// For a system that runs to come to rest, or to shut down.
pub(crate) const SETTLE: Duration = Duration::from_secs(240);

/// Everything that a scenario needs of the host.
pub(crate) struct Lab {
    pub(crate) workspace: Workspace,
    accelerator: Accelerator,
    firmware: Firmware,
}

impl Lab {
    #[allow(clippy::disallowed_methods, reason = "this is the edge of the test program")]
    pub(crate) fn open() -> Result<Self> {
        let wish = std::env::var("MACHINE_ACCEL").ok();
        Ok(Self {
            workspace: Workspace::here(std::env::var_os("IMAGE_DIR").map(PathBuf::from)),
            accelerator: Accelerator::choose(wish.as_deref())?,
            firmware: Firmware::find(Path::new(qemu_tests::firmware::FOLDER))?,
        })
    }

    /// A fresh machine with the built image on its disk.
    pub(crate) fn hardware(&self, name: &str) -> Result<Hardware> {
        let image = self.workspace.image()?;
        let machines = self.workspace.machines();
        Hardware::new(&machines, name, &image, self.accelerator, &self.firmware)
    }

    /// A fresh machine with another image on its disk, and other firmware.
    pub(crate) fn hardware_with(
        &self,
        name: &str,
        image: &Path,
        firmware: &Firmware,
    ) -> Result<Hardware> {
        Hardware::new(&self.workspace.machines(), name, image, self.accelerator, firmware)
    }

    /// Firmware that enforces Secure Boot once it has keys.
    pub(crate) fn secure_firmware(&self) -> Result<Firmware> {
        let folder = Path::new(qemu_tests::firmware::FOLDER);
        Firmware::find_secure(folder, self.accelerator.has_management_mode())
    }

    /// Runs the image builder, as somebody would in this checkout.
    pub(crate) fn image(&self, arguments: &[&str]) -> Result<()> {
        self.image_tells(arguments).map(drop)
    }

    /// The same, and what it prints.
    pub(crate) fn image_tells(&self, arguments: &[&str]) -> Result<String> {
        let mut command = Command::new(self.workspace.program("image")?);
        command.args(arguments).current_dir(self.workspace.root());
        let told = child::run(command, BUILD)?;
        Ok(String::from_utf8_lossy(&told).into_owned())
    }

    /// A fresh machine with another image on its disk.
    pub(crate) fn hardware_of(&self, name: &str, image: &Path) -> Result<Hardware> {
        let machines = self.workspace.machines();
        Hardware::new(&machines, name, image, self.accelerator, &self.firmware)
    }

    /// A disc for `hardware` with `config`, in its drive.
    pub(crate) fn insert(
        &self,
        hardware: Hardware,
        config: &str,
        hostname: &str,
        label: Label,
    ) -> Result<Hardware> {
        let user_data = user_data(&hardware, config)?;
        let meta_data = MetaData { hostname: Some(hostname.to_owned()), public_key: None };
        let folder = hardware.folder().to_owned();
        let disc = config_disc::write(&self.workspace, &folder, &user_data, &meta_data, label)?;
        Ok(hardware.disc(Some(disc)))
    }
}

/// Writes `config` into the machine's folder.
pub(crate) fn user_data(hardware: &Hardware, config: &str) -> Result<PathBuf> {
    let path = hardware.folder().join("user-data");
    fs::write(&path, config).map_err(qemu_tests::Error::file("write", &path))?;
    Ok(path)
}
