//! `ETCD_*`, as etcd reads them → what the machine is to be.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::settings::{Identity, Settings, Tls};

/// A member by its name and one of its URLs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// Its name.
    pub name: String,
    /// Where other members find it.
    pub url: String,
}

/// How a machine finds the others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Way {
    /// It is alone.
    Alone,
    /// By a discovery service: the URL of its cluster.
    Discovery(String),
    /// By a list.
    Static {
        /// Its members.
        members: Vec<Named>,
        /// Whether the list is of a cluster that exists, as `ETCD_INITIAL_CLUSTER_STATE` says.
        existing: bool,
    },
    /// By the DNS: a domain with records for etcd's peers.
    Dns {
        /// The domain.
        domain: String,
        /// `ETCD_DISCOVERY_SRV_NAME`.
        service: String,
    },
}

/// What a machine is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Intent {
    /// The member's name.
    pub name: String,
    /// Where its data are.
    pub data: PathBuf,
    /// Where its log is, if not with its data.
    pub wal: Option<PathBuf>,
    /// Where other members are to find it.
    pub peer_urls: Vec<String>,
    /// Where clients are to find it.
    pub client_urls: Vec<String>,
    /// How it finds the others.
    pub way: Way,
    /// What member numbers are made with.
    pub token: String,
    /// Certificates of its client side.
    pub clients: Tls,
    /// Certificates of its peer side.
    pub peers: Tls,
}

impl Intent {
    /// Reads etcd's variables; those that do not matter here are not looked at.
    ///
    /// # Errors
    /// What etcd would not start with either.
    pub fn read(environment: &BTreeMap<String, String>) -> Result<Self, String> {
        let get = |name: &str| environment.get(name).filter(|value| !value.is_empty());
        let or = |name: &str, other: &str| get(name).map_or(other, String::as_str).to_owned();
        let list = |name: &str, other: &str| {
            let urls = or(name, other);
            urls.split(',').map(|url| url.trim().trim_end_matches('/').to_owned()).collect()
        };
        let name = or("ETCD_NAME", "default");
        let data = or("ETCD_DATA_DIR", &format!("{name}.etcd"));
        let ways = ["ETCD_DISCOVERY", "ETCD_DISCOVERY_SRV", "ETCD_INITIAL_CLUSTER"];
        let given: Vec<&str> = ways.into_iter().filter(|way| get(way).is_some()).collect();
        if let [first, second, ..] = given[..] {
            return Err(format!("etcd finds its members by {first} or by {second}, not by both"));
        }
        let peer_urls = list("ETCD_INITIAL_ADVERTISE_PEER_URLS", "http://localhost:2380");
        let way = if let Some(url) = get("ETCD_DISCOVERY") {
            Way::Discovery(url.trim_end_matches('/').to_owned())
        } else if let Some(domain) = get("ETCD_DISCOVERY_SRV") {
            let service = or("ETCD_DISCOVERY_SRV_NAME", "");
            Way::Dns { domain: domain.clone(), service }
        } else if let Some(members) = get("ETCD_INITIAL_CLUSTER") {
            let members = named(members).ok_or_else(|| {
                format!("ETCD_INITIAL_CLUSTER is not NAME=URL,NAME=URL: `{members}`")
            })?;
            let existing = or("ETCD_INITIAL_CLUSTER_STATE", "new") == "existing";
            match members.iter().any(|member| member.name != name) {
                true => Way::Static { members, existing },
                false => Way::Alone,
            }
        } else {
            Way::Alone
        };
        let tls = |authority: &str, certificate: &str, key: &str| Tls {
            authority: get(authority).map(PathBuf::from),
            identity: match (get(certificate), get(key)) {
                (Some(certificate), Some(key)) => {
                    Some(Identity { certificate: certificate.into(), key: key.into() })
                }
                _ => None,
            },
        };
        Ok(Self {
            name,
            data: data.into(),
            wal: get("ETCD_WAL_DIR").map(PathBuf::from),
            peer_urls,
            client_urls: list("ETCD_ADVERTISE_CLIENT_URLS", "http://localhost:2379"),
            way,
            token: or("ETCD_INITIAL_CLUSTER_TOKEN", "etcd-cluster"),
            clients: tls("ETCD_TRUSTED_CA_FILE", "ETCD_CERT_FILE", "ETCD_KEY_FILE"),
            peers: tls("ETCD_PEER_TRUSTED_CA_FILE", "ETCD_PEER_CERT_FILE", "ETCD_PEER_KEY_FILE"),
        })
    }

