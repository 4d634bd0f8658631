//! A configuration as a document: parsed once, decoded as often as what is known changes.

use crate::config::Config;
use crate::decoder::Decoder;
use crate::finding::{Finding, Findings, Position, Span};
use crate::keys::{self, Draft};
use crate::parse::{Parsed, parse};
use crate::source::{Source, lines};
use crate::tree::Node;
use crate::user_data::MAX_USER_DATA;
use crate::variable::{Values, VariableUse};

/// The YAML of a configuration, with everything that is wrong with it as YAML.
#[derive(Debug, Clone)]
pub struct Document {
    source: Source,
    root: Option<Node>,
    findings: Findings,
}

impl Document {
    /// Reads a text. Mistakes are kept and told by [`decode`](Self::decode); what stands before
    /// a mistake of syntax is still understood.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        Self::part(text, 0)
    }

    /// The same for one of several parts of user-data: every place in it says which.
    #[must_use]
    pub fn part(text: &str, part: u32) -> Self {
        if text.len() > MAX_USER_DATA {
            let mut findings = Findings::default();
            findings.push(too_large(text.len()));
            return Self { source: Source::new("", part), root: None, findings };
        }
        let Parsed { source, root, mut findings } = parse(text, part);
        findings.hide(&lines_with_passwords(text, part));
        Self { source, root, findings }
    }

    /// Every place where a variable is used by something that has an effect.
    #[must_use]
    pub fn variables(&self) -> Vec<VariableUse> {
        let mut uses = self.read_into(&Values::Unknown, &mut Draft::default()).1;
        uses.sort_by_key(|variable| variable.span.start);
        uses.dedup();
        uses
    }

    /// What could be understood of the configuration, and everything that is wrong with it, by
    /// place.
    #[must_use]
    pub fn decode(&self, values: &Values<'_>) -> (Config, Vec<Finding>) {
        let mut draft = Draft::default();
        let (mut findings, _) = self.read_into(values, &mut draft);
        let (config, more) = draft.finish();
        findings.extend(more);
        (config, findings.sorted())
    }

    /// Adds what this document says to what others said.
    pub(crate) fn read_into(
        &self,
        values: &Values<'_>,
        draft: &mut Draft,
    ) -> (Findings, Vec<VariableUse>) {
        let mut decoder = Decoder::new(&self.source, *values);
        if let Some(root) = self.root.as_ref().filter(|root| !root.is_null()) {
            keys::read(&mut decoder, root, draft);
        }
        let uses = std::mem::take(&mut decoder.uses);
        (decoder.into_findings(self.findings.clone()), uses)
    }
}

/// The lines that may hold a password but were not read as the value of one, for a mistake.
fn lines_with_passwords(text: &str, part: u32) -> Vec<Span> {
    let numbered = lines(text).enumerate();
    let found = numbered.filter(|(_, line)| line.to_ascii_lowercase().contains("passw"));
    found
        .map(|(index, _)| {
            let at = Position { line: index + 1, column: 1 };
            Span { part, start: at, end: at }
        })
        .collect()
}

pub(crate) fn too_large(bytes: usize) -> Finding {
    Finding::error(
        Span::default(),
        format!("{bytes} bytes are too many: a configuration has at most {MAX_USER_DATA}"),
    )
    .with_hint("let a unit fetch what is large")
}
