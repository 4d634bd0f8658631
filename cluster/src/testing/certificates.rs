//! An authority and what it has signed, by openssl.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::settings::{Identity, Tls};

/// A folder with an authority, a server's certificate for the loopback address, and a client's.
#[derive(Debug)]
pub struct Certificates {
    folder: tempfile::TempDir,
}

const SCRIPT: &str = "
set -e
key() { openssl ecparam -name prime256v1 -genkey -noout -out $1.key; }
key ca
openssl req -x509 -new -key ca.key -subj /CN=ca -days 2 -out ca.pem
signed() {
    key $1
    openssl req -new -key $1.key -subj /CN=$1 -out $1.csr
    printf 'subjectAltName=%s\\nextendedKeyUsage=serverAuth,clientAuth' $2 >$1.ext
    openssl x509 -req -in $1.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 \
        -extfile $1.ext -out $1.pem
}
signed server IP:127.0.0.1
signed client DNS:client
";

impl Certificates {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let output = Command::new("sh").args(["-c", SCRIPT]).current_dir(folder.path()).output();
        let output = output.expect("sh runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Self { folder }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// As a client wants them.
    pub fn tls(&self) -> Tls {
        let identity =
            Identity { certificate: self.path("client.pem"), key: self.path("client.key") };
        Tls { authority: Some(self.path("ca.pem")), identity: Some(identity) }
    }

    /// etcd's arguments for its client side.
    pub fn arguments(&self) -> Vec<String> {
        let argument = |name: &str, path: &Path| format!("--{name}={}", path.display());
        vec![
            argument("cert-file", &self.path("server.pem")),
            argument("key-file", &self.path("server.key")),
            argument("trusted-ca-file", &self.path("ca.pem")),
            "--client-cert-auth".to_owned(),
        ]
    }
}

impl Default for Certificates {
    fn default() -> Self {
        Self::new()
    }
}
