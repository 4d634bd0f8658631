//! Which packages an image needs, so that every dependency of every package holds.
//!
//! The same choices as apt's, without recommendations: the essential packages and those that are
//! asked for are all taken first; of alternatives the first one that can be had, unless another
//! one is taken already; a name that no package has is what provides it. Where that leads to a
//! conflict, the last choice between alternatives is made differently. The result depends on
//! nothing but the index and the names.

use super::index::{Candidate, Index};
use super::relation::{self, Group, Relation};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;

/// Choices that are tried before it is given up.
const MAX_TRIES: u32 = 20_000;

/// Why the packages do not go together.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SolveError {
    /// A package that is asked for is not there.
    #[error("there is no package {name}{}", did_you_mean(similar))]
    Unknown {
        /// Its name.
        name: String,
        /// Names like it.
        similar: Vec<String>,
    },
    /// Something that a package needs is not there.
    #[error("{} needs {needs}, but {found}", chain.join(" → "))]
    Missing {
        /// From what was asked for to the package whose need it is.
        chain: Vec<String>,
        /// What it needs.
        needs: String,
        /// What there is instead.
        found: String,
    },
    /// Two packages do not go together.
    #[error("{} conflicts with {} ({relation})", first.join(" → "), second.join(" → "))]
    Conflict {
        /// From what was asked for to the package that has the conflict.
        first: Vec<String>,
        /// From what was asked for to the package it does not go with.
        second: Vec<String>,
        /// What the first one says.
        relation: String,
    },
    /// Too many ways were tried in vain.
    #[error("no way was found to satisfy all dependencies")]
    TooHard,
}

fn did_you_mean(similar: &[String]) -> String {
    match similar {
        [] => String::new(),
        names => format!("; did you mean {}?", names.join(" or ")),
    }
}

/// What has been decided.
#[derive(Clone, Default)]
struct State {
    taken: BTreeMap<String, Taken>,
    /// Names of packages that are there in this version, and in no other.
    there: BTreeSet<String>,
    /// Dependencies still to be looked at, and whose they are.
    open: VecDeque<(String, Group)>,
}

#[derive(Clone)]
struct Taken {
    package: Rc<Candidate>,
    /// The package that needs it; none if it is asked for.
    parent: Option<String>,
}

struct Solver<'a> {
    index: &'a Index,
    tries: u32,
}

/// The essential packages, the ones named and all that they need, by name.
pub fn resolve(index: &Index, names: &[String]) -> Result<Vec<Rc<Candidate>>, SolveError> {
    let mut solver = Solver { index, tries: 0 };
    let mut state = State::default();
    take_named(&mut state, index, index.essential().iter().chain(names))?;
    let state = solver.finish(state)?;
    Ok(state.taken.into_values().map(|taken| taken.package).collect())
}

/// The packages named and all that they need beside the packages `there`, which stay as they are;
/// by name.
pub fn resolve_beside(
    index: &Index,
    there: Vec<Rc<Candidate>>,
    names: &[String],
) -> Result<Vec<Rc<Candidate>>, SolveError> {
    let mut solver = Solver { index, tries: 0 };
    let mut state = State::default();
    for package in there {
        state.there.insert(package.name.clone());
        state.taken.insert(package.name.clone(), Taken { package, parent: None });
    }
    take_named(&mut state, index, names)?;
    let State { taken, there, .. } = solver.finish(state)?;
    let new = taken.into_values().map(|taken| taken.package);
    Ok(new.filter(|package| !there.contains(&package.name)).collect())
}

/// Takes what is asked for by name.
fn take_named<'n>(
    state: &mut State,
    index: &Index,
    names: impl IntoIterator<Item = &'n String>,
) -> Result<(), SolveError> {
    for name in names {
        if state.taken.contains_key(name) {
            continue;
        }
        let package = index.candidate(name).ok_or_else(|| SolveError::Unknown {
            name: name.clone(),
            similar: index.similar(name),
        })?;
        state.take(&package, None)?;
    }
    Ok(())
}

