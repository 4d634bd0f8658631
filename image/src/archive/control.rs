//! Paragraphs of `Field: value` lines, the form of all of Debian's records (deb822(5)).

/// One paragraph, its fields still in the text it was read from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Paragraph<'a>(&'a str);

/// The paragraphs of a text; blank lines separate them.
pub fn paragraphs(text: &str) -> impl Iterator<Item = Paragraph<'_>> {
    text.split("\n\n")
        .map(|paragraph| Paragraph(paragraph.trim_matches('\n')))
        .filter(|paragraph| !paragraph.0.is_empty())
}

impl<'a> Paragraph<'a> {
    /// The paragraph that begins a text.
    #[must_use]
    pub fn first(text: &'a str) -> Paragraph<'a> {
        paragraphs(text).next().unwrap_or(Paragraph(""))
    }

    /// As it was written.
    #[must_use]
    pub fn text(self) -> &'a str {
        self.0
    }

    /// Names and values in their order; a value keeps its continuation lines.
    pub fn fields(self) -> impl Iterator<Item = (&'a str, &'a str)> {
        let mut rest = self.0;
        std::iter::from_fn(move || {
            while !rest.is_empty() {
                let mut end = 0;
                loop {
                    end += rest[end..].find('\n').unwrap_or(rest.len() - end);
                    match rest.as_bytes().get(end + 1) {
                        Some(b' ' | b'\t') => end += 1,
                        _ => break,
                    }
                }
                let field = &rest[..end];
                rest = rest.get(end + 1..).unwrap_or("");
                if let Some((name, value)) = field.split_once(':') {
                    return Some((name, value.trim()));
                }
            }
            None
        })
    }

    /// The value of a field; names are the same in any case.
    #[must_use]
    pub fn get(self, name: &str) -> Option<&'a str> {
        self.fields().find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_keep_their_further_lines() {
        let text = "Package: a\nDescription: short\n long\n .\n more\nEmpty:\nSHA256:\n 1 2 x\n\n\
                    \nPackage: b\nnonsense\nVersion: 1:2\n";
        let all: Vec<Vec<(&str, &str)>> =
            paragraphs(text).map(|paragraph| paragraph.fields().collect()).collect();
        assert_eq!(
            all,
            [
                vec![
                    ("Package", "a"),
                    ("Description", "short\n long\n .\n more"),
                    ("Empty", ""),
                    ("SHA256", "1 2 x"),
                ],
                vec![("Package", "b"), ("Version", "1:2")],
            ]
        );
        assert_eq!(Paragraph::first(text).get("description"), Some("short\n long\n .\n more"));
        assert_eq!(Paragraph::first("").get("Package"), None);
    }
}
