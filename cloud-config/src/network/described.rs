//! Reading what a platform's program wrote: a tree whose keys are known, in which more may stand
//! than is of interest here.

use std::net::IpAddr;

use super::values;
use crate::address::Address;
use crate::finding::{Finding, Findings, quoted};
use crate::tree::{Data, Node};

/// A mapping, a list or a value in such a description.
#[derive(Debug, Clone, Copy)]
pub(super) struct Described<'n>(pub(super) Option<&'n Node>);

impl<'n> Described<'n> {
    /// The value of a key; nothing where there is none.
    pub(super) fn get(self, key: &str) -> Described<'n> {
        let Some(Data::Mapping(entries)) = self.0.map(|node| &node.data) else {
            return Described(None);
        };
        Described(entries.iter().find(|entry| &*entry.key.written == key).map(|entry| &entry.value))
    }

    /// The values of a list; none where there is no list.
    pub(super) fn list(self) -> impl Iterator<Item = Described<'n>> {
        let items = match self.0.map(|node| &node.data) {
            Some(Data::List(items)) => items.as_slice(),
            _ => &[],
        };
        items.iter().map(|node| Described(Some(node)))
    }

    /// Whether nothing is there.
    pub(super) fn is_none(self) -> bool {
        self.0.is_none_or(Node::is_null)
    }

    /// A text that is not blank.
    pub(super) fn text(self) -> Option<&'n str> {
        let node = self.0.filter(|node| !node.is_null())?;
        let Data::Scalar(scalar) = &node.data else { return None };
        Some(scalar.text.trim()).filter(|text| !text.is_empty())
    }

    /// A number.
    pub(super) fn number(self) -> Option<u32> {
        self.text()?.parse().ok()
    }

    /// What `read` makes of the text; a text of which it makes nothing is told.
    pub(super) fn read<T>(
        self,
        what: &str,
        read: impl FnOnce(&str) -> Option<T>,
        findings: &mut Findings,
    ) -> Option<T> {
        let text = self.text()?;
        let value = read(text);
        if value.is_none() {
            self.doubt(format!("{} is not {what} and is left out", quoted(text)), findings);
        }
        value
    }

    /// An IP address.
    pub(super) fn ip(self, findings: &mut Findings) -> Option<IpAddr> {
        self.read("an IP address", |text| text.parse().ok(), findings)
    }

    /// A MAC address, in lower case.
    pub(super) fn mac(self, findings: &mut Findings) -> Option<String> {
        self.read("a MAC address", values::mac, findings)
    }

    /// An address whose prefix or mask is the value of another key.
    pub(super) fn address(self, mask: Described<'n>, findings: &mut Findings) -> Option<Address> {
        self.read("an address", |text| values::with_mask(text, mask.text()), findings)
    }

    /// Tells something about this place.
    pub(super) fn doubt(self, message: String, findings: &mut Findings) {
        let span = self.0.map(|node| node.span).unwrap_or_default();
        findings.push(Finding::warning(span, message));
    }
}

/// A name that the kernel takes, made from an id.
pub(super) fn kernel_name(id: &str, fallback: &str) -> String {
    let name: String = id
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || "_-.".contains(c) { c } else { '-' })
        .collect();
    if values::is_name(&name, values::INTERFACE) { name } else { fallback.to_owned() }
}

/// A name for a file, made from an id.
pub(super) fn entry_name(id: &str, fallback: &str) -> String {
    let name: String = id
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || "_-.".contains(c) { c } else { '-' })
        .collect();
    if values::is_name(&name, values::ENTRY) { name } else { fallback.to_owned() }
}
