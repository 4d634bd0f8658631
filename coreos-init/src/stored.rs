//! Bytes in JSON that stay readable where they are text.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

/// Bytes: a text as itself, anything else in base64.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Form", into = "Form")]
pub(crate) struct Bytes(Vec<u8>);

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Form {
    Text(String),
    Base64(String),
}

impl Bytes {
    pub(crate) fn new(bytes: &[u8]) -> Bytes {
        Bytes(bytes.to_vec())
    }

    pub(crate) fn to_vec(&self) -> Vec<u8> {
        self.0.clone()
    }
}

impl From<Bytes> for Form {
    fn from(bytes: Bytes) -> Form {
        match String::from_utf8(bytes.0) {
            Ok(text) => Form::Text(text),
            Err(error) => Form::Base64(STANDARD.encode(error.as_bytes())),
        }
    }
}

impl TryFrom<Form> for Bytes {
    type Error = base64::DecodeError;

    fn try_from(form: Form) -> Result<Bytes, base64::DecodeError> {
        Ok(Bytes(match form {
            Form::Text(text) => text.into_bytes(),
            Form::Base64(text) => STANDARD.decode(text)?,
        }))
    }
}

/// Shown as their number: they may be secret.
impl std::fmt::Debug for Bytes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Bytes({})", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_come_back_and_text_can_be_read() {
        for (bytes, form) in [
            (&b""[..], r#"{"text":""}"#),
            (b"a\n", r#"{"text":"a\n"}"#),
            (b"\xff\x00", r#"{"base64":"/wA="}"#),
        ] {
            let text = serde_json::to_string(&Bytes::new(bytes)).unwrap();
            assert_eq!(text, form);
            assert_eq!(serde_json::from_str::<Bytes>(&text).unwrap().to_vec(), bytes);
        }
        assert!(serde_json::from_str::<Bytes>(r#"{"base64":"*"}"#).is_err());
    }
}
