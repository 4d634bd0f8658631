//! Keys: the root that is signed on machines without a net, and rotation of every role.

mod support;

use std::fs;
use std::path::Path;

use support::{Workshop, fresh_update};

/// Names of the keys of a role, without their endings.
fn keys(directory: &Path, role: &str) -> Vec<String> {
    let names = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name());
    let mut names: Vec<_> = names
        .filter_map(|name| name.to_str().unwrap().strip_suffix(".pub").map(str::to_owned))
        .filter(|name| name.starts_with(&format!("{role}-")))
        .collect();
    names.sort();
    names
}

/// Moves the private parts of the root keys to a safe each.
fn move_root_keys_away(workshop: &Workshop) -> Vec<String> {
    let names = keys(&workshop.path("keys"), "root");
    for name in &names {
        let safe = workshop.path(&format!("safe-{name}"));
        fs::create_dir(&safe).unwrap();
        let file = |end: &str| workshop.path("keys").join(format!("{name}.{end}"));
        fs::copy(file("pub"), safe.join(format!("{name}.pub"))).unwrap();
        fs::rename(file("key"), safe.join(format!("{name}.key"))).unwrap();
    }
    names
}

fn sign(workshop: &Workshop, file: &str, key: &str) {
    let told = workshop.good(&format!("--keys safe-{key} root sign {file} --key {key}"));
    assert!(told.ends_with(&format!("signed {file} with {key}\n")), "{told}");
}

#[test]
fn a_root_is_signed_in_steps_by_keys_that_are_elsewhere() {
    let workshop = Workshop::with_repository();
    let client = workshop.client();
    let safes = move_root_keys_away(&workshop);
    let told = workshop.good("root renew");
    assert!(told.contains("version 2 of the root waits for signatures:"), "{told}");
    assert!(told.contains("0 of 2 that the present root asks for"), "{told}");
    // Nothing is published yet, and work goes on meanwhile.
    workshop.publish("1.0");
    assert!(workshop.good("status").contains("version 2 of the root waits"));
    workshop.good("root export stick");
    sign(&workshop, "stick", &safes[0]);
    let told = workshop.good("root import stick");
    assert!(told.starts_with("1 new signature\n"), "{told}");
    assert!(told.contains("1 of 2 that the next root asks for"), "{told}");
    assert!(!workshop.repository().join("metadata/2.root.json").exists());
    // A second copy, signed by somebody else at the same time.
    workshop.good("root export other");
    sign(&workshop, "other", &safes[2]);
    let told = workshop.good("root import other");
    assert!(told.contains("published version 2 of the root in repository"), "{told}");
    assert_eq!(workshop.good("root status"), "no root waits for signatures\n");
    client.update(&workshop.repository()).unwrap();
    workshop.good("verify");

    // What was signed before the last change does not count for it.
    workshop.good("root renew --lifetime root=700d");
    workshop.good("root export stale");
    workshop.good("root threshold 3");
    sign(&workshop, "stale", &safes[0]);
    let error = workshop.bad("root import stale");
    assert!(error.contains("of another root than the one that waits here"), "{error}");
    workshop.good("root export fresh");
    for (count, safe) in safes.iter().enumerate() {
        sign(&workshop, "fresh", safe);
        let told = workshop.good("root import fresh");
        assert_eq!(told.contains("published version 3"), count == 2, "{told}");
    }
    assert!(workshop.good("status").contains("3 of 3: "));
    client.update(&workshop.repository()).unwrap();
}

