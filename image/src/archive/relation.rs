//! What packages say about each other: `a (>= 1) | b, c`.

use super::version::compare;
use std::fmt;

/// Alternatives, one of which must hold.
pub type Group = Vec<Relation>;

/// A package, perhaps of some versions only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Relation {
    /// Its name.
    pub name: String,
    /// Which versions are meant.
    pub bound: Option<(Bound, String)>,
}

/// How a version must be related to the one that is named.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bound {
    /// `<<`
    Earlier,
    /// `<=`
    AtMost,
    /// `=`
    Exactly,
    /// `>=`
    AtLeast,
    /// `>>`
    Later,
}

impl Relation {
    /// Whether a version is among those that are meant.
    #[must_use]
    pub fn allows(&self, version: &str) -> bool {
        let Some((bound, wanted)) = &self.bound else { return true };
        let order = compare(version, wanted);
        match bound {
            Bound::Earlier => order.is_lt(),
            Bound::AtMost => order.is_le(),
            Bound::Exactly => order.is_eq(),
            Bound::AtLeast => order.is_ge(),
            Bound::Later => order.is_gt(),
        }
    }

    /// Reads one relation. An architecture qualifier (`:any`) does not count here, where all
    /// packages are of one architecture; neither do restrictions that only sources have.
    fn parse(text: &str) -> Option<Relation> {
        let name_end = text
            .find(|letter: char| letter.is_whitespace() || letter == '(' || letter == '[')
            .unwrap_or(text.len());
        let (name, rest) = text.split_at(name_end);
        let name = name.split(':').next().filter(|name| !name.is_empty())?.to_owned();
        let Some(inside) = rest.trim().strip_prefix('(') else {
            return Some(Relation { name, bound: None });
        };
        let inside = inside.split(')').next()?.trim();
        let sign_end = inside.find(|letter: char| !"<>=".contains(letter))?;
        let (sign, version) = inside.split_at(sign_end);
        let bound = match sign {
            "<<" => Bound::Earlier,
            "<=" | "<" => Bound::AtMost,
            "=" => Bound::Exactly,
            ">=" | ">" => Bound::AtLeast,
            ">>" => Bound::Later,
            _ => return None,
        };
        Some(Relation { name, bound: Some((bound, version.trim().to_owned())) })
    }
}

impl fmt::Display for Relation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.name)?;
        let Some((bound, version)) = &self.bound else { return Ok(()) };
        let sign = match bound {
            Bound::Earlier => "<<",
            Bound::AtMost => "<=",
            Bound::Exactly => "=",
            Bound::AtLeast => ">=",
            Bound::Later => ">>",
        };
        write!(formatter, " ({sign} {version})")
    }
}

/// Reads a field of relations; what cannot be understood is left out as apt does.
#[must_use]
pub fn parse(field: &str) -> Vec<Group> {
    field
        .split(',')
        .map(|group| group.split('|').filter_map(|text| Relation::parse(text.trim())).collect())
        .filter(|group: &Group| !group.is_empty())
        .collect()
}

/// A group as it would be written.
#[must_use]
pub fn show(group: &[Relation]) -> String {
    group.iter().map(ToString::to_string).collect::<Vec<_>>().join(" | ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_read_and_written() {
        let field = "libc6 (>= 2.38), perl:any | awk (<<1:2-3) , init (= 1) [amd64], \n x, (bad), ";
        let groups: Vec<String> = parse(field).iter().map(|group| show(group)).collect();
        assert_eq!(groups, ["libc6 (>= 2.38)", "perl | awk (<< 1:2-3)", "init (= 1)", "x"]);
    }

    #[test]
    fn bounds_hold() {
        for (text, version, holds) in [
            ("x", "1", true),
            ("x (>= 1.0)", "1.0~rc1", false),
            ("x (>= 1.0)", "1.0", true),
            ("x (>> 1.0)", "1.0", false),
            ("x (<< 1.0)", "1.0~rc1", true),
            ("x (<= 1.0)", "1.0-1", false),
            ("x (= 1.0)", "1.00", true),
        ] {
            assert_eq!(parse(text)[0][0].allows(version), holds, "{text} and {version}");
        }
    }
}
