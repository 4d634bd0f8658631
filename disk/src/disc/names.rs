//! What a name may look like on a disc that was made without long names.
//!
//! An ISO 9660 disc without Rock Ridge or Joliet holds `USER_DAT.;1` where
//! `user-data` was meant: upper case, at most eight characters and three, every
//! character but letters, digits and `_` replaced. The version, `;1`, is taken
//! off before a name gets here.

/// How well a name on a disc matches the one asked for; the first is the best.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Match {
    /// It is the same.
    Exact,
    /// It is the same but for upper and lower case.
    Case,
    /// It is what a disc without long names makes of it.
    Plain,
}

/// How `found` matches `wanted`, if it does.
pub(super) fn compare(wanted: &str, found: &str) -> Option<Match> {
    if found == wanted {
        Some(Match::Exact)
    } else if found.eq_ignore_ascii_case(wanted) {
        Some(Match::Case)
    } else if plain_forms(wanted).iter().any(|form| found.eq_ignore_ascii_case(form)) {
        Some(Match::Plain)
    } else {
        None
    }
}

/// `name` as ISO 9660 level 2 and level 1 have it, and as a FAT without long
/// names has it, where a `-` may stay.
fn plain_forms(name: &str) -> [String; 3] {
    let (base, extension) = match name.rsplit_once('.') {
        Some((base, extension)) => (replaced(base, ""), replaced(extension, "")),
        None => (replaced(name, ""), String::new()),
    };
    let (fat_base, fat_extension) = match name.rsplit_once('.') {
        Some((base, extension)) => (replaced(base, "-"), replaced(extension, "-")),
        None => (replaced(name, "-"), String::new()),
    };
    [
        joined(&base, &extension),
        joined(cut(&base, 8), cut(&extension, 3)),
        joined(cut(&fat_base, 8), cut(&fat_extension, 3)),
    ]
}

fn replaced(part: &str, kept: &str) -> String {
    let allowed = |char: char| char.is_ascii_alphanumeric() || kept.contains(char);
    part.chars().map(|char| if allowed(char) { char } else { '_' }).collect()
}

fn cut(part: &str, length: usize) -> &str {
    part.get(..length).unwrap_or(part)
}

fn joined(base: &str, extension: &str) -> String {
    match extension {
        "" => base.to_string(),
        extension => format!("{base}.{extension}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_match_exactly_then_by_case_then_cut_short() {
        for (wanted, found, expected) in [
            ("user-data", "user-data", Some(Match::Exact)),
            ("user-data", "USER-DATA", Some(Match::Case)),
            ("user-data", "USER_DATA", Some(Match::Plain)),
            ("user-data", "USER_DAT", Some(Match::Plain)),
            ("user-data", "user_dat", Some(Match::Plain)),
            ("user-data", "USER-DAT", Some(Match::Plain)),
            ("user_data", "USER_DAT", Some(Match::Plain)),
            ("user_data", "USER-DAT", None),
            ("network-config", "NETWORK_", Some(Match::Plain)),
            ("meta_data.json", "META_DAT.JSO", Some(Match::Plain)),
            ("meta_data.json", "META_DAT", None),
            ("meta-data", "META_DAT.JSO", None),
            ("openstack", "OPENSTAC", Some(Match::Plain)),
            ("latest", "LATEST", Some(Match::Case)),
            ("a.b.c", "A_B.C", Some(Match::Plain)),
            ("user-data", "user-dat", Some(Match::Plain)),
            ("user-data", "user", None),
            ("user-data", "", None),
            ("é-data-more", "__DATA_M", Some(Match::Plain)),
        ] {
            assert_eq!(compare(wanted, found), expected, "{wanted} {found}");
        }
    }
}
