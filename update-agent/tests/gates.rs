//! Leave to reboot, asked of a FleetLock server and of real etcd.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use channels::time::Time;
use serde_json::Value;
use update_agent::gate::{Answer, FleetLock, RebootGate};

const NOW: Time = Time::from_unix(1_800_000_000);

/// Answers one request after the other with these, and tells what was asked.
fn server(answers: Vec<(&'static str, &'static str)>) -> (String, Receiver<(String, Value)>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let (sender, asked): (Sender<(String, Value)>, _) = channel();
    thread::spawn(move || {
        for (status, body) in answers {
            let (mut stream, _) = listener.accept().unwrap();
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            let (mut head, mut length) = (String::new(), 0);
            loop {
                let mut line = String::new();
                reader.read_line(&mut line).unwrap();
                let lower = line.to_ascii_lowercase();
                if let Some(value) = lower.strip_prefix("content-length:") {
                    length = value.trim().parse().unwrap();
                }
                if line.trim_end().is_empty() {
                    break;
                }
                head.push_str(&lower);
            }
            let mut request = vec![0; length];
            reader.read_exact(&mut request).unwrap();
            sender.send((head, serde_json::from_slice(&request).unwrap())).unwrap();
            let length = body.len();
            let head = format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\n");
            write!(stream, "{head}Connection: close\r\n\r\n{body}").unwrap();
        }
    });
    (url, asked)
}

#[test]
fn a_fleetlock_server_is_asked_as_its_protocol_wants() {
    let full = r#"{"kind":"failed_lock","value":"all 1 semaphore slots currently locked"}"#;
    let (url, asked) = server(vec![
        ("409 Conflict", full),
        ("200 OK", ""),
        ("500 Internal Server Error", "<html>\n"),
        ("200 OK", ""),
    ]);
    let mut gate = FleetLock::new(&url, "web", "0123456789abcdef").unwrap();
    let wait = "failed_lock: all 1 semaphore slots currently locked".to_owned();
    assert_eq!(gate.ask(NOW), Ok(Answer::Wait(wait)));
    assert_eq!(gate.ask(NOW), Ok(Answer::Granted));
    assert_eq!(gate.release(), Err("status 500".to_owned()));
    assert_eq!(gate.release(), Ok(()));
    let asked: Vec<_> = asked.iter().take(4).collect();
    for (at, path) in
        ["pre-reboot", "pre-reboot", "steady-state", "steady-state"].iter().enumerate()
    {
        let (head, body) = &asked[at];
        assert!(head.starts_with(&format!("post /v1/{path} http/1.1")), "{head}");
        assert!(head.contains("fleet-lock-protocol: true"), "{head}");
        assert_eq!(body["client_params"]["group"], "web");
        let id = body["client_params"]["id"].as_str().unwrap();
        assert!(id.len() == 32 && !id.contains("0123456789abcdef"), "{id}");
    }
    assert!(FleetLock::new(&url, "a b", "x").is_err());
    let gone = FleetLock::new("http://127.0.0.1:1", "web", "x").unwrap().ask(NOW);
    assert!(gone.unwrap_err().contains("127.0.0.1:1"));
}

mod etcd {
    use channels::time::Time;
    use cluster::testing::{Cluster, debian12};
    use disk::version::Version;
    use update_agent::etcd_gate::{EtcdGate, Operator};
    use update_agent::facts::Facts;
    use update_agent::gate::{Answer, RebootGate};
    use update_agent::settings::Lock;

    const NOW: Time = Time::from_unix(1_800_000_000);

    fn facts(machine: &str, boot: &str) -> Facts {
        Facts {
            root: "/".into(),
            version: "1.0".parse::<Version>().unwrap(),
            machine_id: machine.into(),
            boot_id: boot.into(),
            root_hash: None,
            epoch: 0,
        }
    }

    #[test]
    fn machines_take_turns_and_a_bad_release_costs_one_machine() {
        let cluster = Cluster::single(&debian12());
        let lock = Lock { endpoints: vec![cluster.endpoints()], ..Lock::default() };
        let gate = |machine: &str, boot: &str, token| {
            EtcdGate::new(&lock, &facts(machine, boot), Some("2.0".into()), token).unwrap()
        };
        let (mut one, mut two) = (gate("one", "a", None), gate("two", "a", None));
        assert_eq!(one.ask(NOW), Ok(Answer::Granted));
        let token = one.token();
        assert!(token.is_some());
        match two.ask(NOW) {
            Ok(Answer::Wait(reason)) => assert!(reason.contains("held by one"), "{reason}"),
            other => panic!("{other:?}"),
        }
        let operator = Operator::new(&lock).unwrap();
        assert_eq!(operator.slots().unwrap().holders, ["one"]);

        // The first machine comes back, well.
        drop(one);
        gate("one", "b", token).release().unwrap();
        assert_eq!(two.ask(NOW), Ok(Answer::Granted));
        // The second does not, and says so: nobody takes the release any more.
        let token = two.token();
        gate("two", "b", token).report("2.0", "it hung", NOW).unwrap();
        assert_eq!(operator.slots().unwrap().holders, Vec::<String>::new());
        let mut three = gate("three", "a", None);
        let stopped = three.stopped("2.0").unwrap().unwrap();
        assert!(stopped.contains("it hung"), "{stopped}");
        assert_eq!(three.stopped("2.1"), Ok(None));
        assert!(matches!(three.ask(NOW), Ok(Answer::Wait(_))));
        three.release().unwrap();

        assert_eq!(operator.set_slots(3), Ok(1));
        assert!(operator.set_slots(0).unwrap_err().contains("slots"));
        assert!(operator.unlock("nobody").unwrap_err().contains("does not hold"));
    }
}
