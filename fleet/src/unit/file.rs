//! Unit files: systemd's syntax, as fleet read it.

use super::finding::Finding;

/// The largest unit file in bytes. etcd takes requests of up to 1.5 MiB, and each machine that
/// runs the unit fetches it.
pub const MAX_BODY: usize = 512 * 1024;

/// One `Name=value`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnitOption {
    /// Without its brackets.
    pub section: String,
    /// What stands before `=`.
    pub name: String,
    /// What stands behind it, without blanks around it. A continued value keeps its backslashes
    /// and newlines.
    pub value: String,
    /// The line it starts on, counted from 1; 0 if it does not come from a text.
    pub line: usize,
}

/// A unit file: its text as it was written, and its options.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnitFile {
    text: String,
    options: Vec<UnitOption>,
}

impl UnitFile {
    /// Reads a unit file.
    ///
    /// # Errors
    /// All that is wrong with its syntax.
    pub fn parse(bytes: &[u8]) -> Result<UnitFile, Vec<Finding>> {
        if bytes.len() > MAX_BODY {
            let message =
                format!("the unit file has {} bytes, at most {MAX_BODY} are allowed", bytes.len());
            return Err(vec![Finding::error(0, message)]);
        }
        let text = match std::str::from_utf8(bytes) {
            Ok(text) => text,
            Err(error) => {
                let line = bytes[..error.valid_up_to()].iter().filter(|&&b| b == b'\n').count() + 1;
                return Err(vec![Finding::error(line, "not UTF-8")]);
            }
        };
        if let Some(at) = text.find('\0') {
            let line = text[..at].matches('\n').count() + 1;
            return Err(vec![Finding::error(line, "a zero byte: this is not a unit file")]);
        }
        let (options, findings) = options(text);
        if findings.is_empty() {
            Ok(UnitFile { text: text.to_string(), options })
        } else {
            Err(findings)
        }
    }

    /// The unit file that these options make, as fleet wrote it: sections in the order of their
    /// first option.
    pub fn from_options<'a>(
        options: impl IntoIterator<Item = (&'a str, &'a str, &'a str)>,
    ) -> UnitFile {
        let mut sections: Vec<(&str, String)> = Vec::new();
        for (section, name, value) in options {
            let line = format!("{name}={value}\n");
            match sections.iter_mut().find(|(known, _)| *known == section) {
                Some((_, lines)) => lines.push_str(&line),
                None => sections.push((section, line)),
            }
        }
        let sections: Vec<String> =
            sections.into_iter().map(|(section, lines)| format!("[{section}]\n{lines}")).collect();
        let text = sections.join("\n");
        let (options, _) = self::options(&text);
        UnitFile { text, options }
    }

    /// The text, byte for byte as it was given.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Every option in the order of the file.
    pub fn options(&self) -> &[UnitOption] {
        &self.options
    }

    /// The options of one section.
    pub fn section<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a UnitOption> {
        self.options.iter().filter(move |option| option.section == name)
    }

    /// `Description=` of `[Unit]`, or nothing.
    pub fn description(&self) -> &str {
        self.section("Unit")
            .find(|option| option.name == "Description")
            .map_or("", |option| option.value.as_str())
    }

    /// Whether `systemctl enable` has something to do for it.
    pub fn has_install(&self) -> bool {
        self.section("Install").next().is_some()
    }

    /// Whether systemd is told the same by `other`: only `[X-Fleet]` differs, comments do not
    /// count.
    pub fn same_for_systemd(&self, other: &UnitFile) -> bool {
        let told = |file: &UnitFile| -> Vec<(String, String, String)> {
            file.options
                .iter()
                .filter(|option| option.section != super::SECTION)
                .map(|option| (option.section.clone(), option.name.clone(), option.value.clone()))
                .collect()
        };
        told(self) == told(other)
    }
}

fn is_comment(line: &str) -> bool {
    line.starts_with(['#', ';'])
}

fn options(text: &str) -> (Vec<UnitOption>, Vec<Finding>) {
    let mut options = Vec::new();
    let mut findings = Vec::new();
    let mut section: Option<String> = None;
    let mut lines = text.split('\n').map(|line| line.strip_suffix('\r').unwrap_or(line)).zip(1..);
    while let Some((raw, number)) = lines.next() {
        let line = raw.trim_start();
        if line.is_empty() {
            continue;
        }
        if is_comment(line) {
            // A comment that ends in a backslash goes on, in fleet: the next line is no option.
            let mut comment = line;
            while comment.strip_suffix(' ').unwrap_or(comment).ends_with('\\') {
                let Some((next, _)) = lines.next() else { break };
                comment = next;
            }
            continue;
        }
        if let Some(header) = line.strip_prefix('[') {
            match header.split_once(']') {
                Some((name, garbage)) if garbage.trim().is_empty() => {
                    section = Some(name.to_string());
                }
                Some((name, _)) => {
                    findings
                        .push(Finding::error(number, format!("text behind the section [{name}]")));
                    section = Some(name.to_string());
                }
                None => findings.push(Finding::error(number, "a section without its `]`")),
            }
            continue;
        }
        let Some(current) = &section else {
            findings.push(Finding::error(number, "an option before the first section"));
            continue;
        };
        let Some((name, first)) = line.split_once('=') else {
            findings.push(Finding::error(
                number,
                format!("`{}` is no option: `=` is missing", shown(line)),
            ));
            continue;
        };
        let mut value = first.to_string();
        let mut last = first;
        while last.ends_with('\\') {
            let Some((next, _)) = lines.next() else { break };
            value.push('\n');
            if next.trim().is_empty() {
                break;
            }
            value.push_str(next);
            last = next;
        }
        options.push(UnitOption {
            section: current.clone(),
            name: name.trim().to_string(),
            value: value.trim().to_string(),
            line: number,
        });
    }
    (options, findings)
}

/// The beginning of a text, for a message.
fn shown(text: &str) -> String {
    let short: String = text.chars().take(40).collect();
    if short.len() < text.len() { format!("{short}…") } else { short }
}
