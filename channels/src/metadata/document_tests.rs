use super::*;
use crate::fixture::{TestKey, allow, keys};
use crate::metadata::{Root, Snapshot, Timestamp};
use proptest::prelude::*;
use serde_json::json;

const MESSAGE: &[u8] = b"message";

fn signatures(made: &[(&TestKey, &str)]) -> Vec<Signature> {
    made.iter()
        .map(|(key, id)| Signature { keyid: id.to_string(), sig: hex::encode(key.sign(MESSAGE)) })
        .collect()
}

#[test]
fn each_key_counts_once_towards_the_threshold() {
    let [a, b, c] = [1, 2, 3].map(TestKey::new);
    // The second id of a hides the same key; what is listed under "?" is of no scheme we know.
    let mut known = keys(&[&a, &b, &c]);
    known.insert("alias".to_owned(), a.public());
    let odd = json!({"keytype": "new", "scheme": "new", "keyval": {"other": 1}});
    known.insert("?".to_owned(), serde_json::from_value(odd).unwrap());
    let (ia, ib, ic) = (a.id(), b.id(), c.id());
    let (ia, ib, ic) = (ia.as_str(), ib.as_str(), ic.as_str());
    // Allowed ids, threshold, signatures made, how many count.
    type Case<'a> = (&'a [&'a str], u64, &'a [(&'a TestKey, &'a str)], usize);
    let cases: &[Case<'_>] = &[
        (&[ia, ib], 1, &[(&a, ia)], 1),
        (&[ia, ib], 2, &[(&a, ia), (&b, ib)], 2),
        (&[ia, ib], 2, &[(&a, ia)], 1),
        (&[ia, ib], 2, &[(&a, ia), (&a, "alias")], 1),
        (&[ia, "alias"], 2, &[(&a, ia), (&a, "alias")], 1),
        (&[ia, ia, ia], 2, &[(&a, ia)], 1),
        (&[ia, ib], 2, &[(&a, ia), (&c, ic)], 1),
        (&[ia, ib], 2, &[(&a, ia), (&a, ib)], 1),
        (&[ia, "?"], 2, &[(&a, ia), (&b, "?")], 1),
        (&[ia, "missing"], 2, &[(&a, ia), (&b, "missing")], 1),
        (&[ia], 2, &[(&a, ia)], 1),
        (&[], 1, &[(&a, ia)], 0),
        (&[ia], 0, &[], 0),
    ];
    for (number, (ids, threshold, made, counted)) in cases.iter().enumerate() {
        let allowed = RoleKeys {
            keyids: ids.iter().map(ToString::to_string).collect(),
            threshold: *threshold,
        };
        let authority = Authority { role: "r", allowed: &allowed, keys: &known };
        let made = signatures(made);
        assert_eq!(authority.signers(MESSAGE, &made), *counted, "case {number}");
        let enough = *threshold > 0 && *counted as u64 >= *threshold;
        assert_eq!(authority.verify(MESSAGE, &made).is_ok(), enough, "case {number}");
        assert!(authority.verify(b"other", &made).is_err(), "case {number}");
    }
}

#[test]
fn an_invalid_signature_beside_enough_valid_ones_is_no_fault() {
    let [a, b] = [1, 2].map(TestKey::new);
    let (known, allowed) = (keys(&[&a, &b]), allow(&[&a, &b], 1));
    let authority = Authority { role: "r", allowed: &allowed, keys: &known };
    for sig in ["", "zz", "00", &hex::encode(b.sign(b"other"))] {
        let mut made = signatures(&[(&a, &a.id())]);
        made.push(Signature { keyid: b.id(), sig: sig.to_owned() });
        assert!(authority.verify(MESSAGE, &made).is_ok(), "{sig}");
    }
}

#[test]
fn losing_a_key_is_a_rotation_and_gaining_one_is_not() {
    let [a, b, c] = [1, 2, 3].map(TestKey::new);
    let known = keys(&[&a, &b, &c]);
    let cases: &[(&[&TestKey], &[&TestKey], bool)] = &[
        (&[&a], &[&a], false),
        (&[&a], &[&a, &b], false),
        (&[&a, &b], &[&b, &a], false),
        (&[&a], &[&b], true),
        (&[&a, &b], &[&a], true),
        (&[&a, &b], &[&a, &c], true),
        (&[], &[&a], false),
    ];
    for (number, (old, new, rotated)) in cases.iter().enumerate() {
        let (old, new) = (allow(old, 1), allow(new, 1));
        let authority = |allowed| Authority { role: "r", allowed, keys: &known };
        assert_eq!(authority(&old).lost_a_key_in(&authority(&new)), *rotated, "case {number}");
    }
}

fn timestamp() -> Value {
    json!({
        "signatures": [{"keyid": "k", "sig": "00"}],
        "signed": {
            "_type": "timestamp", "spec_version": "1.0.31", "version": 3,
            "expires": "2030-01-01T00:00:00Z", "meta": {"snapshot.json": {"version": 2}},
            "unknown": {"kept": true}
        },
        "extra": 1
    })
}

