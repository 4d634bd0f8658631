//! Nodes of one cluster: a network with a discovery service, and systems with one config.

use std::fs::File;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use qemu_tests::child::Child;
use qemu_tests::node::{Network, Node, Specification};
use qemu_tests::{Deadline, Error, Result};

use crate::lab::Lab;
use crate::system::System;

/// For what a cluster does by itself: elections, catching up, moving units.
pub(crate) const SETTLED: Duration = Duration::from_secs(150);
const POLL: Duration = Duration::from_millis(300);
/// Where the discovery service listens.
const PORT: u16 = 8087;

/// A network, and the URL of a cluster that is to be founded in it.
pub(crate) struct Rack<'a> {
    pub(crate) network: Arc<Network>,
    /// What `/new?size=3` answered.
    pub(crate) url: String,
    /// Where everything of it is.
    pub(crate) folder: PathBuf,
    lab: &'a Lab,
    _discovery: Child,
}

impl<'a> Rack<'a> {
    /// A network with a discovery service, and a new cluster's URL. `name` is the scenario's.
    pub(crate) fn new(lab: &'a Lab, name: &str) -> Result<Self> {
        let network = Arc::new(Network::new()?);
        let folder = lab.workspace.nodes().join(name);
        std::fs::create_dir_all(&folder).map_err(Error::file("create", &folder))?;
        let store = folder.join("discovery");
        let log = folder.join("discovery.log");
        let messages = File::create(&log).map_err(Error::file("write", &log))?;
        let program = lab.workspace.program("cluster")?;
        let mut command = network.command(&program.to_string_lossy());
        let host = network.host();
        command.args(["discovery", "serve", "--listen", &format!("{host}:{PORT}")]);
        command.arg("--directory").arg(store).stdin(Stdio::null());
        command.stdout(messages.try_clone().map_err(Error::file("write", &log))?).stderr(messages);
        let discovery = Child::start(command)?;
        let deadline = Deadline::after(SETTLED);
        let url = loop {
            match network.get(&host.to_string(), PORT, "/new?size=3") {
                Ok(url) if url.starts_with("http://") => break url,
                other if !deadline.pause(POLL) => {
                    let what = format!("a new cluster's URL: {other:?}");
                    let console = std::fs::read_to_string(&log).unwrap_or_default();
                    return Err(Error::TimedOut { what, limit: SETTLED, console });
                }
                _ => {}
            }
        };
        Ok(Self { network, url, folder, lab, _discovery: discovery })
    }

    /// A machine that is switched on and not waited for. `config` has `VOTRE_URL` where the
    /// article has it.
    pub(crate) fn node(&self, number: u8, config: &str) -> Result<Node> {
        let name = format!("n{number}");
        let specification = Specification {
            name: &name,
            number,
            folder: self.folder.join(&name),
            image: self.lab.workspace.root_image()?,
            provision: self.lab.workspace.program("coreos-init")?,
            user_data: &config.replace("VOTRE_URL", &self.url),
        };
        let mut node = Node::new(&self.network, &specification)?;
        node.power_on()?;
        Ok(node)
    }

    /// Three machines with the same config, switched on at once, whose systems run.
    pub(crate) fn three(&self, config: &str) -> Result<Vec<Node>> {
        let mut nodes: Vec<Node> =
            (1..=3).map(|number| self.node(number, config)).collect::<Result<_>>()?;
        nodes.iter_mut().try_for_each(Node::booted)?;
        Ok(nodes)
    }
}

/// Repeats a script in a node until it succeeds with what is wished, and returns that. `unit` is
/// whose journal is shown if it never does.
pub(crate) fn until<S: System>(
    node: &S,
    unit: &str,
    what: &str,
    script: &str,
    wished: impl Fn(&str) -> bool,
) -> Result<String> {
    let limit = SETTLED * S::PATIENCE;
    let deadline = Deadline::after(limit);
    loop {
        let last = match node.read(script) {
            Ok(printed) if wished(&printed) => return Ok(printed),
            Ok(printed) => printed,
            Err(error) => error.to_string(),
        };
        if !deadline.pause(POLL * S::PATIENCE) {
            let journal = format!("journalctl --no-pager -n 30 -u '{unit}'");
            let console = node.read(&journal).unwrap_or_default();
            let what = format!("{what} on {}; seen: {last}", node.name());
            return Err(Error::TimedOut { what, limit, console });
        }
    }
}
