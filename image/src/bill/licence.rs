//! Licences that a copyright file names: Debian's machine-readable form, `copyright-format/1.0`.

use std::collections::BTreeSet;

/// Debian's names that are not SPDX's.
const NAMES: [(&str, &str); 45] = [
    ("Apache-2", "Apache-2.0"),
    ("Apache-2.0", "Apache-2.0"),
    ("Artistic", "Artistic-1.0-Perl"),
    ("BSD-2-clause", "BSD-2-Clause"),
    ("BSD-3-clause", "BSD-3-Clause"),
    ("BSD-4-clause", "BSD-4-Clause"),
    ("BSD-4-clause-UC", "BSD-4-Clause-UC"),
    ("BSL-1", "BSL-1.0"),
    ("CC0", "CC0-1.0"),
    ("CC0-1.0", "CC0-1.0"),
    ("CC-BY-3.0", "CC-BY-3.0"),
    ("CC-BY-4.0", "CC-BY-4.0"),
    ("CC-BY-SA-3.0", "CC-BY-SA-3.0"),
    ("CC-BY-SA-4.0", "CC-BY-SA-4.0"),
    ("Expat", "MIT"),
    ("MIT", "MIT"),
    ("GFDL-1.1+", "GFDL-1.1-or-later"),
    ("GFDL-1.2+", "GFDL-1.2-or-later"),
    ("GFDL-1.3", "GFDL-1.3-only"),
    ("GFDL-1.3+", "GFDL-1.3-or-later"),
    ("GPL-1", "GPL-1.0-only"),
    ("GPL-1+", "GPL-1.0-or-later"),
    ("GPL-2", "GPL-2.0-only"),
    ("GPL-2.0", "GPL-2.0-only"),
    ("GPL-2+", "GPL-2.0-or-later"),
    ("GPL-2.0+", "GPL-2.0-or-later"),
    ("GPL-3", "GPL-3.0-only"),
    ("GPL-3+", "GPL-3.0-or-later"),
    ("GPL-3.0+", "GPL-3.0-or-later"),
    ("ISC", "ISC"),
    ("LGPL-2", "LGPL-2.0-only"),
    ("LGPL-2+", "LGPL-2.0-or-later"),
    ("LGPL-2.1", "LGPL-2.1-only"),
    ("LGPL-2.1+", "LGPL-2.1-or-later"),
    ("LGPL-3", "LGPL-3.0-only"),
    ("LGPL-3+", "LGPL-3.0-or-later"),
    ("MPL-2", "MPL-2.0"),
    ("MPL-2.0", "MPL-2.0"),
    ("OFL-1.1", "OFL-1.1"),
    ("Python-2.0", "Python-2.0"),
    ("Unicode-DFS-2016", "Unicode-DFS-2016"),
    ("Unlicense", "Unlicense"),
    ("Zlib", "Zlib"),
    ("zlib", "Zlib"),
    ("curl", "curl"),
];
/// What stands between the licences of one field.
const BETWEEN: [&str; 5] = [" and/or ", " or ", " and ", ", ", " | "];

/// The licences that a copyright file names; none if it is not in the form that programs read.
pub(super) fn named(text: &str) -> BTreeSet<String> {
    let format = text.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default();
    if !format.starts_with("Format:") && !text.contains("/copyright-format/1.0") {
        return BTreeSet::new();
    }
    text.lines()
        .filter_map(|line| line.strip_prefix("License:"))
        .flat_map(|field| split(field.trim()))
        .collect()
}

/// One field: names between `or`, `and` and commas; `with` an exception stays with its name.
fn split(field: &str) -> Vec<String> {
    let mut parts = vec![field.to_owned()];
    for between in BETWEEN {
        parts = parts.iter().flat_map(|part| part.split(between)).map(str::to_owned).collect();
    }
    parts.iter().map(|part| spdx(part.trim())).filter(|name| !name.is_empty()).collect()
}

fn spdx(name: &str) -> String {
    let (name, exception) =
        name.split_once(" with ").map_or((name, ""), |(name, e)| (name, e.trim()));
    let known = NAMES.iter().find(|(debian, _)| *debian == name).map(|(_, spdx)| *spdx);
    match (known, exception) {
        (_, _) if name.is_empty() => String::new(),
        (Some(known), "") => known.to_owned(),
        // Debian's exceptions have no fixed names.
        (_, "") => reference(name),
        (_, exception) => reference(&format!("{name}-with-{exception}")),
    }
}

/// A name that SPDX does not know, in the letters that it allows for such.
fn reference(name: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || c == '.' { c } else { '-' };
    let name: String = name.chars().map(plain).collect();
    let mut words = name.split('-').filter(|word| !word.is_empty());
    let mut reference = "LicenseRef".to_owned();
    words.by_ref().for_each(|word| reference.push_str(&format!("-{word}")));
    if reference == "LicenseRef" { String::new() } else { reference }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn licences_are_told_apart_and_get_their_spdx_names() {
        for (field, want) in [
            ("GPL-2+", "GPL-2.0-or-later"),
            ("Expat or GPL-3", "GPL-3.0-only MIT"),
            ("BSD-3-clause and ISC, Zlib", "BSD-3-Clause ISC Zlib"),
            ("GPL-2+ with OpenSSL exception", "LicenseRef-GPL-2-with-OpenSSL-exception"),
            ("public-domain", "LicenseRef-public-domain"),
            ("SIL (odd)/x", "LicenseRef-SIL-odd-x"),
            ("", ""),
        ] {
            let found: BTreeSet<String> = split(field).into_iter().collect();
            assert_eq!(found.into_iter().collect::<Vec<_>>().join(" "), want, "{field}");
        }
    }

    #[test]
    fn prose_names_nothing() {
        assert!(named("This is free software.\nLicense: GPL-2\n").is_empty());
        let text = "Format: http://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\n\
                    License: GPL-2\n text of it\nLicense: MIT\n";
        assert_eq!(named(text).len(), 2);
    }
}
