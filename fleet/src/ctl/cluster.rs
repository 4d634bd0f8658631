//! The cluster as a command sees it: a client, the tunnel to it, and who its machines are.

use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::ops::Deref;
use std::time::Duration;

use super::arguments::Global;
use super::error::{CtlError, other};
use super::ssh::Tunnel;
use crate::api::types::{Machine, Unit};
use crate::api::{Client, Endpoint};
use crate::unit::{Requirements, SECTION};

/// The characters of a machine's id that people see.
const SHORT_ID: usize = 8;

/// A client, and what was asked already.
pub(super) struct Cluster {
    client: Client,
    machines: OnceCell<BTreeMap<String, Machine>>,
    /// Ends with the command.
    _tunnel: Option<Tunnel>,
}

impl Deref for Cluster {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.client
    }
}

impl Cluster {
    /// The daemon that the flags name.
    pub(super) fn open(global: &Global) -> Result<Cluster, CtlError> {
        let mut endpoints = global.endpoint.split(',');
        let first = endpoints.next().unwrap_or_default();
        if endpoints.next().is_some() {
            log::warn!("only the first endpoint is used: {first}");
        }
        let timeout = seconds("--request-timeout", global.request_timeout)?;
        let endpoint = Endpoint::parse(first)?;
        let (endpoint, tunnel) = match &global.tunnel {
            Some(_) => Tunnel::open(global, &endpoint).map(|(local, t)| (local, Some(t)))?,
            None => (endpoint, None),
        };
        Ok(Cluster {
            client: Client::new(endpoint, timeout),
            machines: OnceCell::new(),
            _tunnel: tunnel,
        })
    }

    /// `113f16a7.../172.17.8.103`, or as much of it as is known.
    pub(super) fn legend(&self, machine: &str, full: bool) -> String {
        let machines = self.machines.get_or_init(|| {
            let machines = self.client.machines().unwrap_or_default();
            machines.into_iter().map(|machine| (machine.id.clone(), machine)).collect()
        });
        let id = short(machine, full);
        match machines.get(machine).map(|machine| machine.primary_ip.as_str()) {
            Some(ip) if !ip.is_empty() => format!("{id}/{ip}"),
            _ => id,
        }
    }

    /// The one machine whose id begins so.
    pub(super) fn machine_by_prefix(&self, prefix: &str) -> Result<Machine, CtlError> {
        let mut fitting: Vec<Machine> = self.client.machines()?;
        fitting.retain(|machine| machine.id.starts_with(prefix));
        match fitting.pop() {
            Some(machine) if fitting.is_empty() => Ok(machine),
            Some(_) => Err(other(format!("more than one machine's id begins with {prefix}"))),
            None => Err(other(format!("no machine's id begins with {prefix}"))),
        }
    }
}

/// `113f16a7...`
pub(super) fn short(machine: &str, full: bool) -> String {
    match machine.get(..SHORT_ID) {
        Some(beginning) if !full => format!("{beginning}..."),
        _ => machine.to_string(),
    }
}

/// Whether a unit runs on every machine.
pub(super) fn is_global(unit: &Unit) -> bool {
    let section = unit.options.iter().filter(|option| option.section == SECTION);
    let pairs: Vec<_> = section.map(|option| (option.name.clone(), option.value.clone())).collect();
    Requirements::of_pairs(&unit.name, &pairs).global
}

/// A number of seconds from a flag.
pub(super) fn seconds(flag: &str, value: f64) -> Result<Duration, CtlError> {
    Duration::try_from_secs_f64(value)
        .ok()
        .filter(|time| !time.is_zero())
        .ok_or_else(|| other(format!("{flag}: {value} is not a number of seconds above 0")))
}
