//! Which platform this machine runs on: what the command line says, else what the firmware does.
//!
//! Without an answer no metadata service is asked: an address that anybody on the network may
//! have is not asked who this machine is to be.

use std::fs;
use std::path::Path;

use super::Platform;
use crate::source::parameters;

/// The parameters that name the platform, the best first: ours, short, and that of other images.
const PARAMETERS: [&str; 3] = ["coreos.platform", "platform", "ignition.platform.id"];

/// What firmware and hypervisor say of the machine.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Firmware {
    vendor: String,
    product: String,
    bios: String,
    serial: String,
    uuid: String,
    asset_tag: String,
    /// Xen's name for the machine.
    hypervisor_uuid: String,
}

impl Firmware {
    /// Reads what is below `sysfs`; what is missing is empty.
    pub(super) fn read(sysfs: &Path) -> Firmware {
        let read = |path: &str| {
            let text = fs::read_to_string(sysfs.join(path)).unwrap_or_default();
            text.trim().to_owned()
        };
        let dmi = |name: &str| read(&format!("class/dmi/id/{name}"));
        Firmware {
            vendor: dmi("sys_vendor"),
            product: dmi("product_name"),
            bios: dmi("bios_vendor"),
            serial: dmi("product_serial"),
            uuid: dmi("product_uuid"),
            asset_tag: dmi("chassis_asset_tag"),
            hypervisor_uuid: read("hypervisor/uuid"),
        }
    }

    /// The platform it is the mark of, and the mark.
    fn platform(&self) -> Option<(Platform, String)> {
        let starts = |text: &str, with: &str| {
            text.get(..with.len()).is_some_and(|start| start.eq_ignore_ascii_case(with))
        };
        let is = |text: &str, all: &[&str]| all.contains(&text);
        // Bare metal of EC2 has no hypervisor; machines of the Xen kind have nothing but a uuid.
        let ec2 = is(&self.vendor, &["Amazon EC2"])
            || is(&self.bios, &["Amazon EC2"])
            || starts(&self.hypervisor_uuid, "ec2")
            || (starts(&self.uuid, "ec2") && starts(&self.serial, "ec2"));
        // Private clouds leave nova's product name; some big ones write their own mark.
        let openstack = is(&self.product, &["OpenStack Nova", "OpenStack Compute"])
            || is(&self.vendor, &["OpenStack Foundation"])
            || is(
                &self.asset_tag,
                &["OpenTelekomCloud", "SAP CCloud VM", "HUAWEICLOUD", "Samsung Cloud Platform"],
            );
        let gce = self.product == "Google Compute Engine" || starts(&self.serial, "GoogleCloud-");
        let marks = [
            (ec2, Platform::Ec2, "Amazon EC2"),
            (gce, Platform::Gce, "Google Compute Engine"),
            (
                self.asset_tag == "7783-7084-3265-9085-8269-3286-77",
                Platform::Azure,
                "Azure's chassis asset tag",
            ),
            (self.asset_tag == "OracleCloud.com", Platform::Oracle, "OracleCloud.com"),
            (self.vendor == "DigitalOcean", Platform::DigitalOcean, "DigitalOcean"),
            (self.vendor == "Hetzner", Platform::Hetzner, "Hetzner"),
            (self.vendor == "Scaleway", Platform::Scaleway, "Scaleway"),
            (self.vendor == "Vultr", Platform::Vultr, "Vultr"),
            (is(&self.vendor, &["Akamai", "Linode"]), Platform::Akamai, "Akamai"),
            (openstack, Platform::OpenStack, "OpenStack"),
            (starts(&self.vendor, "VMware"), Platform::Vmware, "VMware"),
        ];
        let (_, platform, mark) = marks.into_iter().find(|(is_it, ..)| *is_it)?;
        Some((platform, format!("the firmware says {mark}")))
    }
}

/// What is known of the platform.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Detected {
    /// It is this one, and how that is known.
    Is(Platform, String),
    /// The command line names one that does not exist.
    Unknown { parameter: &'static str, name: String },
    /// Nothing says so.
    Nothing,
}

