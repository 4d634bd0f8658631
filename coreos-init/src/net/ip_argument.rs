//! `ip=` of the kernel command line, in the forms that dracut.cmdline(7) gives it.
//!
//! ```text
//! ip=dhcp
//! ip=INTERFACE:dhcp
//! ip=CLIENT:[PEER]:GATEWAY:MASK:[HOSTNAME]:INTERFACE:none[:[DNS1][:DNS2]]
//! ```
//!
//! `nameserver=` adds name servers to every static one. Left out: MTU and MAC address as last
//! fields, which are passed over.

use std::net::{IpAddr, Ipv4Addr};

use cloud_config::Address;

use super::settings::prefix_of_mask;
use super::{LinkChoice, Route, Settings, Static};
use crate::source::parameters;

/// What one `ip=` asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IpArgument {
    /// A lease, on this interface.
    Dhcp(LinkChoice),
    /// An address.
    Static(Static),
}

/// An `ip=` or `nameserver=` that cannot be followed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{argument} on the kernel command line: {reason}")]
pub struct IpArgumentError {
    /// The argument.
    pub argument: String,
    /// What is wrong with it.
    pub reason: &'static str,
}

/// What `command_line` says of addresses, in order.
pub fn ip_arguments(command_line: &str) -> Result<Vec<IpArgument>, IpArgumentError> {
    let mut arguments = Vec::new();
    for value in parameters(command_line, "ip") {
        let parsed = parse(&value)
            .map_err(|reason| IpArgumentError { argument: format!("ip={value}"), reason })?;
        arguments.extend(parsed);
    }
    let mut servers = Vec::new();
    for value in parameters(command_line, "nameserver") {
        let argument = format!("nameserver={value}");
        let server = value.trim_matches(['[', ']']).parse::<IpAddr>();
        servers.push(server.map_err(|_| IpArgumentError { argument, reason: NO_ADDRESS })?);
    }
    for argument in &mut arguments {
        if let IpArgument::Static(fixed) = argument {
            fixed.settings.dns.extend(&servers);
        }
    }
    Ok(arguments)
}

const NO_ADDRESS: &str = "not an IP address";

/// `None` if it asks for nothing, as `ip=off` does.
fn parse(value: &str) -> Result<Option<IpArgument>, &'static str> {
    let fields = fields(value);
    let field = |n: usize| fields.get(n).copied().unwrap_or("");
    let (interface, method, client) = match fields.as_slice() {
        [method] => ("", *method, ""),
        // Only a peer, which is an address, can stand here in the long form.
        [interface, method, ..] if !method.is_empty() && method.parse::<IpAddr>().is_err() => {
            (*interface, *method, "")
        }
        _ => (field(5), field(6), field(0)),
    };
    let name = (!interface.is_empty()).then(|| interface.to_owned());
    let link = LinkChoice { name, mac: None };
    match method {
        // Either family is taken, as it comes.
        "dhcp" | "on" | "any" | "both" | "dhcp6" | "auto6" | "either6" => {
            return Ok(Some(IpArgument::Dhcp(link)));
        }
        "link6" | "link-local" => {
            return Err("an address that only the link knows leads nowhere");
        }
        "" | "none" | "off" | "static" => {}
        _ => return Err("the method is none of dhcp, on, any, none and off"),
    }
    if client.is_empty() {
        return Ok(None);
    }
    let ip: IpAddr = client.parse().map_err(|_| NO_ADDRESS)?;
    let prefix = prefix(ip, field(3)).ok_or("the netmask is none")?;
    let mut settings = Settings { addresses: vec![Address { ip, prefix }], ..Settings::default() };
    if !field(2).is_empty() {
        let gateway: IpAddr = field(2).parse().map_err(|_| "the gateway is not an IP address")?;
        if gateway.is_ipv4() != ip.is_ipv4() {
            return Err("address and gateway are of different families");
        }
        settings.routes.push(Route::default_via(gateway));
    }
    settings.dns = fields.iter().skip(7).filter_map(|field| field.parse().ok()).collect();
    Ok(Some(IpArgument::Static(Static { link, settings })))
}

/// A dotted mask or the length of a prefix.
fn prefix(ip: IpAddr, mask: &str) -> Option<u8> {
    let longest = if ip.is_ipv4() { 32 } else { 128 };
    match mask.parse::<u8>() {
        Ok(length) => (length <= longest).then_some(length),
        Err(_) if ip.is_ipv4() => prefix_of_mask(mask.parse::<Ipv4Addr>().ok()?),
        Err(_) => None,
    }
}

