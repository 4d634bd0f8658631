//! Who signed a text, checked against a keyring (OpenPGP, RFC 9580).
//!
//! A text counts as signed if one key of the keyring made a good signature over it while that key
//! was valid, and no key of the keyring made a bad one. A key is valid if its own newest
//! certification holds, has not run out today, and was not taken back; a subkey needs the same
//! from its primary key, and must be meant for signing. SHA-1 and MD5 convince nobody.

use pgp::composed::{CleartextSignedMessage, Deserializable, SignedPublicKey, SignedPublicSubKey};
use pgp::crypto::hash::HashAlgorithm;
use pgp::packet::{Signature, SignatureType};
use pgp::types::{KeyDetails, Tag, VerifyingKey};
use std::fmt;
use std::io::Cursor;

/// How far a signer's clock may be ahead of this machine's, in seconds.
const CLOCK_SKEW: u64 = 24 * 60 * 60;
/// Hashes that are strong enough.
const STRONG: [HashAlgorithm; 4] =
    [HashAlgorithm::Sha256, HashAlgorithm::Sha384, HashAlgorithm::Sha512, HashAlgorithm::Sha3_256];

/// The keys that are trusted.
pub struct Keyring(Vec<SignedPublicKey>);

/// A text that the keyring vouches for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signed {
    /// What was signed, lines ending in a line feed.
    pub text: String,
    /// Fingerprints of the primary keys that signed it, in hexadecimal.
    pub signers: Vec<String>,
}

/// Why a text counts as unsigned.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// It is not a signed text.
    #[error("it is not a signed text: {0}")]
    Malformed(String),
    /// No signature is by a key of the keyring.
    #[error("the keyring has none of the keys that signed it: {}", .0.join(", "))]
    UnknownKeys(Vec<String>),
    /// A signature of a known key does not fit the text.
    #[error("it was changed after the key {0} signed it")]
    Bad(String),
    /// The keys are known, but none of them counts now.
    #[error("no key that signed it counts: {}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "))]
    Invalid(Vec<Invalid>),
}

/// A key that does not count, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invalid {
    /// Its fingerprint or identifier.
    pub key: String,
    /// Why.
    pub why: Why,
}

/// Why a key or a signature does not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// The key ran out at this time, in seconds since 1970.
    Expired(u64),
    /// The key was taken back.
    Revoked,
    /// The key does not certify itself, or is not for signing.
    Unusable,
    /// The signature ran out.
    SignatureExpired,
    /// The signature is of a time to come.
    Future,
    /// The signature is over a hash that can be forged.
    WeakHash,
}

impl fmt::Display for Invalid {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Invalid { key, why } = self;
        match why {
            Why::Expired(time) => {
                let day = super::date::format(*time);
                write!(formatter, "{key} expired on {day}; install a newer debian-archive-keyring")
            }
            Why::Revoked => write!(formatter, "{key} was revoked"),
            Why::Unusable => write!(formatter, "{key} is not valid for signing"),
            Why::SignatureExpired => write!(formatter, "the signature of {key} has expired"),
            Why::Future => {
                write!(formatter, "the signature of {key} is of the future: is the clock right?")
            }
            Why::WeakHash => write!(formatter, "the signature of {key} uses a weak hash"),
        }
    }
}

impl fmt::Debug for Keyring {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Keyring({} keys)", self.0.len())
    }
}

impl Keyring {
    /// Reads a keyring, binary or armored. A key that cannot be understood is left out; it then
    /// signs nothing.
    #[must_use]
    pub fn parse(bytes: &[u8]) -> Keyring {
        let keys = if bytes.starts_with(b"-----BEGIN") {
            SignedPublicKey::from_armor_many(Cursor::new(bytes))
                .map(|(keys, _)| keys.flatten().collect())
                .unwrap_or_default()
        } else {
            SignedPublicKey::from_bytes_many(Cursor::new(bytes))
                .map(|keys| keys.flatten().collect())
                .unwrap_or_default()
        };
        Keyring(keys)
    }

    /// Number of keys.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is no key.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Checks a cleartext-signed text at a time in seconds since 1970.
    pub fn verify(&self, message: &str, now: u64) -> Result<Signed, SignatureError> {
        let (message, _) = CleartextSignedMessage::from_string(message)
            .map_err(|error| SignatureError::Malformed(error.to_string()))?;
        let text = message.signed_text();
        let (mut signers, mut unknown, mut invalid) = (Vec::new(), Vec::new(), Vec::new());
        for signature in message.signatures() {
            let mut known = false;
            for key in &self.0 {
                let Some((name, outcome)) = check(key, signature, text.as_bytes(), now) else {
                    continue;
                };
                known = true;
                match outcome {
                    Ok(true) => signers.push(hex(key)),
                    Ok(false) => return Err(SignatureError::Bad(name)),
                    Err(why) => invalid.push(Invalid { key: name, why }),
                }
                break;
            }
            if !known {
                unknown.extend(issuer(signature));
            }
        }
        signers.sort();
        signers.dedup();
        if !signers.is_empty() {
            return Ok(Signed { text: text.replace("\r\n", "\n"), signers });
        }
        Err(match invalid.is_empty() {
            false => SignatureError::Invalid(invalid),
            true => SignatureError::UnknownKeys(unknown),
        })
    }
}

