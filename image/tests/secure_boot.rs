//! `image keys` and signed builds, against OpenSSL and sbverify.

mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use image::secure_boot::{authenticode, keys};
use support::checks::run;
use support::{Project, Run, content, stub};

/// A project with keys in `keys`; short ones are made in less time.
fn with_keys() -> Project {
    let project = Project::new();
    let made = project.command().args(["keys", "--bits=2048", "--output=keys"]).output();
    Run::from(made.expect("runs")).succeeded();
    project
}

fn sbverify(certificate: &Path, program: &Path) -> bool {
    let mut command = Command::new("sbverify");
    let output = command.arg("--cert").arg(certificate).arg(program).output();
    output.expect("sbverify, of the package sbsigntool").status.success()
}

/// A bare `SignedData`, in the `ContentInfo` without which OpenSSL does not read it.
fn content_info(signed_data: &[u8]) -> Vec<u8> {
    let oid = b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x02";
    let length = |n: usize| [0x82, (n >> 8) as u8, n as u8];
    let inner = [&[0xa0][..], &length(signed_data.len()), signed_data].concat();
    [&[0x30][..], &length(oid.len() + inner.len()), oid, &inner].concat()
}

#[test]
fn keys_are_three_certificates_that_openssl_reads_and_secrets_that_only_the_owner_reads() {
    let project = with_keys();
    for name in ["PK", "KEK", "db"] {
        let path = |end: &str| project.path(&format!("keys/{name}.{end}"));
        let text = run("openssl", &["x509", "-noout", "-text", "-in"], &[&path("crt")]);
        assert!(text.contains("Public-Key: (2048 bit)"), "{text}");
        assert!(text.contains("sha256WithRSAEncryption"), "{text}");
        assert!(text.contains("Subject: CN = CoreOS-rs "), "{text}");
        // Signed by itself, and the key is its own.
        run("openssl", &["verify", "-x509_strict", "-CAfile"], &[&path("crt"), &path("crt")]);
        let of_key = run("openssl", &["pkey", "-pubout", "-in"], &[&path("key")]);
        assert_eq!(of_key, run("openssl", &["x509", "-noout", "-pubkey", "-in"], &[&path("crt")]));
        let mode = fs::metadata(path("key")).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}.key");
    }
}

#[test]
fn each_variable_is_signed_by_the_key_above_it() {
    let project = with_keys();
    for (name, vendor, signer) in [
        ("PK", "61dfe48bca93d211aa0d00e098032b8c", "PK"),
        ("KEK", "61dfe48bca93d211aa0d00e098032b8c", "PK"),
        ("db", "cbb219d73a3d9645a3bcdad00e67656f", "KEK"),
    ] {
        let message = content(&project.path(&format!("keys/{name}.auth"))).expect("there");
        let lists = content(&project.path(&format!("keys/{name}.esl"))).expect("there");
        let length = u32::from_le_bytes(*message[16..].first_chunk().expect("long")) as usize;
        let (time, signature) = (&message[..16], &message[40..16 + length]);
        assert_eq!(message[16 + length..], lists, "{name}: what the message sets");
        let name_in_memory: Vec<u8> = name.encode_utf16().flat_map(u16::to_le_bytes).collect();
        let vendor: Vec<u8> = (0..16)
            .map(|at| u8::from_str_radix(&vendor[2 * at..2 * at + 2], 16).expect("hex"))
            .collect();
        let signed = [&name_in_memory[..], &vendor, &[0x27, 0, 0, 0], time, &lists].concat();
        fs::write(project.path("signed"), signed).expect("written");
        fs::write(project.path("signature"), content_info(signature)).expect("written");
        let arguments = [
            "cms",
            "-verify",
            "-binary",
            "-inform",
            "DER",
            "-purpose",
            "any",
            "-out",
            "/dev/null",
            "-in",
        ];
        let mut command = Command::new("openssl");
        command.args(arguments).arg(project.path("signature"));
        command.arg("-content").arg(project.path("signed"));
        command.arg("-CAfile").arg(project.path(&format!("keys/{signer}.crt")));
        Run::of(&mut command).succeeded();
        fs::write(project.path("signed"), b"something else").expect("written");
        assert_ne!(Run::of(&mut command).code, Some(0), "{name}: another message");
    }
}

