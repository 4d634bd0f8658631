//! A small HTTP/1.1 server with a limit on everything that a stranger can use up.

use std::collections::HashMap;
use std::convert::Infallible;
use std::io;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_TYPE, HOST};
use hyper::service::service_fn;
use hyper::{Method, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use percent_encoding::percent_decode_str;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

/// How long a client may take for the head of its request, and then for its body.
const HEAD: Duration = Duration::from_secs(10);
/// The largest body, in bytes.
const BODY: usize = 16 << 10;
/// The pause after a connection could not be taken, for want of descriptors mostly.
const PAUSE: Duration = Duration::from_millis(100);

/// What one server takes.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections at a time.
    pub connections: usize,
    /// Connections at a time of one address.
    pub connections_each: usize,
}

/// A request, read whole.
#[derive(Debug)]
pub struct Request {
    /// The method.
    pub method: Method,
    /// The path as it was sent.
    pub path: String,
    /// The fields of the query and, for a form, of the body.
    pub fields: HashMap<String, String>,
    /// The body.
    pub body: Bytes,
    /// Its header, for what few look at.
    pub headers: hyper::HeaderMap,
    /// Who sent it.
    pub from: IpAddr,
}

impl Request {
    /// The host and port that the client thinks it talks to.
    pub fn host(&self) -> Option<&str> {
        self.headers.get(HOST).and_then(|host| host.to_str().ok())
    }
}

/// An answer.
pub type Response = hyper::Response<Full<Bytes>>;

/// An answer of `text`.
pub fn answer(status: StatusCode, kind: &'static str, text: impl Into<Bytes>) -> Response {
    let mut response = Response::new(Full::new(text.into()));
    *response.status_mut() = status;
    let kind = hyper::header::HeaderValue::from_static(kind);
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}

/// Serves until the listener fails for good.
pub async fn serve<H, Answer>(listener: TcpListener, limits: Limits, handler: H) -> io::Error
where
    H: Fn(Request) -> Answer + Clone + Send + Sync + 'static,
    Answer: Future<Output = Response> + Send + 'static,
{
    let free = Arc::new(Semaphore::new(limits.connections));
    let each: Arc<Mutex<HashMap<IpAddr, usize>>> = Arc::default();
    loop {
        let Ok(permit) = Arc::clone(&free).acquire_owned().await else {
            return io::Error::other("the server has ended");
        };
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            // What the other side did, and what will pass.
            Err(error) => {
                log::debug!("a connection was not taken: {error}");
                sleep(PAUSE).await;
                continue;
            }
        };
        let from = peer.ip().to_canonical();
        let Some(place) = Place::take(&each, from, limits.connections_each) else {
            log::debug!("{from} has too many connections");
            continue;
        };
        let handler = handler.clone();
        tokio::spawn(async move {
            let _held = (permit, place);
            let service = service_fn(|request| {
                let handler = handler.clone();
                async move { Ok::<_, Infallible>(handle(request, from, handler).await) }
            });
            let served = hyper::server::conn::http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEAD)
                .serve_connection(TokioIo::new(stream), service)
                .await;
            if let Err(error) = served {
                log::debug!("{from}: {error}");
            }
        });
    }
}

/// A connection, counted for its address.
struct Place {
    each: Arc<Mutex<HashMap<IpAddr, usize>>>,
    from: IpAddr,
}

impl Place {
    fn take(each: &Arc<Mutex<HashMap<IpAddr, usize>>>, from: IpAddr, most: usize) -> Option<Self> {
        let mut counts = each.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(from).or_default();
        if *count >= most {
            return None;
        }
        *count += 1;
        Some(Self { each: Arc::clone(each), from })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self.each.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&self.from) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.from);
            }
        }
    }
}

async fn handle<H, Answer>(request: hyper::Request<Incoming>, from: IpAddr, handler: H) -> Response
where
    H: Fn(Request) -> Answer,
    Answer: Future<Output = Response>,
{
    let (head, body) = request.into_parts();
    let body = match timeout(HEAD, Limited::new(body, BODY).collect()).await {
        Ok(Ok(body)) => body.to_bytes(),
        Ok(Err(_)) => {
            return answer(StatusCode::PAYLOAD_TOO_LARGE, "text/plain", "too large\n");
        }
        Err(_) => return answer(StatusCode::REQUEST_TIMEOUT, "text/plain", "too slow\n"),
    };
    let mut fields = HashMap::new();
    let form = head
        .headers
        .get(CONTENT_TYPE)
        .is_some_and(|kind| kind.as_bytes().starts_with(b"application/x-www-form-urlencoded"));
    read_fields(head.uri.query().unwrap_or_default(), &mut fields);
    if form {
        read_fields(&String::from_utf8_lossy(&body), &mut fields);
    }
    let path = head.uri.path().to_owned();
    handler(Request { method: head.method, path, fields, body, headers: head.headers, from }).await
}

/// `a=b&c=d`, as forms and queries are written.
fn read_fields(text: &str, fields: &mut HashMap<String, String>) {
    let plain =
        |text: &str| percent_decode_str(&text.replace('+', " ")).decode_utf8_lossy().into_owned();
    for part in text.split('&').filter(|part| !part.is_empty()) {
        let (name, value) = part.split_once('=').unwrap_or((part, ""));
        fields.entry(plain(name)).or_insert_with(|| plain(value));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_decoded_and_the_first_counts() {
        let mut fields = HashMap::new();
        read_fields("value=n1%3Dhttp%3A%2F%2F10.0.0.1%3A2380&a=b+c&value=x&empty&=", &mut fields);
        assert_eq!(fields["value"], "n1=http://10.0.0.1:2380");
        assert_eq!(fields["a"], "b c");
        assert_eq!(fields["empty"], "");
    }
}