#[test]
fn a_repository_begins_with_keys_that_never_were_there() {
    let workshop = Workshop::new();
    for number in 0..2 {
        workshop.good(&format!("--keys far-{number} keys new root --no-passphrase"));
        let name = keys(&workshop.path(&format!("far-{number}")), "root").remove(0);
        let public = format!("far-{number}/{name}.pub");
        workshop.good(&format!("keys new root --public-key {public}"));
        fs::rename(workshop.path(&format!("far-{number}")), workshop.path(&format!("safe-{name}")))
            .unwrap();
    }
    let safes = keys(&workshop.path("keys"), "root");
    let told = workshop.good("init --no-passphrase");
    assert!(told.contains("version 1 of the root waits for signatures:"), "{told}");
    let error = workshop.bad("status");
    assert!(error.contains("the first root is not signed yet"), "{error}");
    workshop.good("root export stick");
    for safe in &safes {
        sign(&workshop, "stick", safe);
    }
    let told = workshop.good("root import stick");
    assert!(told.contains("published version 1 of the root"), "{told}");
    workshop.publish("1.0");
    fresh_update(&workshop.repository()).unwrap();
    workshop.good("verify");
}

#[test]
fn every_role_can_get_a_new_key_and_clients_follow() {
    let workshop = Workshop::with_repository();
    workshop.publish("1.0");
    let client = workshop.client();
    client.update(&workshop.repository()).unwrap();
    let mut late = Vec::new();
    for role in ["timestamp", "snapshot", "targets", "alpha", "beta", "stable"] {
        late.push(workshop.client());
        workshop.good(&format!("keys rotate {role} --no-passphrase"));
        client.update(&workshop.repository()).unwrap_or_else(|error| panic!("{role}: {error}"));
        fresh_update(&workshop.repository()).unwrap();
        workshop.good("verify");
        // The old key is needed no more.
        let names = keys(&workshop.path("keys"), role);
        assert_eq!(names.len(), 2);
        let listed = workshop.good("keys list");
        let unused: Vec<_> = listed.lines().filter(|line| line.contains("not in use")).collect();
        assert_eq!(unused.len(), 1, "{listed}");
        let id = unused[0].split_whitespace().nth(1).unwrap();
        for end in ["key", "pub"] {
            fs::remove_file(workshop.path("keys").join(format!("{role}-{id}.{end}"))).unwrap();
        }
        workshop.good("refresh --all");
        client.update(&workshop.repository()).unwrap();
    }
    let old = keys(&workshop.path("keys"), "root");
    workshop.good(&format!("keys rotate root --replace {} --no-passphrase", old[0]));
    workshop.good(&format!("root remove {}", old[1]));
    let told = workshop.good("keys new root --no-passphrase");
    let added = told.split_whitespace().next().unwrap();
    workshop.bad(&format!("root remove {}", old[1]));
    workshop.good(&format!("root add {added}"));
    let error = workshop.bad(&format!("root add {added}"));
    assert!(error.ends_with("signs for root already\n"), "{error}");
    workshop.good("verify");
    for client in late.iter().chain([&client]) {
        client.update(&workshop.repository()).unwrap();
    }
}

#[test]
fn each_role_has_a_key_of_its_own() {
    let workshop = Workshop::with_repository();
    let name = |role: &str| keys(&workshop.path("keys"), role).remove(0);
    for (role, with) in [
        ("beta", "alpha"),
        ("stable", "timestamp"),
        ("timestamp", "snapshot"),
        ("targets", "stable"),
    ] {
        let error = workshop.bad(&format!("keys rotate {role} --with {}", name(with)));
        let message = format!("signs for {with} already: {role} needs a key of its own");
        assert!(error.contains(&message), "{error}");
    }
    workshop.good("verify");
}

