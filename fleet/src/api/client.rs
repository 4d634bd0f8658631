//! Asking a daemon: HTTP/1.1 over its socket or TCP, one connection a question, no runtime.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::types::{
    ClusterStatus, CordonRequest, ErrorBody, Machine, MachineDetail, MachinePage, Plan,
    PlanRequest, RolloutStatus, Unit, UnitPage, UnitState, UnitStatePage, Why,
};
use super::{BASE, PATIENCE};
use crate::model::Event;

/// The largest answer that is taken, in bytes. Streams have no limit.
const LIMIT: u64 = 256 << 20;

/// Where a daemon answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Endpoint {
    /// A socket in the file system.
    Unix(PathBuf),
    /// `HOST:PORT`.
    Tcp(String),
}

impl Endpoint {
    /// Reads `unix:///run/fleet.sock`, `http://HOST[:PORT]` or a path.
    pub fn parse(text: &str) -> Result<Endpoint, ClientError> {
        let bad = || ClientError::Endpoint(text.to_string());
        if let Some(path) = text.strip_prefix("unix://") {
            return Ok(Endpoint::Unix(PathBuf::from(path)));
        }
        if let Some(rest) = text.strip_prefix("http://") {
            let host = rest.trim_end_matches('/');
            if host.is_empty() || host.contains('/') {
                return Err(bad());
            }
            let port = if host.rsplit(']').next().is_some_and(|tail| tail.contains(':')) {
                ""
            } else {
                ":80"
            };
            return Ok(Endpoint::Tcp(format!("{host}{port}")));
        }
        if text.starts_with('/') { Ok(Endpoint::Unix(PathBuf::from(text))) } else { Err(bad()) }
    }
}

/// Why there is no answer, or not the one that was asked for.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Not an address of a daemon.
    #[error("`{0}` is not an endpoint: use unix:///run/fleet.sock or http://HOST:PORT")]
    Endpoint(String),
    /// Nobody answers there.
    #[error("cannot reach fleetd at {endpoint}")]
    Connect {
        /// The address.
        endpoint: String,
        /// What the system said.
        source: io::Error,
    },
    /// The connection broke, or what came over it makes no sense.
    #[error("fleetd's answer to {request} cannot be read")]
    Answer {
        /// Method and path.
        request: String,
        /// What went wrong.
        source: io::Error,
    },
    /// Nothing came in time.
    #[error(
        "fleetd has not answered {request} within {} s; --request-timeout=SECONDS waits longer",
        limit.as_secs_f64()
    )]
    Slow {
        /// Method and path.
        request: String,
        /// How long was waited.
        limit: Duration,
    },
    /// The daemon refused.
    #[error("{message}")]
    Refused {
        /// The status code of HTTP.
        code: u16,
        /// The daemon's words.
        message: String,
    },
}

impl ClientError {
    /// Whether what was asked about does not exist.
    pub fn is_not_found(&self) -> bool {
        matches!(self, ClientError::Refused { code: 404, .. })
    }

    /// Whether etcd is away or the daemon busy, so that asking again later may help.
    pub fn is_unavailable(&self) -> bool {
        matches!(self, ClientError::Refused { code: 503, .. } | ClientError::Slow { .. })
    }
}

/// A client of one daemon.
#[derive(Debug, Clone)]
pub struct Client {
    endpoint: Endpoint,
    timeout: Duration,
}

impl Client {
    /// A client that waits so long for each answer. Streams are waited for without end.
    pub fn new(endpoint: Endpoint, timeout: Duration) -> Client {
        Client { endpoint, timeout }
    }

    /// Every unit, by name.
    pub fn units(&self) -> Result<Vec<Unit>, ClientError> {
        self.pages("units", |page: UnitPage| (page.units, page.next_page_token))
    }

    /// One unit; `None` if there is none of this name.
    pub fn unit(&self, name: &str) -> Result<Option<Unit>, ClientError> {
        optional(self.get(&format!("units/{}", escape(name))))
    }

    /// Creates a unit, gives it a new file, or changes what it should be.
    pub fn put_unit(&self, unit: &Unit) -> Result<(), ClientError> {
        self.send("PUT", &format!("units/{}", escape(&unit.name)), Some(unit)).map(drop)
    }

