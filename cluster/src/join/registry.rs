//! A discovery service, as its client.

use ring::digest;
use serde_json::Value;

use super::intent::{Intent, Named, Way, named};
use super::web::{Answer, Web};
use crate::settings::Tls;

/// What a discovery service knows of a cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Registry {
    /// For how many members it is.
    pub size: usize,
    /// Who has registered, in the order in which they came, each with all its URLs.
    pub entries: Vec<Vec<Named>>,
    /// Whether the cluster has once formed.
    pub formed: bool,
}

impl Registry {
    /// Those who found the cluster.
    pub fn founders(&self) -> &[Vec<Named>] {
        &self.entries[..self.entries.len().min(self.size)]
    }

    /// Whether as many have registered as it is for.
    pub fn is_full(&self) -> bool {
        self.entries.len() >= self.size
    }
}

/// Reads the cluster's token.
pub(super) fn read(intent: &Intent) -> Result<Registry, String> {
    let Way::Discovery(url) = &intent.way else { return Err("no discovery".to_owned()) };
    let web = Web::new(&Tls::default())?;
    let ask = |path: &str| {
        let answer = web.get(&format!("{url}{path}"));
        answer.map_err(|why| format!("the discovery service at {url} does not answer: {why}"))
    };
    let size = ask("/_config/size")?;
    if size.status == 404 {
        return Err(format!(
            "the discovery service knows no cluster {url}: make one with /new?size=3"
        ));
    }
    let size = json(url, &size)?["node"]["value"].as_str().and_then(|size| size.parse().ok());
    let Some(size) = size.filter(|size| *size > 0) else {
        return Err(format!("the cluster {url} has no size"));
    };
    let list = json(url, &ask("")?)?;
    let mut entries: Vec<(u64, Vec<Named>)> = Vec::new();
    for node in list["node"]["nodes"].as_array().into_iter().flatten() {
        let key = node["key"].as_str().unwrap_or_default();
        if key.rsplit('/').next().is_some_and(|name| name.starts_with('_')) {
            continue;
        }
        let value = node["value"].as_str().unwrap_or_default();
        let Some(named) = named(value) else {
            return Err(format!("the cluster {url} has a member that is none: {key} = {value:?}"));
        };
        entries.push((node["createdIndex"].as_u64().unwrap_or(0), named));
    }
    entries.sort_by_key(|(index, _)| *index);
    let formed = ask("/_config/formed")?.status == 200;
    Ok(Registry { size, entries: entries.into_iter().map(|(_, named)| named).collect(), formed })
}

/// Registers this machine. That it is registered already is no error.
pub(super) fn register(intent: &Intent) -> Result<(), String> {
    let Way::Discovery(url) = &intent.way else { return Ok(()) };
    let pairs: Vec<String> =
        intent.peer_urls.iter().map(|peer| format!("{}={peer}", intent.name)).collect();
    let id = member_id(&intent.peer_urls, &intent.token);
    let web = Web::new(&Tls::default())?;
    let answer = web.put(&format!("{url}/{id:x}?prevExist=false"), &pairs.join(","))?;
    match answer.status {
        200 | 201 | 412 => Ok(()),
        _ => Err(refused(url, &answer)),
    }
}

/// Says that the cluster exists. A service that does not take it only remembers less.
pub(super) fn formed(intent: &Intent) {
    let Way::Discovery(url) = &intent.way else { return };
    let put = Web::new(&Tls::default())
        .and_then(|web| web.put(&format!("{url}/_config/formed?prevExist=false"), "true"));
    match put {
        Ok(answer) if matches!(answer.status, 200 | 201 | 412) => {}
        Ok(answer) => log::info!("{}", refused(url, &answer)),
        Err(why) => log::info!("the discovery service at {url} does not answer: {why}"),
    }
}

fn json(url: &str, answer: &Answer) -> Result<Value, String> {
    if answer.status != 200 {
        return Err(refused(url, answer));
    }
    serde_json::from_slice(&answer.body)
        .map_err(|error| format!("{url} is no cluster of a discovery service: {error}"))
}

fn refused(url: &str, answer: &Answer) -> String {
    let text: String = String::from_utf8_lossy(&answer.body).trim().chars().take(200).collect();
    format!("the discovery service at {url} answers {}: {text}", answer.status)
}

/// The number that etcd gives a member: so one that registers by itself, without this program,
/// has the same key.
pub(super) fn member_id(peer_urls: &[String], token: &str) -> u64 {
    let mut urls = peer_urls.to_vec();
    urls.sort();
    let text = urls.concat() + token;
    let hash = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, text.as_bytes());
    let mut first = [0; 8];
    first.copy_from_slice(&hash.as_ref()[..8]);
    u64::from_be_bytes(first)
}
