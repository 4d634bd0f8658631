//! The API: who asks for what.

mod explain;
mod fleet;
mod machines;
mod relayed;
mod rollout;
mod submit;

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::sync::watch;
use tokio::time::timeout;

use super::http::{Answer, Refusal, json, text};
use super::presence::Standing;
use super::run::{Clock, Listeners, RunError, decode, query};
use super::store::Store;
use crate::api::{BASE, PATIENCE};

pub(super) use relayed::local;

/// What every answer needs.
pub(super) struct Context {
    pub(super) store: Store,
    pub(super) machine: String,
    pub(super) page: usize,
    pub(super) standing: watch::Receiver<Standing>,
    pub(super) clock: Clock,
}

/// Answers on every listener, for ever.
pub(super) fn serve(context: &Arc<Context>, listeners: Listeners) -> Result<(), RunError> {
    let listen = |source| RunError::Listen { address: "the socket".to_string(), source };
    for listener in listeners.unix {
        listener.set_nonblocking(true).map_err(listen)?;
        let listener = tokio::net::UnixListener::from_std(listener).map_err(listen)?;
        let context = Arc::clone(context);
        tokio::spawn(async move {
            loop {
                match listener.accept().await {
                    Ok((stream, _)) => {
                        drop(tokio::spawn(connection(TokioIo::new(stream), Arc::clone(&context))));
                    }
                    Err(error) => pause(&error).await,
                }
            }
        });
    }
    for listener in listeners.tcp {
        listener.set_nonblocking(true).map_err(listen)?;
        let listener = tokio::net::TcpListener::from_std(listener).map_err(listen)?;
        let context = Arc::clone(context);
        tokio::spawn(async move {
            loop {
                match listener.accept().await {
                    Ok((stream, _)) => {
                        drop(tokio::spawn(connection(TokioIo::new(stream), Arc::clone(&context))));
                    }
                    Err(error) => pause(&error).await,
                }
            }
        });
    }
    Ok(())
}

/// Out of descriptors, most likely: others may be given back.
pub(super) async fn pause(error: &std::io::Error) {
    log::warn!("a connection cannot be accepted: {error}");
    tokio::time::sleep(Duration::from_millis(200)).await;
}

async fn connection<S>(stream: S, context: Arc<Context>)
where
    S: hyper::rt::Read + hyper::rt::Write + Unpin + Send + 'static,
{
    let service = service_fn(move |request| {
        let context = Arc::clone(&context);
        async move { Ok::<_, Infallible>(route(&context, request).await.unwrap_or_else(Answer::from)) }
    });
    let _ = hyper::server::conn::http1::Builder::new().serve_connection(stream, service).await;
}

async fn route(context: &Context, request: Request<Incoming>) -> Result<Answer, Refusal> {
    let path = request.uri().path().to_string();
    if path == "/metrics" {
        return fleet::metrics(context).await;
    }
    let Some(rest) = path.strip_prefix(BASE) else { return Err(Refusal::missing("")) };
    let parts: Vec<String> = rest.split('/').filter(|part| !part.is_empty()).map(decode).collect();
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    let asked = query(request.uri().query());
    let method = request.method().clone();
    let relayed = matches!(parts[..], ["x", "units", _, "status" | "journal"]);
    let looks = method == Method::GET && !relayed;
    let patience = patience(&request);
    let answer = chosen(context, &method, &parts, &asked, request);
    let Some(limit) = patience.filter(|_| looks) else { return answer.await };
    timeout(limit, answer).await.unwrap_or_else(|_| {
        let reason = format!("it has not answered within {} s", limit.as_secs_f64());
        Err(Refusal::without_etcd(&reason))
    })
}

/// How long who asks may be kept waiting: a little less than it waits, so that it hears why there is
/// no answer.
fn patience(request: &Request<Incoming>) -> Option<Duration> {
    let told = request.headers().get(PATIENCE)?.to_str().ok()?;
    let told = Duration::try_from_secs_f64(told.parse().ok()?).ok()?;
    Some(told / 6 * 5)
}

async fn chosen(
    context: &Context,
    method: &Method,
    parts: &[&str],
    asked: &BTreeMap<String, String>,
    request: Request<Incoming>,
) -> Result<Answer, Refusal> {
    let get = method == Method::GET;
    match parts {
        ["units"] if get => fleet::units(context, asked).await,
        ["units", name] if get => fleet::unit(context, name).await,
        ["units", name] if *method == Method::PUT => submit::put(context, name, request).await,
        ["units", name] if *method == Method::DELETE => submit::destroy(context, name).await,
        ["state"] if get => fleet::states(context, asked).await,
        ["state", name] if get => fleet::state(context, name).await,
        ["machines"] if get => fleet::machines(context, asked).await,
        ["machines"] if *method == Method::PATCH => machines::patch(context, request).await,
        ["discovery"] if get => Ok(text(fleet::DISCOVERY)),
        ["units" | "state" | "machines" | "discovery", ..] => Err(Refusal::new(
            StatusCode::METHOD_NOT_ALLOWED,
            format!("{method} is not supported against this resource"),
        )),
        ["x", rest @ ..] => extra(context, method, rest, asked, request).await,
        _ => Err(Refusal::missing(format!("there is no {}", request.uri().path()))),
    }
}

async fn extra(
    context: &Context,
    method: &Method,
    parts: &[&str],
    asked: &BTreeMap<String, String>,
    request: Request<Incoming>,
) -> Result<Answer, Refusal> {
    let get = method == Method::GET;
    let post = method == Method::POST;
    match parts {
        ["units", name, "why"] if get => {
            Ok(json(StatusCode::OK, &explain::why(context, name).await?))
        }
        ["units", name, "status"] if get => relayed::relay(context, name, "status", asked).await,
        ["units", name, "journal"] if get => relayed::relay(context, name, "journal", asked).await,
        ["plan"] if post => explain::plan(context, request).await,
        ["machines", id] if get => Ok(json(StatusCode::OK, &machines::detail(context, id).await?)),
        ["machines", id, "cordon"] if post => machines::cordon(context, id, request).await,
        ["machines", id, "cordon"] if method == Method::DELETE => {
            machines::uncordon(context, id).await
        }
        ["cluster"] if get => Ok(json(StatusCode::OK, &explain::cluster(context).await?)),
        ["brake"] if method == Method::DELETE => explain::release_brake(context).await,
        ["events"] if get => explain::events(context).await,
        ["rollouts"] if get => rollout::list(context).await,
        ["rollouts", group, verb] if post => rollout::change(context, group, verb).await,
        _ => Err(Refusal::missing(format!("there is no {}", request.uri().path()))),
    }
}
