//! User-data in any of its forms → the configurations and scripts in it, as one.
//!
//! bytes → gzip undone → [`recognise`] → a configuration, a script, a MIME message of several,
//! or a list of addresses to get more from. Every place that is told says which text it is in
//! ([`Span::part`]); [`Bundle::line`] and [`Bundle::render`] know their names.

use crate::config::{Config, Script};
use crate::document::Document;
use crate::finding::{Finding, Findings, Position, Span, quoted};
use crate::include::{Include, includes};
use crate::keys::Draft;
use crate::mime::{self, Body, Leaf};
use crate::source::Source;
use crate::user_data::{UserData, recognise};
use crate::variable::{Values, VariableUse};

/// Deepest nesting of includes and encoded parts.
const DEPTH: usize = 4;
/// Most texts of one user-data.
const MOST: usize = 100;

/// Gets what an include stands for; nothing where nothing is fetched, as when a configuration is
/// only checked.
pub type Fetch<'f> = dyn FnMut(&Include) -> Result<Option<Vec<u8>>, String> + 'f;

/// Everything that one user-data says.
#[derive(Debug, Clone, Default)]
pub struct Bundle {
    texts: Vec<Named>,
    documents: Vec<Document>,
    scripts: Vec<(u32, String)>,
    findings: Findings,
    unfetched: Vec<Include>,
}

/// A text, and what findings call it.
#[derive(Debug, Clone)]
struct Named {
    name: String,
    text: String,
}

impl Bundle {
    /// Reads user-data that findings are to call `name`. What an `#include` names is asked of
    /// `fetch`.
    pub fn read(name: &str, bytes: &[u8], fetch: &mut Fetch<'_>) -> Self {
        let mut bundle = Self::default();
        bundle.take(name.to_owned(), bytes, DEPTH, fetch);
        bundle
    }

    /// The same without anything being fetched.
    #[must_use]
    pub fn local(name: &str, bytes: &[u8]) -> Self {
        Self::read(name, bytes, &mut |_| Ok(None))
    }

    /// Every place where a variable is used by something that has an effect.
    #[must_use]
    pub fn variables(&self) -> Vec<VariableUse> {
        let mut uses = self.decode_all(&Values::Unknown).2;
        uses.sort_by_key(|variable| (variable.span.part, variable.span.start));
        uses.dedup();
        uses
    }

    /// What could be understood, and everything that is wrong with it, by place.
    #[must_use]
    pub fn decode(&self, values: &Values<'_>) -> (Config, Vec<Finding>) {
        let (config, findings, _) = self.decode_all(values);
        (config, findings.sorted())
    }

    fn decode_all(&self, values: &Values<'_>) -> (Config, Findings, Vec<VariableUse>) {
        let mut draft = Draft::default();
        let mut findings = self.findings.clone();
        let mut uses = Vec::new();
        for document in &self.documents {
            let (more, used) = document.read_into(values, &mut draft);
            findings.extend(more);
            uses.extend(used);
        }
        let (mut config, more) = draft.finish();
        findings.extend(more);
        for (part, text) in &self.scripts {
            let (script, more, used) = script(text, *part, values);
            config.scripts.extend(script);
            findings.extend(more);
            uses.extend(used);
        }
        (config, findings, uses)
    }

