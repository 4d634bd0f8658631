//! The packages that archives have, by name and by what they provide.
//!
//! The text of the index files is kept and read again where it is asked for: of seventy thousand
//! packages an image needs two hundred.

use super::control::{Paragraph, paragraphs};
use super::relation::{self, Group, Relation};
use super::version;
use std::collections::HashMap;
use std::rc::Rc;

/// The packages of one architecture in some archives.
#[derive(Debug, Default)]
pub struct Index {
    texts: Vec<(usize, String)>,
    /// Places of the packages of a name.
    by_name: HashMap<String, Vec<Place>>,
    /// Names of the packages that provide a name.
    providers: HashMap<String, Vec<String>>,
    essential: Vec<String>,
}

/// A paragraph: its text, and where it begins and ends there.
type Place = (usize, usize, usize);

/// A package that can be installed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Its architecture, or `all`.
    pub architecture: String,
    /// The archive it is in, by its place in the list of archives.
    pub archive: usize,
    /// Its path in that archive.
    pub path: String,
    /// The size of the file in bytes.
    pub size: u64,
    /// The SHA-256 of the file in hexadecimal.
    pub sha256: String,
    /// The source package that it was built from.
    pub source: String,
    /// What must be there for it to run or to be set up.
    pub depends: Vec<Group>,
    /// What must not be there along with it.
    pub conflicts: Vec<Relation>,
    /// What it is as well.
    pub provides: Vec<Relation>,
}

impl Index {
    /// Adds the packages of an index file that is of the archive `archive` and lists
    /// `architecture` and `all`.
    pub fn add(&mut self, archive: usize, text: String, architecture: &str) {
        let number = self.texts.len();
        for paragraph in paragraphs(&text) {
            let start = paragraph.text().as_ptr() as usize - text.as_ptr() as usize;
            let place = (number, start, start + paragraph.text().len());
            let (mut name, mut provides, mut fits, mut essential) = (None, "", true, false);
            for (field, value) in paragraph.fields() {
                match field {
                    "Package" => name = Some(value),
                    "Provides" => provides = value,
                    "Architecture" => fits = value == architecture || value == "all",
                    "Essential" => essential = value == "yes",
                    // Long, and of no interest here.
                    "Description" => break,
                    _ => {}
                }
            }
            let Some(name) = name.filter(|_| fits) else { continue };
            self.by_name.entry(name.to_owned()).or_default().push(place);
            for provided in relation::parse(provides).into_iter().flatten() {
                let names = self.providers.entry(provided.name).or_default();
                if !names.iter().any(|known| known == name) {
                    names.push(name.to_owned());
                }
            }
            if essential && !self.essential.iter().any(|known| known == name) {
                self.essential.push(name.to_owned());
            }
        }
        self.texts.push((archive, text));
    }

    /// The package of this name that is installed: of several versions the newest.
    #[must_use]
    pub fn candidate(&self, name: &str) -> Option<Rc<Candidate>> {
        let all = self.by_name.get(name)?.iter().filter_map(|place| self.read(*place));
        // Of the same version in two archives the first is taken.
        let newest = all.reduce(|best, next| {
            if version::compare(&next.version, &best.version).is_gt() { next } else { best }
        });
        newest.map(Rc::new)
    }

    /// The package of this name in exactly this version.
    #[must_use]
    pub fn version(&self, name: &str, version: &str) -> Option<Rc<Candidate>> {
        let mut all = self.by_name.get(name)?.iter().filter_map(|place| self.read(*place));
        all.find(|candidate| candidate.version == version).map(Rc::new)
    }

    /// The packages that provide a name in a version that is meant, in the order of the archives.
    #[must_use]
    pub fn providers(&self, wanted: &Relation) -> Vec<Rc<Candidate>> {
        let names = self.providers.get(&wanted.name).map_or(&[][..], Vec::as_slice);
        let candidates = names.iter().filter_map(|name| self.candidate(name));
        candidates.filter(|candidate| candidate.provides(wanted)).collect()
    }

    /// Names of the packages that every system has, sorted.
    #[must_use]
    pub fn essential(&self) -> Vec<String> {
        let mut names = self.essential.clone();
        names.sort();
        names
    }

    /// Number of packages.
    #[must_use]
    pub fn len(&self) -> usize {
        self.by_name.len()
    }

