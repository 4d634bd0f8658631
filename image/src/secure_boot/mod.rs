//! UEFI Secure Boot: keys that a machine's firmware trusts, and what is signed with them.
//!
//! ```text
//! subject + randomness → Keys (PK, KEK, db) ─┬─ key.pem, crt.pem, cer     for whoever signs
//!                                            └─ PK.auth, KEK.auth, db.auth for the firmware
//! EFI program + Signer (db) → digest → SignedData → signed EFI program
//! ```
//!
//! - [`keys`]: the three keys, as files in one directory, and back;
//! - [`certificate`]: self-signed X.509 certificates over RSA keys;
//! - [`cms`]: the `SignedData` that programs and variables carry;
//! - [`authenticode`]: the digest of an EFI program, and signatures in it;
//! - [`variable`]: signature lists and authenticated variables.
//!
//! Follows UEFI 2.10, chapters 8.2 and 32.4, and Microsoft's "Windows Authenticode Portable
//! Executable Signature Format". Signatures are RSASSA-PKCS1-v1_5 with SHA-256, the one kind that
//! every firmware knows; they name no time, so the same program and key give the same bytes.

pub mod authenticode;
pub mod certificate;
mod cms;
pub mod keys;
pub mod variable;

use std::io;
use std::path::PathBuf;

pub use certificate::Signer;
pub use keys::{Directory, Keys};

/// Why there is no key, no signature or no variable.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file of the keys cannot be read.
    #[error("cannot read {path}; make keys with: image keys --output DIR")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A file of the keys cannot be written.
    #[error("cannot write {path}")]
    Write {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Keys are never overwritten: machines may trust them already.
    #[error(
        "{path} is there already; machines may trust these keys, so they are not replaced: \
         choose another directory"
    )]
    Exists {
        /// The file that would be replaced.
        path: PathBuf,
    },
    /// A file is not what its name says.
    #[error("{path} is no {what}")]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What it should be.
        what: &'static str,
    },
    /// A key and its certificate belong to different pairs.
    #[error("{key} is not the key of the certificate {certificate}")]
    Mismatch {
        /// The private key.
        key: PathBuf,
        /// The certificate.
        certificate: PathBuf,
    },
    /// A name that a certificate cannot carry.
    #[error("{name:?} cannot stand in a certificate; use letters, digits, spaces and - _ .")]
    Name {
        /// The name as given.
        name: String,
    },
    /// A key of this length is not made.
    #[error("RSA keys of {bits} bits are not made; firmware takes 2048, and mostly 3072 and 4096")]
    Bits {
        /// The length asked for.
        bits: usize,
    },
    /// The operating system has no randomness, or the key cannot be computed.
    #[error("cannot make an RSA key")]
    Generate(#[source] rsa::Error),
    /// A time that a certificate cannot carry.
    #[error("the clock of this machine says a time that no certificate can carry")]
    Time,
    /// A structure cannot be encoded.
    #[error("cannot encode a certificate or signature")]
    Encode(#[source] der::Error),
    /// A signature cannot be made.
    #[error("cannot sign")]
    Sign(#[source] signature::Error),
    /// A file that should be signed is no EFI program.
    #[error("it cannot be signed")]
    NotPe(#[source] authenticode::PeError),
}
