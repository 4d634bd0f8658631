use std::os::unix::fs::PermissionsExt;

use super::*;
use crate::metadata::RoleKeys;

const MESSAGE: &[u8] = b"message";

fn ask(_: &str, _: bool) -> io::Result<String> {
    Ok("secret".to_owned())
}

fn refuse(_: &str, _: bool) -> io::Result<String> {
    Err(io::Error::other("nobody there"))
}

/// Checks that the keyring signs for a role of these entries, and with how many keys.
fn signatures(
    keyring: &Keyring<'_>,
    names: &[String],
    threshold: u64,
) -> Result<usize, PublishError> {
    let entries: Vec<_> = names.iter().map(|name| keyring.named(name).unwrap()).collect();
    let keys: BTreeMap<_, _> =
        entries.iter().map(|entry| (entry.key.id(), entry.key.clone())).collect();
    let allowed = RoleKeys { keyids: keys.keys().cloned().collect(), threshold };
    let authority = Authority { role: "alpha", allowed: &allowed, keys: &keys };
    let signatures = keyring.sign(&authority, MESSAGE)?;
    authority.verify(MESSAGE, &signatures).unwrap();
    Ok(signatures.len())
}

#[test]
fn keys_are_kept_for_their_owner_alone_and_sign_again() {
    let home = tempfile::tempdir().unwrap();
    let directory = home.path().join("deep/keys");
    let mut keyring = Keyring::open(&directory, &ask).unwrap();
    let locked = keyring.generate("alpha", Protection::Passphrase).unwrap().name.clone();
    let plain = keyring.generate("alpha", Protection::None).unwrap().name.clone();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&directory), 0o700);
    for name in [&locked, &plain] {
        assert_eq!(mode(&directory.join(format!("{name}.key"))), 0o600);
        assert_eq!(mode(&directory.join(format!("{name}.pub"))), 0o644);
    }
    let read = |name: &str| fs::read_to_string(directory.join(format!("{name}.key"))).unwrap();
    assert!(read(&locked).starts_with("-----BEGIN ENCRYPTED PRIVATE KEY-----"));
    assert!(read(&plain).starts_with("-----BEGIN PRIVATE KEY-----"));

    let names = [locked.clone(), plain.clone()];
    let again = Keyring::open(&directory, &ask).unwrap();
    assert_eq!(signatures(&again, &names, 2).unwrap(), 2);
    // The one that needs no passphrase is taken, and nobody is asked.
    let unattended = Keyring::open(&directory, &refuse).unwrap();
    assert_eq!(signatures(&unattended, &names, 1).unwrap(), 1);
    let error = signatures(&unattended, &names, 2).unwrap_err();
    assert_eq!(error.to_string(), format!("no passphrase for {locked}"));
    let wrong = Keyring::open(&directory, &|_, _| Ok("wrong".to_owned())).unwrap();
    assert!(matches!(signatures(&wrong, &names, 2), Err(PublishError::Key { .. })));
}

#[test]
fn keys_that_cannot_be_used_are_named() {
    let home = tempfile::tempdir().unwrap();
    let mut keyring = Keyring::open(home.path(), &ask).unwrap();
    let first = keyring.generate("beta", Protection::None).unwrap().name.clone();
    let second = keyring.generate("beta", Protection::None).unwrap().name.clone();
    let error = signatures(&keyring, &[first.clone(), second.clone()], 3).unwrap_err().to_string();
    assert!(error.starts_with("2 of the 3 keys that sign for alpha are in "), "{error}");
    assert!(keyring.named("beta-00").is_err());

    let path = |name: &str| home.path().join(format!("{name}.key"));
    fs::copy(path(&first), path(&second)).unwrap();
    let swapped = Keyring::open(home.path(), &ask).unwrap();
    let error = signatures(&swapped, std::slice::from_ref(&second), 1).unwrap_err().to_string();
    assert!(error.ends_with("is not the private part of the public key beside it"), "{error}");

    fs::set_permissions(path(&first), fs::Permissions::from_mode(0o640)).unwrap();
    let error = Keyring::open(home.path(), &ask).unwrap_err().to_string();
    assert!(error.contains("can be read by others: `chmod 600 "), "{error}");
    fs::remove_file(path(&first)).unwrap();
    fs::write(path(&second), "junk").unwrap();
    fs::set_permissions(path(&second), fs::Permissions::from_mode(0o600)).unwrap();
    assert!(matches!(Keyring::open(home.path(), &ask), Err(PublishError::Key { .. })));
}

#[test]
fn a_command_signs_and_its_signature_is_checked() {
    let home = tempfile::tempdir().unwrap();
    let key = key_file::generate().unwrap();
    let public = key.verifying_key().to_bytes();
    let raw = home.path().join("signature");
    fs::write(&raw, key.sign(MESSAGE).to_bytes()).unwrap();
    let text = hex::encode(key.sign(MESSAGE).to_bytes());
    let read = format!("cat >/dev/null; cat '{}'", raw.display());
    let other = format!("cat >/dev/null; echo {}", "00".repeat(64));
    let cases = [
        (read.as_str(), ""),
        (&format!("echo {text}"), ""),
        (&other, "its signature is not valid"),
        ("cat >/dev/null; exit 3", "exit status: 3"),
        ("echo hello", "it printed no signature"),
    ];
    for (command, message) in cases {
        let directory = tempfile::tempdir().unwrap();
        let mut keyring = Keyring::open(directory.path(), &refuse).unwrap();
        let name = keyring.register("stable", &public, Some(command)).unwrap().name.clone();
        let again = Keyring::open(directory.path(), &refuse).unwrap();
        match signatures(&again, &[name], 1) {
            Ok(count) => assert_eq!((count, message), (1, ""), "{command}"),
            Err(error) => {
                assert!(!message.is_empty() && error.to_string().contains(message), "{error}");
            }
        }
    }
    let mut keyring = Keyring::open(home.path(), &refuse).unwrap();
    let name = keyring.register("root", &public, None).unwrap().name.clone();
    assert!(matches!(signatures(&keyring, &[name], 1), Err(PublishError::MissingKeys { .. })));
    assert!(keyring.register("root", &[0; 32], None).is_err());
}
