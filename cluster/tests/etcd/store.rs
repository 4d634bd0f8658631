//! Reading, writing, and writing only if nothing changed.

use cluster::{Error, Txn};

use crate::server::each;

#[test]
fn what_is_put_is_there_until_it_is_deleted() {
    each(|client, prefix| async move {
        let key = format!("{prefix}key");
        assert_eq!(client.get(&key).await.unwrap(), None);
        let first = client.put(&key, "one").await.unwrap();
        let second = client.put(&key, "two").await.unwrap();
        let entry = client.get(&key).await.unwrap().unwrap();
        assert_eq!((&*entry.key, &*entry.text()), (&*key, "two"));
        assert_eq!((entry.create_revision, entry.mod_revision), (first, second));
        assert_eq!(entry.lease, None);
        client.delete(&key).await.unwrap();
        assert_eq!(client.get(&key).await.unwrap(), None);
    });
}

#[test]
fn a_transaction_is_done_whole_or_not_at_all() {
    each(|client, prefix| async move {
        let [a, b, c] = ["a", "b", "c"].map(|name| format!("{prefix}{name}"));
        let both = Txn::new().absent(&a).absent(&b).put(&a, "1").put(&b, "1");
        assert!(client.commit(both.clone()).await.unwrap().done);

        let again = client.commit(both.or_get(&a).or_get(&c).or_list(&prefix)).await.unwrap();
        assert!(!again.done);
        let found: Vec<Vec<String>> = again
            .found
            .iter()
            .map(|entries| entries.iter().map(|entry| entry.key.clone()).collect())
            .collect();
        assert_eq!(found, [vec![a.clone()], vec![], vec![a.clone(), b.clone()]]);

        let read = client.get(&a).await.unwrap().unwrap();
        let replace = |value: &str| Txn::new().unchanged(&read).put(&a, value);
        assert!(client.commit(replace("2")).await.unwrap().done);
        assert!(!client.commit(replace("3")).await.unwrap().done);
        assert_eq!(client.get(&a).await.unwrap().unwrap().value, b"2");
    });
}

#[test]
fn demands_are_what_they_say() {
    each(|client, prefix| async move {
        let (a, empty) = (format!("{prefix}a"), format!("{prefix}empty/"));
        let revision = client.put(&a, "x").await.unwrap();
        let new = || Txn::new();
        for (demand, met) in [
            (new().absent(&a), false),
            (new().present(&a), true),
            (new().present(&empty), false),
            (new().created_in(&a, revision), true),
            (new().created_in(&a, revision - 1), false),
            (new().equal(&a, "x"), true),
            (new().equal(&a, "y"), false),
            (new().equal(&empty, ""), false),
            (new().none_below(&prefix), false),
            (new().none_below(&empty), true),
            (new().none_set_below(&prefix, revision), true),
            (new().none_set_below(&prefix, revision - 1), false),
        ] {
            let what = format!("{demand:?}");
            assert_eq!(client.commit(demand).await.unwrap().done, met, "{what}");
        }
        client.commit(Txn::new().delete_below(&prefix)).await.unwrap();
        assert_eq!(client.list(&prefix).await.unwrap().entries, []);
    });
}

#[test]
fn a_large_range_is_read_whole_as_it_was_at_one_revision() {
    each(|client, prefix| async move {
        let mut revision = 0;
        for batch in 0..50 {
            let mut txn = Txn::new();
            for n in 0..100 {
                txn = txn.put(&format!("{prefix}{:05}", batch * 100 + n), vec![b'x'; 200]);
            }
            revision = client.commit(txn).await.unwrap().revision;
        }
        // Larger than one page, and than what gRPC takes in one message unless it is told to.
        for n in 0..12 {
            let key = format!("{prefix}large{n}");
            revision = client.put(&key, vec![b'y'; 1_000_000]).await.unwrap();
        }
        let listing = client.list(&prefix).await.unwrap();
        assert!(listing.revision >= revision);
        assert_eq!(listing.entries.len(), 5012);
        assert!(listing.entries.is_sorted_by(|a, b| a.key < b.key));
        assert!(listing.entries.iter().rev().take(12).all(|entry| entry.value.len() == 1_000_000));
        client.commit(Txn::new().delete_below(&prefix)).await.unwrap();
    });
}

#[test]
fn what_etcd_refuses_is_an_error_with_its_words() {
    each(|client, prefix| async move {
        let error = client.put(&format!("{prefix}a"), vec![0; 1_700_000]).await.unwrap_err();
        assert_eq!(error.to_string(), "etcd refused: request is too large");
        assert!(!error.is_uncertain() && !error.is_outage());
        let leased = Txn::new().put_leased(&format!("{prefix}a"), "", 0x1234);
        let error = client.commit(leased).await.unwrap_err();
        assert!(matches!(error, Error::NoLease { lease: 0x1234 }), "{error}");
        let twice = Txn::new().put(&format!("{prefix}a"), "1").put(&format!("{prefix}a"), "2");
        let error = client.commit(twice).await.unwrap_err();
        assert_eq!(error.to_string(), "etcd refused: duplicate key given in txn request");
    });
}

#[test]
fn members_and_health_are_told() {
    each(|client, _| async move {
        let members = client.members().await.unwrap();
        let health = client.health().await.unwrap();
        assert_eq!(members.len(), 1);
        assert_eq!((members[0].id, &*members[0].name), (health.id, "n0"));
        assert_eq!((members[0].learner, health.learner), (false, false));
        assert_eq!(health.leader, health.id);
        assert!(health.version.starts_with("3."), "{health:?}");
    });
}
