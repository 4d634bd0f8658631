//! Watches, and what they survive.

use cluster::testing::{Cluster, debian13};
use cluster::{Event, Txn, Update};
use etcd_client::CompactionOptions;

use crate::server::{client, each, next, run};

fn keys(update: &Update) -> Vec<String> {
    match update {
        Update::Snapshot { entries, .. } => entries.iter().map(|e| format!("={}", e.key)).collect(),
        Update::Changed(change) => change
            .events
            .iter()
            .map(|event| match event {
                Event::Put { entry, .. } => format!("+{}", entry.key),
                Event::Delete { key, .. } => format!("-{key}"),
            })
            .collect(),
        other => vec![format!("{other:?}")],
    }
}

#[test]
fn a_watch_tells_what_is_there_and_then_every_revision() {
    each(|client, prefix| async move {
        let [a, b] = ["a", "b"].map(|name| format!("{prefix}{name}"));
        client.put(&a, "1").await.unwrap();
        let mut watch = client.watch(&prefix);
        assert_eq!(keys(&next(&mut watch).await), [format!("={a}")]);
        client.commit(Txn::new().put(&a, "2").put(&b, "1")).await.unwrap();
        let Update::Changed(change) = next(&mut watch).await else { panic!("no change") };
        assert_eq!(change.events.len(), 2, "one revision is one change");
        let Event::Put { entry, before } = &change.events[0] else { panic!("no put") };
        assert_eq!((&*entry.value, entry.mod_revision), (&b"2"[..], change.revision));
        assert_eq!(before.as_ref().map(|b| &*b.value), Some(&b"1"[..]));
        client.delete(&a).await.unwrap();
        assert_eq!(keys(&next(&mut watch).await), [format!("-{a}")]);
    });
}

#[test]
fn a_watch_after_a_listing_misses_nothing() {
    each(|client, prefix| async move {
        let listing = client.list(&prefix).await.unwrap();
        let key = format!("{prefix}a");
        client.put(&key, "").await.unwrap();
        let mut watch = client.watch_after(&prefix, listing.revision);
        assert_eq!(keys(&next(&mut watch).await), [format!("+{key}")]);
    });
}

#[test]
fn a_watch_from_a_compacted_revision_begins_with_a_snapshot() {
    let server = Cluster::single(&debian13());
    run(async {
        let client = client(server.settings());
        let old = client.put("/x/a", "1").await.unwrap();
        client.put("/x/a", "2").await.unwrap();
        let now = client.put("/x/b", "2").await.unwrap();
        let mut raw = etcd_client::Client::connect([server.endpoints()], None).await.unwrap();
        raw.compact(now, Some(CompactionOptions::new().with_physical())).await.unwrap();
        let mut watch = client.watch_after("/x/", old);
        assert_eq!(keys(&next(&mut watch).await), ["=/x/a", "=/x/b"]);
        client.put("/x/c", "").await.unwrap();
        assert_eq!(keys(&next(&mut watch).await), ["+/x/c"]);
    });
}

#[test]
fn a_watch_goes_on_where_it_was_after_the_server_was_away() {
    let mut server = Cluster::single(&debian13());
    run(async {
        let client = client(server.settings());
        let mut watch = client.watch("/x/");
        assert_eq!(keys(&next(&mut watch).await), [""; 0]);
        client.put("/x/a", "").await.unwrap();
        assert_eq!(keys(&next(&mut watch).await), ["+/x/a"]);
        server.members[0].kill();
        assert!(matches!(next(&mut watch).await, Update::Interrupted { .. }));
        server.members[0].restart();
        client.put("/x/b", "").await.unwrap();
        assert_eq!(next(&mut watch).await, Update::Resumed);
        assert_eq!(keys(&next(&mut watch).await), ["+/x/b"]);
    });
}
