//! Leave to reboot: whom a machine asks before it does.
//!
//! The one seam between the strategies: nobody, a FleetLock server, or the slots that a group has
//! in etcd.

use channels::time::Time;
use serde_json::json;
use sha2::{Digest, Sha256};

use host::http::{Client, Fetch};

/// What was answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// The machine may reboot now.
    Granted,
    /// Not now, and why.
    Wait(String),
}

/// Somebody who lets machines reboot, a few at a time.
pub trait RebootGate {
    /// Asks for leave. Asking again while it is held is granted again.
    fn ask(&mut self, now: Time) -> Result<Answer, String>;
    /// Gives it back. Giving back what is not held is no fault.
    fn release(&mut self) -> Result<(), String>;
    /// What makes the leave this machine's after its reboot, if that is needed.
    fn token(&self) -> Option<i64> {
        None
    }
}

/// Nobody needs to be asked.
#[derive(Debug)]
pub struct Open;

impl RebootGate for Open {
    fn ask(&mut self, _now: Time) -> Result<Answer, String> {
        Ok(Answer::Granted)
    }

    fn release(&mut self) -> Result<(), String> {
        Ok(())
    }
}

/// A server of the FleetLock protocol, version 1.
#[derive(Debug)]
pub struct FleetLock {
    client: Client,
    base: String,
    body: Vec<u8>,
}

impl FleetLock {
    /// A client of the server at `base`. The machine is known there by a hash of its id, so that
    /// the id itself stays at home.
    pub fn new(base: &str, group: &str, machine_id: &str) -> Result<FleetLock, String> {
        let valid = |c: char| c.is_ascii_alphanumeric() || ".-".contains(c);
        if group.is_empty() || !group.chars().all(valid) {
            return Err(format!("`{group}` cannot be the name of a FleetLock group"));
        }
        let how = Fetch { attempts: 1, ..Fetch::default() };
        let client = Client::new(base, how).map_err(|error| host::error::chain(&error))?;
        let hash = Sha256::digest(format!("fleet-lock {machine_id}"));
        let id = hex::encode(&hash[..16]);
        let body = json!({"client_params": {"id": id, "group": group}});
        let base = base.trim_end_matches('/').to_owned();
        Ok(FleetLock { client, base, body: body.to_string().into_bytes() })
    }

    /// Posts to an end point; none if it was granted, else what the server said.
    fn post(&self, path: &str) -> Result<Option<String>, String> {
        let url = format!("{}/v1/{path}", self.base);
        let headers = [("fleet-lock-protocol", "true"), ("content-type", "application/json")];
        let answer = self
            .client
            .post(&url, &headers, &self.body)
            .map_err(|error| host::error::chain(&error))?;
        if answer.status == 200 {
            return Ok(None);
        }
        let said: serde_json::Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        let word = |name: &str| said[name].as_str().map(printable);
        let kind = word("kind").unwrap_or_else(|| format!("status {}", answer.status));
        Ok(Some(match word("value") {
            Some(value) => format!("{kind}: {value}"),
            None => kind,
        }))
    }
}

/// What a server said, so that it may be shown.
fn printable(text: &str) -> String {
    text.chars().filter(|char| !char.is_control()).take(200).collect()
}

impl RebootGate for FleetLock {
    fn ask(&mut self, _now: Time) -> Result<Answer, String> {
        Ok(match self.post("pre-reboot")? {
            None => Answer::Granted,
            Some(reason) => Answer::Wait(reason),
        })
    }

    fn release(&mut self) -> Result<(), String> {
        match self.post("steady-state")? {
            None => Ok(()),
            Some(reason) => Err(reason),
        }
    }
}
