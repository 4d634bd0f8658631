//! The FleetLock protocol: machines of other systems take turns with ours.
//!
//! `POST /v1/pre-reboot` asks for a slot, `POST /v1/steady-state` gives it back; 200 is yes. A
//! client that is told to wait keeps its place in the queue if it asks again within a quarter of
//! an hour, as those of Fedora CoreOS do. What it holds is a slot like another: it counts, it is
//! shown, it is released by hand.
//!
//! Follows Zincati's description of the protocol, version 1.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use hyper::{Method, StatusCode};
use serde::Deserialize;
use serde_json::json;
use tokio::net::TcpListener;

use crate::client::Client;
use crate::http::{self, Limits, Request, Response, answer};
use crate::reboot::{self, Outcome, RebootError, RebootLock};

/// How long a place in the queue is kept for who does not ask again.
const PLACE: Duration = Duration::from_secs(15 * 60);
/// What stands for the boot of a machine that does not tell its own.
const BOOT: &str = "fleetlock";

/// How the service is run.
#[derive(Clone, Debug)]
pub struct Options {
    /// How long after the grant a client should be back, before it is shown as stale.
    pub hold: Duration,
}

/// The body of a request.
#[derive(Debug, Deserialize)]
struct Body {
    client_params: Params,
}

#[derive(Debug, Deserialize)]
struct Params {
    id: String,
    group: String,
}

#[derive(Debug)]
struct Service {
    client: Client,
    options: Options,
    now: fn() -> SystemTime,
}

/// Serves until the listener fails.
pub async fn serve(
    client: Client,
    options: Options,
    listener: TcpListener,
    now: fn() -> SystemTime,
) -> std::io::Error {
    let service = Arc::new(Service { client, options, now });
    let limits = Limits { connections: 1024, connections_each: 64 };
    http::serve(listener, limits, move |request| {
        let service = Arc::clone(&service);
        async move { service.handle(&request).await }
    })
    .await
}

impl Service {
    async fn handle(&self, request: &Request) -> Response {
        let reboot = match &*request.path {
            "/v1/pre-reboot" => true,
            "/v1/steady-state" => false,
            _ => return failure(StatusCode::NOT_FOUND, "not_found", "no such page"),
        };
        if request.method != Method::POST {
            let text = "FleetLock requests are POST";
            return failure(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", text);
        }
        let marked = request.headers.get("fleet-lock-protocol");
        if marked.is_none_or(|value| value.as_bytes() != b"true") {
            let text = "the header `fleet-lock-protocol: true` is missing";
            return failure(StatusCode::BAD_REQUEST, "invalid_client_params", text);
        }
        let params = match serde_json::from_slice::<Body>(&request.body) {
            Ok(body) => body.client_params,
            Err(error) => {
                let text = error.to_string();
                return failure(StatusCode::BAD_REQUEST, "invalid_client_params", &text);
            }
        };
        let result = match reboot {
            true => self.lock(&params).await,
            false => self.unlock(&params).await,
        };
        match result {
            Ok(response) => response,
            Err(error @ RebootError::Name { .. }) => {
                let text = error.to_string();
                failure(StatusCode::BAD_REQUEST, "invalid_client_identity", &text)
            }
            Err(error @ RebootError::Duplicate { .. }) => {
                failure(StatusCode::CONFLICT, "failed_lock", &error.to_string())
            }
            Err(error) => {
                log::warn!("{}: {error}", params.id);
                failure(StatusCode::SERVICE_UNAVAILABLE, "failed_lock", &error.to_string())
            }
        }
    }

    async fn lock(&self, params: &Params) -> reboot::Result<Response> {
        let lock = RebootLock::new(self.client.clone(), &params.group)?;
        let request = reboot::Request {
            machine: params.id.clone(),
            boot_id: BOOT.to_owned(),
            version: None,
            member: None,
            hold: self.options.hold,
            token: None,
        };
        match lock.ask(&request, PLACE, (self.now)()).await? {
            Outcome::Granted(_) => {
                log::info!("{} of group {} may reboot", params.id, params.group);
                Ok(answer(StatusCode::OK, "application/json", "{}\n"))
            }
            Outcome::Waiting(obstacles) => {
                let reasons: Vec<String> = obstacles.iter().map(ToString::to_string).collect();
                Ok(failure(StatusCode::CONFLICT, "failed_lock", &reasons.join("; ")))
            }
        }
    }

    async fn unlock(&self, params: &Params) -> reboot::Result<Response> {
        let lock = RebootLock::new(self.client.clone(), &params.group)?;
        reboot::check_name("machine", &params.id)?;
        let status = lock.status().await?;
        if let Some(held) = status.held_by(&params.id) {
            if held.holder.boot_id != BOOT {
                let text = "the slot is held by a machine that does not speak FleetLock";
                return Ok(failure(StatusCode::CONFLICT, "failed_lock", text));
            }
            if let Some(hold) = lock.held(&params.id, held.token).await? {
                match hold.release().await {
                    Ok(()) => log::info!("{} of group {} is back", params.id, params.group),
                    // Somebody else released it in this moment.
                    Err(RebootError::NotHeld { .. }) => {}
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(answer(StatusCode::OK, "application/json", "{}\n"))
    }
}

fn failure(status: StatusCode, kind: &str, value: &str) -> Response {
    answer(status, "application/json", format!("{}\n", json!({"kind": kind, "value": value})))
}
