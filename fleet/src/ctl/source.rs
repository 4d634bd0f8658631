//! Where the text of a unit comes from: a file, or a template.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::cluster::Cluster;
use super::error::CtlError;
use crate::unit::{
    DEFAULT_TYPE, Finding, Mode, Requirements, Severity, UnitFile, UnitName, has_errors, rejected,
};

/// A unit as somebody typed it: `web@1`, `units/web@1.service`.
#[derive(Debug, Clone)]
pub(super) struct Typed {
    /// The unit.
    pub(super) name: UnitName,
    /// Where its file would be.
    path: PathBuf,
}

/// A text, and where it stands.
#[derive(Debug)]
pub(super) struct Text {
    /// Byte for byte.
    pub(super) bytes: String,
    /// The file or unit.
    pub(super) origin: String,
    /// It is the text of a template in a file.
    pub(super) template: bool,
}

impl Typed {
    /// Takes what was typed for a name, or a path whose last part is a name.
    pub(super) fn read(typed: &str) -> Result<Typed, CtlError> {
        let last = typed.rsplit('/').next().unwrap_or_default();
        let name = UnitName::parse_typed(last)?;
        let mut path = typed.to_string();
        if name.as_str() != last {
            path.push_str(DEFAULT_TYPE);
        }
        Ok(Typed { name, path: PathBuf::from(path) })
    }

    /// The file of that name, or the file of its template beside it.
    pub(super) fn local(&self) -> Result<Option<Text>, CtlError> {
        if let Some(bytes) = read(&self.path)? {
            let origin = self.path.display().to_string();
            return Ok(Some(Text { bytes, origin, template: false }));
        }
        let Some(template) = self.name.template() else { return Ok(None) };
        let path = self.path.with_file_name(template.as_str());
        let text = read(&path)?;
        Ok(text.map(|bytes| Text { bytes, origin: path.display().to_string(), template: true }))
    }

    /// The text for a unit that the cluster does not know: its file, its template in the cluster,
    /// the file of its template, in this order.
    pub(super) fn find(&self, cluster: &Cluster) -> Result<Text, CtlError> {
        let local = self.local()?;
        if let Some(text) = local.as_ref().filter(|text| !text.template) {
            return Ok(Text {
                bytes: text.bytes.clone(),
                origin: text.origin.clone(),
                template: false,
            });
        }
        if let Some(template) = self.name.template()
            && let Some(unit) = cluster.unit(template.as_str())?
        {
            let bytes = unit.body.unwrap_or_default();
            if local.as_ref().is_some_and(|text| text.bytes != bytes) {
                super::screen::note(&differs(&unit.name, local.as_ref()));
            }
            return Ok(Text { bytes, origin: unit.name, template: true });
        }
        local.ok_or_else(|| CtlError::NoUnit {
            name: self.name.to_string(),
            path: self.path.display().to_string(),
        })
    }
}

/// The warning about a file that is not what the cluster knows.
pub(super) fn differs(unit: &str, local: Option<&Text>) -> String {
    let (kind, path) = match local {
        Some(text) if text.template => ("template unit", text.origin.as_str()),
        Some(text) => ("unit", text.origin.as_str()),
        None => ("unit", ""),
    };
    format!(
        "WARNING: Unit {unit} in registry differs from local {kind} file {path}. \
         Add --replace to override."
    )
}

/// Checks a text for a unit of that name. Warnings are returned, a line for each.
///
/// # Errors
/// All mistakes.
pub(super) fn check(name: &UnitName, text: &Text, lenient: bool) -> Result<Vec<String>, CtlError> {
    let mode = if lenient { Mode::Lenient } else { Mode::Strict };
    let placed = |finding: &Finding| format!("{}:{finding}", text.origin);
    let file = UnitFile::read(text.bytes.as_bytes(), mode)
        .map_err(|findings| CtlError::Findings(findings.iter().map(placed).collect()))?;
    let (requirements, findings) = Requirements::read(name.as_str(), &file, mode);
    let only = |severity| {
        findings.iter().filter(move |finding| finding.severity == severity).map(placed).collect()
    };
    if has_errors(&findings) {
        return Err(CtlError::Findings(only(Severity::Error)));
    }
    match rejected(&requirements) {
        Some(reason) => Err(CtlError::Findings(vec![format!("{}: {reason}", text.origin)])),
        None => Ok(only(Severity::Warning)),
    }
}

fn read(path: &Path) -> Result<Option<String>, CtlError> {
    let failed = |source| CtlError::Read { path: path.to_path_buf(), source };
    match fs::read(path) {
        Ok(bytes) => match String::from_utf8(bytes) {
            Ok(text) => Ok(Some(text)),
            Err(_) => Err(CtlError::Findings(vec![format!("{}: not UTF-8", path.display())])),
        },
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            Ok(None)
        }
        Err(error) => Err(failed(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_typed() {
        for (typed, name, path) in [
            ("web", "web.service", "web.service"),
            ("units/web@1", "web@1.service", "units/web@1.service"),
            ("/a/b.timer", "b.timer", "/a/b.timer"),
            ("t.target", "t.target", "t.target"),
        ] {
            let read = Typed::read(typed).expect("a name");
            assert_eq!((read.name.as_str(), read.path.to_str()), (name, Some(path)), "{typed}");
        }
        assert!(Typed::read("a/").is_err());
        assert!(Typed::read("a b").is_err());
    }

    #[test]
    fn a_file_comes_before_the_template_beside_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let at = |name: &str| folder.path().join(name);
        let typed = Typed::read(at("web@1.service").to_str().expect("a path")).expect("a name");
        assert!(typed.local().expect("readable").is_none());
        fs::write(at("web@.service"), "template").expect("written");
        let text = typed.local().expect("readable").expect("a text");
        assert_eq!((text.bytes.as_str(), text.template), ("template", true));
        fs::write(at("web@1.service"), "instance").expect("written");
        let text = typed.local().expect("readable").expect("a text");
        assert_eq!((text.bytes.as_str(), text.template), ("instance", false));
    }

    #[test]
    fn mistakes_have_their_place() {
        let text = |bytes: &str| Text {
            bytes: bytes.to_string(),
            origin: "a.service".to_string(),
            template: false,
        };
        let name = UnitName::parse("a.service").expect("a name");
        let bad =
            text("[Service]\nExecStart=/bin/true\n[X-Fleet]\nMachineMetdata=a=b\nGlobal=maybe\n");
        let error = check(&name, &bad, false).expect_err("mistakes").to_string();
        assert_eq!(error.lines().count(), 2, "{error}");
        assert!(error.starts_with("a.service:4: unknown key `MachineMetdata`"), "{error}");
        assert_eq!(check(&name, &bad, true).expect("lenient").len(), 2);
        let both = text("[X-Fleet]\nGlobal=true\nMachineOf=b.service\n");
        assert!(check(&name, &both, true).is_err());
    }
}
