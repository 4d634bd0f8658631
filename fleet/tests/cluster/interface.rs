//! The API, as fleet's clients and the impolite use it, and fleetctl over it.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use fleet::api::types::Unit;
use serde_json::{Value, json};

use crate::node::Machines;

/// One request; the status and the body.
pub(crate) fn request(socket: &Path, method: &str, path: &str, body: &str) -> (u16, Value) {
    raw(socket, method, path, "Content-Type: application/json\r\n", body)
}

fn raw(socket: &Path, method: &str, path: &str, headers: &str, body: &str) -> (u16, Value) {
    let mut stream = UnixStream::connect(socket).expect("it listens");
    let request = format!(
        "{method} /fleet/v1/{path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{headers}Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    // A server that has read enough may hang up early.
    let _ = stream.write_all(request.as_bytes());
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer);
    let status = answer.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or(0);
    let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    (status, serde_json::from_str(body).unwrap_or(Value::Null))
}

#[test]
fn the_api_is_fleets() {
    let machines =
        Machines::with(1, &cluster::testing::debian12(), "token_limit=2\nmetadata=region=us");
    let socket = machines.nodes[0].socket();
    let ask =
        |method: &str, path: &str, body: Value| request(&socket, method, path, &body.to_string());
    let options = json!([
        {"section": "Service", "name": "ExecStart", "value": "/bin/true"},
        {"section": "X-Fleet", "name": "Conflicts", "value": "x*"},
    ]);
    assert_eq!(
        ask("PUT", "units/a.service", json!({"desiredState": "inactive", "options": options})).0,
        201
    );
    assert_eq!(ask("PUT", "units/a.service", json!({"desiredState": "launched"})).0, 204);
    assert_eq!(
        ask("PUT", "units/a.service", json!({"desiredState": "launched", "options": options})).0,
        204
    );
    assert_eq!(ask("PUT", "units/a.service", json!({})).0, 409);
    assert_eq!(ask("PUT", "units/b.service", json!({"desiredState": "launched"})).0, 409);
    assert_eq!(
        ask("PUT", "units/b.service", json!({"name": "c.service", "options": options})).0,
        400
    );
    assert_eq!(ask("PUT", "units/b.txt", json!({"options": options})).0, 400);
    assert_eq!(
        ask("PUT", "units/t@.service", json!({"options": options, "desiredState": "launched"})).0,
        400
    );
    assert_eq!(
        ask("PUT", "units/t@.service", json!({"options": options, "desiredState": "inactive"})).0,
        201
    );
    assert_eq!(ask("PUT", "units/t@.service", json!({"desiredState": "loaded"})).0, 400);
    assert_eq!(raw(&socket, "PUT", "units/b.service", "", "{}").0, 415);
    assert_eq!(raw(&socket, "PUT", "units/b.service", "Content-Type: text/plain\r\n", "{}").0, 415);
    assert_eq!(request(&socket, "PUT", "units/b.service", "{nonsense").0, 400);
    assert_eq!(ask("POST", "units", json!({})).0, 405);
    assert_eq!(ask("GET", "units/none.service", json!({})).0, 404);
    assert_eq!(ask("DELETE", "units/none.service", json!({})).0, 404);
    assert_eq!(ask("GET", "nonsense", json!({})).0, 404);
    machines.wait("the unit is launched", || {
        ask("GET", "units/a.service", json!({})).1["currentState"] == "launched"
    });
    let unit = ask("GET", "units/a.service", json!({})).1;
    assert_eq!(unit["machineID"], machines.nodes[0].id.as_str());
    assert_eq!(unit["options"], options);
    machines.wait("its state is told", || {
        ask("GET", "state/a.service", json!({})).1["systemdActiveState"] == "active"
    });
    let state = ask("GET", "state/a.service", json!({})).1;
    assert_eq!(state["systemdSubState"], "running");
    assert_eq!(state["systemdLoadState"], "loaded");
    assert_eq!(ask("GET", "state/none.service", json!({})).0, 404);
    let all = ask("GET", "machines", json!({})).1;
    assert_eq!(all["machines"][0]["metadata"]["region"], "us");
    assert_eq!(all["machines"][0]["primaryIP"], "10.0.0.1");
    assert_eq!(
        ask("PATCH", "machines", json!([{"op": "noop", "path": "/a/metadata/b", "value": "c"}])).0,
        400
    );
    assert_eq!(
        ask("PATCH", "machines", json!([{"op": "add", "path": "/a/foo", "value": "c"}])).0,
        400
    );
    assert_eq!(ask("PATCH", "machines", json!([{"op": "add", "path": "/a/metadata/b"}])).0, 400);
    // Pages.
    assert_eq!(ask("PUT", "units/u.service", json!({"options": options})).0, 201);
    let first = ask("GET", "units", json!({})).1;
    assert_eq!(first["units"].as_array().map(Vec::len), Some(2));
    let token = first["nextPageToken"].as_str().expect("there is more").to_string();
    let second = ask("GET", &format!("units?nextPageToken={token}"), json!({})).1;
    assert_eq!(second["units"].as_array().map(Vec::len), Some(1));
    assert!(second.get("nextPageToken").is_none());
    for bad in ["x", "AAAA", "ZAABAA=="] {
        assert_eq!(ask("GET", &format!("units?nextPageToken={bad}"), json!({})).0, 400, "{bad}");
    }
    assert_eq!(machines.client().units().expect("all pages").len(), 3);
    assert_eq!(ask("GET", "discovery", json!({})).1["id"], "fleet:v1");
}

