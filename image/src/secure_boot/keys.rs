//! The three keys of a platform, made together and kept in one directory.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use disk::guid::Guid;

use super::variable::{Variable, authenticated, signature_lists};
use super::{Error, Signer, certificate};
use crate::digest;

/// Everything that a new machine and whoever signs for it need.
#[derive(Debug)]
pub struct Keys {
    /// Owns the machine: may change the key exchange key.
    pub platform: Signer,
    /// May change the signature keys.
    pub key_exchange: Signer,
    /// Signs boot loader and UKIs.
    pub signatures: Signer,
}

impl Keys {
    /// Makes keys of `bits`, in the name of `owner`.
    pub fn generate(owner: &str, bits: usize, now: Duration) -> Result<Keys, Error> {
        let make = |role: &str| {
            Signer::generate(&format!("{owner} {role}"), bits, now).map_err(|error| match error {
                Error::Name { .. } => Error::Name { name: owner.to_owned() },
                other => other,
            })
        };
        Ok(Keys {
            platform: make("platform key")?,
            key_exchange: make("key exchange key")?,
            signatures: make("signature key")?,
        })
    }

    /// The files of the keys by name, with whether each is secret. Besides its own signature key a
    /// machine will trust the certificates `also` (DER), such as that of a network card's firmware.
    pub fn files(
        &self,
        also: &[Vec<u8>],
        now: Duration,
    ) -> Result<Vec<(String, Vec<u8>, bool)>, Error> {
        let owner = Guid::derive(&self.platform.certificate_der()?, "signature owner");
        let mut files = Vec::new();
        for (variable, own, signer) in [
            (Variable::Platform, &self.platform, &self.platform),
            (Variable::KeyExchange, &self.key_exchange, &self.platform),
            (Variable::Signatures, &self.signatures, &self.key_exchange),
        ] {
            let name = variable.name();
            let mut certificates = vec![own.certificate_der()?];
            if variable == Variable::Signatures {
                certificates.extend_from_slice(also);
            }
            let lists = signature_lists(owner, &certificates);
            let message = authenticated(variable, &lists, signer, now)?;
            files.push((format!("{name}.key"), own.key_pem()?.into_bytes(), true));
            files.push((format!("{name}.crt"), own.certificate_pem()?.into_bytes(), false));
            files.push((format!("{name}.cer"), own.certificate_der()?, false));
            files.push((format!("{name}.esl"), lists, false));
            files.push((format!("{name}.auth"), message, false));
        }
        Ok(files)
    }
}

/// A directory of keys, as far as a build needs them. The private halves of the platform and key
/// exchange keys may, and should, be elsewhere.
#[derive(Debug, Clone)]
pub struct Directory {
    /// Signs boot loader and UKIs.
    pub signer: Signer,
    /// What a machine in setup mode is given, by file name: `PK.auth`, `KEK.auth`, `db.auth`.
    pub enrolment: Vec<(&'static str, Vec<u8>)>,
}

impl Directory {
    /// Writes keys into `directory`, which is made if need be. Nothing is overwritten.
    pub fn write(
        directory: &Path,
        files: &[(String, Vec<u8>, bool)],
    ) -> Result<Vec<PathBuf>, Error> {
        let write = |path: &Path, source| Error::Write { path: path.to_owned(), source };
        fs::create_dir_all(directory).map_err(|source| write(directory, source))?;
        if let Some(path) = files.iter().map(|file| directory.join(&file.0)).find(|p| p.exists()) {
            return Err(Error::Exists { path });
        }
        let mut written = Vec::new();
        for (name, bytes, secret) in files {
            let path = directory.join(name);
            let mode = if *secret { 0o600 } else { 0o644 };
            host::durable::write(&path, bytes, mode)
                .map_err(|error| write(&path, io::Error::other(error)))?;
            written.push(path);
        }
        Ok(written)
    }

    /// Tells these keys from others, without telling them.
    pub fn digest(&self) -> String {
        let mut all = self.signer.certificate_der().unwrap_or_default();
        all.extend(self.enrolment.iter().flat_map(|(_, message)| message));
        digest::of_bytes(&all)
    }

    /// Reads what a build needs of a directory of keys.
    pub fn read(directory: &Path) -> Result<Directory, Error> {
        let read = |name: &str| {
            let path = directory.join(name);
            fs::read(&path).map_err(|source| Error::Read { path, source })
        };
        let text = |name: &str| Ok(String::from_utf8_lossy(&read(name)?).into_owned());
        let (key, certificate) = (text("db.key")?, text("db.crt")?);
        let Some(signer) = Signer::from_pem(&key, &certificate) else {
            let what = "RSA key in PKCS #8 PEM, or db.crt beside it no certificate in PEM";
            return Err(Error::Malformed { path: directory.join("db.key"), what });
        };
        if !signer.is_pair() {
            let (key, certificate) = (directory.join("db.key"), directory.join("db.crt"));
            return Err(Error::Mismatch { key, certificate });
        }
        let mut enrolment = Vec::new();
        for name in ["PK.auth", "KEK.auth", "db.auth"] {
            enrolment.push((name, read(name)?));
        }
        Ok(Directory { signer, enrolment })
    }
}

/// Reads a certificate that machines shall trust as well, PEM or DER.
pub fn read_certificate(path: &Path) -> Result<Vec<u8>, Error> {
    let read = |source| Error::Read { path: path.to_owned(), source };
    let bytes = fs::read(path).map_err(read)?;
    let malformed = || Error::Malformed { path: path.to_owned(), what: "certificate, PEM or DER" };
    certificate::to_der(&bytes).ok_or_else(malformed)
}