    /// Changes what a unit should be: `inactive`, `loaded`, `launched`.
    pub fn set_state(&self, name: &str, desired: &str) -> Result<(), ClientError> {
        let unit = Unit {
            name: name.to_string(),
            desired_state: Some(desired.to_string()),
            ..Unit::default()
        };
        self.put_unit(&unit)
    }

    /// Destroys a unit.
    pub fn destroy(&self, name: &str) -> Result<(), ClientError> {
        self.send::<()>("DELETE", &format!("units/{}", escape(name)), None).map(drop)
    }

    /// The states of every unit, by unit and machine.
    pub fn states(&self) -> Result<Vec<UnitState>, ClientError> {
        self.pages("state", |page: UnitStatePage| (page.states, page.next_page_token))
    }

    /// The states of one unit, by machine.
    pub fn states_of(&self, unit: &str) -> Result<Vec<UnitState>, ClientError> {
        self.pages(&format!("state?unitName={}", escape(unit)), |page: UnitStatePage| {
            (page.states, page.next_page_token)
        })
    }

    /// The machines that are there, by id.
    pub fn machines(&self) -> Result<Vec<Machine>, ClientError> {
        self.pages("machines", |page: MachinePage| (page.machines, page.next_page_token))
    }

    /// One machine by its id or the beginning of it.
    pub fn machine(&self, id: &str) -> Result<Option<MachineDetail>, ClientError> {
        optional(self.get(&format!("x/machines/{}", escape(id))))
    }

    /// Closes a machine to new units, or drains it.
    pub fn cordon(&self, id: &str, request: &CordonRequest) -> Result<MachineDetail, ClientError> {
        let path = format!("x/machines/{}/cordon", escape(id));
        self.read("POST", &path, Some(request))
    }

    /// Opens a machine again.
    pub fn uncordon(&self, id: &str) -> Result<(), ClientError> {
        self.send::<()>("DELETE", &format!("x/machines/{}/cordon", escape(id)), None).map(drop)
    }

    /// Why a unit is where it is, or nowhere; `None` if there is none of this name.
    pub fn why(&self, unit: &str) -> Result<Option<Why>, ClientError> {
        optional(self.get(&format!("x/units/{}/why", escape(unit))))
    }

    /// What would become of units that are not submitted.
    pub fn plan(&self, request: &PlanRequest) -> Result<Plan, ClientError> {
        self.read("POST", "x/plan", Some(request))
    }

    /// The cluster as a whole.
    pub fn cluster(&self) -> Result<ClusterStatus, ClientError> {
        self.get("x/cluster")
    }

    /// Lets the storm brake go.
    pub fn release_brake(&self) -> Result<(), ClientError> {
        self.send::<()>("DELETE", "x/brake", None).map(drop)
    }

    /// Rolling updates.
    pub fn rollouts(&self) -> Result<Vec<RolloutStatus>, ClientError> {
        self.get("x/rollouts")
    }

    /// `pause`, `resume` or `undo` of one group.
    pub fn rollout(&self, group: &str, verb: &str) -> Result<(), ClientError> {
        self.send::<()>("POST", &format!("x/rollouts/{}/{verb}", escape(group)), None).map(drop)
    }

    /// What happened lately, the oldest first.
    pub fn events(&self) -> Result<Vec<Event>, ClientError> {
        self.get("x/events")
    }

    /// `systemctl status` of a unit from the machine it is on, or from `machine`.
    pub fn status(&self, unit: &str, machine: Option<&str>) -> Result<String, ClientError> {
        let mut path = format!("x/units/{}/status", escape(unit));
        if let Some(machine) = machine {
            path = format!("{path}?machine={}", escape(machine));
        }
        let mut text = String::new();
        let mut answer = self.send::<()>("GET", &path, None)?;
        answer
            .read_to_string(&mut text)
            .map_err(|source| ClientError::Answer { request: path, source })?;
        Ok(text)
    }

    /// The journal of a unit, as text that goes on while it is followed. `query` is what stands
    /// behind `?`: `lines=10&follow=true&output=short&machine=ID`.
    pub fn journal(&self, unit: &str, query: &str) -> Result<impl Read, ClientError> {
        self.send::<()>("GET", &format!("x/units/{}/journal?{query}", escape(unit)), None)
    }

