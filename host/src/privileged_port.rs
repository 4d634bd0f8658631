//! Connecting from a port below 1024, by which some servers know that root asks.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::os::fd::AsRawFd;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, SockaddrStorage, bind, connect, setsockopt, socket, sockopt,
};
use nix::sys::time::TimeVal;
use ureq::Error;
use ureq::unversioned::transport::{
    Buffers, ConnectionDetails, Connector, LazyBuffers, NextTimeout, Transport,
};

/// Ports that only root may take and that no well-known service has.
const PORTS: std::ops::RangeInclusive<u16> = 600..=1023;

/// Plain TCP from a privileged port.
#[derive(Debug)]
pub(crate) struct PrivilegedConnector;

impl<In: Transport> Connector<In> for PrivilegedConnector {
    type Out = Connection;

    fn connect(
        &self,
        details: &ConnectionDetails<'_>,
        _: Option<In>,
    ) -> Result<Option<Connection>, Error> {
        if details.needs_tls() {
            return Err(Error::Tls("only plain http can be asked from a privileged port"));
        }
        let patience = details.timeout.not_zero().map(|wait| *wait);
        let first = crate::http::random();
        let mut failure = io::Error::from(ErrorKind::AddrNotAvailable);
        for address in &details.addrs {
            match from_any_port(*address, patience, first) {
                Ok(stream) => {
                    let config = details.config;
                    let buffers =
                        LazyBuffers::new(config.input_buffer_size(), config.output_buffer_size());
                    return Ok(Some(Connection { stream, buffers }));
                }
                Err(error) => failure = error,
            }
        }
        Err(Error::Io(failure))
    }
}

/// A connection, used for one request.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: TcpStream,
    buffers: LazyBuffers,
}

impl Transport for Connection {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        let wait = timeout.not_zero().map(|wait| *wait);
        self.stream.set_write_timeout(wait)?;
        let written = self.stream.write_all(&self.buffers.output()[..amount]);
        written.map_err(|error| in_time(error, timeout))
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        let wait = timeout.not_zero().map(|wait| *wait);
        self.stream.set_read_timeout(wait)?;
        let read = self.stream.read(self.buffers.input_append_buf());
        let amount = read.map_err(|error| in_time(error, timeout))?;
        self.buffers.input_appended(amount);
        Ok(amount > 0)
    }

    /// It is never used again.
    fn is_open(&mut self) -> bool {
        false
    }
}

/// The system calls a wait that is over by the name of another thing.
fn in_time(error: io::Error, timeout: NextTimeout) -> Error {
    match error.kind() {
        ErrorKind::WouldBlock | ErrorKind::TimedOut => Error::Timeout(timeout.reason),
        _ => Error::Io(error),
    }
}

/// Connects from the first port that is free, beginning at a `random` one.
fn from_any_port(to: SocketAddr, patience: Option<Duration>, random: u64) -> io::Result<TcpStream> {
    let count = PORTS.len() as u64;
    for step in 0..count {
        let port = PORTS.start() + u16::try_from((random + step) % count).unwrap_or_default();
        match from_port(to, port, patience) {
            Err(Errno::EADDRINUSE | Errno::EADDRNOTAVAIL) => {}
            other => return other.map_err(io::Error::from),
        }
    }
    Err(io::Error::from(ErrorKind::AddrInUse))
}

fn from_port(to: SocketAddr, port: u16, patience: Option<Duration>) -> Result<TcpStream, Errno> {
    let (family, any): (_, IpAddr) = match to {
        SocketAddr::V4(_) => (AddressFamily::Inet, Ipv4Addr::UNSPECIFIED.into()),
        SocketAddr::V6(_) => (AddressFamily::Inet6, Ipv6Addr::UNSPECIFIED.into()),
    };
    let socket = socket(family, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
    if let Some(patience) = patience {
        // The kernel has it bound the wait for a connection, too.
        let wait = TimeVal::new(
            patience.as_secs().try_into().unwrap_or(i64::MAX),
            patience.subsec_micros().into(),
        );
        setsockopt(&socket, sockopt::SendTimeout, &wait)?;
    }
    bind(socket.as_raw_fd(), &SockaddrStorage::from(SocketAddr::new(any, port)))?;
    match connect(socket.as_raw_fd(), &SockaddrStorage::from(to)) {
        Ok(()) => Ok(TcpStream::from(socket)),
        Err(Errno::EINPROGRESS) => Err(Errno::ETIMEDOUT),
        Err(errno) => Err(errno),
    }
}
