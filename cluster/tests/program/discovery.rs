//! The discovery service, with etcd of both versions as its client.

use std::io::Write;
use std::net::TcpStream;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use cluster::testing::{Cluster, Options, Program, debian12, debian13};
use cluster::{Client, Settings};

use crate::support::{LIMIT, Service, ask, get, put};

fn service(folder: &Path, more: &[&str]) -> Service {
    start(folder, more, None)
}

fn start(folder: &Path, more: &[&str], address: Option<&str>) -> Service {
    let store = folder.join("clusters");
    let arguments = ["discovery", "serve", "--directory", store.to_str().unwrap()];
    Service::start(&[&arguments, more].concat(), folder, address)
}

/// A new cluster's URL and the path in it.
fn new(service: &Service, size: u32) -> (String, String) {
    let answer = get(&service.address, &format!("/new?size={size}"));
    assert_eq!(answer.status, 200, "{answer:?}");
    let path = answer.body.strip_prefix(&format!("http://{}", service.address)).unwrap();
    (answer.body.clone(), path.to_owned())
}

#[test]
fn three_members_of_each_version_find_each_other_and_a_fourth_is_told_that_it_is_full() {
    for program in [debian12(), debian13()] {
        let folder = tempfile::tempdir().unwrap();
        let service = service(folder.path(), &[]);
        let (url, path) = new(&service, 3);
        let arguments = vec![format!("--discovery={url}"), "--discovery-fallback=exit".to_owned()];
        let cluster = discovered(&program, 3, &arguments);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let members = runtime.block_on(async {
            let client = Client::new(Settings::listed(&cluster.endpoints())).unwrap();
            client.members().await.unwrap()
        });
        assert_eq!(members.len(), 3, "{members:?}");
        let list = get(&service.address, &path).json();
        let listed = list["node"]["nodes"].as_array().unwrap();
        let mut ids: Vec<u64> = listed
            .iter()
            .map(|node| node["key"].as_str().unwrap().rsplit('/').next().unwrap())
            .map(|id| u64::from_str_radix(id, 16).unwrap())
            .collect();
        ids.sort_unstable();
        assert_eq!(ids, members.iter().map(|member| member.id).collect::<Vec<_>>());

        let mut fourth = Cluster::unstarted(&program, 1, &Options::default());
        fourth.members[0].spawn_with(&arguments).unwrap();
        let error = fourth.members[0].healthy().unwrap_err();
        assert!(error.to_string().contains("cluster is full"), "{error}");
    }
}

fn discovered(program: &Program, size: usize, arguments: &[String]) -> Cluster {
    let mut cluster = Cluster::unstarted(program, size, &Options::default());
    for member in &mut cluster.members {
        member.spawn_with(arguments).unwrap();
        // One after the other: each then finds another number of others waiting.
        thread::sleep(Duration::from_millis(100));
    }
    cluster.members.iter().for_each(|member| member.healthy().unwrap());
    cluster
}

#[test]
fn what_was_registered_survives_a_kill_of_the_service() {
    let folder = tempfile::tempdir().unwrap();
    let first = service(folder.path(), &[]);
    let (_, path) = new(&first, 3);
    let registered =
        put(&first.address, &format!("{path}/1a?prevExist=false"), "value=n1%3Dhttp%3A%2F%2Fa");
    assert_eq!(registered.status, 201);
    let address = first.address.clone();
    drop(first);
    let second = start(folder.path(), &[], Some(&address));
    let list = get(&second.address, &path);
    assert_eq!(list.json()["node"]["nodes"][0]["value"], "n1=http://a");
    assert!(list.head.contains("x-etcd-index: 2"), "{list:?}");
    let again = put(&second.address, &format!("{path}/1a?prevExist=false"), "value=x");
    assert_eq!((again.status, again.json()["errorCode"].as_u64()), (412, Some(105)));
}

