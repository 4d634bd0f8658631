//! Members that are gone, paused, or not what they should be.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::thread;
use std::time::Duration;

use cluster::testing::{Cluster, Options, debian12, debian13, free_ports};
use cluster::{Client, Error, Event, Settings, Update};

use crate::server::{client, next, run};

#[test]
fn requests_and_watches_outlive_the_member_they_use() {
    for program in [debian12(), debian13()] {
        let mut servers = Cluster::start(&program, 3, &Options::default());
        run(async {
            let client = client(servers.settings());
            let mut watch = client.watch("/x/");
            assert!(matches!(next(&mut watch).await, Update::Snapshot { .. }));
            client.put("/x/1", "").await.unwrap();
            let mut told = vec![next(&mut watch).await];
            // The first endpoint is the one in use; once it is gone, once it does not answer.
            servers.members[0].kill();
            put(&client, "/x/2").await;
            servers.members[0].restart();
            servers.members[1].pause();
            put(&client, "/x/3").await;
            servers.members[1].resume();
            put(&client, "/x/4").await;
            while keys(&told).last().is_none_or(|key| key != "/x/4") {
                told.push(next(&mut watch).await);
            }
            let mut keys = keys(&told);
            keys.dedup();
            assert_eq!(keys, ["/x/1", "/x/2", "/x/3", "/x/4"]);
        });
    }
}

/// Puts it until it is certain.
async fn put(client: &Client, key: &str) {
    while let Err(error) = client.put(key, "").await {
        assert!(error.is_outage(), "{error}");
    }
}

fn keys(updates: &[Update]) -> Vec<String> {
    let mut keys = Vec::new();
    for update in updates {
        if let Update::Changed(change) = update {
            keys.extend(change.events.iter().map(|event: &Event| event.key().to_owned()));
        }
    }
    keys
}

#[test]
fn a_client_that_knew_one_member_learns_of_the_others() {
    let mut servers = Cluster::start(&debian13(), 3, &Options::default());
    run(async {
        let one = Settings::listed(&servers.members[0].client_url);
        let client = client(one.with_deadline(Duration::from_secs(30)));
        let mut watch = client.watch("/x/");
        assert!(matches!(next(&mut watch).await, Update::Snapshot { .. }));
        let mut told = client.refresh().await.unwrap();
        assert_eq!(told.len(), 3);
        assert_eq!(client.endpoints()[0], servers.members[0].client_url, "it stays the first");
        servers.members[0].kill();
        put(&client, "/x/1").await;
        let mut updates = Vec::new();
        while keys(&updates).is_empty() {
            updates.push(next(&mut watch).await);
        }
        // Who is taken out is asked no more, unless it was given.
        let members = client.members().await.unwrap();
        let gone = &servers.members[0].client_url;
        let id = members.iter().find(|member| member.client_urls.contains(gone)).unwrap().id;
        client.remove_member(id).await.unwrap();
        told.retain(|url| url != gone);
        assert_eq!(client.refresh().await.unwrap(), told);
    });
}

#[test]
fn nobody_there_is_told_within_the_deadline() {
    let [one, two] = free_ports();
    let list = format!("http://127.0.0.1:{one},http://127.0.0.1:{two}");
    let settings = Settings::listed(&list).with_deadline(Duration::from_secs(4));
    run(async {
        let error = client(settings).put("/a", "").await.unwrap_err();
        assert!(matches!(error, Error::Unreachable { .. }) && error.is_outage(), "{error}");
        // A host that is too busy to refuse in time does not say so.
        let told = error.to_string();
        assert!(told.contains("Connection refused") || told.contains("in time"), "{error}");
        assert!(error.to_string().contains(&list), "{error}");
    });
}

#[test]
fn without_quorum_nothing_is_changed_and_it_is_an_outage() {
    let mut servers = Cluster::start(&debian13(), 3, &Options::default());
    run(async {
        let settings = servers.settings().with_deadline(Duration::from_secs(4));
        let client = client(settings);
        client.put("/a", "1").await.unwrap();
        servers.members[1].kill();
        servers.members[2].kill();
        let error = client.put("/a", "2").await.unwrap_err();
        assert!(error.is_outage(), "{error}");
        let error = client.get("/a").await.unwrap_err();
        assert!(error.is_outage() && !error.is_uncertain(), "{error}");
    });
}

#[test]
fn something_else_on_the_port_is_an_error_and_not_a_hang() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let _ = stream.read(&mut [0; 1024]);
            let _ = stream.write_all(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n");
        }
    });
    let settings = Settings::listed(&format!("http://127.0.0.1:{port}"));
    run(async {
        let client = client(settings.with_deadline(Duration::from_secs(1)));
        let error = client.get("/a").await.unwrap_err();
        assert!(error.is_outage() && !error.is_uncertain(), "{error}");
    });
}
