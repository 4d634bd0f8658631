//! The little HTTP that joining takes: one question, one short answer, no patience.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ureq::Agent;
use ureq::tls::{Certificate, ClientCert, PemItem, PrivateKey, RootCerts, TlsConfig};

use crate::settings::Tls;

/// How long a question may take.
const ANSWER: Duration = Duration::from_secs(3);
/// The longest answer, in bytes.
const LONGEST: u64 = 4 << 20;

/// Somebody who asks.
#[derive(Debug)]
pub(super) struct Web {
    agent: Agent,
}

/// What was answered.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) body: Vec<u8>,
}

impl Web {
    /// Trusts whom `tls` says, else whom the system trusts, and shows what `tls` has.
    pub(super) fn new(tls: &Tls) -> Result<Self, String> {
        let roots = match &tls.authority {
            Some(path) => certificates(path)?,
            None => certificates(Path::new(host::http::SYSTEM_ROOTS)).unwrap_or_default(),
        };
        let shown = match &tls.identity {
            Some(identity) => {
                let key = key(&identity.key)?;
                let certificates = certificates(&identity.certificate)?;
                Some(ClientCert::new_with_certs(&certificates, key))
            }
            None => None,
        };
        let tls = TlsConfig::builder()
            .root_certs(RootCerts::new_with_certs(&roots))
            .client_cert(shown)
            .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .build();
        let agent = Agent::config_builder()
            .timeout_global(Some(ANSWER))
            .http_status_as_error(false)
            .max_redirects(3)
            .tls_config(tls)
            .build()
            .new_agent();
        Ok(Self { agent })
    }

    pub(super) fn get(&self, url: &str) -> Result<Answer, String> {
        self.agent.get(url).call().map_err(|error| error.to_string()).and_then(read)
    }

    /// Puts a form with one field, `value`.
    pub(super) fn put(&self, url: &str, value: &str) -> Result<Answer, String> {
        let put = self.agent.put(url).send_form([("value", value)]);
        put.map_err(|error| error.to_string()).and_then(read)
    }
}

fn read(mut answer: ureq::http::Response<ureq::Body>) -> Result<Answer, String> {
    let status = answer.status().as_u16();
    let body = answer.body_mut().with_config().limit(LONGEST).read_to_vec();
    Ok(Answer { status, body: body.map_err(|error| error.to_string())? })
}

fn pem(path: &Path) -> Result<Vec<u8>, String> {
    fs::read(path).map_err(|error| format!("cannot read {}: {error}", path.display()))
}

fn certificates(path: &Path) -> Result<Vec<Certificate<'static>>, String> {
    let certificates: Vec<_> = ureq::tls::parse_pem(&pem(path)?)
        .filter_map(|item| match item {
            Ok(PemItem::Certificate(certificate)) => Some(certificate),
            _ => None,
        })
        .collect();
    match certificates.is_empty() {
        true => Err(format!("{} has no certificate in PEM", path.display())),
        false => Ok(certificates),
    }
}

fn key(path: &Path) -> Result<PrivateKey<'static>, String> {
    PrivateKey::from_pem(&pem(path)?).map_err(|error| format!("{}: {error}", path.display()))
}
