//! Text → tree, and everything that is wrong with it as YAML.
//!
//! The parser's events are assembled here, not by its own loader, which stops at the first
//! repeated key and knows no merge keys. After a mistake of syntax nothing more is read; the
//! tree holds what came before it.

use std::collections::{HashMap, HashSet};
use std::ops::ControlFlow;
use std::sync::Arc;

use saphyr_parser::{Event, Marker, Parser, ScanError, Tag};

use crate::finding::{Finding, Findings, Position, Span, quoted};
use crate::repair::realigned;
use crate::source::{Source, lines};
use crate::syntax_error::explain;
use crate::tree::{Data, Entry, Key, Node, Scalar};

/// Deepest nesting of lists and mappings; the language itself needs eight.
const MAX_DEPTH: usize = 64;
/// Most values in a document.
const MAX_NODES: usize = 100_000;
/// Most that anchors and aliases may copy, in the units of [`weight`].
const MAX_EXPANSION: usize = 20_000;

/// Most bytes that are read again after repairs.
const MAX_REREAD: usize = 8 << 20;
const MAX_REPAIRS: usize = 64;
/// Most brackets, colons and commas in a line: the parser keeps a whole line of them in memory.
const MAX_MARKS: usize = 100_000;

/// What was read of a text: no root if it holds no value.
#[derive(Debug)]
pub(crate) struct Parsed {
    /// The text that the tree's places refer to.
    pub(crate) source: Source,
    pub(crate) root: Option<Node>,
    pub(crate) findings: Findings,
}

/// Reads one YAML document. A line that is indented too far to be YAML is read as it was meant,
/// with a warning.
pub(crate) fn parse(text: &str, part: u32) -> Parsed {
    if let Some(index) = lines(text).position(is_overfull) {
        let at = Position { line: index + 1, column: 1 };
        let message = format!("more than {MAX_MARKS} brackets, colons and commas in one line");
        let mut findings = Findings::default();
        let source = Source::new("", part);
        findings.push(Finding::error(source.span(at, at), message));
        return Parsed { source, root: None, findings };
    }
    let mut source = Source::new(text, part);
    let mut repairs = Findings::default();
    let mut left = MAX_REPAIRS.min(MAX_REREAD / (text.len() + 1));
    let mut attempt = read(&source);
    while let Some(error) = attempt.error.take() {
        let line = error.marker().line();
        let better = realigned(&source, line).filter(|_| left > 0).and_then(|(moved, finding)| {
            let attempt = read(&moved);
            let further = attempt.error.as_ref().is_none_or(|other| {
                other.marker().line() > line
                    || other.marker().line() == line && other.info() != error.info()
            });
            further.then_some((moved, finding, attempt))
        });
        let Some((moved, finding, better)) = better else {
            explain(&error, &source).into_iter().for_each(|f| attempt.findings.push(f));
            break;
        };
        repairs.push(finding);
        (source, attempt) = (moved, better);
        left -= 1;
    }
    repairs.extend(attempt.findings);
    Parsed { source, root: attempt.root, findings: repairs }
}

fn is_overfull(line: &str) -> bool {
    line.len() > MAX_MARKS && line.bytes().filter(|b| b",:?[]{}".contains(b)).count() > MAX_MARKS
}

/// What one reading led to.
#[derive(Debug)]
struct Attempt {
    root: Option<Node>,
    findings: Findings,
    /// Where the parser gave up.
    error: Option<ScanError>,
}

fn read(source: &Source) -> Attempt {
    let mut builder = Builder::new(source);
    let mut error = None;
    for event in Parser::new_from_str(&source.text) {
        let flow = match event {
            Ok((event, span)) => builder.take(event, span),
            Err(mistake) => {
                builder.drop_half_read(mistake.marker().line());
                error = Some(mistake);
                ControlFlow::Break(())
            }
        };
        if flow.is_break() {
            builder.close_all();
            break;
        }
    }
    Attempt { root: builder.root, findings: builder.findings, error }
}

/// How much an alias to a value costs: one for each value, more for long text.
fn weight(data: &Data) -> usize {
    match data {
        Data::Scalar(scalar) => 1 + scalar.text.len() / 256,
        Data::List(_) | Data::Mapping(_) => 1,
    }
}

/// A list or mapping that is not finished.
#[derive(Debug)]
struct Open {
    node: Node,
    anchor: usize,
    weight: usize,
    /// The key that waits for its value, unless that key cannot be used.
    key: Option<Option<Key>>,
    /// Keys so far, and the line of each.
    seen: HashMap<Arc<str>, usize>,
}