    /// Whether a member of this name, or at these addresses, is this machine's.
    pub(super) fn is_own<U: AsRef<str>>(&self, name: &str, urls: &[U]) -> bool {
        name == self.name || self.is_own_url(urls)
    }

    pub(super) fn is_own_url<U: AsRef<str>>(&self, urls: &[U]) -> bool {
        urls.iter().any(|url| self.peer_urls.iter().any(|own| own == url.as_ref()))
    }

    /// Settings for clients of `endpoints`, with this member's certificates.
    pub(super) fn settings(&self, endpoints: Vec<String>) -> Settings {
        let settings = Settings::new(endpoints);
        match self.client_tls() {
            Some(tls) => settings.with_tls(tls),
            None => settings,
        }
    }

    /// This machine's own etcd, by the addresses that others know.
    pub(super) fn local_settings(&self) -> Settings {
        self.settings(self.client_urls.clone())
    }

    /// What clients need to trust and to show, if the client side is secured.
    pub(super) fn client_tls(&self) -> Option<Tls> {
        let secure = self.clients.authority.is_some() || self.clients.identity.is_some();
        secure.then(|| self.clients.clone())
    }
}

/// `NAME=URL,NAME=URL`.
pub(super) fn named(list: &str) -> Option<Vec<Named>> {
    list.split(',')
        .map(|part| {
            let (name, url) = part.trim().split_once('=')?;
            let url = url.trim_end_matches('/');
            let sound =
                !name.is_empty() && (url.starts_with("http://") || url.starts_with("https://"));
            sound.then(|| Named { name: name.to_owned(), url: url.to_owned() })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Result<Intent, String> {
        let environment =
            pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Intent::read(&environment)
    }

    #[test]
    fn the_way_to_the_others_is_read_as_etcd_reads_it() {
        let way = |pairs: &[(&str, &str)]| read(pairs).map(|intent| intent.way);
        assert_eq!(way(&[]), Ok(Way::Alone));
        assert_eq!(way(&[("ETCD_DISCOVERY", "")]), Ok(Way::Alone));
        assert_eq!(
            way(&[("ETCD_DISCOVERY", "http://d/abc/")]),
            Ok(Way::Discovery("http://d/abc".to_owned()))
        );
        let alone = [("ETCD_NAME", "a"), ("ETCD_INITIAL_CLUSTER", "a=http://a:2380")];
        assert_eq!(way(&alone), Ok(Way::Alone));
        let members = named("a=http://a:2380,b=http://b:2380").unwrap();
        assert_eq!(
            way(&[("ETCD_INITIAL_CLUSTER", "a=http://a:2380, b=http://b:2380/")]),
            Ok(Way::Static { members, existing: false })
        );
        for wrong in ["a", "=http://a", "a=b:1", "a=http://a,,"] {
            assert!(way(&[("ETCD_INITIAL_CLUSTER", wrong)]).is_err(), "{wrong}");
        }
        let both = [("ETCD_DISCOVERY", "http://d/a"), ("ETCD_DISCOVERY_SRV", "example.org")];
        assert!(way(&both).unwrap_err().contains("not by both"));
    }

    #[test]
    fn what_is_not_said_is_what_etcd_takes() {
        let intent = read(&[("ETCD_NAME", "n1")]).unwrap();
        assert_eq!(intent.data, PathBuf::from("n1.etcd"));
        assert_eq!(intent.peer_urls, ["http://localhost:2380"]);
        assert_eq!(intent.client_tls(), None);
    }
}
