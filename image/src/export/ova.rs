//! The virtual appliance for VMware: a tar of description, manifest and disk, in this order.
//!
//! disk → [`crate::vmdk`] → digests → description (OVF 1.1) → manifest → tar
//!
//! What importers insist on: the description first, then the manifest with a digest of it as well,
//! then the disk; SHA-256; a disk format that ends with `#streamOptimized`.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};

use sha2::{Digest as _, Sha256};

use super::Facts;

/// What a machine is made with; the importer may change it.
const PROCESSORS: u32 = 2;
const MEMORY_MIB: u32 = 2048;
/// ESXi 6.7 update 2, the oldest that is still found; newer ones take it.
const HARDWARE: &str = "vmx-15";

/// Settings that the importer asks for, and how: name, type, what it is.
const PROPERTIES: [(&str, &str, &str); 15] = [
    ("guestinfo.hostname", "string", "Host name"),
    ("guestinfo.coreos.config.data", "string", "Cloud-config, or a script"),
    (
        "guestinfo.coreos.config.data.encoding",
        "string",
        "How the cloud-config is encoded: empty, base64 or gzip+base64",
    ),
    ("guestinfo.coreos.config.url", "string", "Address to fetch the cloud-config from"),
    ("guestinfo.dns.server.0", "string", "First name server"),
    ("guestinfo.dns.server.1", "string", "Second name server"),
    ("guestinfo.dns.domain", "string", "Domain to search names in"),
    ("guestinfo.interface.0.name", "string", "Name of the network card, or a pattern such as en*"),
    ("guestinfo.interface.0.mac", "string", "Hardware address of the network card"),
    ("guestinfo.interface.0.dhcp", "string", "Whether it asks for an address: yes or no"),
    ("guestinfo.interface.0.role", "string", "Whether its address is private or public"),
    ("guestinfo.interface.0.ip.0.address", "string", "Its fixed address, as 192.0.2.5/24"),
    ("guestinfo.interface.0.route.0.gateway", "string", "Its gateway"),
    ("guestinfo.interface.0.route.0.destination", "string", "Where that leads, as 0.0.0.0/0"),
    ("guestinfo.interface.1.name", "string", "Name of a second network card"),
];

/// Writes the appliance into the empty file `out`. `disk` is the finished VMDK of a disk of
/// `capacity` bytes.
pub(super) fn write(
    facts: &Facts<'_>,
    capacity: u64,
    disk: &mut File,
    out: &File,
) -> io::Result<()> {
    let base = facts.base;
    let (ovf_name, disk_name) = (format!("{base}.ovf"), format!("{base}-disk1.vmdk"));
    let (size, digest) = measure(disk)?;
    let description = describe(facts, &disk_name, size, capacity);
    let manifest = format!(
        "SHA256({ovf_name})= {}\nSHA256({disk_name})= {digest}\n",
        crate::digest::of_bytes(description.as_bytes())
    );

    let mut archive = tar::Builder::new(io::BufWriter::with_capacity(1 << 20, out));
    for (name, text) in [(ovf_name, &description), (format!("{base}.mf"), &manifest)] {
        let mut header = header(text.len() as u64);
        archive.append_data(&mut header, name, text.as_bytes())?;
    }
    archive.append_data(&mut header(size), disk_name, disk)?;
    archive.into_inner()?.flush()
}

fn header(size: u64) -> tar::Header {
    let mut header = tar::Header::new_ustar();
    header.set_size(size);
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header
}

/// Size and SHA-256 of a file, which is left at its beginning.
fn measure(file: &mut File) -> io::Result<(u64, String)> {
    file.seek(SeekFrom::Start(0))?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    let mut size = 0;
    loop {
        match file.read(&mut buffer)? {
            0 => break,
            count => {
                hasher.update(&buffer[..count]);
                size += count as u64;
            }
        }
    }
    file.seek(SeekFrom::Start(0))?;
    Ok((size, hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect()))
}

/// Text that may stand in XML.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// A piece of hardware: instance, type as CIM numbers it, name, and further elements by name.
fn item(instance: u32, kind: u32, name: &str, more: &[(&str, &str)]) -> String {
    let mut elements = vec![
        ("ElementName", name.to_owned()),
        ("InstanceID", instance.to_string()),
        ("ResourceType", kind.to_string()),
    ];
    elements.extend(more.iter().map(|&(name, value)| (name, value.to_owned())));
    // The schema wants them by name.
    elements.sort();
    let lines: String = elements
        .iter()
        .map(|(name, value)| format!("        <rasd:{name}>{}</rasd:{name}>\n", escaped(value)))
        .collect();
    format!("      <Item>\n{lines}      </Item>\n")
}

