//! Versions of etcd.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use host::http::{Fetch, fetch};
use sha2::{Digest, Sha256};

/// etcd 3.5 as Debian 13 has it, which is what the image runs.
const TRIXIE: Package = Package {
    name: "etcd-3.5.16",
    url: "http://deb.debian.org/debian/pool/main/e/etcd/etcd-server_3.5.16-4_amd64.deb",
    sha256: "0875921bb0d023f2af9b8e15cdfbe417a03e65731345fb832c40f9c2dd72967b",
    program: "usr/bin/etcd",
};

/// An executable of etcd.
#[derive(Clone, Debug)]
pub struct Program {
    pub path: PathBuf,
    pub name: &'static str,
}

/// etcd 3.4, of the package `etcd-server` of Debian 12.
pub fn debian12() -> Program {
    Program { path: "/usr/bin/etcd".into(), name: "etcd 3.4" }
}

/// etcd 3.5 of Debian 13, fetched and unpacked into `target/` once.
///
/// # Panics
/// If the archive cannot be reached or has changed.
pub fn debian13() -> Program {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    let path = PATH.get_or_init(|| TRIXIE.unpacked()).clone();
    Program { path, name: "etcd 3.5" }
}

struct Package {
    name: &'static str,
    url: &'static str,
    sha256: &'static str,
    program: &'static str,
}

impl Package {
    fn unpacked(&self) -> PathBuf {
        let peers = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/peers");
        let folder = peers.join(self.name);
        let program = folder.join(self.program);
        if program.is_file() {
            return program;
        }
        std::fs::create_dir_all(&peers).expect("target/ can be written");
        let how = Fetch { limit: 64 << 20, deadline: Duration::from_secs(300), ..Fetch::default() };
        let package = fetch(self.url, &how).expect("Debian's archive answers");
        assert_eq!(hex::encode(Sha256::digest(&package)), self.sha256, "{}", self.url);
        let temporary = tempfile::tempdir_in(&peers).expect("target/ can be written");
        let file = temporary.path().join("package.deb");
        let tree = temporary.path().join("tree");
        std::fs::write(&file, package).expect("target/ can be written");
        let status = Command::new("dpkg-deb").arg("-x").arg(&file).arg(&tree).status();
        assert!(status.expect("dpkg-deb runs").success(), "dpkg-deb -x {}", file.display());
        // Another test may have been quicker; then its tree is as good.
        let _ = std::fs::rename(&tree, &folder);
        program
    }
}