    fn pages<P: DeserializeOwned, T>(
        &self,
        path: &str,
        take: impl Fn(P) -> (Vec<T>, Option<String>),
    ) -> Result<Vec<T>, ClientError> {
        let (mut all, mut next) = take(self.get(path)?);
        let joint = if path.contains('?') { '&' } else { '?' };
        while let Some(token) = next {
            let page = self.get(&format!("{path}{joint}nextPageToken={}", escape(&token)))?;
            let (more, further) = take(page);
            all.extend(more);
            next = further;
        }
        Ok(all)
    }

    fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        self.read::<(), T>("GET", path, None)
    }

    fn read<B: Serialize, T: DeserializeOwned>(
        &self,
        method: &str,
        path: &str,
        body: Option<&B>,
    ) -> Result<T, ClientError> {
        let answer = self.send(method, path, body)?;
        serde_json::from_reader(answer)
            .map_err(|error| self.unanswered(format!("{method} {path}"), error.into()))
    }

    /// Why there is no whole answer.
    fn unanswered(&self, request: String, source: io::Error) -> ClientError {
        match source.kind() {
            // What a socket says when its time is over.
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
                ClientError::Slow { request, limit: self.timeout }
            }
            _ => ClientError::Answer { request, source },
        }
    }

    /// Sends a question, and returns the answer's body if it is a good one.
    fn send<B: Serialize>(
        &self,
        method: &str,
        path: &str,
        body: Option<&B>,
    ) -> Result<Body, ClientError> {
        let request = format!("{method} {path}");
        let answer = |source: io::Error| self.unanswered(request.clone(), source);
        let body = match body {
            Some(body) => serde_json::to_vec(body).map_err(|error| answer(error.into()))?,
            None => Vec::new(),
        };
        let mut stream = self.connect()?;
        let head = format!(
            "{method} {BASE}/{path} HTTP/1.1\r\nHost: fleet\r\nConnection: close\r\n\
             {PATIENCE}: {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            self.timeout.as_secs_f64(),
            body.len()
        );
        stream.write_all(head.as_bytes()).map_err(answer)?;
        stream.write_all(&body).map_err(answer)?;
        let (status, body) = Body::open(stream).map_err(answer)?;
        if (200..300).contains(&status) {
            return Ok(body);
        }
        let refusal: Option<ErrorBody> = serde_json::from_reader(body).ok();
        let message = refusal.map(|body| body.error.message).filter(|message| !message.is_empty());
        let message = message.unwrap_or_else(|| format!("fleetd answered {status} to {request}"));
        Err(ClientError::Refused { code: status, message })
    }

    fn connect(&self) -> Result<Box<dyn Stream>, ClientError> {
        let (name, result) = match &self.endpoint {
            Endpoint::Unix(path) => {
                let stream = UnixStream::connect(path).and_then(|stream| {
                    stream.set_read_timeout(Some(self.timeout))?;
                    Ok(Box::new(stream) as Box<dyn Stream>)
                });
                (path.display().to_string(), stream)
            }
            Endpoint::Tcp(address) => {
                let stream = TcpStream::connect(address).and_then(|stream| {
                    stream.set_read_timeout(Some(self.timeout))?;
                    Ok(Box::new(stream) as Box<dyn Stream>)
                });
                (address.clone(), stream)
            }
        };
        result.map_err(|source| ClientError::Connect { endpoint: name, source })
    }
}

trait Stream: Read + Write + Send {
    fn wait_without_end(&self) -> io::Result<()>;
}

impl Stream for UnixStream {
    fn wait_without_end(&self) -> io::Result<()> {
        self.set_read_timeout(None)
    }
}

impl Stream for TcpStream {
    fn wait_without_end(&self) -> io::Result<()> {
        self.set_read_timeout(None)
    }
}

/// The body of an answer.
struct Body {
    stream: BufReader<Box<dyn Stream>>,
    length: Length,
}

/// How much of it is still to come.
enum Length {
    Known(u64),
    /// In chunks; what is left of the present one.
    Chunked(u64),
    Done,
}

