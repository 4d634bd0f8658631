//! An image of a web server, made of the host's nginx, and a registry of Docker's that has it.
//!
//! Docker's registry protocol, as far as `docker pull` goes, is a few files with the right type:
//! the host's nginx serves them. To the nodes it is a mirror of Docker's own registry, so that
//! `docker pull osones/nginx` is written as in the article and asks nobody outside.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use qemu_tests::child::{self, Child};
use qemu_tests::node::Network;
use qemu_tests::{Error, Result};
use serde_json::json;

const QUICK: Duration = Duration::from_secs(60);
const SERVER: &str = "/usr/sbin/nginx";
const PORT: u16 = 5000;
/// The web server in the image says who it is, whatever it is asked.
const FRONTEND: &str = "daemon off; error_log stderr; pid /run/nginx.pid; events { } \
    http { access_log off; server { listen 80; location / { return 200 \"frontend\\n\"; } } }";

/// A registry with one image, `osones/nginx`; ends when dropped.
pub(crate) struct Registry {
    _server: Child,
}

/// Where the nodes find it: what goes into `/etc/docker/daemon.json`.
pub(crate) fn mirror(network: &Network) -> String {
    json!({ "registry-mirrors": [format!("http://{}:{PORT}", network.host())] }).to_string()
}

impl Registry {
    /// Makes the image in `folder` and serves it.
    pub(crate) fn serve(network: &Network, folder: &Path) -> Result<Self> {
        let _ = fs::remove_dir_all(folder);
        let files = folder.join("files/v2/osones/nginx");
        for below in ["blobs", "manifests"] {
            let path = files.join(below);
            fs::create_dir_all(&path).map_err(Error::file("create", &path))?;
        }
        let layer = layer(folder)?;
        let layer_id = digest(&layer)?;
        let config = json!({
            "architecture": "amd64", "os": "linux", "config": { "Cmd": [SERVER] },
            "rootfs": { "type": "layers", "diff_ids": [layer_id] },
        });
        let kept = folder.join("config");
        write(&kept, config.to_string().as_bytes())?;
        let config_id = digest(&kept)?;
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.docker.distribution.manifest.v2+json",
            "config": {
                "mediaType": "application/vnd.docker.container.image.v1+json",
                "size": size(&kept)?, "digest": config_id,
            },
            "layers": [{
                "mediaType": "application/vnd.docker.image.rootfs.diff.tar",
                "size": size(&layer)?, "digest": layer_id,
            }],
        });
        let latest = files.join("manifests/latest");
        write(&latest, manifest.to_string().as_bytes())?;
        for (from, to) in [
            (&layer, files.join("blobs").join(&layer_id)),
            (&kept, files.join("blobs").join(&config_id)),
            (&latest, files.join("manifests").join(digest(&latest)?)),
        ] {
            fs::copy(from, &to).map_err(Error::file("write", &to))?;
        }
        let host = network.host();
        let root = folder.join("files");
        let server = folder.join("server.conf");
        write(
            &server,
            format!(
                "user root; daemon off; error_log stderr; pid server.pid; events {{ }}\n\
                 http {{ access_log off; server {{ listen {host}:{PORT}; root {};\n\
                 location = /v2/ {{ return 200 \"{{}}\"; }}\n\
                 location ~ /manifests/ {{ types {{ }} default_type {}; }} }} }}\n",
                root.display(),
                "application/vnd.docker.distribution.manifest.v2+json",
            )
            .as_bytes(),
        )?;
        let mut command = network.command(SERVER);
        command.arg("-c").arg(&server).arg("-p").arg(folder);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        Ok(Self { _server: Child::start(command)? })
    }
}

/// The image's only layer: the server, the libraries it is linked with, its configuration.
fn layer(folder: &Path) -> Result<PathBuf> {
    let root = folder.join("root");
    let into = |from: &Path| -> Result<()> {
        let to = root.join(from.strip_prefix("/").unwrap_or(from));
        let parent = to.parent().unwrap_or(&root);
        fs::create_dir_all(parent).map_err(Error::file("create", parent))?;
        fs::copy(from, &to).map(drop).map_err(Error::file("copy", from))
    };
    let server = Path::new(SERVER);
    into(server)?;
    let mut libraries = Command::new("ldd");
    libraries.arg(server);
    let listed = child::run(libraries, QUICK)?;
    for word in String::from_utf8_lossy(&listed).split_whitespace() {
        if word.starts_with('/') {
            into(Path::new(word))?;
        }
    }
    for below in ["run", "var/log/nginx", "var/lib/nginx", "etc/nginx"] {
        let path = root.join(below);
        fs::create_dir_all(&path).map_err(Error::file("create", &path))?;
    }
    write(&root.join("etc/nginx/nginx.conf"), FRONTEND.as_bytes())?;
    write(&root.join("etc/passwd"), b"root:x:0:0::/:/\nnobody:x:65534:65534::/:/\n")?;
    write(&root.join("etc/group"), b"root:x:0:\nnogroup:x:65534:\n")?;
    let layer = folder.join("layer.tar");
    let mut tar = Command::new("tar");
    tar.args(["--owner=0", "--group=0", "-C"]).arg(&root).arg("-cf").arg(&layer).arg(".");
    child::run(tar, QUICK)?;
    Ok(layer)
}

fn digest(path: &Path) -> Result<String> {
    let mut sum = Command::new("sha256sum");
    sum.arg(path);
    let printed = child::run(sum, QUICK)?;
    let printed = String::from_utf8_lossy(&printed);
    Ok(format!("sha256:{}", printed.split_whitespace().next().unwrap_or_default()))
}

fn size(path: &Path) -> Result<u64> {
    Ok(fs::metadata(path).map_err(Error::file("read", path))?.len())
}

fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    fs::write(path, bytes).map_err(Error::file("write", path))
}
