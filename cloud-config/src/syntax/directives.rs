//! What systemd 257 reads in its files: sections, and the directives of each.
//!
//! `directives.txt` has a section in each line: the kind of file, the name, the directives. A
//! word that begins with `@` stands for those of the line that begins with it. It was read off
//! the tables in Debian's `libsystemd-core`, `systemd-networkd` and `udevadm`.

const TABLE: &str = include_str!("directives.txt");

/// A kind of file, with the sections that it can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FileKind {
    /// As the table has it.
    table: &'static str,
    /// For units: the section of this type of unit alone.
    own: &'static str,
}

/// The kind of a file, by the name of the unit.
pub(crate) fn kind_of(unit: &str) -> Option<FileKind> {
    let (_, suffix) = unit.rsplit_once('.')?;
    let unit = |own| Some(FileKind { table: "unit", own });
    match suffix {
        "service" => unit("Service"),
        "socket" => unit("Socket"),
        "mount" => unit("Mount"),
        "automount" => unit("Automount"),
        "swap" => unit("Swap"),
        "path" => unit("Path"),
        "timer" => unit("Timer"),
        "slice" => unit("Slice"),
        "scope" => unit("Scope"),
        "target" | "device" => unit(""),
        "network" => Some(FileKind { table: "network", own: "" }),
        "netdev" => Some(FileKind { table: "netdev", own: "" }),
        "link" => Some(FileKind { table: "link", own: "" }),
        _ => None,
    }
}

impl FileKind {
    /// The names of the sections that such a file can have.
    pub(crate) fn sections(self) -> impl Iterator<Item = &'static str> {
        lines().filter(move |line| line.0 == self.table).map(|line| line.1).filter(move |section| {
            self.table != "unit" || ["Unit", "Install", self.own].contains(section)
        })
    }

    /// Whether such a file can have this section.
    pub(crate) fn has(self, section: &str) -> bool {
        self.sections().any(|known| known == section)
    }

    /// The directives of a section.
    pub(crate) fn directives(self, section: &str) -> Vec<&'static str> {
        let line = lines().find(|line| line.0 == self.table && line.1 == section);
        let mut found = Vec::new();
        for word in line.map_or("", |line| line.2).split(' ').filter(|word| !word.is_empty()) {
            match word.starts_with('@') {
                true => found.extend(group(word)),
                false => found.push(word),
            }
        }
        found
    }
}

/// Kind, section and the rest of every line.
fn lines() -> impl Iterator<Item = (&'static str, &'static str, &'static str)> {
    TABLE.lines().filter_map(|line| {
        let (kind, rest) = line.split_once(' ')?;
        let (section, directives) = rest.split_once(' ').unwrap_or((rest, ""));
        Some((kind, section, directives))
    })
}

fn group(name: &str) -> impl Iterator<Item = &'static str> {
    let line = TABLE.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap_or("").split(' ').filter(|word| !word.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_has_its_sections() {
        for (unit, section, directive) in [
            ("a.service", "Service", "ExecStart"),
            ("a.service", "Service", "CPUQuota"),
            ("a.service", "Service", "PrivateTmp"),
            ("a.service", "Unit", "After"),
            ("a@b.timer", "Timer", "OnCalendar"),
            ("a.socket", "Socket", "ListenStream"),
            ("a.slice", "Slice", "MemoryMax"),
            ("a.target", "Install", "WantedBy"),
            ("a.network", "Network", "DHCP"),
            ("a.network", "Route", "GatewayOnLink"),
            ("a.netdev", "Bond", "LACPTransmitRate"),
            ("a.link", "Link", "NamePolicy"),
        ] {
            let kind = kind_of(unit).unwrap();
            assert!(kind.has(section), "{unit} {section}");
            assert!(kind.directives(section).contains(&directive), "{unit} {section} {directive}");
        }
        for (unit, section) in
            [("a.service", "Socket"), ("a.target", "Service"), ("a.service", "Network")]
        {
            assert!(!kind_of(unit).unwrap().has(section), "{unit} {section}");
        }
        assert_eq!(kind_of("a.conf"), None);
    }
}