#[derive(Debug)]
struct Builder<'s> {
    source: &'s Source,
    open: Vec<Open>,
    root: Option<Node>,
    anchors: HashMap<usize, (Node, usize)>,
    nodes: usize,
    expansion: usize,
    documents: usize,
    findings: Findings,
}

impl<'s> Builder<'s> {
    fn new(source: &'s Source) -> Self {
        Self {
            source,
            open: Vec::new(),
            root: None,
            anchors: HashMap::new(),
            nodes: 0,
            expansion: 0,
            documents: 0,
            findings: Findings::default(),
        }
    }

    fn take(&mut self, event: Event<'_>, at: saphyr_parser::Span) -> ControlFlow<()> {
        let place = |marker: Marker| self.source.place(marker.line(), marker.col() + 1);
        let span = self.source.span(place(at.start), place(at.end));
        match event {
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => {}
            Event::DocumentStart(_) => {
                self.documents += 1;
                if self.documents > 1 {
                    return self.stop(
                        Finding::error(span, "a second document starts here")
                            .with_hint("a configuration is one document: remove this `---`"),
                    );
                }
            }
            Event::Scalar(text, style, anchor, tag) => {
                let mut scalar = Scalar {
                    text: text.into(),
                    style,
                    binary: false,
                    string: false,
                    chars: at.start.index()..at.end.index(),
                };
                if let Some(tag) = tag {
                    self.tag_scalar(&tag, &mut scalar, span);
                }
                let data = Data::Scalar(scalar);
                let weight = weight(&data);
                return self.complete(Node { span, data, partial: false }, anchor, weight);
            }
            Event::SequenceStart(anchor, tag) => {
                return self.start(Data::List(Vec::new()), "seq", anchor, tag.as_deref(), span);
            }
            Event::MappingStart(anchor, tag) => {
                return self.start(Data::Mapping(Vec::new()), "map", anchor, tag.as_deref(), span);
            }
            Event::SequenceEnd | Event::MappingEnd => {
                let mut open = self.open.pop().expect("the parser pairs starts and ends");
                open.node.span.end = span.end.max(open.node.span.end);
                self.merge(&mut open.node);
                return self.complete(open.node, open.anchor, open.weight);
            }
            Event::Alias(id) => {
                let Some((node, weight)) = self.anchors.get(&id) else {
                    return self.stop(Finding::error(span, "this alias contains itself"));
                };
                let weight = *weight;
                if self.expansion + weight > MAX_EXPANSION {
                    return self.too_expansive(span);
                }
                self.expansion += weight;
                let node = node.clone();
                return self.complete(node, 0, weight);
            }
        }
        ControlFlow::Continue(())
    }

    fn stop(&mut self, finding: Finding) -> ControlFlow<()> {
        self.findings.push(finding);
        ControlFlow::Break(())
    }

    fn too_expansive(&mut self, span: Span) -> ControlFlow<()> {
        let message = format!("anchors and aliases stand for more than {MAX_EXPANSION} values");
        self.stop(Finding::error(span, message))
    }

    fn tag_scalar(&mut self, tag: &Tag, scalar: &mut Scalar, span: Span) {
        match tag.suffix.as_str() {
            "binary" if tag.is_yaml_core_schema() => scalar.binary = true,
            "str" if tag.is_yaml_core_schema() => scalar.string = true,
            "int" | "float" | "bool" | "null" if tag.is_yaml_core_schema() => {}
            _ => self.unknown_tag(tag, span),
        }
    }

    fn unknown_tag(&mut self, tag: &Tag, span: Span) {
        let tag = quoted(&tag.to_string());
        self.findings.push(
            Finding::error(span, format!("the tag {tag} means nothing here"))
                .with_hint("quote the value if it begins with `!`"),
        );
    }

    fn start(
        &mut self,
        data: Data,
        core_tag: &str,
        anchor: usize,
        tag: Option<&Tag>,
        span: Span,
    ) -> ControlFlow<()> {
        if let Some(tag) = tag.filter(|tag| !(tag.is_yaml_core_schema() && tag.suffix == core_tag))
        {
            self.unknown_tag(tag, span);
        }
        if self.open.len() == MAX_DEPTH {
            return self
                .stop(Finding::error(span, format!("nested deeper than {MAX_DEPTH} levels")));
        }
        self.open.push(Open {
            weight: weight(&data),
            node: Node { span, data, partial: false },
            anchor,
            key: None,
            seen: HashMap::new(),
        });
        ControlFlow::Continue(())
    }

