//! The variables of a configuration: which there are, where a text uses them, and what takes
//! their place.
//!
//! A name is as long as it can be: `$private_ipv4x` is not `$private_ipv4` and an `x`. Names
//! that begin with `private_` or `public_` belong to this language, and so do a few whole words
//! (`$hostname`) unless the text itself sets a shell variable of that name; all others belong to
//! the shell or to systemd and are left alone, as is a name behind a backslash, which is
//! dropped. `${private_ipv4:-10.0.0.1}` says what to take where there is no value.

use std::collections::BTreeMap;
use std::fmt;

use crate::finding::{Mistake, Span, quoted};
use crate::suggest::nearest;

/// What is only known of a machine when it runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Variable {
    /// `$private_ipv4`, or `$private_ip`.
    PrivateIpv4,
    /// `$public_ipv4`, or `$public_ip`.
    PublicIpv4,
    /// `$private_ipv6`.
    PrivateIpv6,
    /// `$public_ipv6`.
    PublicIpv6,
    /// `$hostname`: the machine's name.
    Hostname,
    /// `$instance_id`: what the platform calls this machine.
    InstanceId,
    /// `$region`: where the platform has it, at large.
    Region,
    /// `$zone`: and precisely.
    Zone,
}

const NAMES: &[(&str, Variable)] = &[
    ("private_ipv4", Variable::PrivateIpv4),
    ("private_ipv6", Variable::PrivateIpv6),
    ("private_ip", Variable::PrivateIpv4),
    ("public_ipv4", Variable::PublicIpv4),
    ("public_ipv6", Variable::PublicIpv6),
    ("public_ip", Variable::PublicIpv4),
    ("hostname", Variable::Hostname),
    ("instance_id", Variable::InstanceId),
    ("region", Variable::Region),
    ("zone", Variable::Zone),
];

impl Variable {
    /// Its name, without the dollar sign.
    #[must_use]
    pub fn name(self) -> &'static str {
        NAMES.iter().find(|(_, variable)| *variable == self).expect("every variable is named").0
    }

    /// Every variable, once.
    pub fn all() -> impl Iterator<Item = Self> {
        let firsts = NAMES.iter().filter(|(name, variable)| variable.name() == *name);
        firsts.map(|(_, variable)| *variable)
    }

    /// Whether it stands for an address.
    #[must_use]
    pub fn is_address(self) -> bool {
        !matches!(self, Self::Hostname | Self::InstanceId | Self::Region | Self::Zone)
    }

    /// Whether this can be its value: an address of its family, or one word.
    #[must_use]
    pub fn accepts(self, value: &str) -> bool {
        match self {
            Self::PrivateIpv4 | Self::PublicIpv4 => value.parse::<std::net::Ipv4Addr>().is_ok(),
            Self::PrivateIpv6 | Self::PublicIpv6 => value.parse::<std::net::Ipv6Addr>().is_ok(),
            Self::Hostname | Self::InstanceId | Self::Region | Self::Zone => {
                !value.is_empty() && !value.contains(|c: char| c.is_control() || c.is_whitespace())
            }
        }
    }

    /// An example that stands for an unknown value while syntax is checked.
    pub(crate) fn sample(self) -> &'static str {
        match self {
            Self::PrivateIpv4 | Self::PublicIpv4 => "192.0.2.1",
            Self::PrivateIpv6 | Self::PublicIpv6 => "2001:db8::1",
            Self::Hostname => "host",
            Self::InstanceId => "i-1",
            Self::Region => "region",
            Self::Zone => "zone",
        }
    }
}

impl fmt::Display for Variable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "${}", self.name())
    }
}

/// A place where a configuration uses a variable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VariableUse {
    /// Which.
    pub variable: Variable,
    /// Where.
    pub span: Span,
    /// It says what to take where there is no value.
    pub optional: bool,
}

/// What is known of the variables.
#[derive(Debug, Clone, Copy)]
pub enum Values<'a> {
    /// Nothing, as on a workstation: the text keeps them as written.
    Unknown,
    /// The values on this machine. One that is missing, empty or not an address is an error
    /// where it is used.
    Known(&'a BTreeMap<Variable, String>),
}

