//! What a machine is made of → QEMU's command line. Plain values, no I/O.

use std::ffi::OsString;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use crate::accelerator::Accelerator;
use crate::firmware::Firmware;

/// The host as the guest sees it, where its services answer.
pub const HOST: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 2);

/// The address that the first machine on the built-in network is leased.
pub const LEASE: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 15);

/// The hardware address of a machine's network card on the built-in network.
pub const MAC: &str = "52:54:00:12:34:56";

/// Program name of QEMU; only this one architecture is built.
pub const QEMU: &str = "qemu-system-x86_64";

/// The parts of one machine.
#[derive(Clone, Debug)]
pub struct Wiring {
    /// Its name, seen in the host's process list.
    pub name: String,
    /// What executes the guest's instructions.
    pub accelerator: Accelerator,
    /// The firmware; `variables` is this machine's own copy.
    pub firmware: Firmware,
    /// Memory in MiB.
    pub memory: u32,
    /// Number of processors.
    pub processors: u32,
    /// What its disks and network card pretend to be.
    pub cards: Cards,
    /// The disks, the first is the one to boot from: qcow2, or by their names VMDK.
    pub disks: Vec<PathBuf>,
    /// What the firmware starts instead of what is on the disks.
    pub kernel: Option<PathBuf>,
    /// What that kernel is given as its initrd.
    pub initrd: Option<PathBuf>,
    /// The disc in the CD-ROM drive; without one there is no drive.
    pub disc: Option<PathBuf>,
    /// Files that the guest sees in QEMU's firmware configuration device.
    pub fw_cfg: Vec<(String, PathBuf)>,
    /// Strings that the guest sees in its firmware's tables (SMBIOS type 11).
    pub firmware_strings: Vec<String>,
    /// How it is connected, unless by a cable.
    pub network: Network,
    /// Where it meets the built-in network, if that comes to it as a VLAN.
    pub tagged: Option<Tagged>,
    /// Its place on a network that it shares with others, instead of the built-in one.
    pub cable: Option<Cable>,
    /// Whether it has a graphics card, so that its screen can be pictured.
    pub screen: bool,
}

/// What a machine's disks and network card pretend to be.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Cards {
    /// Those made for virtual machines.
    #[default]
    Virtio,
    /// Those of VMware: pvscsi and vmxnet3.
    Vmware,
}

/// A machine's network: QEMU's built-in one (10.0.2.0/24, the host at
/// [`HOST`]), of which the host's other interfaces know nothing.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Network {
    /// Port of the host's loopback address behind which ssh answers.
    pub ssh_port: u16,
    /// The guest's address that this port leads to.
    pub guest: Ipv4Addr,
    /// Whether the guest is kept from reaching the host and what is behind it.
    pub isolated: bool,
}

/// The two ends of what tags the frames between a machine's network card and the built-in network.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Tagged {
    /// The card's.
    pub card: End,
    /// The network's.
    pub network: End,
}

/// An end of a connection that carries a frame in each datagram.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct End {
    /// QEMU's socket.
    pub local: PathBuf,
    /// The other one.
    pub remote: PathBuf,
}

/// A cable from a machine's only network card to an interface of the host.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Cable {
    /// The name of the host's tap interface.
    pub tap: String,
    /// The card's hardware address, its own on the network.
    pub mac: String,
}

