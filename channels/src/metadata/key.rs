//! Public keys: how metadata writes them, and what they have signed.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use ed25519_dalek::{Signature, VerifyingKey};
use ring::signature::{self, UnparsedPublicKey};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use super::canonical;

/// DER up to the point of a P-256 key: there is only one way to write that.
const P256_PREFIX: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a,
    0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];
/// Bytes of an uncompressed point of P-256.
const P256_POINT: usize = 65;
/// DER of the algorithm `rsaEncryption` with its parameter, null.
const RSA_ALGORITHM: [u8; 15] =
    [0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00];

/// A key as metadata writes it, members that we do not know included.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Key {
    keytype: String,
    scheme: String,
    keyval: Map<String, Value>,
    #[serde(flatten)]
    other: Map<String, Value>,
}

/// A key that can verify.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PublicKey {
    /// Ed25519; never one of the weak points, which verify what nobody signed.
    Ed25519([u8; 32]),
    /// ECDSA on P-256 with SHA-256: the uncompressed point.
    EcdsaP256(Vec<u8>),
    /// RSA-PSS with SHA-256: modulus and exponent as PKCS#1 writes them in DER.
    RsaPss(Vec<u8>),
}

impl Key {
    /// An Ed25519 key.
    pub fn ed25519(public: &[u8; 32]) -> Key {
        Key {
            keytype: "ed25519".to_owned(),
            scheme: "ed25519".to_owned(),
            keyval: Map::from_iter([("public".to_owned(), hex::encode(public).into())]),
            other: Map::new(),
        }
    }

    /// The id that the specification gives the key: the SHA-256 of its canonical form.
    pub fn id(&self) -> String {
        let value = serde_json::to_value(self).expect("a key has only strings for names");
        hex::encode(Sha256::digest(canonical::encode(&value)))
    }

    /// The key to verify with; `None` if its scheme is none of ours or if it is malformed or weak.
    /// Such a key in metadata is no fault, it only counts for nothing.
    pub fn public(&self) -> Option<PublicKey> {
        let text = self.keyval.get("public")?.as_str()?;
        match (self.keytype.as_str(), self.scheme.as_str()) {
            ("ed25519", "ed25519") => {
                let bytes: [u8; 32] = hex::decode(text).ok()?.try_into().ok()?;
                let key = VerifyingKey::from_bytes(&bytes).ok()?;
                (!key.is_weak()).then_some(PublicKey::Ed25519(bytes))
            }
            // The second name is what older repositories wrote.
            ("ecdsa" | "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp256") => {
                let der = from_pem(text)?;
                let point = der.strip_prefix(&P256_PREFIX)?;
                (point.len() == P256_POINT && point[0] == 4)
                    .then(|| PublicKey::EcdsaP256(point.to_vec()))
            }
            ("rsa", "rsassa-pss-sha256") => rsa(&from_pem(text)?).map(PublicKey::RsaPss),
            _ => None,
        }
    }
}

impl PublicKey {
    /// What two keys have in common if and only if who can sign with one can sign with the other,
    /// whatever ids metadata gives them.
    pub fn holder(&self) -> &[u8] {
        match self {
            PublicKey::Ed25519(key) => key,
            PublicKey::EcdsaP256(point) => point,
            // Whoever knows the factors of a modulus can sign for every exponent.
            PublicKey::RsaPss(key) => modulus(key).unwrap_or(key),
        }
    }

    /// Whether this key made `signature` over `message`.
    pub fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        match self {
            PublicKey::Ed25519(key) => {
                let (Ok(key), Ok(signature)) =
                    (VerifyingKey::from_bytes(key), Signature::from_slice(signature))
                else {
                    return false;
                };
                key.verify_strict(message, &signature).is_ok()
            }
            PublicKey::EcdsaP256(point) => {
                let key = UnparsedPublicKey::new(&signature::ECDSA_P256_SHA256_ASN1, point);
                key.verify(message, signature).is_ok()
            }
            PublicKey::RsaPss(key) => {
                let key = UnparsedPublicKey::new(&signature::RSA_PSS_2048_8192_SHA256, key);
                key.verify(message, signature).is_ok()
            }
        }
    }
}

