//! The command line: arguments → one operation → what it found.

mod arguments;
mod join;
mod lock;
mod serve;

pub(crate) use arguments::Arguments;

use std::collections::BTreeMap;
use std::error::Error;
use std::path::Path;
use std::process::ExitCode;
use std::time::SystemTime;

use arguments::{Command, DiscoveryCommand, EtcdArguments, FleetlockCommand};
use cluster::machine::RUN;
use cluster::{Client, MachineCluster, Settings, Tls};

/// An error with its causes, for `main` to print.
pub(crate) type Failed = Box<dyn Error>;

/// Does what was asked for.
pub(crate) async fn run(
    arguments: Arguments,
    environment: BTreeMap<String, String>,
    now: fn() -> SystemTime,
) -> Result<ExitCode, Failed> {
    match arguments.command {
        Command::Join(arguments) => return Ok(join::run(&arguments, &environment, now).await),
        Command::Discovery(DiscoveryCommand::Serve(arguments)) => {
            serve::discovery(arguments, now).await?;
        }
        Command::Fleetlock(FleetlockCommand::Serve(arguments)) => {
            serve::fleetlock(arguments, now).await?;
        }
        Command::Lock(arguments) => lock::run(arguments, now()).await?,
    }
    Ok(ExitCode::SUCCESS)
}

/// A client for what the command line says, else for this machine's cluster.
fn client(arguments: &EtcdArguments) -> Result<Client, Failed> {
    let mut settings = match &arguments.endpoint {
        Some(endpoints) => Settings::listed(endpoints),
        None => match MachineCluster::read(Path::new(RUN)) {
            Some(cluster) => cluster.settings(),
            None => Settings::local(),
        },
    };
    let identity = match (&arguments.etcd_certfile, &arguments.etcd_keyfile) {
        (Some(certificate), Some(key)) => {
            let (certificate, key) = (certificate.clone(), key.clone());
            Some(cluster::settings::Identity { certificate, key })
        }
        _ => None,
    };
    let authority = arguments.etcd_cafile.clone();
    if authority.is_some() || identity.is_some() {
        settings = settings.with_tls(Tls { authority, identity });
    }
    Ok(Client::new(settings)?)
}