impl Wiring {
    /// QEMU's arguments. It talks on descriptors that it inherits: the console
    /// on its standard input, the control channel on its standard output; so
    /// no socket file needs a place, and both end with either process.
    pub fn arguments(&self) -> Vec<OsString> {
        let mut list = Arguments::default();
        list.option("-name", &[&self.name]);
        list.flags(&["-nodefaults", "-no-user-config", "-display", "none"]);
        if self.firmware.secure {
            list.option("-machine", &["q35,smm=on,hpet=off"]);
            // Only code in System Management Mode may write the variables.
            list.option("-global", &["driver=cfi.pflash01,property=secure,value=on"]);
            list.option("-global", &["ICH9-LPC.disable_s3=1"]);
        } else {
            list.option("-machine", &["q35,smm=off,hpet=off"]);
        }
        list.flags(self.accelerator.arguments());
        list.option("-m", &[&format!("{}M", self.memory)]);
        list.option("-smp", &[&self.processors.to_string()]);

        list.option("-chardev", &["socket,id=console,fd=0"]);
        list.option("-serial", &["chardev:console"]);
        list.option("-chardev", &["socket,id=control,fd=1"]);
        list.option("-mon", &["chardev=control,mode=control"]);
        list.option("-device", &["virtio-rng-pci"]);
        if self.screen {
            list.option("-device", &["VGA"]);
        }

        let flash = "if=pflash,format=raw";
        list.file("-drive", &format!("{flash},unit=0,readonly=on,file="), &self.firmware.code);
        list.file("-drive", &format!("{flash},unit=1,file="), &self.firmware.variables);
        if self.cards == Cards::Vmware {
            list.option("-device", &["pvscsi,id=scsi"]);
        }
        for (index, disk) in self.disks.iter().enumerate() {
            let id = format!("disk{index}");
            let drive = format!("if=none,id={id},format=qcow2,discard=unmap,file=");
            list.file("-drive", &drive, disk);
            let first = index == 0 && self.kernel.is_none();
            let boot = if first { ",bootindex=0" } else { "" };
            let kind = match self.cards {
                Cards::Virtio => "virtio-blk-pci",
                Cards::Vmware => "scsi-hd,bus=scsi.0",
            };
            // A full host is an error in the guest; by default QEMU would stop
            // the guest and wait for somebody to make room.
            let device = format!("{kind},drive={id},serial={id},werror=report{boot}");
            list.option("-device", &[&device]);
        }
        if let Some(kernel) = &self.kernel {
            list.file("-kernel", "", kernel);
        }
        if let Some(initrd) = &self.initrd {
            list.file("-initrd", "", initrd);
        }
        if let Some(disc) = &self.disc {
            list.file("-drive", "if=none,id=disc,media=cdrom,format=raw,readonly=on,file=", disc);
            // After the disk: a disc that installs is started where that is empty.
            list.option("-device", &["ide-cd,drive=disc,bootindex=1"]);
        }
        for (name, file) in &self.fw_cfg {
            list.file("-fw_cfg", &format!("name={name},file="), file);
        }
        for string in &self.firmware_strings {
            let value = string.replace(',', ",,");
            list.option("-smbios", &[&format!("type=11,value={value}")]);
        }
        let (backend, mac) = match &self.cable {
            None => (self.network.backend(), MAC),
            Some(Cable { tap, mac }) => {
                (format!("tap,ifname={tap},script=no,downscript=no"), mac.as_str())
            }
        };
        match &self.tagged {
            None => list.option("-netdev", &[&format!("{backend},id=net0")]),
            Some(Tagged { card, network }) => {
                // A network has one end here, unless they meet at a hub.
                list.option("-netdev", &[&format!("{backend},id=built-in")]);
                list.option("-netdev", &[&network.option("plain")]);
                for id in ["built-in", "plain"] {
                    list.option("-netdev", &[&format!("hubport,id=hub-{id},hubid=0,netdev={id}")]);
                }
                list.option("-netdev", &[&card.option("net0")]);
            }
        }
        let card = match self.cards {
            Cards::Virtio => "virtio-net-pci",
            Cards::Vmware => "vmxnet3",
        };
        // Without its ROM the card cannot be booted from, which saves time.
        list.option("-device", &[&format!("{card},netdev=net0,mac={mac},romfile=")]);
        list.0
    }
}

impl End {
    /// QEMU's description of it.
    fn option(&self, id: &str) -> String {
        let (local, remote) = (self.local.display(), self.remote.display());
        format!(
            "dgram,id={id},local.type=unix,local.path={local},\
             remote.type=unix,remote.path={remote}"
        )
    }
}

impl Network {
    /// QEMU's description of the other end of the card, without its id.
    fn backend(&self) -> String {
        let restrict = if self.isolated { "on" } else { "off" };
        format!(
            "user,restrict={restrict},host={HOST},dhcpstart={LEASE},\
             hostfwd=tcp:127.0.0.1:{}-{}:22",
            self.ssh_port, self.guest
        )
    }
}

/// A command line being put together.
#[derive(Default)]
struct Arguments(Vec<OsString>);

impl Arguments {
    fn flags(&mut self, words: &[&str]) {
        self.0.extend(words.iter().map(OsString::from));
    }

    fn option(&mut self, name: &str, values: &[&str]) {
        self.0.push(name.into());
        self.flags(values);
    }

