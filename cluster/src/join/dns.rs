//! etcd's peers as the DNS names them: `_etcd-server._tcp.DOMAIN`, as `etcd --discovery-srv`
//! looks them up.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use simple_dns::rdata::RData;
use simple_dns::{CLASS, Name, Packet, PacketFlag, Question, RCODE, TYPE};
use tokio::net::UdpSocket;
use tokio::time::timeout;

/// How long a name server may take.
const ANSWER: Duration = Duration::from_secs(3);
/// The largest answer over UDP.
const LARGEST: usize = 4096;
const PORT: u16 = 53;
const RESOLV_CONF: &str = "/etc/resolv.conf";

/// URLs of the peers of `domain`; those with TLS first, as etcd has it. `service` is the value of
/// `ETCD_DISCOVERY_SRV_NAME`.
pub(super) async fn peers(domain: &str, service: &str) -> Result<Vec<String>, String> {
    lookup(&servers(Path::new(RESOLV_CONF)), domain, service).await
}

/// The same by the name servers `servers`, which are asked in turn.
///
/// # Errors
/// If none of them answers, or the domain names no peers.
pub async fn lookup(
    servers: &[SocketAddr],
    domain: &str,
    service: &str,
) -> Result<Vec<String>, String> {
    let suffix = if service.is_empty() { String::new() } else { format!("-{service}") };
    let mut urls = Vec::new();
    for (record, scheme) in [("_etcd-server-ssl", "https"), ("_etcd-server", "http")] {
        let name = format!("{record}{suffix}._tcp.{domain}");
        for (target, port) in services(servers, &name).await? {
            urls.push(format!("{scheme}://{target}:{port}"));
        }
    }
    match urls.is_empty() {
        true => Err(format!("the DNS has no _etcd-server{suffix}._tcp.{domain}")),
        false => Ok(urls),
    }
}

/// The targets of a name's SRV records, which may be none.
async fn services(servers: &[SocketAddr], name: &str) -> Result<Vec<(String, u16)>, String> {
    let mut reason = "there is no name server".to_owned();
    for server in servers {
        match timeout(ANSWER, ask(*server, name)).await {
            Ok(Ok(found)) => return Ok(found),
            Ok(Err(why)) => reason = format!("{server}: {why}"),
            Err(_) => reason = format!("{server} does not answer"),
        }
    }
    Err(format!("cannot look up {name}: {reason}"))
}

async fn ask(server: SocketAddr, name: &str) -> Result<Vec<(String, u16)>, String> {
    let told = |error: &dyn std::fmt::Display| error.to_string();
    let mut id = [0; 2];
    getrandom::fill(&mut id).map_err(|e| told(&e))?;
    let mut packet = Packet::new_query(u16::from_be_bytes(id));
    packet.set_flags(PacketFlag::RECURSION_DESIRED);
    let question = Name::new(name).map_err(|e| told(&e))?;
    packet.questions.push(Question::new(question, TYPE::SRV.into(), CLASS::IN.into(), false));
    let query = packet.build_bytes_vec().map_err(|e| told(&e))?;
    let any: IpAddr = match server {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0)).await.map_err(|e| told(&e))?;
    socket.connect(server).await.map_err(|e| told(&e))?;
    socket.send(&query).await.map_err(|e| told(&e))?;
    let mut buffer = [0; LARGEST];
    loop {
        let length = socket.recv(&mut buffer).await.map_err(|e| told(&e))?;
        // What is no answer to this question may be anybody's.
        let Ok(answer) = Packet::parse(&buffer[..length]) else { continue };
        if answer.id() != packet.id() {
            continue;
        }
        if answer.has_flags(PacketFlag::TRUNCATION) {
            return Err("the answer is too long".to_owned());
        }
        return match answer.rcode() {
            RCODE::NoError | RCODE::NameError => Ok(targets(&answer)),
            code => Err(format!("it answers {code:?}")),
        };
    }
}

fn targets(answer: &Packet<'_>) -> Vec<(String, u16)> {
    let mut targets: Vec<(u16, String, u16)> = answer
        .answers
        .iter()
        .filter_map(|record| match &record.rdata {
            RData::SRV(srv) => Some((srv.priority, srv.target.to_string(), srv.port)),
            _ => None,
        })
        .collect();
    targets.sort();
    targets.into_iter().map(|(_, target, port)| (target, port)).collect()
}

/// The name servers of a `resolv.conf`.
fn servers(path: &Path) -> Vec<SocketAddr> {
    let text = fs::read_to_string(path).unwrap_or_default();
    let servers = text.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        let address = words.next().filter(|word| *word == "nameserver").and(words.next())?;
        Some(SocketAddr::new(address.parse().ok()?, PORT))
    });
    servers.collect()
}
