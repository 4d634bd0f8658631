//! Files that something is added to: what is there stays, and what an earlier configuration
//! added goes before the new is added.

use std::collections::BTreeMap;

use cloud_config::{Config, File};

use super::{Content, Draft, Effect, Origin, Owner, in_entry};
use crate::ledger::Trace;

impl Draft<'_> {
    /// Adds what `append` says, and takes out what is no longer said.
    pub(super) fn appends(&mut self, config: &Config) {
        let mut wanted: BTreeMap<&str, Vec<&File>> = BTreeMap::new();
        for file in config.write_files.iter().filter(|file| file.append) {
            wanted.entry(&file.path.value).or_default().push(file);
        }
        let earlier = self.context.facts.ledger.appended.clone();
        for path in earlier.keys() {
            wanted.entry(path).or_default();
        }
        for (path, files) in wanted {
            self.append(path, &files, earlier.get(path).map_or(&[], Vec::as_slice));
        }
    }

    fn append(&mut self, path: &str, files: &[&File], earlier: &[Trace]) {
        let existing = self.context.facts.appended.get(path);
        let planned = self.planned_file(path);
        let origin = match files.first() {
            Some(file) => in_entry("write_files", file.path.span, file.span),
            None => Origin { section: "no longer configured", span: None, entry: None },
        };
        let ours = self.context.facts.ledger.files.contains_key(path);
        let (base, mode, owner, owned) = match (planned, existing) {
            (Some((content, mode, owner, owned)), _) => (content, mode, owner, owned),
            (None, Some(_)) if ours && files.is_empty() => return,
            // It was made by adding to nothing.
            (None, Some(_)) if ours => (Vec::new(), 0o644, Owner::ROOT, true),
            (None, Some(there)) => {
                (without(&there.content.0, earlier), there.mode, there.owner, false)
            }
            // A file that is not there has nothing in it that could go.
            (None, None) if files.is_empty() => return,
            (None, None) => (Vec::new(), 0o644, Owner::ROOT, true),
        };
        let mut content = base;
        let mut added = Vec::new();
        let (mut mode, mut owner) = (mode, owner);
        for file in files {
            let piece = ending_in_newline(&content, &file.content);
            added.extend_from_slice(&piece);
            content.extend_from_slice(&piece);
            mode = file.permissions.unwrap_or(mode);
            if let Some(given) = &file.owner {
                match self.owner_of(given) {
                    Some(given) => owner = given,
                    None => return,
                }
            }
        }
        let changes = existing.is_none_or(|there| {
            there.content.0 != content || there.mode != mode || there.owner != owner
        });
        if changes || owned {
            if let Some(earlier) = self.by_path.remove(path) {
                self.actions[earlier] = None;
            }
            let content = Content(content);
            self.put(path.to_string(), origin, Effect::File { content, mode, owner, owned });
        }
        if !added.is_empty() && !owned {
            self.owned.appended.insert(path.to_string(), vec![Trace::file(&added)]);
        }
    }
}

/// What is added, after the end of a line.
fn ending_in_newline(before: &[u8], piece: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(piece.len() + 1);
    if !before.is_empty() && !before.ends_with(b"\n") && !piece.is_empty() {
        out.push(b'\n');
    }
    out.extend_from_slice(piece);
    out
}

/// The content without what an earlier configuration added: the first stretch from the start of
/// a line, or the end of the one before, that has the form of it.
fn without(content: &[u8], earlier: &[Trace]) -> Vec<u8> {
    for form in earlier {
        let Trace::File { size, .. } = form else { continue };
        let Ok(size) = usize::try_from(*size) else { continue };
        if size == 0 || size > content.len() {
            continue;
        }
        // What was added last is most likely last.
        let ends = [content.len() - size];
        let starts = (0..=content.len() - size)
            .filter(|at| *at == 0 || content[*at] == b'\n' || content[at - 1] == b'\n');
        for at in ends.into_iter().chain(starts) {
            if Trace::file(&content[at..at + size]) == *form {
                return [&content[..at], &content[at + size..]].concat();
            }
        }
    }
    content.to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_added_is_found_wherever_it_is_now() {
        let added = Trace::file(b"b\nc\n");
        for (content, want) in [
            ("a\nb\nc\n", "a\n"),
            ("a\nb\nc\nd\n", "a\nd\n"),
            ("b\nc\n", ""),
            ("a\nb\nx\n", "a\nb\nx\n"),
            ("xb\nc\n", "x"),
            ("", ""),
        ] {
            let left = without(content.as_bytes(), std::slice::from_ref(&added));
            assert_eq!(String::from_utf8_lossy(&left), want, "{content:?}");
        }
        let after_half_a_line = Trace::file(b"\nb\n");
        assert_eq!(without(b"a\nb\n", &[after_half_a_line]), b"a");
    }
}