impl Solver<'_> {
    /// Satisfies everything that is open.
    fn finish(&mut self, mut state: State) -> Result<State, SolveError> {
        while let Some((owner, group)) = state.open.pop_front() {
            if state.holds(&group) {
                continue;
            }
            let mut options = self.options(&group);
            options.retain(|option| !state.there.contains(&option.name));
            if options.is_empty() {
                return Err(self.missing(&state, &owner, &group));
            }
            if let [only] = options.as_slice() {
                state.take(only, Some(owner))?;
                continue;
            }
            let mut first_error = None;
            for option in options {
                self.tries += 1;
                if self.tries > MAX_TRIES {
                    return Err(SolveError::TooHard);
                }
                let mut attempt = state.clone();
                let outcome =
                    attempt.take(&option, Some(owner.clone())).and_then(|()| self.finish(attempt));
                match outcome {
                    Ok(state) => return Ok(state),
                    Err(SolveError::TooHard) => return Err(SolveError::TooHard),
                    Err(error) => first_error = first_error.or(Some(error)),
                }
            }
            return Err(first_error.unwrap_or(SolveError::TooHard));
        }
        Ok(state)
    }

    /// The packages that would satisfy a group, the preferred one first.
    fn options(&self, group: &[Relation]) -> Vec<Rc<Candidate>> {
        let mut options: Vec<Rc<Candidate>> = Vec::new();
        for relation in group {
            let itself = self
                .index
                .candidate(&relation.name)
                .filter(|candidate| relation.allows(&candidate.version));
            for option in itself.into_iter().chain(self.index.providers(relation)) {
                if !options.iter().any(|known| known.name == option.name) {
                    options.push(option);
                }
            }
        }
        options
    }

    fn missing(&self, state: &State, owner: &str, group: &[Relation]) -> SolveError {
        let found = group.iter().map(|relation| {
            let (name, taken) = (&relation.name, state.taken.get(&relation.name));
            match (self.index.candidate(name), taken.filter(|_| state.there.contains(name))) {
                (_, Some(taken)) => {
                    format!("the image has {name} in version {}", taken.package.version)
                }
                (Some(candidate), None) => {
                    format!("{name} is there in version {}", candidate.version)
                }
                (None, None) => format!("there is no {name}"),
            }
        });
        SolveError::Missing {
            chain: state.chain(owner),
            needs: relation::show(group),
            found: found.collect::<Vec<_>>().join(" and "),
        }
    }
}

impl State {
    /// Takes a package and opens its dependencies, before those that are open already.
    fn take(&mut self, package: &Rc<Candidate>, parent: Option<String>) -> Result<(), SolveError> {
        let name = package.name.clone();
        let taken = Taken { package: Rc::clone(package), parent };
        self.taken.insert(name.clone(), taken);
        for other in self.taken.values().filter(|other| other.package.name != name) {
            let pairs = [(package, &other.package), (&other.package, package)];
            for (first, second) in pairs {
                let relation = first.conflicts.iter().find(|found| second.satisfies(found));
                if let Some(relation) = relation {
                    return Err(SolveError::Conflict {
                        first: self.chain(&first.name),
                        second: self.chain(&second.name),
                        relation: relation.to_string(),
                    });
                }
            }
        }
        for group in package.depends.iter().rev() {
            self.open.push_front((name.clone(), group.clone()));
        }
        Ok(())
    }

    fn holds(&self, group: &[Relation]) -> bool {
        group.iter().any(|relation| {
            let itself = self.taken.get(&relation.name);
            itself.is_some_and(|taken| relation.allows(&taken.package.version))
                || self.taken.values().any(|taken| taken.package.satisfies(relation))
        })
    }

