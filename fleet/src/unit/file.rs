//! Unit files: systemd's syntax, as fleet read it.

use super::finding::{Finding, has_errors};
use super::requirements::Mode;

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
    ignored: Vec<Finding>,
}

impl UnitFile {
    /// Reads a unit file as `mode` has it. [`Mode::Lenient`] reads what is right as
    /// [`UnitFile::parse`] does, and of the rest what fleet could read: it skipped whatever stands
    /// before the first section, and read the name of a section up to the next `]`, however many
    /// lines that took.
    ///
    /// # Errors
    /// All that is wrong with its syntax.
    pub fn read(bytes: &[u8], mode: Mode) -> Result<UnitFile, Vec<Finding>> {
        let strict = UnitFile::parse(bytes);
        let (Mode::Lenient, Err(findings)) = (mode, &strict) else { return strict };
        let Ok(text) = str::from_utf8(bytes) else { return strict };
        // What is wrong with the text as a whole stays so.
        if text.contains('\0') || bytes.len() > MAX_BODY {
            return strict;
        }
        let at = first_section(text);
        let line = text[..at].matches('\n').count() + 1;
        let (options, mut passed_over) = options(&text[at..], line, Mode::Lenient);
        if has_errors(&passed_over) {
            return Err(passed_over);
        }
        let mut ignored = Vec::new();
        if at > 0 {
            let number = findings.first().map_or(1, |finding| finding.line);
            let message = "what stands before the first section is ignored";
            ignored.push(Finding::warning(number, message));
        }
        ignored.append(&mut passed_over);
        Ok(UnitFile { text: text.to_string(), options, ignored })
    }

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
        let (options, findings) = options(text, 1, Mode::Strict);
        if findings.is_empty() {
            Ok(UnitFile { text: text.to_string(), options, ignored: Vec::new() })
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
        let (options, _) = self::options(&text, 1, Mode::Strict);
        UnitFile { text, options, ignored: Vec::new() }
    }

    /// What a lenient reader has passed over.
    pub fn ignored(&self) -> &[Finding] {
        &self.ignored
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

/// Where the first section begins for fleet: at the first `[` that is in no comment, wherever it
/// stands in its line.
fn first_section(text: &str) -> usize {
    let mut at = 0;
    while let Some(found) = text[at..].find(['[', '#', ';']) {
        at += found;
        if text[at..].starts_with('[') {
            return at;
        }
        // A comment, and what it goes on with.
        loop {
            let line = text[at..].split_inclusive('\n').next().unwrap_or_default();
            at += line.len();
            if !goes_on(line) {
                break;
            }
        }
    }
    text.len()
}

/// Whether a comment's line ends in a backslash, and perhaps one blank.
fn goes_on(line: &str) -> bool {
    let line = line.strip_suffix('\n').unwrap_or(line);
    line.strip_suffix(' ').unwrap_or(line).ends_with('\\')
}

/// The options of a text whose first line has the number `first`.
fn options(text: &str, first: usize, mode: Mode) -> (Vec<UnitOption>, Vec<Finding>) {
    let mut options = Vec::new();
    let mut findings = Vec::new();
    let mut section: Option<String> = None;
    let mut lines = text.split('\n').zip(first..);
    while let Some((raw, number)) = lines.next() {
        let line = raw.trim_start();
        if line.is_empty() {
            continue;
        }
        if is_comment(line) {
            // A comment that ends in a backslash goes on, in fleet: the next line is no option.
            let mut comment = line;
            while goes_on(comment) {
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
                None => match unended_header(header, &mut lines, mode) {
                    Some(name) => {
                        let message = "a section without its `]`: what follows, up to the next \
                                       one, is taken for its name";
                        findings.push(Finding::warning(number, message));
                        section = Some(name);
                    }
                    None => findings.push(Finding::error(number, "a section without its `]`")),
                },
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
                format!("`{}` is no option: `=` is missing", shown(line.trim_end())),
            ));
            continue;
        };
        let first = unended(first);
        let mut value = first.to_string();
        let mut last = first;
        while last.ends_with('\\') {
            let Some((next, _)) = lines.next() else { break };
            let next = unended(next);
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

/// The name of a section whose `]` is on a later line, if it is read like that.
fn unended_header<'a>(
    header: &str,
    lines: &mut (impl Iterator<Item = (&'a str, usize)> + Clone),
    mode: Mode,
) -> Option<String> {
    if mode == Mode::Strict {
        return None;
    }
    let mut ahead = lines.clone();
    let mut name = header.to_string();
    loop {
        let (line, _) = ahead.next()?;
        name.push('\n');
        if let Some((rest, garbage)) = line.split_once(']') {
            name.push_str(rest);
            *lines = ahead;
            return garbage.trim().is_empty().then_some(name);
        }
        name.push_str(line);
    }
}

/// A line without what DOS ends lines with.
fn unended(line: &str) -> &str {
    line.strip_suffix('\r').unwrap_or(line)
}

/// The beginning of a text, for a message.
fn shown(text: &str) -> String {
    let short: String = text.chars().take(40).collect();
    if short.len() < text.len() { format!("{short}…") } else { short }
}
