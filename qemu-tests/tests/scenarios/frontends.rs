//! Who asks a web server all the time, as a balancer does: one machine after the other, and of
//! those that do not answer the next.

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use qemu_tests::Result;
use qemu_tests::node::Network;

use crate::system::System;

/// How long a node may take before the next is asked.
const PATIENCE: Duration = Duration::from_millis(1500);
/// Between two requests.
const PAUSE: Duration = Duration::from_millis(100);
const PORT: u16 = 80;

/// What came of it.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// Requests.
    pub(crate) asked: usize,
    /// Requests that no machine answered.
    pub(crate) failed: usize,
    /// Machines that did not answer, and the next one was asked.
    pub(crate) passed_over: usize,
}

/// Somebody who asks until told to stop.
pub(crate) struct Asking {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Result<Tally>>,
}

/// Begins to ask these machines.
pub(crate) fn ask<S: System>(network: &Network, nodes: &[S]) -> Result<Asking> {
    let stop = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&stop);
    let addresses: Vec<IpAddr> = nodes.iter().map(|node| node.address().into()).collect();
    let patience = PATIENCE * S::PATIENCE;
    let thread = network.spawn(move || {
        let mut tally = Tally::default();
        while !told.load(Ordering::Relaxed) {
            let first = tally.asked % addresses.len();
            let missed = (0..addresses.len())
                .take_while(|next| !answers(addresses[(first + next) % addresses.len()], patience))
                .count();
            tally.asked += 1;
            tally.passed_over += missed;
            tally.failed += usize::from(missed == addresses.len());
            std::thread::sleep(PAUSE);
        }
        tally
    })?;
    Ok(Asking { stop, thread })
}

impl Asking {
    /// Stops, and tells what came of it.
    pub(crate) fn stop(self) -> Result<Tally> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap_or_else(|_| Ok(Tally { failed: 1, ..Tally::default() }))
    }
}

/// Whether a whole answer comes in time.
fn answers(address: IpAddr, patience: Duration) -> bool {
    let ask = || -> std::io::Result<String> {
        let mut stream = TcpStream::connect_timeout(&SocketAddr::new(address, PORT), patience)?;
        stream.set_read_timeout(Some(patience))?;
        stream.write_all(b"GET / HTTP/1.0\r\nHost: frontend\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    };
    ask().is_ok_and(|answer| answer.starts_with("HTTP/1.1 200") && answer.ends_with("frontend\n"))
}
