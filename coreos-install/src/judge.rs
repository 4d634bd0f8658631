//! Whether a disk may be overwritten: a plain decision over what was seen of it.

use crate::size;
use crate::survey::Disk;

/// Bytes of a sector that the image's partition table counts in.
const SECTOR: u64 = 512;

/// Why a disk is not overwritten.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Nothing can be written to it.
    #[error("{name} cannot be written to")]
    ReadOnly {
        /// The disk.
        name: String,
    },
    /// The image does not fit.
    #[error("{name} has {}, the system needs {}", size(*.has), size(*.needs))]
    TooSmall {
        /// The disk.
        name: String,
        /// Its size.
        has: u64,
        /// The image's.
        needs: u64,
    },
    /// Its sectors are not those that the image was made for.
    #[error("{name} has sectors of {sector} bytes, the image is made for sectors of {SECTOR}")]
    Sectors {
        /// The disk.
        name: String,
        /// Bytes of a sector.
        sector: u64,
    },
    /// Something works with it now.
    #[error("{name} is in use: {uses}")]
    InUse {
        /// The disk.
        name: String,
        /// For what.
        uses: String,
    },
    /// Somebody may want what is on it.
    #[error("{name} holds {data}; to erase it, say its name: --force-erase {name}")]
    HoldsData {
        /// The disk.
        name: String,
        /// What seems to be on it.
        data: String,
    },
    /// The name that was said is another disk's.
    #[error("--force-erase names {said}, but the disk is {name}: nothing was written")]
    OtherName {
        /// The disk.
        name: String,
        /// The name as said.
        said: String,
    },
}

/// Refuses a disk for an image of `needs` bytes. `said` is the name under which somebody agreed
/// that it is erased.
pub fn judge(disk: &Disk, needs: u64, said: Option<&str>) -> Result<(), Refusal> {
    let name = disk.name.clone();
    if let Some(said) = said.filter(|&said| said.trim_start_matches("/dev/") != name) {
        return Err(Refusal::OtherName { name, said: said.to_owned() });
    }
    if disk.read_only {
        return Err(Refusal::ReadOnly { name });
    }
    if disk.size < needs {
        return Err(Refusal::TooSmall { name, has: disk.size, needs });
    }
    if disk.sector != SECTOR {
        return Err(Refusal::Sectors { name, sector: disk.sector });
    }
    if !disk.uses.is_empty() {
        return Err(Refusal::InUse { name, uses: disk.uses.join(", ") });
    }
    match &disk.data {
        Some(data) if said.is_none() => Err(Refusal::HoldsData { name, data: data.clone() }),
        _ => Ok(()),
    }
}

/// The one disk that an unattended installation may take: the only one that is fixed and not
/// refused.
pub fn only_one(disks: &[Disk], needs: u64) -> Result<&Disk, String> {
    let fit: Vec<&Disk> =
        disks.iter().filter(|disk| !disk.removable && judge(disk, needs, None).is_ok()).collect();
    match fit.as_slice() {
        [one] => Ok(one),
        [] => {
            let why: Vec<String> = disks
                .iter()
                .filter_map(|disk| judge(disk, needs, None).err())
                .map(|refusal| refusal.to_string())
                .collect();
            let why = if why.is_empty() { "no disk was found".to_owned() } else { why.join("; ") };
            Err(format!("no disk can be taken: {why}"))
        }
        many => {
            let names: Vec<&str> = many.iter().map(|disk| disk.name.as_str()).collect();
            Err(format!("more than one disk could be taken, name one: {}", names.join(", ")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn disk(name: &str) -> Disk {
        Disk {
            name: name.to_owned(),
            node: format!("/dev/{name}").into(),
            size: 10 << 30,
            sector: 512,
            read_only: false,
            removable: false,
            model: String::new(),
            serial: String::new(),
            uses: Vec::new(),
            data: None,
        }
    }

    #[test]
    fn the_wrong_disk_is_refused_and_told_why() {
        let data = Some("2 partitions".to_owned());
        let uses = vec!["vda1 is mounted on /".to_owned()];
        let vda = || disk("vda");
        for (disk, said, complaint) in [
            (vda(), None, ""),
            (vda(), Some("vda"), ""),
            (vda(), Some("/dev/vda"), ""),
            (Disk { data: data.clone(), ..vda() }, Some("vda"), ""),
            (Disk { data: data.clone(), ..vda() }, None, "say its name: --force-erase vda"),
            (vda(), Some("vdb"), "names vdb, but the disk is vda"),
            (Disk { read_only: true, ..vda() }, Some("vda"), "cannot be written to"),
            (Disk { size: 1 << 30, ..vda() }, Some("vda"), "has 1.1 GB, the system needs 8.6 GB"),
            (Disk { sector: 4096, ..vda() }, Some("vda"), "sectors of 4096 bytes"),
            (Disk { uses, data, ..vda() }, Some("vda"), "in use: vda1 is mounted on /"),
        ] {
            let told = judge(&disk, 8 << 30, said).err().map(|r| r.to_string()).unwrap_or_default();
            assert!(told.contains(complaint) && told.is_empty() == complaint.is_empty(), "{told}");
        }
    }

    #[test]
    fn nobody_there_takes_the_only_disk_and_never_guesses() {
        let needs = 8 << 30;
        let small = Disk { size: 1 << 30, ..disk("vdb") };
        let stick = Disk { removable: true, ..disk("sda") };
        let full = Disk { data: Some("data".to_owned()), ..disk("vdc") };
        let one = [disk("vda"), small.clone(), stick.clone(), full.clone()];
        assert_eq!(only_one(&one, needs).map(|disk| disk.name.as_str()), Ok("vda"));
        let two = only_one(&[disk("vda"), disk("vdb")], needs).map(|_| ()).expect_err("two");
        assert!(two.ends_with("name one: vda, vdb"), "{two}");
        let none = only_one(&[small, stick, full], needs).map(|_| ()).expect_err("none");
        assert!(none.contains("vdb has 1.1 GB") && none.contains("vdc holds data"), "{none}");
        assert!(only_one(&[], needs).is_err());
    }
}
