//! `cluster discovery serve` and `cluster fleetlock serve`.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use cluster::discovery::{self, Discovery};
use cluster::fleetlock;
use tokio::net::TcpListener;

use super::arguments::{DiscoveryArguments, FleetlockArguments};
use super::{Failed, client};

const DAY: Duration = Duration::from_secs(24 * 3600);
const MINUTE: Duration = Duration::from_secs(60);

pub(crate) async fn discovery(
    arguments: DiscoveryArguments,
    now: fn() -> SystemTime,
) -> Result<(), Failed> {
    let options = discovery::Options {
        folder: arguments.directory,
        url: arguments.url,
        new_each: arguments.new_per_hour,
        tokens: arguments.clusters,
        keep: DAY * arguments.keep,
    };
    let discovery = Arc::new(Discovery::open(options, now)?);
    let listener = listen(arguments.listen).await?;
    Err(discovery::serve(discovery, listener).await.into())
}

pub(crate) async fn fleetlock(
    arguments: FleetlockArguments,
    now: fn() -> SystemTime,
) -> Result<(), Failed> {
    let client = client(&arguments.etcd)?;
    let options = fleetlock::Options { hold: MINUTE * arguments.hold };
    let listener = listen(arguments.listen).await?;
    Err(fleetlock::serve(client, options, listener, now).await.into())
}

/// Says where it listens, for whoever asked for any free port.
async fn listen(address: SocketAddr) -> Result<TcpListener, Failed> {
    let listener = TcpListener::bind(address)
        .await
        .map_err(|error| format!("cannot listen on {address}: {error}"))?;
    println!("listening on http://{}", listener.local_addr()?);
    Ok(listener)
}