/// The bytes of the one public key in a PEM text.
fn from_pem(text: &str) -> Option<Vec<u8>> {
    let body = text.trim().strip_prefix("-----BEGIN PUBLIC KEY-----")?;
    let body = body.strip_suffix("-----END PUBLIC KEY-----")?;
    let body: String = body.chars().filter(|char| !char.is_ascii_whitespace()).collect();
    BASE64_STANDARD.decode(body).ok()
}

/// The PKCS#1 key in a SubjectPublicKeyInfo.
fn rsa(info: &[u8]) -> Option<Vec<u8>> {
    let (info, rest) = element(0x30, info)?;
    let bits = info.strip_prefix(&RSA_ALGORITHM)?;
    let (bits, after) = element(0x03, bits)?;
    let key = bits.strip_prefix(&[0])?;
    let (_, after_key) = element(0x30, key)?;
    modulus(key)?;
    (rest.is_empty() && after.is_empty() && after_key.is_empty()).then(|| key.to_vec())
}

/// The modulus of a PKCS#1 key: its first integer.
fn modulus(key: &[u8]) -> Option<&[u8]> {
    let (key, _) = element(0x30, key)?;
    element(0x02, key).map(|(modulus, _)| modulus)
}

/// The content of the DER element with this tag at the start of `bytes`, and what follows it.
fn element(tag: u8, bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (&first, bytes) = bytes.split_first()?;
    let (&length, bytes) = bytes.split_first()?;
    let (length, bytes) = match length {
        0..=0x7f => (usize::from(length), bytes),
        // No key that is accepted needs more than two bytes of length.
        0x81..=0x82 => {
            let (long, bytes) = bytes.split_at_checked(usize::from(length - 0x80))?;
            (long.iter().fold(0, |length, &byte| length << 8 | usize::from(byte)), bytes)
        }
        _ => return None,
    };
    (first == tag).then(|| bytes.split_at_checked(length))?
}