#[test]
fn unknown_members_are_tolerated_and_signed() {
    let bytes = serde_json::to_vec(&timestamp()).unwrap();
    let document = Document::<Timestamp>::parse(bytes).unwrap();
    assert_eq!(document.unverified().snapshot().version, 2);
    let signed = String::from_utf8(document.canonical().to_vec()).unwrap();
    assert!(signed.contains(r#""unknown":{"kept":true}"#), "{signed}");
    assert!(!signed.contains("extra"), "{signed}");
}

#[test]
fn what_is_not_metadata_of_the_role_does_not_parse() {
    let cases: &[(&str, Value, &str)] = &[
        ("/signed/_type", json!("snapshot"), "expected, not of `snapshot`"),
        ("/signed/_type", json!(1), "not metadata"),
        ("/signed/spec_version", json!("2.0"), "version 2.0 of the TUF specification"),
        ("/signed/spec_version", json!("10.0"), "version 10.0"),
        ("/signed/spec_version", json!(null), "not metadata"),
        ("/signed/version", json!(0), "version 0"),
        ("/signed/version", json!(-1), "not metadata"),
        ("/signed/version", json!("1"), "not metadata"),
        ("/signed/expires", json!("2030-01-01"), "not metadata"),
        ("/signed/meta", json!({}), "without snapshot.json"),
        ("/signed/meta/snapshot.json/version", json!(0), "version 0 of snapshot.json"),
        ("/signed/meta/snapshot.json", json!({"version": 1, "length": -5}), "not metadata"),
        ("/signed", json!([]), "not metadata"),
        ("/signatures", json!({}), "not metadata"),
        (
            "/signatures",
            json!([{"keyid": "k", "sig": "00"}, {"keyid": "k", "sig": "01"}]),
            "two signatures of the key k",
        ),
    ];
    for (place, value, message) in cases {
        let mut document = timestamp();
        *document.pointer_mut(place).unwrap() = value.clone();
        let bytes = serde_json::to_vec(&document).unwrap();
        let error = Document::<Timestamp>::parse(bytes).unwrap_err().to_string();
        assert!(error.contains(message), "{place} {value}: {error}");
    }
}

#[test]
fn roots_and_snapshots_name_all_that_they_must() {
    let bytes = br#"{"signatures":[],"signed":{"_type":"root","spec_version":"1.0","version":1,
        "expires":"2030-01-01T00:00:00Z","keys":{},"roles":{"root":{"keyids":[],"threshold":1}}}}"#;
    let error = Document::<Root>::parse(bytes.to_vec()).unwrap_err().to_string();
    assert_eq!(error, "no keys for the role timestamp");
    let bytes = br#"{"signatures":[],"signed":{"_type":"snapshot","spec_version":"1.0",
        "version":1,"expires":"2030-01-01T00:00:00Z","meta":{}}}"#;
    let error = Document::<Snapshot>::parse(bytes.to_vec()).unwrap_err().to_string();
    assert_eq!(error, "a snapshot without targets.json");
}

#[test]
fn what_is_assembled_is_trusted_as_it_stands() {
    let key = TestKey::new(1);
    let (known, allowed) = (keys(&[&key]), allow(&[&key], 1));
    let authority = Authority { role: "root", allowed: &allowed, keys: &known };
    let mut root = Root::new(7, Time::from_unix(0));
    for role in crate::metadata::TOP_LEVEL {
        root.roles.insert(role.to_owned(), allowed.clone());
    }
    let message = signing_bytes(&root);
    let signature = Signature { keyid: key.id(), sig: hex::encode(key.sign(&message)) };
    let bytes = assemble(&root, &[signature]);
    let document = Document::<Root>::parse(bytes.clone()).unwrap();
    assert_eq!(document.canonical(), message);
    let trusted = document.trust(&[authority, authority]).unwrap();
    assert_eq!(trusted.bytes(), bytes);
    assert_eq!(*trusted, root);
}

proptest! {
    #[test]
    fn no_bytes_make_the_parser_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = Document::<Root>::parse(bytes);
    }

    #[test]
    fn a_flipped_byte_is_never_trusted_as_something_else(at in 0_usize..2000, bit in 0..8_u8) {
        let key = TestKey::new(1);
        let (known, allowed) = (keys(&[&key]), allow(&[&key], 1));
        let authority = Authority { role: "snapshot", allowed: &allowed, keys: &known };
        let meta = json!({"targets.json": {"version": 5}, "alpha.json": {"version": 9}});
        let meta = serde_json::from_value(meta).unwrap();
        let snapshot = Snapshot::new(3, Time::from_unix(2_000_000_000), meta);
        let message = signing_bytes(&snapshot);
        let signature = Signature { keyid: key.id(), sig: hex::encode(key.sign(&message)) };
        let mut bytes = assemble(&snapshot, &[signature]);
        let at = at % bytes.len();
        bytes[at] ^= 1_u8 << bit;
        if let Ok(document) = Document::<Snapshot>::parse(bytes)
            && let Ok(trusted) = document.trust(&[authority])
        {
            // White space, or the case of a digit of the signature.
            prop_assert_eq!(&*trusted, &snapshot);
        }
    }
}
