//! Names of units and of their drop-ins.

use crate::config::UnitKind;
use crate::finding::{Mistake, quoted};
use crate::suggest::nearest;

const SUFFIXES: &[(&str, UnitKind)] = &[
    ("service", UnitKind::System),
    ("socket", UnitKind::System),
    ("device", UnitKind::System),
    ("mount", UnitKind::System),
    ("automount", UnitKind::System),
    ("swap", UnitKind::System),
    ("target", UnitKind::System),
    ("path", UnitKind::System),
    ("timer", UnitKind::System),
    ("slice", UnitKind::System),
    ("scope", UnitKind::System),
    ("network", UnitKind::Network),
    ("netdev", UnitKind::Network),
    ("link", UnitKind::Network),
];

/// Longest unit name that systemd takes.
const LONGEST: usize = 255;

/// What a unit of this name is.
pub(crate) fn unit_name(name: &str) -> Result<UnitKind, Mistake> {
    let mistake = |why: &str| Mistake::new(format!("{} is not a unit's name: {why}", quoted(name)));
    let (prefix, suffix) = name.rsplit_once('.').unwrap_or((name, ""));
    let Some((_, kind)) = SUFFIXES.iter().find(|(known, _)| *known == suffix) else {
        let names = || SUFFIXES.iter().map(|(known, _)| *known);
        return Err(match nearest(suffix, names()) {
            Some(near) => mistake(&format!("there are no units of the kind {}", quoted(suffix)))
                .with_hint(format!("did you mean `{prefix}.{near}`?")),
            None => mistake("it does not end in the kind of unit")
                .with_hint(format!("such as `{name}.service`")),
        });
    };
    if prefix.is_empty() || prefix.starts_with('@') {
        return Err(mistake("nothing comes before its kind"));
    }
    file_name(name).map_err(mistake)?;
    Ok(*kind)
}

/// Whether a drop-in can have this name.
pub(crate) fn drop_in_name(name: &str) -> Result<(), Mistake> {
    let mistake =
        |why: &str| Mistake::new(format!("{} is not a drop-in's name: {why}", quoted(name)));
    match name.strip_suffix(".conf") {
        None => Err(mistake("it does not end in `.conf`")
            .with_hint(format!("did you mean {}?", quoted(&format!("{name}.conf"))))),
        Some("") => Err(mistake("nothing comes before `.conf`")),
        Some(_) => file_name(name).map_err(mistake),
    }
}

fn file_name(name: &str) -> Result<(), &'static str> {
    if name.len() > LONGEST {
        return Err("it is longer than 255 characters");
    }
    if !name.chars().all(|c| c.is_ascii_alphanumeric() || ":-_.\\@".contains(c)) {
        return Err("only letters, digits and : - _ . \\ @ are allowed");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_suffix_tells_the_kind() {
        for (name, want) in [
            ("etcd.service", UnitKind::System),
            ("a@b.service", UnitKind::System),
            ("var-lib\\x2ddocker.mount", UnitKind::System),
            ("00-eth0.network", UnitKind::Network),
            ("br0.netdev", UnitKind::Network),
        ] {
            assert_eq!(unit_name(name), Ok(want), "{name}");
        }
    }

    #[test]
    fn a_wrong_name_is_explained() {
        for (name, hint) in [
            ("etcd", Some("such as `etcd.service`")),
            ("etcd.servce", Some("did you mean `etcd.service`?")),
            ("a.conf", Some("such as `a.conf.service`")),
            (".service", None),
            ("@.service", None),
            ("a/b.service", None),
            ("a b.service", None),
            ("é.service", None),
        ] {
            assert_eq!(unit_name(name).unwrap_err().hint.as_deref(), hint, "{name}");
        }
        assert!(unit_name(&format!("{}.service", "a".repeat(250))).is_err());
    }

    #[test]
    fn drop_ins_end_in_conf() {
        assert_eq!(drop_in_name("10-a.conf"), Ok(()));
        for bad in ["10-a", ".conf", "a/b.conf", "../a.conf", "a.conf.bak"] {
            assert!(drop_in_name(bad).is_err(), "{bad}");
        }
    }
}
