//! HTTP/1.1 as the API needs it: JSON in and out, text as it comes.

use std::convert::Infallible;

use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, Limited, StreamBody};
use hyper::body::{Bytes, Frame, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{Request, Response, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::mpsc;

use crate::api::types::{ErrorBody, ErrorEntity};

/// An answer.
pub(super) type Answer = Response<BoxBody<Bytes, Infallible>>;

/// The largest request, in bytes: a unit file as JSON options takes some four times its size.
const LIMIT: usize = 4 << 20;

/// Something that was not to be.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) code: StatusCode,
    pub(super) message: String,
}

impl Refusal {
    pub(super) fn new(code: StatusCode, message: impl Into<String>) -> Refusal {
        Refusal { code, message: message.into() }
    }

    pub(super) fn bad(message: impl Into<String>) -> Refusal {
        Refusal::new(StatusCode::BAD_REQUEST, message)
    }

    pub(super) fn missing(message: impl Into<String>) -> Refusal {
        Refusal::new(StatusCode::NOT_FOUND, message)
    }

    /// etcd is not to be had, and why. The words are fleet's.
    pub(super) fn without_etcd(reason: &str) -> Refusal {
        let message = format!("fleet server unable to communicate with etcd: {reason}");
        Refusal::new(StatusCode::SERVICE_UNAVAILABLE, message)
    }
}

impl From<cluster::Error> for Refusal {
    fn from(error: cluster::Error) -> Refusal {
        Refusal::without_etcd(&host::error::chain(&error))
    }
}

impl From<Refusal> for Answer {
    fn from(refusal: Refusal) -> Answer {
        let entity = ErrorEntity { code: refusal.code.as_u16(), message: refusal.message };
        json(refusal.code, &ErrorBody { error: entity })
    }
}

/// An answer in JSON.
pub(super) fn json<T: Serialize>(code: StatusCode, value: &T) -> Answer {
    let bytes = serde_json::to_vec(value).unwrap_or_default();
    answer(code, "application/json", Full::new(Bytes::from(bytes)).boxed())
}

/// An answer in text.
pub(super) fn text(text: impl Into<Bytes>) -> Answer {
    answer(StatusCode::OK, "text/plain; charset=utf-8", Full::new(text.into()).boxed())
}

/// An answer without a body.
pub(super) fn empty(code: StatusCode) -> Answer {
    answer(code, "application/json", Full::new(Bytes::new()).boxed())
}

/// An answer that goes on while pieces come.
pub(super) fn stream(pieces: mpsc::Receiver<Bytes>) -> Answer {
    let pieces = futures_util::stream::unfold(pieces, |mut pieces| async move {
        let piece = pieces.recv().await?;
        Some((Ok::<_, Infallible>(Frame::data(piece)), pieces))
    });
    answer(StatusCode::OK, "text/plain; charset=utf-8", BodyExt::boxed(StreamBody::new(pieces)))
}

fn answer(code: StatusCode, kind: &'static str, body: BoxBody<Bytes, Infallible>) -> Answer {
    let mut answer = Response::new(body);
    *answer.status_mut() = code;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    answer
}

/// Reads a request's body as JSON.
pub(super) async fn read<T: DeserializeOwned>(request: Request<Incoming>) -> Result<T, Refusal> {
    let kinds: Vec<&HeaderValue> = request.headers().get_all(CONTENT_TYPE).iter().collect();
    let [kind] = kinds[..] else {
        let message = format!("expected 1 Content-Type, got {}", kinds.len());
        return Err(Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, message));
    };
    let kind = kind.to_str().unwrap_or_default().split(';').next().unwrap_or_default().trim();
    if kind != "application/json" {
        let message = "only acceptable Content-Type is application/json";
        return Err(Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, message));
    }
    let body = Limited::new(request.into_body(), LIMIT).collect().await;
    let bytes = body
        .map_err(|_| {
            Refusal::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                format!("the request has more than {LIMIT} bytes"),
            )
        })?
        .to_bytes();
    serde_json::from_slice(&bytes)
        .map_err(|error| Refusal::bad(format!("unable to decode body: {error}")))
}
