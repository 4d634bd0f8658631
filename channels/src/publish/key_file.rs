//! Keys as files: the public part as `NAME.pub`, the private one as `NAME.key` in PKCS#8, or the
//! command that has it as `NAME.command`. `openssl pkey` reads and writes the same formats.

use std::fmt;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use ed25519_dalek::SigningKey;
use ed25519_dalek::pkcs8::{EncodePrivateKey, KeypairBytes};
use pkcs8::pkcs5::{pbes2, scrypt};
use pkcs8::{EncryptedPrivateKeyInfoRef, LineEnding, PrivateKeyInfoRef, SecretDocument};

/// DER of an Ed25519 public key, up to the key.
const PUBLIC_PREFIX: [u8; 12] =
    [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];
const PUBLIC_LABEL: &str = "PUBLIC KEY";
const PLAIN_LABEL: &str = "PRIVATE KEY";
const ENCRYPTED_LABEL: &str = "ENCRYPTED PRIVATE KEY";
/// Cost of guessing a passphrase: 16 MiB and five passes. The memory is what openssl allows.
const SCRYPT: (u8, u32, u32) = (14, 8, 5);

/// Why a key file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// It is not the PEM file that it should be.
    #[error("not an Ed25519 {0} in PEM")]
    Format(&'static str),
    /// The passphrase is wrong, or the file is damaged.
    #[error("wrong passphrase")]
    Passphrase,
    /// The system has no random numbers.
    #[error("no random numbers: {0}")]
    Random(getrandom::Error),
}

/// The private part of a key, as it is in its file.
#[derive(Clone)]
pub struct PrivateFile(SecretDocument, bool);

impl fmt::Debug for PrivateFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PrivateFile").field("encrypted", &self.1).finish_non_exhaustive()
    }
}

/// Makes a key.
pub fn generate() -> Result<SigningKey, KeyFileError> {
    Ok(SigningKey::from_bytes(&random()?))
}

fn random<const N: usize>() -> Result<[u8; N], KeyFileError> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(KeyFileError::Random)?;
    Ok(bytes)
}

/// The content of a file for a private key, encrypted if there is a passphrase.
pub fn write_private(key: &SigningKey, passphrase: Option<&str>) -> Result<String, KeyFileError> {
    const FORMAT: KeyFileError = KeyFileError::Format(PLAIN_LABEL);
    // Without the public part, which openssl 3.0 does not expect here.
    let pair = KeypairBytes { secret_key: key.to_bytes(), public_key: None };
    let plain = pair.to_pkcs8_der().map_err(|_| FORMAT)?;
    let (document, label) = match passphrase {
        None => (plain, PLAIN_LABEL),
        Some(passphrase) => {
            let info = PrivateKeyInfoRef::try_from(plain.as_bytes()).map_err(|_| FORMAT)?;
            let (log_n, r, p) = SCRYPT;
            let cost = scrypt::Params::new(log_n, r, p).map_err(|_| FORMAT)?;
            let salt: [u8; 16] = random()?;
            let parameters = pbes2::Parameters::generate_scrypt_aes256cbc(cost, &salt, random()?)
                .map_err(|_| FORMAT)?;
            let encrypted = info.encrypt_with_params(parameters, passphrase).map_err(|_| FORMAT)?;
            (encrypted, ENCRYPTED_LABEL)
        }
    };
    let pem = document.to_pem(label, LineEnding::LF).map_err(|_| FORMAT)?;
    Ok(pem.to_string())
}

impl PrivateFile {
    /// Reads the content of a file, without opening what is encrypted.
    pub fn parse(text: &str) -> Result<PrivateFile, KeyFileError> {
        match SecretDocument::from_pem(text.trim_start()) {
            Ok((PLAIN_LABEL, document)) => Ok(PrivateFile(document, false)),
            Ok((ENCRYPTED_LABEL, document)) => Ok(PrivateFile(document, true)),
            _ => Err(KeyFileError::Format("private key")),
        }
    }

    /// Whether a passphrase is needed.
    pub fn is_encrypted(&self) -> bool {
        self.1
    }

    /// The key; the passphrase counts only if the file is encrypted.
    pub fn open(&self, passphrase: &str) -> Result<SigningKey, KeyFileError> {
        let format = |_| KeyFileError::Format("private key");
        let decrypted;
        let document = if self.1 {
            let info = EncryptedPrivateKeyInfoRef::try_from(self.0.as_bytes())
                .map_err(|_| KeyFileError::Format("private key"))?;
            decrypted = info.decrypt(passphrase).map_err(|_| KeyFileError::Passphrase)?;
            &decrypted
        } else {
            &self.0
        };
        let info = PrivateKeyInfoRef::try_from(document.as_bytes())
            .map_err(|_| KeyFileError::Format("private key"))?;
        SigningKey::try_from(info).map_err(format)
    }
}

/// The content of a file for a public key.
pub fn write_public(public: &[u8; 32]) -> String {
    let body = BASE64_STANDARD.encode([PUBLIC_PREFIX.as_slice(), public].concat());
    format!("-----BEGIN {PUBLIC_LABEL}-----\n{body}\n-----END {PUBLIC_LABEL}-----\n")
}

/// Reads the content of a file for a public key.
pub fn read_public(text: &str) -> Result<[u8; 32], KeyFileError> {
    const FORMAT: KeyFileError = KeyFileError::Format("public key");
    let (label, document) = SecretDocument::from_pem(text.trim_start()).map_err(|_| FORMAT)?;
    let key = document.as_bytes().strip_prefix(&PUBLIC_PREFIX).ok_or(FORMAT)?;
    let key: [u8; 32] = key.try_into().map_err(|_| FORMAT)?;
    if label == PUBLIC_LABEL { Ok(key) } else { Err(FORMAT) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_come_back_with_and_without_a_passphrase() {
        let key = generate().unwrap();
        for passphrase in [None, Some("correct horse"), Some("")] {
            let text = write_private(&key, passphrase).unwrap();
            let file = PrivateFile::parse(&text).unwrap();
            assert_eq!(file.is_encrypted(), passphrase.is_some());
            assert_eq!(file.open(passphrase.unwrap_or("ignored")).unwrap(), key);
            if passphrase.is_some() {
                let error = file.open("wrong").unwrap_err().to_string();
                assert_eq!(error, "wrong passphrase");
                assert_ne!(text, write_private(&key, passphrase).unwrap());
            }
        }
        let public = key.verifying_key().to_bytes();
        assert_eq!(read_public(&write_public(&public)).unwrap(), public);
    }

    #[test]
    fn other_files_are_refused() {
        let key = generate().unwrap();
        let private = write_private(&key, None).unwrap();
        let public = write_public(&key.verifying_key().to_bytes());
        for text in ["", "key", &public, &private[..60], &private.replace("PRIVATE", "PUBLIC")] {
            assert!(PrivateFile::parse(text).is_err(), "{text}");
        }
        let rsa = include_str!("../../tests/fixtures/rsa.pub.pem");
        for text in ["", &private, rsa, &public.replace("PUBLIC", "OTHER")] {
            assert!(read_public(text).is_err(), "{text}");
        }
    }

    #[test]
    fn private_keys_are_not_shown() {
        let key = generate().unwrap();
        let text = write_private(&key, None).unwrap();
        let shown = format!("{:?}", PrivateFile::parse(&text).unwrap());
        assert_eq!(shown, "PrivateFile { encrypted: false, .. }");
    }
}