    /// Whether it says nothing at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.documents.is_empty()
            && self.scripts.is_empty()
            && self.findings.is_empty()
            && self.unfetched.is_empty()
    }

    /// Whether there is a script and no configuration.
    #[must_use]
    pub fn is_script(&self) -> bool {
        !self.scripts.is_empty() && self.documents.is_empty()
    }

    /// What was named and not fetched.
    #[must_use]
    pub fn unfetched(&self) -> &[Include] {
        &self.unfetched
    }

    /// What findings call each text, by [`Span::part`].
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        self.texts.iter().map(|named| named.name.clone()).collect()
    }

    /// A finding in one line, [`Finding::line`].
    #[must_use]
    pub fn line(&self, finding: &Finding) -> String {
        finding.line(self.text(finding.span).0)
    }

    /// A finding with its source line, [`Finding::render`].
    #[must_use]
    pub fn render(&self, finding: &Finding) -> String {
        let (name, text) = self.text(finding.span);
        finding.render(name, text)
    }

    /// The text that a finding was made in.
    #[must_use]
    pub fn text_of(&self, finding: &Finding) -> &str {
        self.text(finding.span).1
    }

    fn text(&self, span: Span) -> (&str, &str) {
        let index = usize::try_from(span.part).unwrap_or(usize::MAX);
        self.texts.get(index).map_or(("user-data", ""), |named| (&named.name, &named.text))
    }

    /// Takes one text, whatever it is.
    fn take(&mut self, name: String, bytes: &[u8], depth: usize, fetch: &mut Fetch<'_>) {
        let part = u32::try_from(self.texts.len()).unwrap_or(u32::MAX);
        if self.texts.len() >= MOST {
            return;
        }
        self.texts.push(Named { name, text: String::new() });
        match recognise(bytes) {
            Ok(UserData::CloudConfig(text)) => {
                self.documents.push(Document::part(&text, part));
                self.keep(part, text);
            }
            Ok(UserData::Script(text)) => {
                self.scripts.push((part, text.clone()));
                self.keep(part, text);
            }
            Ok(UserData::Message(text)) => {
                self.message(&text, part, depth, fetch);
                self.keep(part, text);
            }
            Ok(UserData::Include(text)) => {
                self.include(&text, 1, part, depth, fetch);
                self.keep(part, text);
            }
            Ok(UserData::Empty) => {}
            Err(finding) => {
                let span = Span { part, ..finding.span };
                self.findings.push(Finding { span, ..finding });
                self.keep(part, String::from_utf8_lossy(bytes).into_owned());
            }
        }
    }

    fn keep(&mut self, part: u32, text: String) {
        if let Some(named) = self.texts.get_mut(usize::try_from(part).unwrap_or(usize::MAX)) {
            named.text = text;
        }
    }

    fn message(&mut self, text: &str, part: u32, depth: usize, fetch: &mut Fetch<'_>) {
        match mime::leaves(text) {
            Ok(leaves) => {
                for (index, leaf) in leaves.into_iter().enumerate() {
                    self.leaf(leaf, index + 1, part, depth, fetch);
                }
            }
            Err((line, why)) => self.findings.push(
                Finding::error(at(part, line), why)
                    .with_hint("a message is written as `cloud-init devel make-mime` does"),
            ),
        }
    }

    fn leaf(&mut self, leaf: Leaf, number: usize, part: u32, depth: usize, fetch: &mut Fetch<'_>) {
        let span = at(part, leaf.line);
        let label = leaf.file_name.as_deref().unwrap_or(&leaf.kind);
        let inner = format!("{}, part {number} ({label})", self.text(span).0);
        match leaf.body {
            Err(why) => {
                let message = format!("part {number} of this message cannot be decoded: {why}");
                self.findings.push(Finding::error(span, message));
            }
            _ if is_refused(&leaf.kind) => {
                let kind = quoted(&leaf.kind);
                self.findings.push(
                    Finding::error(span, format!("a part of the type {kind} is not supported"))
                        .with_hint("`text/cloud-config`, `text/x-shellscript` and `text/x-include-url` are"),
                );
            }
            Ok(Body::Decoded(_)) if depth == 0 => {
                self.findings.push(Finding::error(span, "nested too deeply"));
            }
            // The type says it already: the first line need not.
            Ok(Body::Decoded(bytes))
                if leaf.kind == "text/cloud-config" && recognise(&bytes).is_err() =>
            {
                self.untitled(inner, &bytes);
            }
            Ok(Body::Decoded(bytes)) => self.take(inner, &bytes, depth - 1, fetch),
            // Its lines are those of the message, so places in it need no name of their own.
            Ok(Body::Plain(text)) => self.plain(&leaf.kind, &text, leaf.line, part, depth, fetch),
        }
    }

    /// Takes a configuration that lacks its first line.
    fn untitled(&mut self, name: String, bytes: &[u8]) {
        let part = u32::try_from(self.texts.len()).unwrap_or(u32::MAX);
        let text = String::from_utf8_lossy(bytes).into_owned();
        self.documents.push(Document::part(&text, part));
        self.texts.push(Named { name, text });
    }

    fn plain(
        &mut self,
        kind: &str,
        text: &str,
        line: usize,
        part: u32,
        depth: usize,
        fetch: &mut Fetch<'_>,
    ) {
        let padded = || format!("{}{text}\n", "\n".repeat(line - 1));
        match (kind, recognise(text.as_bytes())) {
            ("text/x-include-url" | "text/x-include-once-url", _) => {
                self.include(text, line, part, depth, fetch);
            }
            // The type says it already: the first line need not.
            ("text/cloud-config", Ok(UserData::Empty) | Err(_))
            | (_, Ok(UserData::CloudConfig(_))) => {
                self.documents.push(Document::part(&padded(), part));
            }
            (_, Ok(UserData::Script(_))) => self.scripts.push((part, padded())),
            (_, Ok(UserData::Include(_))) => self.include(text, line, part, depth, fetch),
            (_, Ok(UserData::Empty)) => {}
            (_, Ok(UserData::Message(_))) => {
                self.findings.push(Finding::error(at(part, line), "a message within a message"));
            }
            (_, Err(finding)) => {
                let moved =
                    |position: Position| Position { line: position.line + line - 1, ..position };
                let Span { start, end, .. } = finding.span;
                let span = Span { part, start: moved(start), end: moved(end) };
                self.findings.push(Finding { span, ..finding });
            }
        }
    }

    /// Takes what a list of addresses, of which the first stands in line `first`, leads to.
    fn include(
        &mut self,
        text: &str,
        first: usize,
        part: u32,
        depth: usize,
        fetch: &mut Fetch<'_>,
    ) {
        for (line, include) in includes(text) {
            let span = at(part, line + first - 1);
            let include = match include {
                Ok(include) => include,
                Err(mistake) => {
                    self.findings.push(mistake.error(span));
                    continue;
                }
            };
            match fetch(&include) {
                _ if depth == 0 => self.findings.push(Finding::error(span, "nested too deeply")),
                Ok(Some(bytes)) => self.take(include.shown(), &bytes, depth - 1, fetch),
                Ok(None) => self.unfetched.push(include),
                Err(why) => self.findings.push(Finding::error(span, why)),
            }
        }
    }
}

/// What cloud-init runs and this system does not have.
fn is_refused(kind: &str) -> bool {
    [
        "text/cloud-boothook",
        "text/part-handler",
        "text/jinja2",
        "text/cloud-config-archive",
        "text/cloud-config-jsonp",
        "text/upstart-job",
    ]
    .contains(&kind)
}

fn at(part: u32, line: usize) -> Span {
    let at = Position { line: line.max(1), column: 1 };
    Span { part, start: at, end: at }
}

/// A script with its variables replaced; nothing where one of them has no value.
fn script(
    text: &str,
    part: u32,
    values: &Values<'_>,
) -> (Option<Script>, Findings, Vec<VariableUse>) {
    let source = Source::new(text, part);
    let (text, span, findings, uses) = crate::decoder::whole_text(&source, *values);
    let script = text.map(|text| Script { text: text.trim_start_matches('\n').to_owned(), span });
    (script, findings, uses)
}

#[cfg(test)]
mod tests;
