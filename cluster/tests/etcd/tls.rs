//! Certificates that fit, and those that do not.

use cluster::testing::{Certificates, Cluster, Options, debian12, debian13};
use cluster::{Error, Settings, Tls};

use crate::server::{client, run};

#[test]
fn only_the_right_certificates_open_a_connection() {
    for program in [debian12(), debian13()] {
        let ours = Certificates::new();
        let others = Certificates::new();
        let options = Options { certificates: Some(&ours), ..Options::default() };
        let server = Cluster::start(&program, 1, &options);
        let settings = |tls: Tls| server.settings().with_tls(tls);
        run(async {
            let revision = client(settings(ours.tls())).put("/a", "").await.unwrap();

            let nothing_to_show = Tls { identity: None, ..ours.tls() };
            let wrong_authority = Tls { authority: others.tls().authority, ..ours.tls() };
            let strange_identity = Tls { identity: others.tls().identity, ..ours.tls() };
            for (tls, expected) in [
                (nothing_to_show, "it refused us"),
                (strange_identity, "it refused us"),
                (wrong_authority, "invalid peer certificate"),
            ] {
                let error = client(settings(tls)).put("/a", "").await.unwrap_err();
                assert!(matches!(error, Error::Insecure { .. }), "{error}");
                assert!(error.to_string().contains(expected), "{error}");
            }
            let entry = client(settings(ours.tls())).get("/a").await.unwrap().unwrap();
            assert_eq!(entry.mod_revision, revision, "nobody else changed it");
        });
    }
}

#[test]
fn a_server_without_tls_is_told_as_such() {
    let certificates = Certificates::new();
    let server = Cluster::single(&debian13());
    let settings = Settings::listed(&server.endpoints().replace("http:", "https:"));
    run(async {
        let error = client(settings.with_tls(certificates.tls())).get("/a").await.unwrap_err();
        assert!(error.to_string().contains("it does not speak TLS"), "{error}");
    });
}