#[test]
fn who_waits_is_told_of_the_change_that_it_waits_for() {
    let folder = tempfile::tempdir().unwrap();
    let service = service(folder.path(), &[]);
    let (_, path) = new(&service, 3);
    put(&service.address, &format!("{path}/1a?prevExist=false"), "value=a");
    // The past is told at once.
    let own = get(&service.address, &format!("{path}/1a?wait=true&waitIndex=2"));
    assert_eq!(own.json()["action"], "create");
    let (address, waiting) = (service.address.clone(), path.clone());
    let waiter = thread::spawn(move || {
        get(&address, &format!("{waiting}?recursive=true&wait=true&waitIndex=3"))
    });
    thread::sleep(Duration::from_millis(200));
    assert!(!waiter.is_finished());
    put(&service.address, &format!("{path}/_config/note"), "value=hidden");
    put(&service.address, &format!("{path}/2b?prevExist=false"), "value=b");
    let told = waiter.join().unwrap();
    assert_eq!((told.status, told.json()["node"]["value"].as_str()), (200, Some("b")));
}

#[test]
fn requests_that_are_wrong_are_answered_and_change_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let service = service(folder.path(), &["--url", "https://discovery.example/"]);
    let url = get(&service.address, "/new").body;
    let path = url.strip_prefix("https://discovery.example").unwrap();
    let size = get(&service.address, &format!("{path}/_config/size"));
    assert_eq!(size.json()["node"]["value"], "3");
    let long = format!("value={}", "x".repeat(5000));
    let huge = format!("value={}", "x".repeat(100_000));
    for (method, at, body, status) in [
        ("GET", "/new?size=0", "", 400),
        ("GET", "/new?size=many", "", 400),
        ("GET", "/new?size=101", "", 400),
        ("DELETE", "/new", "", 405),
        ("GET", "/", "", 200),
        ("GET", "/health", "", 200),
        ("GET", "/nothing", "", 404),
        ("GET", "/../../etc/passwd", "", 404),
        ("GET", "/0123456789abcdef0123456789abcdef", "", 404),
        ("PUT", "/0123456789abcdef0123456789abcdef/1a", "value=x", 404),
        ("GET", &format!("{path}/1a"), "", 404),
        ("DELETE", &format!("{path}/1a"), "", 404),
        ("POST", path, "", 405),
        ("PUT", path, "value=x", 403),
        ("PUT", &format!("{path}/a/b/c"), "value=x", 403),
        ("PUT", &format!("{path}/1a"), &long, 413),
        ("PUT", &format!("{path}/1a"), &huge, 413),
        ("GET", &format!("{path}?wait=true&waitIndex=x"), "", 400),
    ] {
        let form = "content-type: application/x-www-form-urlencoded\r\n";
        let answer = ask(&service.address, method, at, form, body);
        assert_eq!(answer.status, status, "{method} {at}: {answer:?}");
    }
    let list = get(&service.address, path).json();
    assert!(list["node"].get("nodes").is_none(), "{list}");
    // A token of one's own, as etcd's manual makes it.
    let own = "/v2/keys/_etcd/registry/0123456789abcdef0123456789abcdef";
    let made = put(&service.address, &format!("{own}/_config/size"), "value=5");
    assert_eq!(made.status, 201);
    assert_eq!(get(&service.address, own).json()["action"], "get");
}

#[test]
fn one_address_cannot_use_everything_up() {
    let folder = tempfile::tempdir().unwrap();
    let service = service(folder.path(), &["--new-per-hour", "2"]);
    let statuses = [1, 2, 3].map(|_| get(&service.address, "/new").status);
    assert_eq!(statuses, [200, 200, 429]);
    // Half a request, many times over, is closed and does not hold the others up.
    let idle: Vec<TcpStream> = (0..600)
        .map(|_| {
            let mut stream = TcpStream::connect(&service.address).unwrap();
            let _ = stream.write_all(b"GET /hea");
            stream
        })
        .collect();
    let start = Instant::now();
    drop(idle);
    while TcpStream::connect(&service.address).is_err() {
        assert!(start.elapsed() < LIMIT);
    }
    assert_eq!(get(&service.address, "/health").status, 200);
    assert!(service.is_running());
}
