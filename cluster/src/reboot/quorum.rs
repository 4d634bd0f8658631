//! Whether etcd can do without a member.

use std::fmt;
use std::time::Duration;

use tokio::task::JoinSet;

use crate::client::Client;
use crate::error::Result;
use crate::members::Member;
use crate::settings::Settings;

/// How long a healthy member takes to say so, at most.
const ANSWER: Duration = Duration::from_secs(3);

/// What would be left of etcd without some of its members.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quorum {
    /// Members with a vote.
    pub voters: usize,
    /// Those that would stay, answer and know a leader.
    pub left: usize,
}

impl Quorum {
    /// How many it takes to decide anything.
    pub fn needed(&self) -> usize {
        self.voters / 2 + 1
    }

    /// Whether enough are left. A member that is alone is its own quorum and nobody else depends
    /// on it: it may go.
    pub fn holds(&self) -> bool {
        self.voters <= 1 || self.left >= self.needed()
    }
}

impl fmt::Display for Quorum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { voters, left } = self;
        let needed = self.needed();
        write!(
            f,
            "etcd would be left with {left} healthy of {voters} members, and needs {needed}"
        )?;
        if *voters == 2 {
            write!(f, ": with two members neither can ever be missed, add a third")?;
        }
        Ok(())
    }
}

/// What is left of etcd without the members `gone`.
pub(crate) async fn without(client: &Client, gone: &[u64]) -> Result<Quorum> {
    let voters: Vec<Member> =
        client.members().await?.into_iter().filter(|member| !member.learner).collect();
    let mut answers = JoinSet::new();
    for member in voters.iter().filter(|member| !gone.contains(&member.id)) {
        // One that tells no address is not up.
        let Ok(client) = client.of_member(member, ANSWER) else { continue };
        let id = member.id;
        answers.spawn(async move {
            client.health().await.is_ok_and(|health| health.id == id && health.leader != 0)
        });
    }
    let left = answers.join_all().await.into_iter().filter(|healthy| *healthy).count();
    Ok(Quorum { voters: voters.len(), left })
}

/// The member of etcd that runs on this machine, by asking its own address; none if it is down,
/// for then etcd already does without it.
pub async fn local_member(local: &Settings) -> Option<u64> {
    let settings = local.clone().with_deadline(ANSWER);
    let health = Client::new(settings).ok()?.health().await.ok()?;
    (!health.learner).then_some(health.id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_majority_must_be_left() {
        for (voters, left, holds) in [
            (1, 0, true),
            (2, 1, false),
            (3, 2, true),
            (3, 1, false),
            (4, 3, true),
            (4, 2, false),
            (5, 3, true),
            (5, 2, false),
        ] {
            assert_eq!(Quorum { voters, left }.holds(), holds, "{left} of {voters}");
        }
    }
}