#[test]
fn a_command_signs_in_place_of_a_key() {
    let workshop = Workshop::with_repository();
    // The key that the command has is one that it was given here; an HSM would not show it.
    let script = workshop.path("hsm.sh");
    fs::write(
        &script,
        "#!/bin/sh\nset -e\nfile=$(mktemp)\ntrap 'rm -f \"$file\"' EXIT\ncat >\"$file\"\n\
         openssl pkeyutl -sign -rawin -inkey \"$1\" -in \"$file\"\n",
    )
    .unwrap();
    workshop.good("--keys hsm keys new stable --no-passphrase");
    let name = keys(&workshop.path("hsm"), "stable").remove(0);
    let command = format!(
        "sh {} {}",
        script.display(),
        workshop.path("hsm").join(format!("{name}.key")).display()
    );
    let public = format!("hsm/{name}.pub");
    let told = workshop.run_arguments(&[
        "keys",
        "new",
        "stable",
        "--public-key",
        &public,
        "--sign-command",
        &command,
    ]);
    assert_eq!(told.code, 0, "{told:?}");
    workshop.good(&format!("keys rotate stable --with {name}"));
    assert!(workshop.good("keys list").contains("behind a command"));
    workshop.publish("1.0");
    workshop.good("promote 1.0 --to beta --soak 0s");
    workshop.good("promote 1.0 --to stable --soak 0s");
    fresh_update(&workshop.repository()).unwrap();
    fs::write(&script, "exit 5\n").unwrap();
    let error = workshop.bad("halt 1.0 --channel stable");
    assert!(error.contains("the command that signs with stable-"), "{error}");
    assert!(error.contains("exit status: 5"), "{error}");
}

#[test]
fn openssl_reads_the_keys() {
    let workshop = Workshop::new();
    fs::write(workshop.path("passphrase"), "correct horse\n").unwrap();
    workshop.good("keys new alpha --passphrase-file passphrase");
    workshop.good("keys new beta --no-passphrase");
    for (role, passphrase) in [("alpha", "correct horse"), ("beta", "")] {
        let name = keys(&workshop.path("keys"), role).remove(0);
        let path = |end: &str| workshop.path("keys").join(format!("{name}.{end}"));
        let output = std::process::Command::new("openssl")
            .args(["pkey", "-pubout", "-passin", &format!("pass:{passphrase}"), "-in"])
            .arg(path("key"))
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        assert_eq!(
            String::from_utf8(output.stdout).unwrap(),
            fs::read_to_string(path("pub")).unwrap()
        );
    }
}

#[test]
fn several_keys_may_have_to_sign_for_any_role() {
    let workshop = Workshop::with_repository();
    workshop.publish("1.0");
    let client = workshop.client();
    client.update(&workshop.repository()).unwrap();
    for role in ["alpha", "timestamp", "targets"] {
        workshop.good(&format!("keys add {role} --no-passphrase"));
        workshop.good(&format!("keys threshold {role} 2"));
        let names = keys(&workshop.path("keys"), role);
        assert_eq!(names.len(), 2, "{names:?}");
        client.update(&workshop.repository()).unwrap();

        // One of them alone is not enough any more, whoever has it.
        let path = workshop.path("keys").join(format!("{}.key", names[0]));
        let away = workshop.path("away.key");
        std::fs::rename(&path, &away).unwrap();
        workshop.release("1.1", b"1.1", &[]);
        let command = match role {
            "targets" => "keys rotate beta --no-passphrase",
            _ => "publish release-1.1",
        };
        let error = workshop.bad(command);
        assert!(error.contains(&format!("1 of the 2 keys that sign for {role}")), "{error}");
        std::fs::rename(&away, &path).unwrap();

        let error = workshop.bad(&format!("keys rotate {role}"));
        assert!(error.contains("has 2 keys: say which one with --replace"), "{error}");
        workshop.good(&format!("keys rotate {role} --replace {} --no-passphrase", names[0]));
        client.update(&workshop.repository()).unwrap();
        let error = workshop.bad(&format!("keys remove {role} {}", names[1]));
        assert!(error.contains("2 of 1 keys cannot sign for"), "{error}");
        workshop.good(&format!("keys threshold {role} 1"));
        workshop.good(&format!("keys remove {role} {}", names[1]));
    }
    assert!(workshop.bad("keys threshold beta 2").contains("2 of 1 keys cannot sign for beta"));
    assert!(workshop.bad("keys threshold nobody 1").contains("nobody"));
    assert!(workshop.bad("keys remove beta alpha-12345678").contains("alpha-12345678"));
    workshop.publish("1.1");
    client.update(&workshop.repository()).unwrap();
    workshop.good("verify");
}
