//! Facts → the next step. Touches nothing.

use std::collections::BTreeMap;
use std::fmt;

use super::facts::{Facts, Peer};
use super::intent::{Intent, Named, Way};

/// What to do next. After a step that is neither of [`Step::Start`], [`Step::Client`] and
/// [`Step::Refuse`], everything is looked at again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Start etcd, with these changes to its environment. An empty value is none.
    Start {
        /// By variable.
        overrides: BTreeMap<&'static str, String>,
    },
    /// Start no etcd: the cluster has its members, and this machine is a client of them.
    Client {
        /// Where they are.
        endpoints: Vec<String>,
    },
    /// Register with the discovery service.
    Register,
    /// Take out the member whose place this is, and come back as one without a vote.
    Replace {
        /// Its number.
        id: u64,
        /// Its name.
        name: String,
    },
    /// Come back as a member without a vote.
    Add,
    /// Put aside data that no cluster knows any more.
    PutAside,
    /// Nothing can be done now.
    Wait {
        /// For what.
        why: String,
    },
    /// Nothing can be done at all without a person.
    Refuse {
        /// Why.
        why: String,
    },
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Start { overrides } => {
                let state = overrides.get("ETCD_INITIAL_CLUSTER_STATE").map(String::as_str);
                let members = overrides.get("ETCD_INITIAL_CLUSTER").map_or("", String::as_str);
                match state {
                    Some("new") => write!(f, "founding the cluster {members}"),
                    Some(_) => write!(f, "joining the cluster {members}"),
                    None => write!(f, "starting etcd"),
                }
            }
            Self::Client { endpoints } => write!(
                f,
                "the cluster has its members: this machine is a client of {}, without an etcd of \
                 its own",
                endpoints.join(",")
            ),
            Self::Register => write!(f, "registering with the discovery service"),
            Self::Replace { id, name } => write!(
                f,
                "this machine has lost the data of member {name} ({id:x}): taking that out of \
                 the cluster and joining anew"
            ),
            Self::Add => write!(f, "joining the cluster again"),
            Self::PutAside => {
                write!(f, "the others have removed this member: putting its data aside")
            }
            Self::Wait { why } => write!(f, "waiting: {why}"),
            Self::Refuse { why } => write!(f, "{why}"),
        }
    }
}

/// The next step of a machine that is to be `intent`.
pub fn decide(intent: &Intent, facts: &Facts) -> Step {
    if facts.has_data {
        return with_data(intent, facts);
    }
    match &intent.way {
        Way::Alone => start(),
        Way::Discovery(_) => discovered(intent, facts),
        Way::Static { members, existing } => listed(intent, facts, members, *existing),
        Way::Dns { domain, .. } => named_by_dns(intent, facts, domain),
    }
}

/// Data are what etcd goes on with, unless the others have removed this member.
fn with_data(intent: &Intent, facts: &Facts) -> Step {
    match &facts.peers {
        Some(peers) if own(intent, peers).is_none() => Step::PutAside,
        _ => start(),
    }
}

fn discovered(intent: &Intent, facts: &Facts) -> Step {
    let registry = match &facts.registry {
        Some(Ok(registry)) => registry,
        Some(Err(why)) => return wait(why),
        None => return wait("the discovery service has not been asked"),
    };
    let is_ours = |named: &[Named]| named.iter().any(|n| intent.is_own(&n.name, &[&n.url]));
    let registered = registry.entries.iter().position(|named| is_ours(named));
    let founder = registered.is_some_and(|place| place < registry.size);
    let member = facts.peers.as_ref().is_some_and(|peers| own(intent, peers).is_some());
    if !founder && !member {
        return match registered.is_some() || registry.is_full() {
            true => client(facts),
            false => Step::Register,
        };
    }
    let others = registry.founders().iter().find(|named| is_ours(named)).and_then(|named| {
        named.iter().find(|n| n.name == intent.name && !intent.is_own_url(&[&n.url]))
    });
    if let Some(other) = others.filter(|_| facts.peers.is_none() && !registry.formed) {
        return Step::Refuse {
            why: format!(
                "another machine has registered under our name {}, at {}: names and machine ids \
                 must differ",
                other.name, other.url
            ),
        };
    }
    if !registry.is_full() {
        let (here, size) = (registry.entries.len(), registry.size);
        return wait(&format!("{here} of {size} members have registered"));
    }
    let founders: Vec<Named> = registry.founders().concat();
    match &facts.peers {
        Some(peers) if registry.formed => among(intent, facts, peers, None, registry.size),
        Some(peers) => among(intent, facts, peers, Some(&founders), registry.size),
        None if registry.formed => wait(
            "no member of the cluster answers, and without them a machine that has lost its data \
             cannot come back",
        ),
        None => found(&founders),
    }
}