/// The platform, by the command line and else by the firmware.
pub(super) fn detect(command_line: &str, firmware: &Firmware) -> Detected {
    for parameter in PARAMETERS {
        let Some(name) = parameters(command_line, parameter).last() else { continue };
        return match Platform::from_name(&name) {
            Some(platform) => Detected::Is(platform, format!("{parameter}={name}")),
            None => Detected::Unknown { parameter, name },
        };
    }
    match firmware.platform() {
        Some((platform, mark)) => Detected::Is(platform, mark),
        None => Detected::Nothing,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn firmware(set: impl FnOnce(&mut Firmware)) -> Firmware {
        let mut firmware = Firmware::default();
        set(&mut firmware);
        firmware
    }

    #[test]
    fn the_firmware_tells_where_a_machine_stands() {
        let cases = [
            (firmware(|f| f.vendor = "Amazon EC2".into()), Some(Platform::Ec2)),
            (firmware(|f| f.hypervisor_uuid = "ec2e1916-9099".into()), Some(Platform::Ec2)),
            // A machine whose uuid happens to begin so.
            (firmware(|f| f.uuid = "EC2E1916-9099".into()), None),
            (
                firmware(|f| {
                    f.uuid = "EC2E1916-9099".into();
                    f.serial = "ec2e1916-9099".into();
                }),
                Some(Platform::Ec2),
            ),
            (firmware(|f| f.product = "Google Compute Engine".into()), Some(Platform::Gce)),
            (
                firmware(|f| {
                    f.vendor = "Microsoft Corporation".into();
                    f.asset_tag = "7783-7084-3265-9085-8269-3286-77".into();
                }),
                Some(Platform::Azure),
            ),
            // Hyper-V at home.
            (firmware(|f| f.vendor = "Microsoft Corporation".into()), None),
            (firmware(|f| f.asset_tag = "OracleCloud.com".into()), Some(Platform::Oracle)),
            (firmware(|f| f.vendor = "DigitalOcean".into()), Some(Platform::DigitalOcean)),
            (firmware(|f| f.vendor = "Hetzner".into()), Some(Platform::Hetzner)),
            (firmware(|f| f.vendor = "Scaleway".into()), Some(Platform::Scaleway)),
            (firmware(|f| f.vendor = "Vultr".into()), Some(Platform::Vultr)),
            (firmware(|f| f.vendor = "Linode".into()), Some(Platform::Akamai)),
            (firmware(|f| f.vendor = "Akamai".into()), Some(Platform::Akamai)),
            (firmware(|f| f.product = "OpenStack Nova".into()), Some(Platform::OpenStack)),
            (firmware(|f| f.asset_tag = "OpenTelekomCloud".into()), Some(Platform::OpenStack)),
            (firmware(|f| f.vendor = "VMware, Inc.".into()), Some(Platform::Vmware)),
            (firmware(|f| f.vendor = "QEMU".into()), None),
            (Firmware::default(), None),
        ];
        for (firmware, expected) in cases {
            let found = firmware.platform().map(|(platform, _)| platform);
            assert_eq!(found, expected, "{firmware:?}");
        }
    }

    #[test]
    fn the_command_line_knows_better() {
        let on_ec2 = firmware(|f| f.vendor = "Amazon EC2".into());
        let is = |platform, why: &str| Detected::Is(platform, why.to_owned());
        let cases = [
            ("quiet", is(Platform::Ec2, "the firmware says Amazon EC2")),
            ("coreos.platform=openstack", is(Platform::OpenStack, "coreos.platform=openstack")),
            ("platform=gcp coreos.platform=aws", is(Platform::Ec2, "coreos.platform=aws")),
            ("platform=none", is(Platform::Metal, "platform=none")),
            ("ignition.platform.id=packet", is(Platform::Packet, "ignition.platform.id=packet")),
            ("platform=ec3", Detected::Unknown { parameter: "platform", name: "ec3".to_owned() }),
        ];
        for (line, expected) in cases {
            assert_eq!(detect(line, &on_ec2), expected, "{line}");
        }
        assert_eq!(detect("quiet", &Firmware::default()), Detected::Nothing);
    }

    #[test]
    fn what_sysfs_lacks_is_empty() {
        let sysfs = tempfile::tempdir().unwrap();
        assert_eq!(Firmware::read(sysfs.path()), Firmware::default());
        let dmi = sysfs.path().join("class/dmi/id");
        fs::create_dir_all(&dmi).unwrap();
        fs::write(dmi.join("sys_vendor"), "Hetzner\n").unwrap();
        assert_eq!(Firmware::read(sysfs.path()), firmware(|f| f.vendor = "Hetzner".into()));
    }
}