/// Whether a signature is by a key, and if so, whether it fits or why it does not count.
fn check(
    key: &SignedPublicKey,
    signature: &Signature,
    text: &[u8],
    now: u64,
) -> Option<(String, Result<bool, Why>)> {
    if made_by(signature, key) {
        let outcome = primary_is_valid(key, now)
            .and_then(|()| signature_counts(signature, now))
            .map(|()| signature.verify(&key.primary_key, text).is_ok());
        return Some((hex(key), outcome));
    }
    let subkey = key.public_subkeys.iter().find(|subkey| made_by(signature, &subkey.key))?;
    let outcome = primary_is_valid(key, now)
        .and_then(|()| subkey_is_valid(key, subkey, now))
        .and_then(|()| signature_counts(signature, now))
        .map(|()| signature.verify(&subkey.key, text).is_ok());
    Some((hex(&subkey.key), outcome))
}

fn made_by(signature: &Signature, key: &impl KeyDetails) -> bool {
    signature.issuer_fingerprint().contains(&&key.fingerprint())
        || signature.issuer_key_id().contains(&&key.legacy_key_id())
}

fn hex(key: &impl KeyDetails) -> String {
    format!("{:x}", key.fingerprint()).to_uppercase()
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02X}")).collect()
}

/// The key that a signature says it is by.
fn issuer(signature: &Signature) -> Option<String> {
    let fingerprint = signature.issuer_fingerprint();
    let by_fingerprint = fingerprint.first().map(|print| format!("{print:x}").to_uppercase());
    by_fingerprint.or_else(|| signature.issuer_key_id().first().map(|id| hexadecimal(id.as_ref())))
}

fn signature_counts(signature: &Signature, now: u64) -> Result<(), Why> {
    let text = matches!(signature.typ(), Some(SignatureType::Text | SignatureType::Binary));
    if !text {
        return Err(Why::Unusable);
    }
    if !signature.hash_alg().is_some_and(|hash| STRONG.contains(&hash)) {
        return Err(Why::WeakHash);
    }
    let created = signature.created().map(|time| u64::from(time.as_secs())).ok_or(Why::Unusable)?;
    if created > now + CLOCK_SKEW {
        return Err(Why::Future);
    }
    let lifetime =
        signature.signature_expiration_time().map_or(0, |span| u64::from(span.as_secs()));
    if lifetime != 0 && created + lifetime < now {
        return Err(Why::SignatureExpired);
    }
    Ok(())
}

fn primary_is_valid(key: &SignedPublicKey, now: u64) -> Result<(), Why> {
    let primary = &key.primary_key;
    if key.details.revocation_signatures.iter().any(|found| found.verify_key(primary).is_ok()) {
        return Err(Why::Revoked);
    }
    let of_users = key.details.users.iter().flat_map(|user| {
        let certifies = move |signature: &&Signature| {
            signature.is_certification()
                && signature.verify_certification(primary, Tag::UserId, &user.id).is_ok()
        };
        user.signatures.iter().filter(certifies)
    });
    let direct = key.details.direct_signatures.iter();
    let direct = direct.filter(|signature| signature.verify_key(primary).is_ok());
    let newest = newest(of_users.chain(direct), now).ok_or(Why::Unusable)?;
    not_expired(newest, primary, now)
}

fn subkey_is_valid(
    key: &SignedPublicKey,
    subkey: &SignedPublicSubKey,
    now: u64,
) -> Result<(), Why> {
    let holds = |signature: &&Signature| {
        signature.verify_subkey_binding(&key.primary_key, &subkey.key).is_ok()
    };
    let of = |kind| subkey.signatures.iter().filter(move |found| found.typ() == Some(kind));
    if of(SignatureType::SubkeyRevocation).any(|signature| holds(&signature)) {
        return Err(Why::Revoked);
    }
    let binding =
        newest(of(SignatureType::SubkeyBinding).filter(holds), now).ok_or(Why::Unusable)?;
    let agreed = binding.embedded_signature().is_some_and(|signature| {
        signature.verify_primary_key_binding(&subkey.key, &key.primary_key).is_ok()
    });
    if !(binding.key_flags().sign() && agreed) {
        return Err(Why::Unusable);
    }
    not_expired(binding, &subkey.key, now)
}

/// The newest of some signatures that were made by now.
fn newest<'a>(signatures: impl Iterator<Item = &'a Signature>, now: u64) -> Option<&'a Signature> {
    signatures
        .filter_map(|signature| Some((signature.created()?.as_secs(), signature)))
        .filter(|(created, _)| u64::from(*created) <= now + CLOCK_SKEW)
        .max_by_key(|(created, _)| *created)
        .map(|(_, signature)| signature)
}

fn not_expired(certification: &Signature, key: &impl VerifyingKey, now: u64) -> Result<(), Why> {
    let lifetime = certification.key_expiration_time().map_or(0, |span| u64::from(span.as_secs()));
    let end = u64::from(key.created_at().as_secs()) + lifetime;
    if lifetime != 0 && end < now { Err(Why::Expired(end)) } else { Ok(()) }
}