/// A part of a text.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Piece<'t> {
    /// Text that stays.
    Text(&'t str),
    /// A variable, as written, and what to take where it has no value. It begins with the text's
    /// `dollar`th dollar sign.
    Use { variable: Variable, written: &'t str, default: Option<&'t str>, dollar: usize },
    /// A name that is reserved and unknown.
    Unknown { reference: Reference<'t>, dollar: usize },
}

/// Cuts a text at its variables.
pub(crate) fn pieces(text: &str) -> Vec<Piece<'_>> {
    let mut pieces = Vec::new();
    let mut kept = 0;
    let mut next = 0;
    for (dollar, (at, _)) in text.match_indices('$').enumerate() {
        if at < next {
            continue;
        }
        let Some(reference) = Reference::read(&text[at..]) else { continue };
        if !reference.is_reserved() && is_set_by(text, reference.name) {
            continue;
        }
        let end = at + reference.written.len();
        if text[..at].ends_with('\\') {
            pieces.push(Piece::Text(&text[kept..at - 1]));
            kept = at;
        } else {
            pieces.push(Piece::Text(&text[kept..at]));
            pieces.push(reference.resolve(dollar));
            kept = end;
        }
        next = end;
    }
    pieces.push(Piece::Text(&text[kept..]));
    pieces.retain(|piece| *piece != Piece::Text(""));
    pieces
}

/// A dollar sign and a name that may be ours.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Reference<'t> {
    pub(crate) written: &'t str,
    name: &'t str,
    default: Option<&'t str>,
    /// An opening brace without its closing one.
    unclosed: bool,
}

impl<'t> Reference<'t> {
    /// `text` begins with a dollar sign.
    fn read(text: &'t str) -> Option<Self> {
        let brace = text[1..].starts_with('{');
        let from = if brace { 2 } else { 1 };
        let long = text[from..].find(|c: char| !is_of_name(c)).unwrap_or(text.len() - from);
        let name = &text[from..from + long];
        let rest = &text[from + long..];
        let mut end = from + long;
        let mut default = None;
        let mut closed = false;
        if brace {
            if rest.starts_with('}') {
                (closed, end) = (true, end + 1);
            } else if let Some(after) = rest.strip_prefix(":-")
                && let Some(length) =
                    after.find(['}', '\n']).filter(|at| after[*at..].starts_with('}'))
            {
                default = Some(&after[..length]);
                (closed, end) = (true, end + 2 + length + 1);
            }
        }
        let unclosed = brace && !closed;
        let reference = Self { written: &text[..end], name, default, unclosed };
        // A shell does more with its own variables than is known here: `${zone%-*}`.
        let whole_word = reference.known().is_some() && !unclosed;
        (reference.is_reserved() || whole_word).then_some(reference)
    }

    /// Whether the name can be of no other language.
    fn is_reserved(&self) -> bool {
        self.name.starts_with("private_") || self.name.starts_with("public_")
    }

    fn known(&self) -> Option<Variable> {
        NAMES.iter().find(|(known, _)| *known == self.name).map(|(_, variable)| *variable)
    }

    fn resolve(self, dollar: usize) -> Piece<'t> {
        match self.known().filter(|_| !self.unclosed) {
            Some(variable) => {
                Piece::Use { variable, written: self.written, default: self.default, dollar }
            }
            None => Piece::Unknown { reference: self, dollar },
        }
    }

    /// What is wrong with it.
    pub(crate) fn mistake(&self) -> Mistake {
        let written = quoted(self.written);
        match self.known() {
            Some(_) => Mistake::new(format!("{written} lacks its closing brace")).with_hint(
                format!("write `${{{}}}`, or `\\{}` for a shell", self.name, self.written),
            ),
            None => Mistake::new(format!("unknown variable {written}"))
                .with_hint(correction(self.name, self.written)),
        }
    }
}

fn correction(name: &str, written: &str) -> String {
    if name.len() > 40 {
        return "if it is for a shell, write a backslash before it".to_owned();
    }
    // `private_ipv5` is a wrong version, not `private_ip` and then text.
    let longest = NAMES
        .iter()
        .map(|(known, _)| *known)
        .find(|known| name.strip_prefix(known).is_some_and(|rest| !rest.starts_with(['v', 'V'])));
    let nearest = nearest(name, NAMES.iter().map(|(known, _)| *known));
    match (longest, nearest) {
        (Some(known), _) => format!("did you mean `${{{known}}}{}`?", &name[known.len()..]),
        (None, Some(known)) => {
            format!("did you mean `${known}`? If it is for a shell, write `\\{written}`")
        }
        (None, None) => format!("if it is for a shell, write `\\{written}`"),
    }
}

/// Whether a text is a shell's that sets a variable of this name: `zone=a`, `for zone in`,
/// `read zone`.
fn is_set_by(text: &str, name: &str) -> bool {
    text.match_indices(name).any(|(at, _)| {
        let (before, after) = (&text[..at], &text[at + name.len()..]);
        let starts =
            before.chars().next_back().is_none_or(|c| c.is_whitespace() || ";&|(".contains(c));
        let words = ["for ", "read ", "read -r "];
        starts
            && (after.starts_with('=')
                || words.iter().any(|word| before.ends_with(word))
                    && !after.starts_with(is_of_name))
    })
}

