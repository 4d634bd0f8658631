//! What both commands are told of the machine, and the machine made of it.

use std::path::{Path, PathBuf};

use qemu_tests::config_disc::{self, Label, MetaData};
use qemu_tests::{Accelerator, Firmware, Hardware, Result, Workspace, firmware, ports};

#[derive(Debug, clap::Args)]
pub(crate) struct MachineOptions {
    /// The cloud-config or script that it is provisioned with
    /// [default: the example]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The disk image [default: target/image/coreos.raw]
    #[arg(long, value_name = "FILE")]
    image: Option<PathBuf>,
    /// Its name, and its folder's under target/machines [default: the command's]
    #[arg(long)]
    name: Option<String>,
    /// What kind of disc the config is on
    #[arg(long, value_enum, default_value_t)]
    label: LabelName,
    /// Memory in MiB
    #[arg(long, value_name = "MIB", default_value_t = 2048,
          value_parser = clap::value_parser!(u32).range(256..=1_048_576))]
    memory: u32,
    /// Port of 127.0.0.1 that leads to its ssh [default: a free one]
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    ssh_port: Option<u16>,
    /// Private key of yours that the config lets in [default: one made for the machine]
    #[arg(long, value_name = "FILE")]
    identity: Option<PathBuf>,
    /// Seconds after which a boot has failed
    #[arg(long, value_name = "SECONDS", default_value_t = 600)]
    pub(crate) time_limit: u64,
}

#[derive(Clone, Copy, Debug, Default, clap::ValueEnum)]
enum LabelName {
    /// An OpenStack config drive
    #[default]
    #[value(name = "config-2")]
    ConfigDrive,
    /// A NoCloud disc
    Cidata,
}

impl From<LabelName> for Label {
    fn from(name: LabelName) -> Self {
        match name {
            LabelName::ConfigDrive => Self::ConfigDrive,
            LabelName::Cidata => Self::NoCloud,
        }
    }
}

impl MachineOptions {
    /// The checkout, with the image folder that the environment names.
    #[allow(clippy::disallowed_methods, reason = "the environment is read here, once")]
    pub(crate) fn workspace(&self) -> Workspace {
        Workspace::here(std::env::var_os("IMAGE_DIR").map(PathBuf::from))
    }

    /// The config that was asked for, or the example.
    pub(crate) fn config(&self) -> PathBuf {
        self.config.clone().unwrap_or_else(|| self.workspace().example())
    }

    /// A fresh machine with its config disc, called `name` if no name was given.
    ///
    /// Unless the caller has a key that the config lets in, the machine's own
    /// is named in the disc's meta data, beside which the config stays as it is.
    #[allow(clippy::disallowed_methods, reason = "the environment is read here, once")]
    pub(crate) fn hardware(&self, name: &str) -> Result<Hardware> {
        let wish = std::env::var("MACHINE_ACCEL").ok();
        let workspace = self.workspace();
        let image = self.image.clone().map_or_else(|| workspace.image(), Ok)?;
        let firmware = Firmware::find(Path::new(firmware::FOLDER))?;
        let accelerator = Accelerator::choose(wish.as_deref())?;
        let machines = workspace.machines();
        let name = self.name.as_deref().unwrap_or(name);
        let config = self.config();
        if let Some(port) = self.ssh_port {
            ports::claim(port)?;
        }
        let hardware = Hardware::new(&machines, name, &image, accelerator, &firmware)?;
        let public_key = self.identity.is_none().then(|| hardware.public_key().to_owned());
        let meta_data = MetaData { hostname: Some(name.to_owned()), public_key };
        let folder = hardware.folder().to_owned();
        let label = self.label.into();
        let disc = match config_disc::write(&workspace, &folder, &config, &meta_data, label) {
            Ok(disc) => disc,
            Err(error) => {
                hardware.scrap()?;
                return Err(error);
            }
        };
        let mut hardware = hardware.disc(Some(disc)).memory(self.memory);
        if let Some(port) = self.ssh_port {
            hardware = hardware.ssh_port(port)?;
        }
        if let Some(identity) = &self.identity {
            hardware = hardware.identity(identity.clone());
        }
        Ok(hardware)
    }
}