    /// Puts a finished value where it belongs.
    fn complete(&mut self, node: Node, anchor: usize, weight: usize) -> ControlFlow<()> {
        self.nodes += 1;
        if self.nodes > MAX_NODES {
            return self.stop(Finding::error(node.span, format!("more than {MAX_NODES} values")));
        }
        if anchor > 0 {
            if self.expansion + weight > MAX_EXPANSION {
                return self.too_expansive(node.span);
            }
            self.expansion += weight;
            self.anchors.insert(anchor, (node.clone(), weight));
        }
        let Some(open) = self.open.last_mut() else {
            self.root = Some(node);
            return ControlFlow::Continue(());
        };
        open.weight += weight;
        match &mut open.node.data {
            Data::List(items) => items.push(node),
            Data::Mapping(entries) => match open.key.take() {
                Some(Some(key)) => entries.push(Entry { key, value: node }),
                Some(None) => {}
                None => self.key(node),
            },
            Data::Scalar(_) => unreachable!("only lists and mappings are ever open"),
        }
        ControlFlow::Continue(())
    }

    /// Takes a node as the key of the innermost mapping.
    fn key(&mut self, node: Node) {
        let open = self.open.last_mut().expect("only called with a mapping open");
        let Data::Scalar(scalar) = node.data else {
            self.findings.push(
                Finding::error(node.span, format!("a key cannot be {}", node.kind()))
                    .with_hint("quote a value that begins with `{` or `[`"),
            );
            open.key = Some(None);
            return;
        };
        let key = Key::new(scalar.text, node.span);
        let line = key.span.start.line;
        if let Some(first) = open.seen.get(&key.name) {
            let name = quoted(&key.written);
            self.findings.push(
                Finding::error(key.span, format!("the key {name} is given twice"))
                    .with_hint(format!("the first is on line {first}")),
            );
            open.key = Some(None);
        } else {
            open.seen.insert(Arc::clone(&key.name), line);
            open.key = Some(Some(key));
        }
    }

    /// Replaces a `<<` entry of a mapping by the entries it stands for; those of the mapping
    /// itself come first.
    fn merge(&mut self, node: &mut Node) {
        let Data::Mapping(entries) = &mut node.data else { return };
        let Some(at) = entries.iter().position(|entry| &*entry.key.name == "<<") else { return };
        let merged = entries.remove(at);
        let sources = match merged.value.data {
            Data::List(items) => items,
            _ => vec![merged.value],
        };
        let mut names: HashSet<_> = entries.iter().map(|e| Arc::clone(&e.key.name)).collect();
        for source in sources {
            let Data::Mapping(others) = source.data else {
                self.findings.push(
                    Finding::error(merged.key.span, "`<<` takes mappings")
                        .with_hint("name one by its anchor: `<<: *name`"),
                );
                continue;
            };
            entries.extend(others.into_iter().filter(|e| names.insert(Arc::clone(&e.key.name))));
        }
    }

    /// Forgets a value that reaches into the line of a mistake: it may be half of what was meant.
    fn drop_half_read(&mut self, line: usize) {
        let Some(open) = self.open.last_mut() else { return };
        let reaches =
            |node: &Node| matches!(node.data, Data::Scalar(_)) && node.span.end.line >= line;
        match &mut open.node.data {
            Data::List(items) => drop(items.pop_if(|node| reaches(node))),
            Data::Mapping(entries) => drop(entries.pop_if(|entry| reaches(&entry.value))),
            Data::Scalar(_) => unreachable!("only lists and mappings are ever open"),
        }
    }

    /// Ends everything that a mistake left open; a value that was cut off is not kept.
    fn close_all(&mut self) {
        while let Some(mut open) = self.open.pop() {
            open.node.partial = true;
            self.merge(&mut open.node);
            match self.open.last_mut() {
                None => self.root = Some(open.node),
                Some(parent) => match &mut parent.node.data {
                    Data::List(items) => items.push(open.node),
                    Data::Mapping(entries) => {
                        if let Some(Some(key)) = parent.key.take() {
                            entries.push(Entry { key, value: open.node });
                        }
                    }
                    Data::Scalar(_) => unreachable!("only lists and mappings are ever open"),
                },
            }
        }
    }
}
