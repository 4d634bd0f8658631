//! What is asked of the world before anything is decided.

use std::fs;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::Deserializer;

use super::intent::{Intent, Way};
use super::registry::{self, Registry};
use super::web::Web;
use crate::client::Client;
use crate::members::Member;

/// A member as another one lists it to its peers.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Peer {
    /// Its number.
    pub id: u64,
    /// Its name; empty if it was added and has not started yet.
    #[serde(default)]
    pub name: String,
    /// Where other members find it.
    #[serde(rename = "peerURLs", default, deserialize_with = "or_none")]
    pub peer_urls: Vec<String>,
    /// Where clients find it; empty until it has started for the first time.
    #[serde(rename = "clientURLs", default, deserialize_with = "or_none")]
    pub client_urls: Vec<String>,
    /// Whether it has no vote yet.
    #[serde(rename = "isLearner", default)]
    pub learner: bool,
}

/// Everything that a decision depends on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// Whether there are data of a member.
    pub has_data: bool,
    /// What the discovery service knows, or why it does not say.
    pub registry: Option<Result<Registry, String>>,
    /// URLs of the peers that the DNS names, or why it does not.
    pub dns: Option<Result<Vec<String>, String>>,
    /// The members, as one of them lists them; none if none answers.
    pub peers: Option<Vec<Peer>>,
    /// Whether a member with our name or address answers, though none of ours is running.
    pub twin_answers: bool,
}

/// Asks for everything.
pub(super) async fn gather(intent: &Intent) -> Facts {
    let has_data = has_data(intent);
    let registry = match &intent.way {
        // With data there is nothing that it could say; and it need not be there any more.
        Way::Discovery(_) if !has_data => Some(registry::read(intent)),
        _ => None,
    };
    let dns = match &intent.way {
        Way::Dns { domain, service } => {
            let found = super::dns::peers(domain, service).await;
            let ours = |urls: Vec<String>| -> Vec<String> {
                urls.into_iter().map(|url| as_ours(intent, url)).collect()
            };
            Some(found.map(ours))
        }
        _ => None,
    };
    let mut urls = Vec::new();
    if let Some(Ok(registry)) = &registry {
        urls.extend(registry.entries.iter().flatten().map(|named| named.url.clone()));
    }
    if let Some(Ok(found)) = &dns {
        urls.extend(found.iter().cloned());
    }
    if let Way::Static { members, .. } = &intent.way {
        urls.extend(members.iter().map(|member| member.url.clone()));
    }
    let web = match Web::new(&intent.peers) {
        Ok(web) => web,
        Err(why) => {
            return Facts { has_data, registry: Some(Err(why)), ..Facts::default() };
        }
    };
    let others: Vec<&String> = urls.iter().filter(|url| !intent.is_own_url(&[url])).collect();
    let peers = others.iter().find_map(|url| peers_of(&web, url));
    let twin = peers.iter().flatten().find(|peer| intent.is_own(&peer.name, &peer.peer_urls));
    let twin_answers = !has_data
        && twin.is_some_and(|twin| twin.peer_urls.iter().any(|url| peers_of(&web, url).is_some()));
    Facts { has_data, registry, dns, peers, twin_answers }
}

/// A peer's URL, in our own spelling if it is ours: the DNS has names where we have addresses.
fn as_ours(intent: &Intent, url: String) -> String {
    let addresses = |url: &str| -> Vec<SocketAddr> {
        let host = url.split_once("://").map_or(url, |(_, host)| host);
        host.to_socket_addrs().map(Iterator::collect).unwrap_or_default()
    };
    let theirs = addresses(&url);
    let same = |own: &&String| addresses(own).iter().any(|address| theirs.contains(address));
    intent.peer_urls.iter().find(same).cloned().unwrap_or(url)
}

/// The list of members that the member at `url` gives its peers.
fn peers_of(web: &Web, url: &str) -> Option<Vec<Peer>> {
    let answer = web.get(&format!("{url}/members")).ok()?;
    let peers: Vec<Peer> = serde_json::from_slice(&answer.body).ok()?;
    (answer.status == 200 && !peers.is_empty()).then_some(peers)
}

/// The members, as this machine's own etcd lists them to its peers: one without a vote does not
/// tell its clients.
pub(super) async fn members(intent: &Intent) -> Vec<Member> {
    let listed = Web::new(&intent.peers)
        .ok()
        .and_then(|web| intent.peer_urls.iter().find_map(|url| peers_of(&web, url)));
    if let Some(peers) = listed {
        return peers.into_iter().map(Member::from).collect();
    }
    // Its peer side may not be reached from here.
    match Client::new(intent.local_settings()) {
        Ok(client) => client.members().await.unwrap_or_default(),
        Err(_) => Vec::new(),
    }
}

impl From<Peer> for Member {
    fn from(peer: Peer) -> Self {
        let Peer { id, name, peer_urls, client_urls, learner } = peer;
        Self { id, name, peer_urls, client_urls, learner }
    }
}

/// As etcd itself decides it: by its log.
fn has_data(intent: &Intent) -> bool {
    let log = intent.wal.clone().unwrap_or_else(|| log_folder(&intent.data));
    let entries = fs::read_dir(log).into_iter().flatten().flatten();
    entries.into_iter().any(|entry| entry.file_name().to_string_lossy().ends_with(".wal"))
}

fn log_folder(data: &Path) -> PathBuf {
    data.join("member/wal")
}

/// Go writes an empty list as `null`.
fn or_none<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or_default())
}
