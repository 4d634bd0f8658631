//! Files of `KEY=value` lines that the configuration shares with others.

/// Sets keys in place or, where a key is not there yet, at the end, in the order given; the
/// lines that `stale` picks go. Every other line stays as it is.
pub(super) fn merge(
    text: &str,
    set: &[(&str, &str)],
    stale: impl Fn(&str, &str) -> bool,
) -> String {
    let mut lines: Vec<String> = Vec::new();
    for line in text.lines() {
        let Some((key, value)) = line.split_once('=') else {
            lines.push(line.to_string());
            continue;
        };
        match set.iter().find(|(name, _)| *name == key.trim()) {
            Some((name, value)) => {
                let line = format!("{name}={value}");
                // A second line of the same key would win over the first when it is read.
                if !lines.contains(&line) {
                    lines.push(line);
                }
            }
            None if stale(key.trim(), value.trim()) => {}
            None => lines.push(line.to_string()),
        }
    }
    for (name, value) in set {
        let line = format!("{name}={value}");
        if !lines.contains(&line) {
            lines.push(line);
        }
    }
    lines.into_iter().map(|line| line + "\n").collect()
}

/// The value of a key in such a file.
pub(super) fn value<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    let mut values = text.lines().filter_map(|line| line.split_once('='));
    values.find(|(name, _)| name.trim() == key).map(|(_, value)| value.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn merging_touches_only_its_keys() {
        type Case<'a> = (&'a str, &'a [(&'a str, &'a str)], &'a str);
        let none = &[];
        let cases: &[Case<'_>] = &[
            ("", none, ""),
            ("", &[("A", "1"), ("B", "2")], "A=1\nB=2\n"),
            ("# x\nB=0\n\nC=3", &[("A", "1"), ("B", "2")], "# x\nB=2\n\nC=3\nA=1\n"),
            ("A=0\nA=9\nnonsense\n", &[("A", "1")], "A=1\nnonsense\n"),
            ("AA=0\nexport A=7\n", &[("A", "1")], "AA=0\nexport A=7\nA=1\n"),
            ("OLD=1\nOLD2=2\n", none, "OLD2=2\n"),
        ];
        for (text, set, expected) in cases {
            let merged = merge(text, set, |key, value| (key, value) == ("OLD", "1"));
            assert_eq!(merged, *expected, "{text:?}");
            let again = merge(&merged, set, |_, _| false);
            assert_eq!(again, *expected, "a second merge changes nothing");
        }
    }

    #[test]
    fn a_value_is_found_by_its_whole_key() {
        assert_eq!(value("AB=1\nA=2\n", "A"), Some("2"));
        assert_eq!(value("A\n", "A"), None);
    }
}