impl Body {
    fn open(stream: Box<dyn Stream>) -> io::Result<(u16, Body)> {
        let mut stream = BufReader::new(stream);
        let bad = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_string());
        let first = line(&mut stream)?;
        let status = first
            .strip_prefix("HTTP/1.")
            .and_then(|rest| rest.split(' ').nth(1))
            .and_then(|code| code.parse().ok())
            .ok_or_else(|| bad("not an answer of HTTP"))?;
        let mut length = Length::Known(LIMIT);
        loop {
            let header = line(&mut stream)?;
            if header.is_empty() {
                break;
            }
            let Some((name, value)) = header.split_once(':') else { continue };
            let value = value.trim();
            if name.eq_ignore_ascii_case("content-length") {
                length =
                    Length::Known(value.parse().map_err(|_| bad("a length that is no number"))?);
            } else if name.eq_ignore_ascii_case("transfer-encoding")
                && value.eq_ignore_ascii_case("chunked")
            {
                length = Length::Chunked(0);
                // What comes in pieces comes when it happens.
                stream.get_ref().wait_without_end()?;
            }
        }
        if status == 204 {
            length = Length::Done;
        }
        Ok((status, Body { stream, length }))
    }
}

fn line(stream: &mut impl BufRead) -> io::Result<String> {
    let mut text = String::new();
    stream.take(64 << 10).read_line(&mut text)?;
    match text.strip_suffix('\n') {
        Some(line) => Ok(line.trim_end_matches('\r').to_string()),
        None => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

impl Read for Body {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if let Length::Chunked(0) = self.length {
            let size = line(&mut self.stream)?;
            let size = size.split(';').next().unwrap_or_default().trim();
            let size = u64::from_str_radix(size, 16).map_err(|_| {
                io::Error::new(io::ErrorKind::InvalidData, "a chunk without its size")
            })?;
            self.length = if size == 0 { Length::Done } else { Length::Chunked(size) };
        }
        match &mut self.length {
            Length::Done | Length::Known(0) => Ok(0),
            Length::Known(left) => {
                let most = buffer.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
                let read = self.stream.read(&mut buffer[..most])?;
                *left -= read as u64;
                Ok(read)
            }
            Length::Chunked(left) => {
                let most = buffer.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
                let read = self.stream.read(&mut buffer[..most])?;
                *left -= read as u64;
                if *left == 0 {
                    line(&mut self.stream)?;
                }
                Ok(read)
            }
        }
    }
}

fn optional<T>(result: Result<T, ClientError>) -> Result<Option<T>, ClientError> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(error),
    }
}

/// Percent-encodes what may not stand in a part of a path or query.
fn escape(text: &str) -> String {
    let mut escaped = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~@:".contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            escaped.push_str(&format!("%{byte:02X}"));
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints() {
        let tcp = |text: &str| Endpoint::Tcp(text.to_string());
        assert_eq!(
            Endpoint::parse("unix:///run/fleet.sock").ok(),
            Some(Endpoint::Unix("/run/fleet.sock".into()))
        );
        assert_eq!(Endpoint::parse("/run/x").ok(), Some(Endpoint::Unix("/run/x".into())));
        assert_eq!(Endpoint::parse("http://a:1/").ok(), Some(tcp("a:1")));
        assert_eq!(Endpoint::parse("http://a").ok(), Some(tcp("a:80")));
        assert_eq!(Endpoint::parse("http://[::1]").ok(), Some(tcp("[::1]:80")));
        for bad in ["", "a:1", "https://a", "http://", "http://a/b"] {
            assert!(Endpoint::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn answers_with_a_length_or_in_chunks() {
        let read = |answer: &'static str| {
            let (ours, mut theirs) = UnixStream::pair().expect("a pair");
            theirs.write_all(answer.as_bytes()).expect("written");
            drop(theirs);
            let (status, mut body) = Body::open(Box::new(ours))?;
            let mut text = String::new();
            body.read_to_string(&mut text)?;
            Ok::<_, io::Error>((status, text))
        };
        let ok = |answer| read(answer).expect("an answer");
        assert_eq!(ok("HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nabcde"), (200, "abc".into()));
        assert_eq!(ok("HTTP/1.1 404 Not Found\r\n\r\nabc"), (404, "abc".into()));
        assert_eq!(
            ok(
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\na;x\r\n0123456789\r\n0\r\n\r\n"
            ),
            (200, "abc0123456789".into())
        );
        assert_eq!(ok("HTTP/1.1 204 No Content\r\n\r\n"), (204, String::new()));
        for bad in [
            "",
            "SSH-2.0\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
            "HTTP/1.1 200",
        ] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }
}