#[test]
fn a_signed_build_passes_sbverify_and_a_changed_byte_does_not() {
    let project = with_keys();
    let unsigned = {
        project.build(&[]).succeeded();
        content(&project.path("output/coreos_1.2.3.efi")).expect("there")
    };
    let run_ = project.build(&["--secure-boot-keys=keys"]).succeeded();
    assert!(run_.stderr.contains("changed: secure boot keys\n"), "{}", run_.stderr);
    let uki = project.path("output/coreos_1.2.3.efi");
    let certificate = project.path("keys/db.crt");
    assert!(sbverify(&certificate, &uki));
    assert!(!sbverify(&project.path("keys/KEK.crt"), &uki), "another key");
    assert_eq!(
        authenticode::digest(&unsigned),
        authenticode::digest(&content(&uki).expect("there")),
        "signing changes nothing of what is signed"
    );
    for path in ["EFI/BOOT/BOOTX64.EFI", "EFI/Linux/coreos_1.2.3+3.efi"] {
        assert!(sbverify(&certificate, &from_esp(&project, path)), "{path}");
    }
    let settings = content(&from_esp(&project, "loader/loader.conf")).expect("there");
    assert!(settings.ends_with(b"\nsecure-boot-enroll if-safe\n"));
    for name in ["PK.auth", "KEK.auth", "db.auth"] {
        let there = content(&from_esp(&project, &format!("loader/keys/auto/{name}")));
        assert_eq!(there, content(&project.path(&format!("keys/{name}"))), "{name}");
    }
    // Every part of the file counts: headers, stub, and the end of the last section.
    let whole = content(&uki).expect("there");
    let table =
        u32::from_le_bytes(*whole[0x40 + 24 + 144..].first_chunk().expect("there")) as usize;
    for at in [0x50, 0x900, whole.len() / 2, table - 1] {
        let mut changed = whole.clone();
        changed[at] ^= 1;
        let path = project.path("changed.efi");
        fs::write(&path, changed).expect("written");
        assert!(!sbverify(&certificate, &path), "a changed byte at {at}");
    }
}

/// Copies a file out of the disk's EFI partition, which begins at 1 MiB.
fn from_esp(project: &Project, path: &str) -> PathBuf {
    let to = project.path("from-esp");
    let _ = fs::remove_file(&to);
    let disk = format!("{}@@1M", project.path("output/coreos.raw").display());
    let mut command = Command::new("mcopy");
    command.args(["-i", &disk]).arg(format!("::/{path}")).arg(&to);
    Run::of(&mut command).succeeded();
    to
}

#[test]
fn the_same_keys_give_the_same_bytes() {
    let project = with_keys();
    let program = stub::stub(3);
    let keys = keys::Directory::read(&project.path("keys")).expect("there");
    let sign = || authenticode::sign(&program, &keys.signer).expect("signed");
    assert_eq!(sign(), sign());
    // Signed again, it has one signature, not two.
    assert_eq!(authenticode::sign(&sign(), &keys.signer).expect("signed"), sign());
    assert_eq!(authenticode::signatures(&sign()).expect("a program").len(), 1);
    assert_eq!(authenticode::signatures(&program).expect("a program").len(), 0);
}

#[test]
fn sbsign_and_this_program_digest_alike() {
    let project = with_keys();
    let program = project.path("program.efi");
    fs::write(&program, stub::stub(3)).expect("written");
    let signed = project.path("signed.efi");
    let mut command = Command::new("sbsign");
    command.arg("--key").arg(project.path("keys/db.key"));
    command.arg("--cert").arg(project.path("keys/db.crt")).arg("--output").arg(&signed);
    Run::of(command.arg(&program)).succeeded();
    let signed = content(&signed).expect("there");
    let digest = authenticode::digest(&signed).expect("a program");
    let signature = authenticode::signatures(&signed).expect("a program")[0];
    assert!(signature.windows(32).any(|window| window == digest));
}

#[test]
fn mistakes_with_keys_are_told_in_one_line() {
    let project = with_keys();
    let keys = |more: &[&str]| Run::of(project.command().arg("keys").args(more));
    keys(&["--output=keys"]).failed("keys/PK.key is there already");
    keys(&["--output=more", "--bits=1024"]).failed("RSA keys of 1024 bits are not made");
    keys(&["--output=more", "--owner=a,b"]).failed("\"a,b\" cannot stand in a certificate");
    keys(&["--output=more", "--trust=manifest.toml"]).failed("manifest.toml is no certificate");
    assert!(!project.path("more").exists());

    let build = |keys: &str| project.build(&[&format!("--secure-boot-keys={keys}")]);
    build("nowhere").failed("no keys for Secure Boot");
    fs::copy(project.path("keys/KEK.key"), project.path("keys/db.key")).expect("copied");
    build("keys").failed("no keys for Secure Boot");
    project.write("keys/db.key", "no key\n");
    build("keys").failed("no keys for Secure Boot");
    assert!(!project.path("output").exists());
}

#[test]
fn a_file_that_is_no_program_is_refused_and_never_a_panic() {
    let program = stub::stub(3);
    for length in (0..program.len()).step_by(7) {
        // A cut file has no digest, or one that is not the whole file's.
        let cut = authenticode::digest(&program[..length]);
        assert!(cut.is_err() || cut != authenticode::digest(&program), "{length}");
    }
    for at in 0..0x200 {
        for value in [0, 1, 0x7f, 0xff] {
            let mut damaged = program.clone();
            damaged[at] = value;
            let _ = authenticode::digest(&damaged);
            let _ = authenticode::signatures(&damaged);
        }
    }
}