    /// An option that ends with a path. QEMU ends a value at a comma unless it
    /// is doubled.
    fn file(&mut self, name: &str, before: &str, path: &Path) {
        use std::os::unix::ffi::{OsStrExt, OsStringExt};
        let mut value = before.as_bytes().to_vec();
        for &byte in path.as_os_str().as_bytes() {
            value.push(byte);
            if byte == b',' {
                value.push(byte);
            }
        }
        self.0.push(name.into());
        self.0.push(OsString::from_vec(value));
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// The least that starts.
    pub(crate) fn plain() -> Wiring {
        Wiring {
            name: "plain".into(),
            accelerator: Accelerator::Tcg,
            firmware: Firmware {
                code: "/fw/code".into(),
                variables: "/m/vars".into(),
                secure: false,
            },
            memory: 1024,
            processors: 2,
            cards: Cards::Virtio,
            disks: vec!["/m/disk.qcow2".into()],
            kernel: None,
            initrd: None,
            disc: None,
            fw_cfg: Vec::new(),
            firmware_strings: Vec::new(),
            network: Network { ssh_port: 40022, guest: LEASE, isolated: false },
            tagged: None,
            cable: None,
            screen: false,
        }
    }

    fn cable() -> Cable {
        Cable { tap: "vb-n1".into(), mac: "52:54:01:00:00:01".into() }
    }

    fn tagged() -> Tagged {
        let end = |local: &str, remote: &str| End { local: local.into(), remote: remote.into() };
        Tagged { card: end("/t/c", "/t/d"), network: end("/t/n", "/t/m") }
    }

    fn line(wiring: &Wiring) -> String {
        let words: Vec<_> =
            wiring.arguments().iter().map(|word| word.to_string_lossy().into_owned()).collect();
        words.join(" ")
    }

    #[test]
    fn each_part_is_on_the_command_line_only_when_it_is_there() {
        let with = |change: fn(&mut Wiring)| {
            let mut wiring = plain();
            change(&mut wiring);
            line(&wiring)
        };
        let bare = line(&plain());
        for (part, change) in [
            ("ide-cd,drive=disc", (|w| w.disc = Some("/m/config.iso".into())) as fn(&mut Wiring)),
            ("-fw_cfg name=opt/x,file=/m/x", |w| w.fw_cfg.push(("opt/x".into(), "/m/x".into()))),
            ("-device VGA", |w| w.screen = true),
            ("restrict=on", |w| w.network.isolated = true),
            ("10.0.2.50:22", |w| w.network.guest = Ipv4Addr::new(10, 0, 2, 50)),
            ("tap,ifname=vb-n1,script=no,downscript=no,id=net0", |w| w.cable = Some(cable())),
            ("mac=52:54:01:00:00:01", |w| w.cable = Some(cable())),
            ("hubid=0,netdev=built-in", |w| w.tagged = Some(tagged())),
            (
                "dgram,id=net0,local.type=unix,local.path=/t/c,remote.type=unix,remote.path=/t/d",
                |w| w.tagged = Some(tagged()),
            ),
            ("drive=disk1,serial=disk1", |w| w.disks.push("/m/more.qcow2".into())),
            ("smm=on", |w| w.firmware.secure = true),
            ("cfi.pflash01,property=secure,value=on", |w| w.firmware.secure = true),
            ("-accel kvm -cpu host", |w| w.accelerator = Accelerator::Kvm),
            ("-m 4096M", |w| w.memory = 4096),
            ("-device pvscsi,id=scsi -drive", |w| w.cards = Cards::Vmware),
            ("-device scsi-hd,bus=scsi.0,drive=disk0", |w| w.cards = Cards::Vmware),
            ("-device vmxnet3,netdev=net0", |w| w.cards = Cards::Vmware),
            ("-kernel /m/uki.efi", |w| w.kernel = Some("/m/uki.efi".into())),
            ("-initrd /m/initrd", |w| w.initrd = Some("/m/initrd".into())),
            ("-smbios type=11,value=a=b,,c", |w| w.firmware_strings.push("a=b,c".into())),
        ] {
            assert!(!bare.contains(part), "{part} in {bare}");
            let line = with(change);
            assert!(line.contains(part), "{part} not in {line}");
        }
    }

    #[test]
    fn only_the_first_disk_is_booted_from() {
        let mut wiring = plain();
        wiring.disks.push("/m/more.qcow2".into());
        let line = line(&wiring);
        assert_eq!(line.matches("bootindex").count(), 1);
        assert!(line.contains("serial=disk0,werror=report,bootindex=0"), "{line}");
    }

    #[test]
    fn ssh_listens_on_the_loopback_address_alone() {
        let line = line(&plain());
        assert_eq!(line.matches("hostfwd=").count(), 1);
        assert!(line.contains("hostfwd=tcp:127.0.0.1:40022-10.0.2.15:22"), "{line}");
    }

    #[test]
    fn a_comma_in_a_path_does_not_end_the_option() {
        let mut wiring = plain();
        wiring.disks = vec!["/a,b/disk.qcow2".into()];
        assert!(line(&wiring).contains("file=/a,,b/disk.qcow2 "));
    }
}