fn hardware() -> String {
    let memory = MEMORY_MIB.to_string();
    let processors = PROCESSORS.to_string();
    [
        item(
            1,
            3,
            "Processors",
            &[("AllocationUnits", "hertz * 10^6"), ("VirtualQuantity", &processors)],
        ),
        item(2, 4, "Memory", &[("AllocationUnits", "byte * 2^20"), ("VirtualQuantity", &memory)]),
        item(3, 6, "SCSI controller", &[("Address", "0"), ("ResourceSubType", "VirtualSCSI")]),
        item(
            4,
            17,
            "Disk 1",
            &[("AddressOnParent", "0"), ("HostResource", "ovf:/disk/disk1"), ("Parent", "3")],
        ),
        item(
            5,
            20,
            "SATA controller",
            &[("Address", "0"), ("ResourceSubType", "vmware.sata.ahci")],
        ),
        item(
            6,
            15,
            "CD drive, for a config disc",
            &[
                ("AddressOnParent", "0"),
                ("AutomaticAllocation", "false"),
                ("Parent", "5"),
                ("ResourceSubType", "vmware.cdrom.remotepassthrough"),
            ],
        ),
        item(
            7,
            10,
            "Network card",
            &[
                ("AddressOnParent", "7"),
                ("AutomaticAllocation", "true"),
                ("Connection", "VM Network"),
                ("ResourceSubType", "VmxNet3"),
            ],
        ),
    ]
    .concat()
}

/// The description: one machine with EFI firmware, whose settings reach it as `guestinfo`.
fn describe(facts: &Facts<'_>, disk: &str, size: u64, capacity: u64) -> String {
    let Facts { base, name, version, signed } = facts;
    let (name, version, base) = (escaped(name), escaped(version), escaped(base));
    let properties: String = PROPERTIES
        .iter()
        .map(|(key, kind, what)| {
            format!(
                "      <Property ovf:key=\"{key}\" ovf:type=\"{kind}\" ovf:userConfigurable=\"true\" \
                 ovf:value=\"\">\n        <Label>{what}</Label>\n      </Property>\n"
            )
        })
        .collect();
    let hardware = hardware();
    format!(
        r#"<?xml version="1.0" encoding="UTF-8"?>
<Envelope xmlns="http://schemas.dmtf.org/ovf/envelope/1"
          xmlns:ovf="http://schemas.dmtf.org/ovf/envelope/1"
          xmlns:rasd="http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_ResourceAllocationSettingData"
          xmlns:vssd="http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_VirtualSystemSettingData"
          xmlns:vmw="http://www.vmware.com/schema/ovf">
  <References>
    <File ovf:id="file1" ovf:href="{disk}" ovf:size="{size}"/>
  </References>
  <DiskSection>
    <Info>The disk; it may be made larger, the first boot grows into it</Info>
    <Disk ovf:diskId="disk1" ovf:fileRef="file1" ovf:capacity="{capacity}" ovf:capacityAllocationUnits="byte" ovf:format="http://www.vmware.com/interfaces/specifications/vmdk.html#streamOptimized"/>
  </DiskSection>
  <NetworkSection>
    <Info>The networks</Info>
    <Network ovf:name="VM Network">
      <Description>The network of the machine</Description>
    </Network>
  </NetworkSection>
  <VirtualSystem ovf:id="{base}">
    <Info>A machine that runs {name}</Info>
    <Name>{base}</Name>
    <OperatingSystemSection ovf:id="101" vmw:osType="other4xLinux64Guest">
      <Info>The operating system</Info>
      <Description>{name} {version}</Description>
    </OperatingSystemSection>
    <VirtualHardwareSection ovf:transport="com.vmware.guestInfo">
      <Info>The hardware</Info>
      <System>
        <vssd:ElementName>Virtual Hardware Family</vssd:ElementName>
        <vssd:InstanceID>0</vssd:InstanceID>
        <vssd:VirtualSystemIdentifier>{base}</vssd:VirtualSystemIdentifier>
        <vssd:VirtualSystemType>{HARDWARE}</vssd:VirtualSystemType>
      </System>
{hardware}      <vmw:Config ovf:required="false" vmw:key="firmware" vmw:value="efi"/>
      <vmw:Config ovf:required="false" vmw:key="bootOptions.efiSecureBootEnabled" vmw:value="{signed}"/>
      <vmw:Config ovf:required="false" vmw:key="powerOpInfo.powerOffType" vmw:value="soft"/>
      <vmw:Config ovf:required="false" vmw:key="powerOpInfo.resetType" vmw:value="soft"/>
    </VirtualHardwareSection>
    <ProductSection>
      <Info>What is asked before the first boot; all of it may stay empty</Info>
      <Product>{name}</Product>
      <Version>{version}</Version>
{properties}    </ProductSection>
  </VirtualSystem>
</Envelope>
"#
    )
}