#[test]
fn bad_input_changes_nothing() {
    let machines = Machines::start(1);
    let client = machines.client();
    let put = |name: &str, body: &str| {
        let unit = Unit { name: name.into(), body: Some(body.into()), ..Unit::default() };
        client.put_unit(&unit).map_err(|error| error.to_string())
    };
    let mut large = "[Service]\n".to_string();
    while large.len() < 1 << 20 {
        large.push_str("# a comment that makes it large\n");
    }
    let cases = [
        ("a.service", "[X-Fleet]\nMachineId=x\n", "did you mean `MachineID`?"),
        (
            "a.service",
            "[X-Fleet]\nMachineMetadata=region\n",
            "2: MachineMetadata: `region` is not key=value",
        ),
        (
            "a.service",
            "[X-Fleet]\nMachineID=x\nConflicts=y\n",
            "MachineID cannot be used with Conflicts",
        ),
        ("a.service", "nonsense\n", "a.service:1: an option before the first section"),
        ("a.service", "[Unit\n", "a section without its `]`"),
        ("a.service", "[Unit]\n\u{0}\n", "a zero byte"),
        ("a.service", large.as_str(), "at most 524288 are allowed"),
        ("a b.service", "[Unit]\nA=b\n", "invalid character"),
    ];
    for (name, body, message) in cases {
        let error = put(name, body).expect_err(message);
        assert!(error.contains(message), "{error}");
    }
    assert!(client.units().expect("asked").is_empty());
    // Old files are taken as fleet took them, if that is asked for.
    let old = Unit {
        name: "old.service".into(),
        body: Some("[X-Fleet]\nMachineId=x\n".into()),
        lenient: true,
        ..Unit::default()
    };
    client.put_unit(&old).expect("accepted");
}

#[test]
fn fleetctl_reads_as_fleets() {
    let machines = Machines::start(2);
    let folder = tempfile::tempdir().expect("a folder");
    let run = |arguments: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_fleetd"))
            .arg0("fleetctl")
            .arg(format!("--endpoint=unix://{}", machines.nodes[1].socket().display()))
            .args(arguments)
            .current_dir(folder.path())
            .output()
            .expect("it runs");
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
        (output.status.code(), text(output.stdout), text(output.stderr))
    };
    let body = "# kept\n[Service]\n\nExecStart=/bin/true \n\n[X-Fleet]\nConflicts=web@*.service\n";
    std::fs::write(folder.path().join("web@.service"), body).expect("written");
    assert_eq!(run(&["submit", "web@.service"]).1, "Unit web@.service inactive\n");
    let (code, out, errors) = run(&["start", "web@1", "web@2"]);
    assert_eq!(code, Some(0), "{errors}");
    assert!(out.contains("\nUnit web@1.service launched on 0000000"), "{out}");
    assert_eq!(run(&["cat", "web@1"]).1, body);
    machines.wait("both are shown", || run(&["list-units", "--no-legend"]).1.lines().count() == 2);
    let units = run(&["list-units"]).1;
    assert!(units.starts_with("UNIT"), "{units}");
    let (code, _, errors) = run(&["start", "web@3", "--timeout=1"]);
    assert_eq!(code, Some(1));
    assert!(errors.contains("none can run it"), "{errors}");
    assert!(run(&["why", "web@3"]).1.contains("nearest miss: "));
    assert_eq!(run(&["list-machines", "--no-legend"]).1.lines().count(), 2);
    assert_eq!(run(&["destroy", "web@1", "web@2", "web@3"]).0, Some(0));
    assert_eq!(
        run(&["cat", "none"]),
        (Some(1), String::new(), "error: Unit none.service not found\n".into())
    );
    let files = run(&["list-unit-files", "--no-legend"]).1;
    assert_eq!(files.lines().count(), 1, "{files}");
}

#[test]
fn journals_are_relayed_only_to_who_knows_the_secret() {
    let machines = Machines::start(2);
    machines.launch("a.service", "");
    machines.wait("it runs", || machines.on("a.service") == [0]);
    // The other machine's daemon asks this one; journalctl has nothing to tell here, or is not
    // there, but either way it is the machine itself that says so.
    let answer = machines.nodes[1].client().status("a.service", None);
    if let Err(error) = answer {
        assert!(error.to_string().contains("systemctl"), "{error}");
    }
    let etcd = machines.etcd.endpoints();
    let address = {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let client = cluster::Client::new(cluster::Settings::listed(&etcd)).expect("a client");
            let path = format!("/fleet/v1/machines/{}/info", machines.nodes[0].id);
            let entry = client.get(&path).await.expect("read").expect("registered");
            let info: Value = serde_json::from_slice(&entry.value).expect("JSON");
            info["relay"].as_str().expect("an address").to_string()
        })
    };
    let mut stream = std::net::TcpStream::connect(address).expect("it listens");
    stream
        .write_all(b"GET /journal/a.service HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer guess\r\nConnection: close\r\n\r\n")
        .expect("asked");
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("answered");
    assert!(text.starts_with("HTTP/1.1 401"), "{text}");
}
