//! Releases of the system for the update scenarios: built by `image build` from the project's own
//! manifest with a few lines changed, published by `channels`, served by it.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use qemu_tests::child::{self, Child};
use qemu_tests::node::Network;
use qemu_tests::wiring::HOST;
use qemu_tests::{Deadline, Error, Result, Workspace, ports};

/// Building a release on a busy host, its packages unpacked before.
const BUILD: Duration = Duration::from_secs(600);
/// Signing, copying and checking one.
const PUBLISH: Duration = Duration::from_secs(300);

/// Where a publisher listens on a network of nodes.
const PORT: u16 = 8088;

/// What is different about a release.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Variant {
    /// Added to the kernel command line.
    pub(crate) command_line: &'static str,
    /// Files laid over the rest: path and content. A program begins with `#!`.
    pub(crate) files: &'static [(&'static str, &'static str)],
}

/// A publisher with a repository, keys and a server.
pub(crate) struct Publisher {
    workspace: Workspace,
    folder: PathBuf,
    url: String,
    _server: Child,
}

impl Publisher {
    /// Makes keys and an empty repository in `target/updates`, and serves it to machines on QEMU's
    /// own network.
    pub(crate) fn start(workspace: &Workspace) -> Result<Self> {
        let program = workspace.program("channels")?;
        let port = ports::free()?;
        let url = format!("http://{HOST}:{port}");
        let listen = (Ipv4Addr::LOCALHOST, port).into();
        let up = || TcpStream::connect(("127.0.0.1", port)).is_ok();
        Self::serve(workspace, Command::new(program), listen, url, up)
    }

    /// The same for those on a network of nodes.
    pub(crate) fn start_in(workspace: &Workspace, network: &Network) -> Result<Self> {
        let program = workspace.program("channels")?;
        let listen = SocketAddr::from((network.host(), PORT));
        let up = || network.get(&network.host().to_string(), PORT, "/").is_ok();
        let command = network.command(&program.to_string_lossy());
        Self::serve(workspace, command, listen, format!("http://{listen}"), up)
    }

    fn serve(
        workspace: &Workspace,
        mut serve: Command,
        listen: SocketAddr,
        url: String,
        up: impl Fn() -> bool,
    ) -> Result<Self> {
        let folder = workspace.root().join("target/updates");
        if folder.exists() {
            fs::remove_dir_all(&folder).map_err(Error::file("remove", &folder))?;
        }
        fs::create_dir_all(&folder).map_err(Error::file("make", &folder))?;
        let mut init = Command::new(workspace.program("channels")?);
        init.current_dir(&folder).args(["init", "--no-passphrase"]);
        child::run(init, PUBLISH)?;
        serve.current_dir(&folder).args(["serve", "repository", "--listen"]);
        serve.arg(listen.to_string()).stdin(Stdio::null());
        let log = folder.join("server.log");
        let messages = fs::File::create(&log).map_err(Error::file("write", &log))?;
        serve.stdout(messages.try_clone().map_err(Error::file("write", &log))?).stderr(messages);
        let server = Child::start(serve)?;
        let deadline = Deadline::after(Duration::from_secs(60));
        while !up() {
            if !deadline.pause(Duration::from_millis(50)) {
                let console = fs::read_to_string(&log).unwrap_or_default();
                let what = "an answer of the web server".to_owned();
                return Err(Error::TimedOut { what, limit: Duration::from_secs(60), console });
            }
        }
        Ok(Self { workspace: workspace.clone(), folder, url, _server: server })
    }

    /// Where machines find the repository.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Builds a release that trusts this publisher. With `disk` it keeps the disk image.
    pub(crate) fn build(&self, version: &str, variant: Variant, disk: bool) -> Result<PathBuf> {
        let output = self.folder.join(version);
        let overlay = self.folder.join(format!("{version}.overlay"));
        for (path, content) in [("usr/lib/coreos/release", version)].iter().chain(variant.files) {
            let file = overlay.join(path);
            fs::create_dir_all(file.parent().unwrap_or(&overlay))
                .and_then(|()| fs::write(&file, content))
                .map_err(Error::file("write", &file))?;
            if content.starts_with("#!") {
                use std::os::unix::fs::PermissionsExt;
                fs::set_permissions(&file, fs::Permissions::from_mode(0o755))
                    .map_err(Error::file("write", &file))?;
            }
        }
        let project = self.workspace.root();
        let base = project.join("image/coreos.toml");
        let text = fs::read_to_string(&base).map_err(Error::file("read", &base))?;
        let name = overlay.strip_prefix(project).unwrap_or(&overlay).display().to_string();
        let root = self.folder.join("repository/metadata/1.root.json");
        let root = root.strip_prefix(project).unwrap_or(&root).display().to_string();
        let text = text
            .replace("overlay = [\"dist/root\"]", &format!("overlay = [\"dist/root\", \"{name}\"]"))
            .replace("panic=30", &format!("panic=5 {}", variant.command_line))
            + &format!("\n[update]\nroot = \"{root}\"\n");
        let manifest = self.folder.join(format!("{version}.toml"));
        fs::write(&manifest, text).map_err(Error::file("write", &manifest))?;
        let lock = self.folder.join(format!("{version}.lock"));
        fs::copy(base.with_extension("lock"), &lock).map_err(Error::file("write", &lock))?;
        let mut build = Command::new(self.workspace.program("image")?);
        build.current_dir(project).arg("build").arg("--manifest").arg(&manifest);
        build.arg("--output").arg(&output).args(["--version", version, "--no-qcow2"]);
        child::run(build, BUILD)?;
        if !disk {
            let raw = output.join("coreos.raw");
            fs::remove_file(&raw).map_err(Error::file("remove", &raw))?;
        }
        Ok(output)
    }

    /// Publishes a release to alpha and carries it on to the channels named. With `packs`, in
    /// all forms that there are, a patch from the release before among them.
    pub(crate) fn publish(&self, version: &str, packs: bool, to: &[&str]) -> Result<()> {
        let more: &[&str] = if packs { &[] } else { &["--no-packs"] };
        self.channels(&[&["publish", version], more].concat())?;
        for channel in to {
            let promote = ["promote", version, "--to", channel, "--soak", "0s"];
            self.channels(&[&promote, more].concat())?;
        }
        Ok(())
    }

    /// Runs `channels`.
    pub(crate) fn channels(&self, words: &[&str]) -> Result<()> {
        let mut command = Command::new(self.workspace.program("channels")?);
        command.current_dir(&self.folder).args(words);
        child::run(command, PUBLISH).map(drop)
    }
}