/// The parts between colons; those inside of brackets belong to an IPv6 address.
fn fields(value: &str) -> Vec<&str> {
    let mut fields = Vec::new();
    let mut bracketed = false;
    let parts = value.split(|character| {
        match character {
            '[' => bracketed = true,
            ']' => bracketed = false,
            _ => {}
        }
        character == ':' && !bracketed
    });
    fields.extend(parts.map(|part| part.trim_start_matches('[').trim_end_matches(']')));
    fields
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(name: &str) -> LinkChoice {
        LinkChoice { name: Some(name.to_owned()), mac: None }
    }

    fn fixed(
        name: Option<&str>,
        address: (&str, u8),
        gateway: Option<&str>,
        dns: &[&str],
    ) -> IpArgument {
        let via = gateway.map(|gateway| gateway.parse().unwrap());
        IpArgument::Static(Static {
            link: name.map(link).unwrap_or_default(),
            settings: Settings {
                addresses: vec![Address { ip: address.0.parse().unwrap(), prefix: address.1 }],
                routes: via.map(Route::default_via).into_iter().collect(),
                dns: dns.iter().map(|server| server.parse().unwrap()).collect(),
                mtu: None,
            },
        })
    }

    #[test]
    fn every_form_is_understood() {
        let ten = ("10.0.0.5", 24);
        let cases = [
            ("", vec![]),
            ("ip=off ip=none", vec![]),
            ("ip=dhcp", vec![IpArgument::Dhcp(LinkChoice::default())]),
            ("ip=eth1:on", vec![IpArgument::Dhcp(link("eth1"))]),
            ("ip=eth1:dhcp:1400:52:54:00:00:00:01", vec![IpArgument::Dhcp(link("eth1"))]),
            ("ip=:::::eth1:dhcp", vec![IpArgument::Dhcp(link("eth1"))]),
            (
                "ip=10.0.0.5::10.0.0.1:255.255.255.0:node:eth0:none",
                vec![fixed(Some("eth0"), ten, Some("10.0.0.1"), &[])],
            ),
            (
                "quiet ip=10.0.0.5::10.0.0.1:24::eth0:off:1.1.1.1:8.8.8.8 x",
                vec![fixed(Some("eth0"), ten, Some("10.0.0.1"), &["1.1.1.1", "8.8.8.8"])],
            ),
            ("ip=10.0.0.5:::24", vec![fixed(None, ten, None, &[])]),
            (
                "ip=[2001:db8::5]::[fe80::1]:64::eth0:none:[2001:db8::53]",
                vec![fixed(Some("eth0"), ("2001:db8::5", 64), Some("fe80::1"), &["2001:db8::53"])],
            ),
            (
                "ip=10.0.0.5:::24::a:none ip=b:dhcp nameserver=9.9.9.9 nameserver=[::1]",
                vec![fixed(Some("a"), ten, None, &["9.9.9.9", "::1"]), IpArgument::Dhcp(link("b"))],
            ),
        ];
        for (line, expected) in cases {
            assert_eq!(ip_arguments(line), Ok(expected), "{line}");
        }
    }

    #[test]
    fn what_cannot_be_followed_is_told() {
        for (line, reason) in [
            ("ip=link6", "an address that only the link knows leads nowhere"),
            ("ip=eth0:sometimes", "the method is none of dhcp, on, any, none and off"),
            (
                "ip=10.0.0.5::10.0.0.1:24::eth0:maybe",
                "the method is none of dhcp, on, any, none and off",
            ),
            ("ip=10.0.0.5:::::eth0:none", "the netmask is none"),
            ("ip=10.0.0.5:::33::eth0:none", "the netmask is none"),
            ("ip=10.0.0.5:::255.0.255.0::eth0:none", "the netmask is none"),
            ("ip=10.0.0.5::router:24::eth0:none", "the gateway is not an IP address"),
            (
                "ip=10.0.0.5::[fe80::1]:24::eth0:none",
                "address and gateway are of different families",
            ),
            ("ip=10.0.0.999::10.0.0.1:24::eth0:none", "not an IP address"),
            ("ip=eth0:", "not an IP address"),
            ("nameserver=dns.example", "not an IP address"),
        ] {
            let error = ip_arguments(line).unwrap_err();
            assert_eq!(error.reason, reason, "{line}");
            assert_eq!(error.argument, line);
        }
    }

    proptest::proptest! {
        #[test]
        fn no_command_line_is_too_strange(line in "(ip=|nameserver=)[0-9a-f:.\\[\\]\" x-]{0,40}") {
            let _ = ip_arguments(&line);
        }
    }
}
