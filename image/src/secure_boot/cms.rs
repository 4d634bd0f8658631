//! The `SignedData` of the Cryptographic Message Syntax (RFC 5652) with one signer.

use cms::cert::{CertificateChoices, IssuerAndSerialNumber};
use cms::content_info::{CmsVersion, ContentInfo};
use cms::signed_data::{
    CertificateSet, EncapsulatedContentInfo, SignedData, SignerIdentifier, SignerInfo, SignerInfos,
};
use der::asn1::{Any, ObjectIdentifier, OctetString, SetOfVec};
use der::{Encode, Tag};
use sha2::{Digest as _, Sha256};
use spki::AlgorithmIdentifierOwned;
use x509_cert::attr::Attribute;

use super::{Error, Signer};

const DATA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.7.1");
const SIGNED_DATA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.7.2");
const CONTENT_TYPE: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.3");
const MESSAGE_DIGEST: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.4");
const SHA256: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.1");
const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");

/// Signs `bytes`, which are not part of the result: the bare `SignedData` of UEFI's authenticated
/// variables.
pub(super) fn detached(signer: &Signer, bytes: &[u8]) -> Result<Vec<u8>, Error> {
    let content = EncapsulatedContentInfo { econtent_type: DATA, econtent: None };
    signed_data(signer, content, None, bytes)?.to_der().map_err(Error::Encode)
}

/// Signs `content`, a DER structure of the type `kind` that becomes part of the result: a
/// `ContentInfo`, as Authenticode wants it.
pub(super) fn enclosed(
    signer: &Signer,
    kind: ObjectIdentifier,
    content: &[u8],
) -> Result<Vec<u8>, Error> {
    let content = Any::new(Tag::Sequence, content).map_err(Error::Encode)?;
    // What is digested is the content without its own tag and length.
    let digest = Sha256::digest(content.value());
    let attributes = SetOfVec::try_from(vec![
        attribute(CONTENT_TYPE, Any::encode_from(&kind))?,
        attribute(
            MESSAGE_DIGEST,
            OctetString::new(&digest[..]).and_then(|d| Any::encode_from(&d)),
        )?,
    ])
    .map_err(Error::Encode)?;
    let signed = attributes.to_der().map_err(Error::Encode)?;
    let content = EncapsulatedContentInfo { econtent_type: kind, econtent: Some(content) };
    let data = signed_data(signer, content, Some(attributes), &signed)?;
    let content = Any::encode_from(&data).map_err(Error::Encode)?;
    ContentInfo { content_type: SIGNED_DATA, content }.to_der().map_err(Error::Encode)
}

fn attribute(oid: ObjectIdentifier, value: der::Result<Any>) -> Result<Attribute, Error> {
    let values = value.and_then(|value| SetOfVec::try_from(vec![value]));
    Ok(Attribute { oid, values: values.map_err(Error::Encode)? })
}

fn signed_data(
    signer: &Signer,
    content: EncapsulatedContentInfo,
    attributes: Option<SetOfVec<Attribute>>,
    signed: &[u8],
) -> Result<SignedData, Error> {
    let tbs = signer.certificate().tbs_certificate();
    let name = IssuerAndSerialNumber {
        issuer: tbs.issuer().clone(),
        serial_number: tbs.serial_number().clone(),
    };
    let info = SignerInfo {
        version: CmsVersion::V1,
        sid: SignerIdentifier::IssuerAndSerialNumber(name),
        digest_alg: algorithm(SHA256),
        signed_attrs: attributes,
        signature_algorithm: algorithm(RSA),
        signature: OctetString::new(signer.sign(signed)?).map_err(Error::Encode)?,
        unsigned_attrs: None,
    };
    let certificate = CertificateChoices::Certificate(signer.certificate().clone());
    Ok(SignedData {
        version: CmsVersion::V1,
        digest_algorithms: SetOfVec::try_from(vec![algorithm(SHA256)]).map_err(Error::Encode)?,
        encap_content_info: content,
        certificates: Some(CertificateSet::try_from(vec![certificate]).map_err(Error::Encode)?),
        crls: None,
        signer_infos: SignerInfos::try_from(vec![info]).map_err(Error::Encode)?,
    })
}

fn algorithm(oid: ObjectIdentifier) -> AlgorithmIdentifierOwned {
    AlgorithmIdentifierOwned { oid, parameters: Some(Any::null()) }
}