    /// Whether there are no packages.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_name.is_empty()
    }

    /// Names that look like this one, for someone who has misspelt it.
    #[must_use]
    pub fn similar(&self, name: &str) -> Vec<String> {
        let mut close: Vec<(usize, &String)> = self
            .by_name
            .keys()
            .filter(|known| known.len().abs_diff(name.len()) <= 3)
            .map(|known| (distance(known, name), known))
            .filter(|(distance, _)| *distance <= 2)
            .collect();
        close.sort();
        close.into_iter().take(3).map(|(_, known)| known.clone()).collect()
    }

    fn read(&self, (number, start, end): Place) -> Option<Candidate> {
        let (archive, text) = &self.texts[number];
        Candidate::read(*archive, Paragraph::first(&text[start..end]))
    }
}

impl Candidate {
    /// Reads a paragraph of an index file; none if it lacks what every package has.
    pub(crate) fn read(archive: usize, paragraph: Paragraph<'_>) -> Option<Candidate> {
        let fields: HashMap<&str, &str> = paragraph.fields().collect();
        let text = |name: &str| fields.get(name).map(|value| (*value).to_owned());
        let relations = |name: &str| relation::parse(fields.get(name).unwrap_or(&""));
        let name = text("Package")?;
        let sha256 = text("SHA256")?.to_ascii_lowercase();
        let source = fields.get("Source").and_then(|source| source.split_whitespace().next());
        if sha256.len() != 64 || !sha256.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return None;
        }
        Some(Candidate {
            source: source.unwrap_or(&name).to_owned(),
            version: text("Version")?,
            architecture: text("Architecture")?,
            archive,
            path: text("Filename")?,
            size: fields.get("Size")?.parse().ok()?,
            sha256,
            depends: [relations("Pre-Depends"), relations("Depends")].concat(),
            conflicts: [relations("Conflicts"), relations("Breaks")].concat().concat(),
            provides: relations("Provides").concat(),
            name,
        })
    }

    /// Whether it is what a relation names, by its own name or as a name that it provides. A
    /// name provided without a version has none that a bound could allow.
    #[must_use]
    pub fn satisfies(&self, wanted: &Relation) -> bool {
        (self.name == wanted.name && wanted.allows(&self.version)) || self.provides(wanted)
    }

    fn provides(&self, wanted: &Relation) -> bool {
        self.provides.iter().filter(|provided| provided.name == wanted.name).any(|provided| match (
            &wanted.bound,
            &provided.bound,
        ) {
            (None, _) => true,
            (Some(_), Some((_, version))) => wanted.allows(version),
            (Some(_), None) => false,
        })
    }
}

/// How many letters must be put in, left out or changed.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (line, letter) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = line + 1;
        for (column, other) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(letter != *other);
            diagonal = row[column + 1];
            row[column + 1] = replaced.min(row[column] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A paragraph of an index file with these further lines.
    pub(crate) fn package(name: &str, version: &str, more: &str) -> String {
        format!(
            "Package: {name}\nVersion: {version}\nArchitecture: amd64\n{more}\
             Filename: pool/{name}.deb\nSize: 10\nSHA256: {}\n\n",
            "ab".repeat(32)
        )
    }

    #[test]
    fn the_newest_version_is_the_candidate() {
        let mut index = Index::default();
        index.add(0, package("a", "1.9", "") + &package("b", "1", "Essential: yes\n"), "amd64");
        index.add(1, package("a", "1.10", "Source: s (1.9)\n"), "amd64");
        let candidate = index.candidate("a").unwrap();
        assert_eq!((candidate.version.as_str(), candidate.archive), ("1.10", 1));
        assert_eq!(candidate.source, "s");
        assert_eq!(index.essential(), ["b"]);
        assert!(index.candidate("c").is_none());
    }

    #[test]
    fn other_architectures_are_left_out() {
        let mut index = Index::default();
        index.add(0, package("a", "1", ""), "arm64");
        assert!(index.is_empty());
    }

    #[test]
    fn provided_names_have_the_versions_they_are_provided_in() {
        let mut index = Index::default();
        index.add(0, package("exim", "4", "Provides: mta, smtpd (= 2)\n"), "amd64");
        let names = |text: &str| {
            let wanted = relation::parse(text)[0][0].clone();
            index.providers(&wanted).iter().map(|found| found.name.clone()).collect::<Vec<_>>()
        };
        for (wanted, found) in [
            ("mta", &["exim"][..]),
            ("mta (>= 1)", &[]),
            ("smtpd (>= 2)", &["exim"]),
            ("smtpd (>= 3)", &[]),
        ] {
            assert_eq!(names(wanted), found, "{wanted}");
        }
    }

    #[test]
    fn similar_names_are_found() {
        let mut index = Index::default();
        index.add(0, package("openssh-server", "1", "") + &package("nginx", "1", ""), "amd64");
        assert_eq!(index.similar("openssh-sever"), ["openssh-server"]);
        assert_eq!(index.similar("zsh"), [""; 0]);
    }
}