#[cfg(test)]
mod tests {
    use super::*;
    use ed25519_dalek::{Signer, SigningKey};
    use ring::rand::SystemRandom;
    use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair};
    use serde_json::json;

    const MESSAGE: &[u8] = b"signed";
    /// Made by `tests/fixtures/rsa.gen.sh`, as are the two files beside it.
    const RSA_PUBLIC: &str = include_str!("../../tests/fixtures/rsa.pub.pem");
    const RSA_SIGNATURE: &[u8] = include_bytes!("../../tests/fixtures/rsa.signature");
    const RSA_1024_PUBLIC: &str = include_str!("../../tests/fixtures/rsa-1024.pub.pem");
    const RSA_1024_SIGNATURE: &[u8] = include_bytes!("../../tests/fixtures/rsa-1024.signature");

    fn key(keytype: &str, scheme: &str, public: &str) -> Key {
        let value = json!({"keytype": keytype, "scheme": scheme, "keyval": {"public": public}});
        serde_json::from_value(value).unwrap()
    }

    fn pem(der: &[u8]) -> String {
        let body = BASE64_STANDARD.encode(der);
        format!("-----BEGIN PUBLIC KEY-----\n{body}\n-----END PUBLIC KEY-----\n")
    }

    fn verifies(key: &Key, signature: &[u8]) {
        let public = key.public().unwrap();
        assert!(public.verifies(MESSAGE, signature), "{key:?}");
        assert!(!public.verifies(b"other", signature));
        assert!(!public.verifies(MESSAGE, b""));
        let mut wrong = signature.to_vec();
        *wrong.last_mut().unwrap() ^= 1;
        assert!(!public.verifies(MESSAGE, &wrong));
    }

    #[test]
    fn the_three_schemes_of_the_specification_verify() {
        let ed25519 = SigningKey::from_bytes(&[7; 32]);
        let public = Key::ed25519(ed25519.verifying_key().as_bytes());
        verifies(&public, &ed25519.sign(MESSAGE).to_bytes());

        let random = SystemRandom::new();
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &random).unwrap();
        let ecdsa =
            EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, pkcs8.as_ref(), &random)
                .unwrap();
        let text = pem(&[&P256_PREFIX, ecdsa.public_key().as_ref()].concat());
        let signature = ecdsa.sign(&random, MESSAGE).unwrap();
        verifies(&key("ecdsa", "ecdsa-sha2-nistp256", &text), signature.as_ref());

        verifies(&key("rsa", "rsassa-pss-sha256", RSA_PUBLIC), RSA_SIGNATURE);
    }

    #[test]
    fn keys_that_cannot_be_trusted_verify_nothing() {
        let good = hex::encode(SigningKey::from_bytes(&[7; 32]).verifying_key().as_bytes());
        let p256 = pem(&[&P256_PREFIX[..], &[4; P256_POINT - 1]].concat());
        let compressed = pem(&[&P256_PREFIX[..], &[2; P256_POINT]].concat());
        let cases = [
            // The neutral element and another point of small order.
            ("ed25519", "ed25519", format!("01{}", "00".repeat(31))),
            ("ed25519", "ed25519", "00".repeat(32)),
            ("ed25519", "ed25519", good[..62].to_owned()),
            ("ed25519", "ed25519", "zz".repeat(32)),
            ("ed25519", "rsassa-pss-sha256", good.clone()),
            ("sphincs", "sphincs", good),
            ("ecdsa", "ecdsa-sha2-nistp256", p256),
            ("ecdsa", "ecdsa-sha2-nistp256", compressed),
            ("ecdsa", "ecdsa-sha2-nistp256", RSA_PUBLIC.to_owned()),
            ("ecdsa", "ecdsa-sha2-nistp384", RSA_PUBLIC.to_owned()),
            ("rsa", "rsa-pkcs1v15-sha256", RSA_PUBLIC.to_owned()),
            ("rsa", "rsassa-pss-sha256", pem(&[0x30, 0x83, 1, 1, 1])),
            ("rsa", "rsassa-pss-sha256", pem(&[0x30])),
            ("rsa", "rsassa-pss-sha256", "-----BEGIN PUBLIC KEY-----".to_owned()),
        ];
        for (keytype, scheme, public) in cases {
            assert_eq!(key(keytype, scheme, &public).public(), None, "{keytype} {public}");
        }
        // Shorter than the specification allows.
        let short = key("rsa", "rsassa-pss-sha256", RSA_1024_PUBLIC).public().unwrap();
        assert!(!short.verifies(MESSAGE, RSA_1024_SIGNATURE));
    }

    #[test]
    fn one_modulus_is_one_holder_whatever_the_exponent() {
        let Some(PublicKey::RsaPss(der)) = key("rsa", "rsassa-pss-sha256", RSA_PUBLIC).public()
        else {
            panic!("the fixture is an RSA key");
        };
        let mut other = der.clone();
        *other.last_mut().unwrap() = 3;
        let (key, other) = (PublicKey::RsaPss(der), PublicKey::RsaPss(other));
        assert_ne!(key, other);
        assert_eq!(key.holder(), other.holder());
        assert_eq!(key.holder().len(), 257);
    }

    #[test]
    fn the_id_covers_members_that_we_do_not_know() {
        let public = "b6e40fb71a6041212a3d84331336ecaa1f48a0c523f80ccc762a034c727606fa";
        let plain = key("ed25519", "ed25519", public);
        // The example of the TUF specification, in its section on targets.json.
        assert_eq!(plain.id(), "f761033eb880143c52358d941d987ca5577675090e2215e856ba0099bc0ce4f6");
        let value = json!({
            "keytype": "ed25519", "scheme": "ed25519", "keyval": {"public": public}, "owner": "me"
        });
        let owned: Key = serde_json::from_value(value.clone()).unwrap();
        assert_ne!(owned.id(), plain.id());
        assert_eq!(owned.public(), plain.public());
        assert_eq!(serde_json::to_value(&owned).unwrap(), value);
    }
}