fn is_of_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The text with every variable written as `<name>`, every mistake as `!`.
    fn marked(text: &str) -> String {
        pieces(text)
            .iter()
            .map(|piece| match piece {
                Piece::Text(text) => (*text).to_owned(),
                Piece::Use { variable, .. } => format!("<{}>", variable.name()),
                Piece::Unknown { .. } => "!".to_owned(),
            })
            .collect()
    }

    #[test]
    fn variables_are_found_where_they_are_meant() {
        for (text, want) in [
            ("", ""),
            ("$private_ipv4", "<private_ipv4>"),
            ("$private_ip:4001", "<private_ipv4>:4001"),
            ("$public_ip", "<public_ipv4>"),
            ("[$public_ipv6]:1", "[<public_ipv6>]:1"),
            ("a${private_ipv6}b", "a<private_ipv6>b"),
            ("$private_ipv4$private_ipv4", "<private_ipv4><private_ipv4>"),
            ("${private_ip}x$public_ipv4-y", "<private_ipv4>x<public_ipv4>-y"),
            (r"\$private_ipv4", "$private_ipv4"),
            (r"\${private_ipv4} $private_ip", "${private_ipv4} <private_ipv4>"),
            (r"\\$private_ipv4", r"\$private_ipv4"),
            (r"\$private_key", "$private_key"),
            ("$$private_ipv4", "$<private_ipv4>"),
            (
                "$HOME ${X:-1} $1 $ $( ) \\$HOME $privateer %i",
                "$HOME ${X:-1} $1 $ $( ) \\$HOME $privateer %i",
            ),
            ("$PRIVATE_IPV4 $COREOS_PRIVATE_IPV4", "$PRIVATE_IPV4 $COREOS_PRIVATE_IPV4"),
            ("$private_ipv4x", "!"),
            ("$private_", "!"),
            ("${private_ipv4:-x}", "<private_ipv4>"),
            ("${private_ipv4:-}${public_ip:-$HOME}y", "<private_ipv4><public_ipv4>y"),
            ("${private_ipv4:-x", "!:-x"),
            ("${private_ipv4:x}", "!:x}"),
            ("$hostname:$region/${zone}-$instance_id", "<hostname>:<region>/<zone>-<instance_id>"),
            ("$hostnames $zone_1 ${zone%-*} $region2", "$hostnames $zone_1 ${zone%-*} $region2"),
            (
                "for zone in a b; do echo $zone $region; done",
                "for zone in a b; do echo $zone <region>; done",
            ),
            ("zone=$(zone); echo $zone", "zone=$(zone); echo $zone"),
            (
                "while read -r region; do echo ${region}; done",
                "while read -r region; do echo ${region}; done",
            ),
            ("timezone=x $zone", "timezone=x <zone>"),
            (r"\$hostname", "$hostname"),
            ("é$private_ipé", "é<private_ipv4>é"),
        ] {
            assert_eq!(marked(text), want, "{text:?}");
        }
    }

    #[test]
    fn a_wrong_name_gets_a_suggestion() {
        for (text, want) in [
            ("$private_ipv4x", "did you mean `${private_ipv4}x`?"),
            ("$private_ipx", "did you mean `${private_ip}x`?"),
            (
                "$private_ipv5",
                "did you mean `$private_ipv4`? If it is for a shell, write `\\$private_ipv5`",
            ),
            (
                "$private_ivp4",
                "did you mean `$private_ipv4`? If it is for a shell, write `\\$private_ivp4`",
            ),
            ("$public_directory", "if it is for a shell, write `\\$public_directory`"),
            ("${private_ipv4:-1", "write `${private_ipv4}`, or `\\${private_ipv4` for a shell"),
        ] {
            let pieces = pieces(text);
            let Piece::Unknown { reference, .. } = &pieces[0] else { panic!("{pieces:?}") };
            assert_eq!(reference.mistake().hint.as_deref(), Some(want), "{text:?}");
        }
    }

    #[test]
    fn uses_are_numbered_by_dollar_sign() {
        let pieces = pieces("$HOME $private_ip \\$public_ip $public_ip");
        let dollars: Vec<_> = pieces
            .iter()
            .filter_map(|piece| match piece {
                Piece::Use { dollar, .. } => Some(*dollar),
                _ => None,
            })
            .collect();
        assert_eq!(dollars, [1, 3]);
    }
}
