//! Daemons asking each other for what only the other machine knows: status and journal.
//!
//! Whoever asks shows the cluster's secret, which is in etcd: who may read there may also read
//! journals. Nothing else can be asked here, and nothing can be changed.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use cluster::Txn;
use http_body_util::{BodyExt, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::header::{AUTHORIZATION, HOST};
use hyper::service::service_fn;
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use super::api::{Context, local, pause};
use super::http::{Answer, Refusal, stream};
use super::run::{RunError, decode, query};
use super::settings::Settings;
use crate::model::Key;

/// How long a connection to another daemon may take.
const CONNECT: Duration = Duration::from_secs(5);

/// A listening relay.
pub(super) struct Relay {
    listener: TcpListener,
    /// Where others find it; empty if this machine does not know.
    pub(super) address: String,
}

/// Listens where the settings say, if they do.
pub(super) async fn listen(settings: &Settings) -> Result<Option<Relay>, RunError> {
    if settings.relay_listen.is_empty() {
        return Ok(None);
    }
    let failed = |source| RunError::Listen { address: settings.relay_listen.clone(), source };
    let listener = TcpListener::bind(&settings.relay_listen).await.map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    let host = if bound.ip().is_unspecified() {
        settings.public_ip.clone()
    } else {
        bound.ip().to_string()
    };
    let address = match host.as_str() {
        "" => {
            log::warn!("other machines cannot find the relay: set public_ip");
            String::new()
        }
        host if host.contains(':') => format!("[{host}]:{}", bound.port()),
        host => format!("{host}:{}", bound.port()),
    };
    Ok(Some(Relay { listener, address }))
}

impl Relay {
    /// Answers, for ever.
    pub(super) fn serve(self, context: &Arc<Context>) {
        let context = Arc::clone(context);
        tokio::spawn(async move {
            loop {
                match self.listener.accept().await {
                    Ok((stream, _)) => {
                        let context = Arc::clone(&context);
                        tokio::spawn(async move {
                            let service = service_fn(move |request| {
                                let context = Arc::clone(&context);
                                async move {
                                    let answer = answer(&context, &request).await;
                                    Ok::<_, Infallible>(answer.unwrap_or_else(Answer::from))
                                }
                            });
                            let http = hyper::server::conn::http1::Builder::new();
                            let _ = http.serve_connection(TokioIo::new(stream), service).await;
                        });
                    }
                    Err(error) => pause(&error).await,
                }
            }
        });
    }
}

async fn answer(context: &Context, request: &Request<Incoming>) -> Result<Answer, Refusal> {
    let secret = secret(context).await?;
    let shown = request
        .headers()
        .get(AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    if !same(shown.as_bytes(), format!("Bearer {secret}").as_bytes()) {
        return Err(Refusal::new(
            StatusCode::UNAUTHORIZED,
            "who asks does not know this cluster's secret",
        ));
    }
    let parts: Vec<String> = request.uri().path().split('/').skip(1).map(decode).collect();
    let asked = query(request.uri().query());
    // Else one machine's journal would pass for another's when both tell one address.
    if asked.get("machine").is_some_and(|machine| *machine != context.machine) {
        return Err(Refusal::new(
            StatusCode::MISDIRECTED_REQUEST,
            format!("machine {} answers there: look at public_ip of both", context.machine),
        ));
    }
    match &parts[..] {
        [what, unit] => local(unit, what, &asked).await,
        _ => Err(Refusal::missing("")),
    }
}

/// Whether two texts are the same, in a time that does not tell where they differ.
fn same(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |differ, (a, b)| differ | (a ^ b)) == 0
}

/// The cluster's secret, made by whoever needs it first.
async fn secret(context: &Context) -> Result<String, Refusal> {
    let path = context.store.path(&Key::RelaySecret);
    if let Some(entry) = context.store.client.get(&path).await? {
        return Ok(entry.text().into_owned());
    }
    let made = random()?;
    let txn = Txn::new().absent(&path).put(&path, made.as_str()).or_get(&path);
    let committed = context.store.client.commit(txn).await?;
    match committed.found.first().and_then(|found| found.first()) {
        Some(entry) => Ok(entry.text().into_owned()),
        None => Ok(made),
    }
}

fn random() -> Result<String, Refusal> {
    let mut bytes = [0; 32];
    let mut source =
        std::fs::File::open("/dev/urandom").map_err(|error| Refusal::bad(error.to_string()))?;
    std::io::Read::read_exact(&mut source, &mut bytes)
        .map_err(|error| Refusal::bad(error.to_string()))?;
    Ok(hex::encode(bytes))
}

/// Asks another daemon, and passes on what it says while it says it.
pub(super) async fn ask(context: &Context, address: &str, path: &str) -> Result<Answer, Refusal> {
    let unreachable = |reason: String| {
        Refusal::new(
            StatusCode::BAD_GATEWAY,
            format!("the machine's fleetd at {address} cannot be asked: {reason}"),
        )
    };
    let secret = secret(context).await?;
    let stream_to = tokio::time::timeout(CONNECT, TcpStream::connect(address))
        .await
        .map_err(|_| unreachable("it does not answer".to_string()))?
        .map_err(|error| unreachable(error.to_string()))?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream_to))
        .await
        .map_err(|error| unreachable(error.to_string()))?;
    tokio::spawn(connection);
    let request = Request::get(path)
        .header(HOST, address)
        .header(AUTHORIZATION, format!("Bearer {secret}"))
        .body(Empty::<Bytes>::new())
        .map_err(|error| unreachable(error.to_string()))?;
    let answer =
        sender.send_request(request).await.map_err(|error| unreachable(error.to_string()))?;
    let code = answer.status();
    let mut body = answer.into_body();
    let (pieces, passed) = mpsc::channel(16);
    tokio::spawn(async move {
        while let Some(Ok(frame)) = body.frame().await {
            let Ok(data) = frame.into_data() else { continue };
            if pieces.send(data).await.is_err() {
                break;
            }
        }
    });
    let mut answer = stream(passed);
    *answer.status_mut() = code;
    Ok(answer)
}
