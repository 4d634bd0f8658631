//! A signed file: the bytes as they came, what they say, and who vouches for them.
//!
//! bytes → [`Document`] (parsed, trusted by nobody) → [`Trusted`] (signed by enough keys)

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Deref;

use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Key, canonical};
use crate::time::Time;

/// What all roles' metadata has in common.
pub trait Role: DeserializeOwned + Serialize {
    /// The value of the member `_type`.
    const TYPE: &'static str;
    /// The member `version`.
    fn version(&self) -> u64;
    /// The member `expires`.
    fn expires(&self) -> Time;
    /// What the types of the members do not say already.
    fn check(&self) -> Result<(), String> {
        Ok(())
    }
}

/// A file that is not metadata of the expected role.
#[derive(Debug, thiserror::Error)]
pub enum MalformedError {
    /// It is not JSON, or does not have the members that the role has.
    #[error("not metadata of the role {role}")]
    Json {
        /// The role.
        role: &'static str,
        /// What the parser found.
        source: serde_json::Error,
    },
    /// It is metadata of another role.
    #[error("metadata of the role {role} was expected, not of `{found}`")]
    Type {
        /// The role that was expected.
        role: &'static str,
        /// The role found.
        found: String,
    },
    /// It follows a specification that we do not know.
    #[error("written for version {found} of the TUF specification, not 1.x")]
    SpecVersion {
        /// The version found.
        found: String,
    },
    /// A value breaks a rule of the specification.
    #[error("{rule}")]
    Rule {
        /// What is wrong.
        rule: String,
    },
}

/// A file that too few of a role's keys have signed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("signed by {valid} of the {threshold} keys that the role {role} needs")]
pub struct UnsignedError {
    /// The role.
    pub role: String,
    /// Keys of the role with a valid signature.
    pub valid: usize,
    /// Keys that are needed.
    pub threshold: u64,
}

/// Who may sign for a role: part of root metadata and of delegations.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoleKeys {
    /// Ids of the keys.
    pub keyids: Vec<String>,
    /// How many of them must sign.
    pub threshold: u64,
}

/// A role's keys, looked up: what a document is verified against.
#[derive(Debug, Clone, Copy)]
pub struct Authority<'a> {
    /// The role, for messages.
    pub role: &'a str,
    /// Which keys may sign, and how many must.
    pub allowed: &'a RoleKeys,
    /// The keys by their ids, those of other roles included.
    pub keys: &'a BTreeMap<String, Key>,
}

/// One signature.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signature {
    /// Id of the key that made it.
    pub keyid: String,
    /// The signature in hexadecimal digits; anything else is no valid signature, but no fault.
    pub sig: String,
}

/// A parsed file that nothing is known of yet.
#[derive(Debug, Clone)]
pub struct Document<T> {
    bytes: Vec<u8>,
    canonical: Vec<u8>,
    signatures: Vec<Signature>,
    signed: T,
}

#[derive(Deserialize)]
struct Envelope {
    signatures: Vec<Signature>,
    signed: Value,
}

impl<T: Role> Document<T> {
    /// Parses a file.
    pub fn parse(bytes: Vec<u8>) -> Result<Document<T>, MalformedError> {
        let json = |source| MalformedError::Json { role: T::TYPE, source };
        let value = canonical::parse(&bytes).map_err(json)?;
        let Envelope { signatures, signed } = serde_json::from_value(value).map_err(json)?;
        let text = |name: &str| {
            let text = signed.get(name).and_then(Value::as_str).map(str::to_owned);
            text.ok_or_else(|| json(serde_json::Error::custom(format!("no text `{name}`"))))
        };
        let found = text("_type")?;
        if found != T::TYPE {
            return Err(MalformedError::Type { role: T::TYPE, found });
        }
        let found = text("spec_version")?;
        if found.split('.').next() != Some("1") {
            return Err(MalformedError::SpecVersion { found });
        }
        let canonical = canonical::encode(&signed);
        let signed: T = serde_json::from_value(signed).map_err(json)?;
        let rule = |rule: String| MalformedError::Rule { rule };
        if signed.version() == 0 {
            return Err(rule("version 0 is less than the first version, 1".to_owned()));
        }
        let mut ids = BTreeSet::new();
        if let Some(twice) = signatures.iter().find(|signature| !ids.insert(&signature.keyid)) {
            return Err(rule(format!("two signatures of the key {}", twice.keyid)));
        }
        signed.check().map_err(rule)?;
        Ok(Document { bytes, canonical, signatures, signed })
    }

