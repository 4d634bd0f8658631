//! Leases: kept, doubtful, lost.

use std::time::Duration;

use cluster::testing::{Cluster, debian13};
use cluster::{LeaseState, Txn};
use tokio::time::{sleep, timeout};

use crate::server::{LIMIT, client, each, run};

const SHORT: Duration = Duration::from_secs(2);

#[test]
fn a_lease_is_kept_beyond_its_time_and_its_keys_go_when_it_is_revoked() {
    each(|client, prefix| async move {
        let key = format!("{prefix}a");
        let lease = client.lease(SHORT).await.unwrap();
        client.commit(Txn::new().put_leased(&key, "", lease.id())).await.unwrap();
        sleep(SHORT * 2).await;
        assert!(matches!(lease.state(), LeaseState::Kept { .. }));
        assert_eq!(client.get(&key).await.unwrap().unwrap().lease, Some(lease.id()));
        lease.revoke().await.unwrap();
        assert_eq!(client.get(&key).await.unwrap(), None);
    });
}

#[test]
fn a_lease_that_is_taken_away_is_known_to_be_lost() {
    each(|client, _| async move {
        let lease = client.lease(SHORT).await.unwrap();
        let same = client.lease_again(lease.id(), SHORT).await.unwrap();
        assert_eq!(same.id(), lease.id());
        same.revoke().await.unwrap();
        timeout(LIMIT, lease.lost()).await.unwrap();
        assert_eq!(lease.state(), LeaseState::Lost);
        let again = client.lease_again(lease.id(), SHORT).await.unwrap();
        assert_eq!(again.id(), lease.id());
        assert!(matches!(again.state(), LeaseState::Kept { .. }));
        again.revoke().await.unwrap();
    });
}

#[test]
fn a_lease_is_doubtful_while_etcd_is_away_and_kept_again_when_it_is_back() {
    let mut server = Cluster::single(&debian13());
    run(async {
        let client = client(server.settings());
        let mut lease = client.lease(SHORT).await.unwrap();
        client.commit(Txn::new().put_leased("/a", "", lease.id())).await.unwrap();
        server.members[0].kill();
        let doubtful = timeout(LIMIT, lease.changed());
        assert!(matches!(doubtful.await.unwrap(), LeaseState::Doubtful { .. }));
        sleep(SHORT).await;
        assert!(matches!(lease.state(), LeaseState::Doubtful { .. }), "etcd has not said so");
        server.members[0].restart();
        timeout(LIMIT, async {
            while !matches!(lease.changed().await, LeaseState::Kept { .. }) {}
        })
        .await
        .unwrap();
        assert!(client.get("/a").await.unwrap().is_some());
    });
}