    /// The packages from what was asked for to this one, with the version of the last.
    fn chain(&self, name: &str) -> Vec<String> {
        let mut chain = Vec::new();
        let mut at = Some(name);
        while let Some(name) = at {
            let taken = self.taken.get(name);
            chain.push(match taken {
                Some(taken) if chain.is_empty() => format!("{name} {}", taken.package.version),
                _ => name.to_owned(),
            });
            at = taken.and_then(|taken| taken.parent.as_deref());
        }
        chain.reverse();
        chain
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::index::tests::package;

    fn solve(packages: &[(&str, &str, &str)], names: &[&str]) -> Result<Vec<String>, SolveError> {
        let mut index = Index::default();
        let text = packages.iter().map(|(name, version, more)| package(name, version, more));
        index.add(0, text.collect(), "amd64");
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let taken = resolve(&index, &names)?;
        Ok(taken.iter().map(|package| package.name.clone()).collect())
    }

    #[test]
    fn what_is_needed_comes_along() {
        let packages = [
            ("base", "1", "Essential: yes\nPre-Depends: libc (>= 2)\n"),
            ("libc", "2", ""),
            ("app", "1", "Depends: lib | other, awk, base\n"),
            ("lib", "1", "Depends: app\n"),
            ("other", "1", ""),
            ("mawk", "1", "Provides: awk\n"),
            ("gawk", "1", "Provides: awk\n"),
        ];
        assert_eq!(solve(&packages, &["app"]).unwrap(), ["app", "base", "lib", "libc", "mawk"]);
        // What is asked for or taken already is preferred to the first alternative.
        let names = ["app", "other", "gawk"];
        assert_eq!(solve(&packages, &names).unwrap(), ["app", "base", "gawk", "libc", "other"]);
    }

    #[test]
    fn another_alternative_is_taken_where_the_first_conflicts() {
        let packages = [
            ("app", "1", "Depends: a | b, c\n"),
            ("a", "1", ""),
            ("b", "1", ""),
            ("c", "1", "Conflicts: a\n"),
        ];
        assert_eq!(solve(&packages, &["app"]).unwrap(), ["app", "b", "c"]);
    }

    #[test]
    fn a_package_may_conflict_with_what_it_provides_itself() {
        let packages = [
            ("exim", "1", "Provides: mta\nConflicts: mta\n"),
            ("postfix", "1", "Provides: mta\nConflicts: mta\n"),
        ];
        assert_eq!(solve(&packages, &["exim"]).unwrap(), ["exim"]);
        assert!(solve(&packages, &["exim", "postfix"]).is_err());
    }

    #[test]
    fn mistakes_are_explained_as_a_chain() {
        let packages = [
            ("app", "1", "Depends: middle\n"),
            ("middle", "2", "Depends: lib (>= 3) | gone\n"),
            ("lib", "2", ""),
            ("one", "1", "Depends: two\n"),
            ("two", "1", "Breaks: leaf (<< 2)\n"),
            ("leaf", "1", ""),
        ];
        for (names, message) in [
            (
                &["app"][..],
                "app → middle 2 needs lib (>= 3) | gone, but lib is there in version 2 and there is no gone",
            ),
            (&["one", "leaf"], "one → two 1 conflicts with leaf 1 (leaf (<< 2))"),
            (&["leav"], "there is no package leav; did you mean leaf?"),
            (&["something-else"], "there is no package something-else"),
        ] {
            assert_eq!(solve(&packages, names).unwrap_err().to_string(), message);
        }
    }

    #[test]
    fn what_is_there_stays_as_it_is() {
        let mut index = Index::default();
        let packages = [
            ("app", "1", "Depends: lib (>= 1), awk, extra\n"),
            ("extra", "1", "Depends: lib\n"),
            ("lib", "2", ""),
            ("new", "1", "Depends: lib (>= 2)\n"),
            ("gawk", "1", "Provides: awk\n"),
            ("rude", "1", "Conflicts: lib\n"),
        ];
        let text = packages.iter().map(|(name, version, more)| package(name, version, more));
        index.add(0, text.collect(), "amd64");
        let mut base = Index::default();
        base.add(0, package("lib", "1", "") + &package("mawk", "1", "Provides: awk\n"), "amd64");
        let solve = |name: &str| {
            let there = ["lib", "mawk"].map(|name| base.candidate(name).unwrap());
            let taken = resolve_beside(&index, there.into(), &[name.to_owned()])?;
            Ok(taken.iter().map(|package| package.name.clone()).collect::<Vec<_>>())
        };
        assert_eq!(solve("app"), Ok(vec!["app".to_owned(), "extra".to_owned()]));
        assert_eq!(solve("lib"), Ok(vec![]));
        let told = |name: &str| solve(name).map_err(|error: SolveError| error.to_string());
        assert_eq!(
            told("new"),
            Err("new 1 needs lib (>= 2), but the image has lib in version 1".to_owned())
        );
        assert_eq!(told("rude"), Err("rude 1 conflicts with lib 1 (lib)".to_owned()));
    }

    #[test]
    fn a_hopeless_search_comes_to_an_end() {
        let mut packages = Vec::new();
        let names: Vec<(String, String)> = (0..30)
            .map(|n| (format!("p{n:02}"), format!("Depends: a{n} | b{n}, never\n")))
            .collect();
        for (name, depends) in &names {
            packages.push((name.as_str(), "1", depends.as_str()));
        }
        let leaves: Vec<String> =
            (0..30).flat_map(|n| [format!("a{n}"), format!("b{n}")]).collect();
        packages.extend(leaves.iter().map(|name| (name.as_str(), "1", "")));
        let asked: Vec<&str> = names.iter().map(|(name, _)| name.as_str()).collect();
        assert!(solve(&packages, &asked).is_err());
    }
}
