//! The records of a package: its fields, its scripts and the triggers it waits for.

use super::DebError;
use super::ar::Limit;
use crate::archive::control::Paragraph;
use std::collections::BTreeMap;
use std::io::Read;
use tar::Archive;

/// The largest control member that is accepted, unpacked.
const MAX_CONTROL: u64 = 64 << 20;
/// Scripts of the package's maintainer that run when it is installed.
pub const SCRIPTS: [&str; 3] = ["config", "postinst", "preinst"];

/// The records of one package.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Control {
    /// The paragraph of the file `control`.
    pub paragraph: String,
    /// Scripts that run when the package is installed, by name.
    pub scripts: BTreeMap<String, String>,
    /// Paths of its configuration files, without their leading slash.
    pub conffiles: Vec<String>,
    /// Every file of the member, by name: what dpkg keeps of a package.
    pub files: BTreeMap<String, Vec<u8>>,
}

impl Control {
    /// Reads the unpacked control member.
    pub fn read(member: impl Read) -> Result<Control, DebError> {
        let mut files = BTreeMap::new();
        let mut archive = Archive::new(Limit::new(member, MAX_CONTROL));
        for entry in archive.entries()? {
            let mut entry = entry?;
            if !entry.header().entry_type().is_file() {
                continue;
            }
            let path = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
            let name = path.trim_start_matches("./").to_owned();
            if name.is_empty() || name.contains('/') {
                return Err(DebError::Format("a record of it is not a plain file"));
            }
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes)?;
            files.insert(name, bytes);
        }
        let text =
            |name: &str| files.get(name).map(|bytes| String::from_utf8_lossy(bytes).into_owned());
        let control = text("control").ok_or(DebError::Format("it has no control file"))?;
        let paragraph = Paragraph::first(&control).text().to_owned();
        let scripts = SCRIPTS.iter().filter_map(|name| Some(((*name).to_owned(), text(name)?)));
        let conffiles = text("conffiles").unwrap_or_default();
        let conffiles = conffiles.lines().filter_map(|line| line.trim().strip_prefix('/'));
        let scripts = scripts.collect();
        let conffiles = conffiles.map(str::to_owned).collect();
        Ok(Control { paragraph, scripts, conffiles, files })
    }

    /// The value of a field.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&str> {
        Paragraph::first(&self.paragraph).get(name)
    }
}
