//! The FleetLock service, asked as its clients ask.

use cluster::testing::{Cluster, debian12};

use crate::support::{Answer, Service, ask, get};

fn post(service: &Service, page: &str, id: &str, group: &str) -> Answer {
    let body = format!(r#"{{"client_params":{{"id":"{id}","group":"{group}"}}}}"#);
    let header = "fleet-lock-protocol: true\r\n";
    ask(&service.address, "POST", &format!("/v1/{page}"), header, &body)
}

#[test]
fn clients_take_turns_and_asking_again_changes_nothing() {
    let server = Cluster::single(&debian12());
    let folder = tempfile::tempdir().unwrap();
    let endpoint = server.endpoints();
    let service =
        Service::start(&["fleetlock", "serve", "--endpoint", &endpoint], folder.path(), None);
    let ask_for = |id: &str| post(&service, "pre-reboot", id, "default");
    let back = |id: &str| post(&service, "steady-state", id, "default").status;
    assert_eq!((ask_for("a").status, ask_for("a").status), (200, 200));
    let refused = ask_for("b");
    assert_eq!(refused.status, 409);
    assert_eq!(refused.json()["kind"], "failed_lock");
    assert_eq!(refused.json()["value"], "the slot is held by a");
    assert_eq!(ask_for("c").json()["value"], "the slot is held by a; it is the turn of b");
    assert_eq!(post(&service, "pre-reboot", "c", "other").status, 200, "groups are apart");
    assert_eq!((back("never"), back("a"), back("a")), (200, 200, 200));
    assert_eq!(ask_for("c").json()["value"], "it is the turn of b");
    assert_eq!((ask_for("b").status, back("b"), ask_for("c").status), (200, 200, 200));
}

#[test]
fn requests_that_are_wrong_are_answered_and_take_nothing() {
    let server = Cluster::single(&debian12());
    let folder = tempfile::tempdir().unwrap();
    let endpoint = server.endpoints();
    let service =
        Service::start(&["fleetlock", "serve", "--endpoint", &endpoint], folder.path(), None);
    let header = "fleet-lock-protocol: true\r\n";
    let good = r#"{"client_params":{"id":"a","group":"default"}}"#;
    for (method, path, header, body, status, kind) in [
        ("POST", "/v1/pre-reboot", "", good, 400, "invalid_client_params"),
        ("GET", "/v1/pre-reboot", header, "", 405, "method_not_allowed"),
        ("POST", "/v2/pre-reboot", header, good, 404, "not_found"),
        ("POST", "/v1/pre-reboot", header, "{}", 400, "invalid_client_params"),
        ("POST", "/v1/pre-reboot", header, "", 400, "invalid_client_params"),
        (
            "POST",
            "/v1/pre-reboot",
            header,
            &good.replace("\"a\"", "\"\""),
            400,
            "invalid_client_identity",
        ),
        (
            "POST",
            "/v1/pre-reboot",
            header,
            &good.replace("default", "a/b"),
            400,
            "invalid_client_identity",
        ),
        (
            "POST",
            "/v1/steady-state",
            header,
            &good.replace("default", ""),
            400,
            "invalid_client_identity",
        ),
    ] {
        let answer = ask(&service.address, method, path, header, body);
        assert_eq!((answer.status, answer.json()["kind"].as_str()), (status, Some(kind)), "{body}");
    }
    assert_eq!(get(&service.address, "/").status, 404);
    assert_eq!(post(&service, "pre-reboot", "b", "default").status, 200);
    drop(server);
    let answer = post(&service, "steady-state", "b", "default");
    assert_eq!((answer.status, answer.json()["kind"].as_str()), (503, Some("failed_lock")));
}