fn listed(intent: &Intent, facts: &Facts, members: &[Named], existing: bool) -> Step {
    let size = members.iter().map(|m| &m.name).collect::<std::collections::BTreeSet<_>>().len();
    let in_list = members.iter().any(|named| intent.is_own(&named.name, &[&named.url]));
    match &facts.peers {
        Some(peers) if in_list || own(intent, peers).is_some() => {
            among(intent, facts, peers, Some(members), size)
        }
        None if in_list && existing => wait("no member of the existing cluster answers"),
        None if in_list => found(members),
        _ => client(facts),
    }
}

fn named_by_dns(intent: &Intent, facts: &Facts, domain: &str) -> Step {
    let urls = match &facts.dns {
        Some(Ok(urls)) => urls,
        Some(Err(why)) => return wait(why),
        None => return wait("the DNS has not been asked"),
    };
    let in_list = intent.is_own_url(urls);
    match &facts.peers {
        Some(peers) if in_list || own(intent, peers).is_some() => {
            among(intent, facts, peers, Some(&[]), urls.len())
        }
        // etcd asks the same records and makes the list of them.
        None if in_list => start(),
        Some(_) => client(facts),
        None => wait(&format!("no member that {domain} names answers, and this machine is none")),
    }
}

/// A machine without data that has a place in a cluster that answers. `founders` are those who
/// found it, if it may be that it is just being founded.
fn among(
    intent: &Intent,
    facts: &Facts,
    peers: &[Peer],
    founders: Option<&[Named]>,
    size: usize,
) -> Step {
    let Some(place) = own(intent, peers) else {
        return if peers.len() < size { Step::Add } else { client(facts) };
    };
    // It was added and has never started.
    if place.name.is_empty() {
        return existing(intent, peers);
    }
    // A founder that has never started; or the one who tells it is just starting itself, and has
    // not read its own log to the end.
    if let (true, Some(founders)) = (place.client_urls.is_empty(), founders) {
        return if founders.is_empty() { start() } else { found(founders) };
    }
    if facts.twin_answers {
        return Step::Refuse {
            why: format!(
                "member {} ({:x}) at {} answers, and is not this machine: names, addresses and \
                 machine ids must differ",
                place.name,
                place.id,
                place.peer_urls.join(",")
            ),
        };
    }
    Step::Replace { id: place.id, name: place.name.clone() }
}

/// Our place in a cluster: by address, else by name.
fn own<'p>(intent: &Intent, peers: &'p [Peer]) -> Option<&'p Peer> {
    let by_url = peers.iter().find(|peer| intent.is_own_url(&peer.peer_urls));
    by_url.or_else(|| peers.iter().find(|peer| peer.name == intent.name))
}

fn client(facts: &Facts) -> Step {
    let peers = facts.peers.iter().flatten();
    let endpoints: Vec<String> = peers.flat_map(|peer| peer.client_urls.clone()).collect();
    match endpoints.is_empty() {
        true => wait("the cluster has its members, and none of them answers"),
        false => Step::Client { endpoints },
    }
}

fn start() -> Step {
    Step::Start { overrides: BTreeMap::new() }
}

fn wait(why: &str) -> Step {
    Step::Wait { why: why.to_owned() }
}

fn found(members: &[Named]) -> Step {
    let members: Vec<String> = members.iter().map(|m| format!("{}={}", m.name, m.url)).collect();
    overriding(members.join(","), "new")
}

/// etcd wants every member of a cluster that it joins, itself by the name that it will have.
fn existing(intent: &Intent, peers: &[Peer]) -> Step {
    let members = peers.iter().flat_map(|peer| {
        let ours = intent.is_own_url(&peer.peer_urls);
        let name = if ours { &intent.name } else { &peer.name };
        peer.peer_urls.iter().map(move |url| format!("{name}={url}"))
    });
    overriding(members.collect::<Vec<_>>().join(","), "existing")
}

fn overriding(members: String, state: &str) -> Step {
    Step::Start {
        overrides: BTreeMap::from([
            ("ETCD_DISCOVERY", String::new()),
            ("ETCD_DISCOVERY_SRV", String::new()),
            ("ETCD_INITIAL_CLUSTER", members),
            ("ETCD_INITIAL_CLUSTER_STATE", state.to_owned()),
        ]),
    }
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
