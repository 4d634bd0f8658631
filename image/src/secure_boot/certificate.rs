//! Self-signed X.509 certificates over RSA keys, and signing with them.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use der::asn1::{OctetString, UtcTime};
use der::{DateTime, Decode, DecodePem, Encode, EncodePem};
use pkcs8::{DecodePrivateKey, EncodePrivateKey, LineEnding};
use rsa::PrivateKey;
use rsa::pkcs1v15::{Signature, SigningKey};
use sha2::{Digest as _, Sha256};
use signature::{Keypair, SignatureEncoding, Signer as _};
use spki::{EncodePublicKey, SubjectPublicKeyInfoOwned, SubjectPublicKeyInfoRef};
use x509_cert::Certificate;
use x509_cert::builder::profile::BuilderProfile;
use x509_cert::builder::{Builder, CertificateBuilder};
use x509_cert::certificate::TbsCertificate;
use x509_cert::ext::pkix::{BasicConstraints, SubjectKeyIdentifier};
use x509_cert::ext::{Extension, ToExtension};
use x509_cert::name::Name;
use x509_cert::serial_number::SerialNumber;
use x509_cert::time::{Time, Validity};

use super::Error;

/// Lengths of keys that are made.
pub const BITS: [usize; 3] = [2048, 3072, 4096];
/// How long a certificate says that it is valid. Firmware has no clock that it trusts and does not
/// look; tools do.
const VALID: Duration = Duration::from_secs(20 * 365 * 24 * 3600);
/// Bytes of a serial number: more than enough to be unique.
const SERIAL: usize = 16;

/// A private key with its certificate.
#[derive(Clone)]
pub struct Signer {
    key: SigningKey<Sha256>,
    certificate: Certificate,
}

impl fmt::Debug for Signer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let subject = self.certificate.tbs_certificate().subject();
        formatter.debug_struct("Signer").field("subject", &subject.to_string()).finish()
    }
}

impl Signer {
    /// Makes a key of `bits` and a certificate for it in the name of `common_name`, valid from
    /// `now`, in time since 1970.
    pub fn generate(common_name: &str, bits: usize, now: Duration) -> Result<Signer, Error> {
        if !BITS.contains(&bits) {
            return Err(Error::Bits { bits });
        }
        let key = PrivateKey::new(&mut getrandom::SysRng, bits).map_err(Error::Generate)?;
        let key = SigningKey::<Sha256>::new(key);
        let certificate = self_signed(&key, common_name, now)?;
        Ok(Signer { key, certificate })
    }

    /// Reads a pair back; none if the two texts are no key and no certificate.
    pub fn from_pem(key: &str, certificate: &str) -> Option<Signer> {
        let key = PrivateKey::from_pkcs8_pem(key).ok()?;
        let certificate = Certificate::from_pem(certificate).ok()?;
        Some(Signer { key: SigningKey::new(key), certificate })
    }

    /// The private key, PKCS #8 in PEM.
    pub fn key_pem(&self) -> Result<String, Error> {
        let pem = self.key.to_pkcs8_pem(LineEnding::LF);
        pem.map(|pem| pem.to_string()).map_err(|_| Error::Encode(der::ErrorKind::Failed.into()))
    }

    /// The certificate.
    pub fn certificate(&self) -> &Certificate {
        &self.certificate
    }

    /// The certificate in PEM.
    pub fn certificate_pem(&self) -> Result<String, Error> {
        self.certificate.to_pem(LineEnding::LF).map_err(Error::Encode)
    }

    /// The certificate in DER, as firmware menus and signature lists take it.
    pub fn certificate_der(&self) -> Result<Vec<u8>, Error> {
        self.certificate.to_der().map_err(Error::Encode)
    }

    /// Whether the certificate is that of the key.
    pub fn is_pair(&self) -> bool {
        let own = self.key.verifying_key().to_public_key_der();
        let named = self.certificate.tbs_certificate().subject_public_key_info().to_der();
        matches!((own, named), (Ok(own), Ok(named)) if own.as_bytes() == named)
    }

    /// Signs `bytes`: RSASSA-PKCS1-v1_5 over their SHA-256.
    pub(super) fn sign(&self, bytes: &[u8]) -> Result<Vec<u8>, Error> {
        let signature: Signature = self.key.try_sign(bytes).map_err(Error::Sign)?;
        Ok(signature.to_vec())
    }
}

/// Reads a certificate, PEM or DER, and returns it in DER.
pub fn to_der(bytes: &[u8]) -> Option<Vec<u8>> {
    let certificate = match std::str::from_utf8(bytes) {
        Ok(text) if text.contains("-----BEGIN") => Certificate::from_pem(text).ok()?,
        _ => Certificate::from_der(bytes).ok()?,
    };
    certificate.to_der().ok()
}

fn self_signed(
    key: &SigningKey<Sha256>,
    common_name: &str,
    now: Duration,
) -> Result<Certificate, Error> {
    let plain = |c: char| c.is_alphanumeric() || " -_.".contains(c);
    let name = || Error::Name { name: common_name.to_owned() };
    if common_name.is_empty() || common_name.len() > 64 || !common_name.chars().all(plain) {
        return Err(name());
    }
    let subject = Name::from_str(&format!("CN={common_name}")).map_err(|_| name())?;
    let public = key.verifying_key().to_public_key_der().map_err(|_| Error::Time)?;
    let info = SubjectPublicKeyInfoOwned::from_der(public.as_bytes()).map_err(Error::Encode)?;
    let mut serial = [0; SERIAL];
    let digest = Sha256::digest(public.as_bytes());
    serial.copy_from_slice(&digest[..SERIAL]);
    // Positive, and none of its bytes a leading zero.
    serial[0] = serial[0] & 0x7f | 0x40;
    let serial = SerialNumber::new(&serial).map_err(Error::Encode)?;
    let validity = Validity::new(time(now)?, time(now + VALID)?);
    let failed = |_| Error::Encode(der::ErrorKind::Failed.into());
    let profile = SelfSigned { subject };
    let builder = CertificateBuilder::new(profile, serial, validity, info).map_err(failed)?;
    builder.build::<_, Signature>(key).map_err(failed)
}

/// X.509 writes times before 2050 in two digits of the year.
fn time(since_1970: Duration) -> Result<Time, Error> {
    let time = DateTime::from_unix_duration(Duration::from_secs(since_1970.as_secs()))
        .map_err(|_| Error::Time)?;
    Ok(match UtcTime::from_date_time(time) {
        Ok(utc) => Time::UtcTime(utc),
        Err(_) => Time::GeneralTime(time.into()),
    })
}

/// A certificate that vouches for itself, as the roots that firmware keeps do.
struct SelfSigned {
    subject: Name,
}

impl BuilderProfile for SelfSigned {
    fn get_issuer(&self, subject: &Name) -> Name {
        subject.clone()
    }

    fn get_subject(&self) -> Name {
        self.subject.clone()
    }

    fn build_extensions(
        &self,
        spk: SubjectPublicKeyInfoRef<'_>,
        _issuer_spk: SubjectPublicKeyInfoRef<'_>,
        tbs: &TbsCertificate,
    ) -> x509_cert::builder::Result<Vec<Extension>> {
        let digest = Sha256::digest(spk.subject_public_key.raw_bytes());
        let identifier = SubjectKeyIdentifier(OctetString::new(&digest[..20])?);
        let constraints = BasicConstraints { ca: true, path_len_constraint: Some(0) };
        Ok(vec![
            identifier.to_extension(tbs.subject(), &[])?,
            constraints.to_extension(tbs.subject(), &[])?,
        ])
    }
}
