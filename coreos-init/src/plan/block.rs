//! A part of a file that others write too, between two lines that mark it as ours.

/// The lines that mark it. What reads the file takes them for comments.
const BEGIN: &str = "# begin of what the cloud-config adds";
const END: &str = "# end of what the cloud-config adds";

/// The text without our part.
pub(super) fn without(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut inside = false;
    for line in text.split_inclusive('\n') {
        match line.trim_end() {
            BEGIN => inside = true,
            END if inside => inside = false,
            _ if inside => {}
            _ => out.push_str(line),
        }
    }
    out
}

/// The text with this as our part, at its end; without one if there is nothing to add.
pub(super) fn with(text: &str, ours: &str) -> String {
    let mut out = without(text);
    if ours.is_empty() {
        return out;
    }
    if !out.is_empty() && !out.ends_with('\n') {
        out.push('\n');
    }
    out.push_str(&format!("{BEGIN}\n{ours}"));
    if !ours.ends_with('\n') {
        out.push('\n');
    }
    out.push_str(&format!("{END}\n"));
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_wrote_stays() {
        for base in ["", "a\n", "a\nb\n", "\n\n"] {
            let once = with(base, "x\ny");
            assert_eq!(with(&once, "x\ny\n"), once);
            assert_eq!(without(&with(&once, "z\n")), base);
            assert_eq!(with(&once, ""), base);
        }
        assert_eq!(with("a", "x"), format!("a\n{BEGIN}\nx\n{END}\n"));
        let added = format!("{}after\n", with("a\n", "x"));
        assert_eq!(without(&added), "a\nafter\n");
    }
}
