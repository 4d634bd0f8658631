//! Who etcd consists of.

use std::time::Duration;

use etcd_client::{MemberAddOptions, ResponseHeader};

use crate::client::{Client, Kind};
use crate::error::{Error, Result};
use crate::settings::Settings;

/// The oldest version of etcd that is talked to: learners, and comparisons of ranges.
const OLDEST: (u32, u32) = (3, 4);

/// A member as etcd lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its number.
    pub id: u64,
    /// Its name; empty until it has started for the first time.
    pub name: String,
    /// Where other members find it.
    pub peer_urls: Vec<String>,
    /// Where clients find it; empty until it has started for the first time.
    pub client_urls: Vec<String>,
    /// Whether it has no vote yet.
    pub learner: bool,
}

/// What a member says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    /// Its number.
    pub id: u64,
    /// Its version of etcd.
    pub version: String,
    /// The leader that it knows; 0 is none.
    pub leader: u64,
    /// How far its log goes.
    pub raft_index: u64,
    /// Whether it has no vote yet.
    pub learner: bool,
    /// The size of its store on disk, in bytes.
    pub size: u64,
    /// Alarms: a store that is full or damaged.
    pub errors: Vec<String>,
}

impl Client {
    /// All members, ordered by number.
    ///
    /// # Errors
    /// Everything but [`Error::Uncertain`].
    pub async fn members(&self) -> Result<Vec<Member>> {
        let answer = self
            .call(Kind::Read, |client| {
                let mut cluster = client.cluster_client();
                async move { cluster.member_list().await }
            })
            .await?;
        let mut members: Vec<Member> = answer.members().iter().map(Member::from).collect();
        members.sort_by_key(|member| member.id);
        Ok(members)
    }

    /// Learns from etcd which members there are, so that all of them can be asked when those that
    /// were given are no more. Returns those of [`Client::endpoints`] that are members' now.
    ///
    /// # Errors
    /// As of [`Client::members`].
    pub async fn refresh(&self) -> Result<Vec<String>> {
        let members = self.members().await?;
        let voters = members.into_iter().filter(|member| !member.learner);
        let told: Vec<String> = voters.flat_map(|member| member.client_urls).collect();
        self.learn(&told);
        Ok(self.endpoints().into_iter().filter(|url| told.contains(url)).collect())
    }

    /// Adds a member that has no vote until it is promoted, and returns its number.
    ///
    /// # Errors
    /// Any; [`Error::Refused`] if there is another without vote, or one with this URL.
    pub async fn add_learner(&self, peer_urls: &[String]) -> Result<u64> {
        let answer = self
            .call(Kind::Change, |client| {
                let mut cluster = client.cluster_client();
                let options = MemberAddOptions::new().with_is_learner();
                let urls = peer_urls.to_vec();
                async move { cluster.member_add(urls, Some(options)).await }
            })
            .await?;
        match answer.member() {
            Some(member) => Ok(member.id()),
            None => Err(Error::Malformed {
                key: "the answer to adding a member".to_owned(),
                reason: "it names no member".to_owned(),
            }),
        }
    }

    /// Gives a member its vote.
    ///
    /// # Errors
    /// Any; [`Error::Refused`] while it has not caught up.
    pub async fn promote(&self, id: u64) -> Result<()> {
        self.call(Kind::Change, |client| {
            let mut cluster = client.cluster_client();
            async move { cluster.member_promote(id).await }
        })
        .await
        .map(drop)
    }

    /// Takes a member out.
    ///
    /// # Errors
    /// Any; [`Error::Refused`] if there is no such member, or too few would be left.
    pub async fn remove_member(&self, id: u64) -> Result<()> {
        self.call(Kind::Change, |client| {
            let mut cluster = client.cluster_client();
            async move { cluster.member_remove(id).await }
        })
        .await
        .map(drop)
    }

    /// What the member that answers first says of itself.
    ///
    /// # Errors
    /// Everything but [`Error::Uncertain`]; [`Error::Version`] if it is too old.
    pub async fn health(&self) -> Result<Health> {
        let status = self
            .call(Kind::Read, |client| {
                let mut maintenance = client.maintenance_client();
                async move { maintenance.status().await }
            })
            .await?;
        check_version(status.version())?;
        Ok(Health {
            id: status.header().map_or(0, ResponseHeader::member_id),
            version: status.version().to_owned(),
            leader: status.leader(),
            raft_index: status.raft_index(),
            learner: status.is_learner(),
            size: u64::try_from(status.db_size()).unwrap_or(0),
            errors: status.errors().to_vec(),
        })
    }

    /// A client of one member alone, with the same certificates.
    ///
    /// # Errors
    /// [`Error::Settings`] if the member tells no URL, or one that cannot be used.
    pub fn of_member(&self, member: &Member, deadline: Duration) -> Result<Client> {
        let endpoints = member.client_urls.clone();
        Client::new(Settings { endpoints, deadline, ..self.settings().clone() })
    }
}

impl From<&etcd_client::Member> for Member {
    fn from(member: &etcd_client::Member) -> Self {
        Self {
            id: member.id(),
            name: member.name().to_owned(),
            peer_urls: member.peer_urls().to_vec(),
            client_urls: member.client_urls().to_vec(),
            learner: member.is_learner(),
        }
    }
}

/// Whether this version of etcd is one that we can talk to.
pub(crate) fn check_version(version: &str) -> Result<()> {
    let mut numbers = version.split('.').map(|part| part.parse::<u32>().ok());
    match (numbers.next().flatten(), numbers.next().flatten()) {
        (Some(major), Some(minor)) if (major, minor) >= OLDEST => Ok(()),
        _ => Err(Error::Version { version: version.to_owned() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_as_numbers() {
        for version in ["3.4.0", "3.4.23", "3.5.16", "3.10.0", "4.0.0", "3.6.0-rc.1"] {
            assert!(check_version(version).is_ok(), "{version}");
        }
        for version in ["3.3.25", "2.3.8", "0.4.9", "", "x"] {
            assert!(check_version(version).is_err(), "{version}");
        }
    }
}