    /// Trusts the document if each of the authorities vouches for it.
    pub fn trust(self, authorities: &[Authority<'_>]) -> Result<Trusted<T>, UnsignedError> {
        for authority in authorities {
            authority.verify(&self.canonical, &self.signatures)?;
        }
        Ok(Trusted(self))
    }

    /// What the document says; not to be believed.
    pub fn unverified(&self) -> &T {
        &self.signed
    }

    /// The bytes that signatures are made over.
    pub fn canonical(&self) -> &[u8] {
        &self.canonical
    }

    /// The signatures, valid or not.
    pub fn signatures(&self) -> &[Signature] {
        &self.signatures
    }
}

/// The bytes that signatures of this metadata are made over.
pub fn signing_bytes(signed: &impl Role) -> Vec<u8> {
    canonical::encode(&to_value(signed))
}

/// A file of this metadata and these signatures.
pub fn assemble(signed: &impl Role, signatures: &[Signature]) -> Vec<u8> {
    let envelope = serde_json::json!({ "signatures": signatures, "signed": to_value(signed) });
    let mut bytes = serde_json::to_vec_pretty(&envelope).expect("a value of JSON is JSON");
    bytes.push(b'\n');
    bytes
}

fn to_value(signed: &impl Role) -> Value {
    serde_json::to_value(signed).expect("metadata has only strings for names")
}

impl Authority<'_> {
    /// Checks that enough keys have signed `message`. Every file of every role is verified here
    /// and nowhere else.
    pub fn verify(&self, message: &[u8], signatures: &[Signature]) -> Result<(), UnsignedError> {
        let valid = self.signers(message, signatures);
        if self.allowed.threshold == 0 || (valid as u64) < self.allowed.threshold {
            let (role, threshold) = (self.role.to_owned(), self.allowed.threshold);
            return Err(UnsignedError { role, valid, threshold });
        }
        Ok(())
    }

    /// How many keys of the role have signed `message`. What counts is the key and not its id, so
    /// a key that is listed under several ids counts once.
    pub fn signers(&self, message: &[u8], signatures: &[Signature]) -> usize {
        let mut holders = BTreeSet::new();
        for Signature { keyid, sig } in signatures {
            let key = self.allowed.keyids.contains(keyid).then(|| self.keys.get(keyid)).flatten();
            let (Some(public), Ok(sig)) = (key.and_then(Key::public), hex::decode(sig)) else {
                continue;
            };
            if public.verifies(message, &sig) {
                holders.insert(public.holder().to_vec());
            }
        }
        holders.len()
    }

    /// The keys of the role that can verify, by the id that metadata gives them.
    pub fn keys(&self) -> impl Iterator<Item = (&str, &Key)> {
        let keys = self.allowed.keyids.iter().filter_map(|id| self.keys.get_key_value(id));
        keys.map(|(id, key)| (id.as_str(), key))
    }

    /// The keys that can verify, as far as they are different ones; hexadecimal digits that are
    /// the same wherever the key is the same.
    pub fn holders(&self) -> BTreeSet<String> {
        let keys = self.keys().filter_map(|(_, key)| key.public());
        keys.map(|public| hex::encode(public.holder())).collect()
    }

    /// Whether a key that may sign here may no longer sign there.
    pub fn lost_a_key_in(&self, newer: &Authority<'_>) -> bool {
        !self.holders().is_subset(&newer.holders())
    }
}

/// A document that enough keys have signed. It may still be old or expired.
#[derive(Debug, Clone)]
pub struct Trusted<T>(Document<T>);

impl<T> Trusted<T> {
    /// The file as it came.
    pub fn bytes(&self) -> &[u8] {
        &self.0.bytes
    }

    /// Whether another authority vouches for it, too.
    pub fn is_signed_by(&self, authority: &Authority<'_>) -> bool {
        authority.verify(&self.0.canonical, &self.0.signatures).is_ok()
    }
}

impl<T> Deref for Trusted<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0.signed
    }
}

#[cfg(test)]
#[path = "document_tests.rs"]
mod tests;
