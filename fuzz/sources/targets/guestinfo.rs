//! Whatever a hypervisor answers: variables of guestinfo, the OVF environment, the firmware's
//! tables.
#![no_main]

use std::collections::BTreeMap;

use coreos_init::source::{GuestInfo, Smbios, understand};
use libfuzzer_sys::fuzz_target;

/// The variables, in the order in which their values stand in the input.
const KEYS: [&str; 18] = [
    "ovfenv",
    "metadata",
    "metadata.encoding",
    "userdata",
    "userdata.encoding",
    "coreos.config.data",
    "coreos.config.data.encoding",
    "coreos.config.url",
    "hostname",
    "interface.0.name",
    "interface.0.mac",
    "interface.0.dhcp",
    "interface.0.role",
    "interface.0.ip.0.address",
    "interface.0.route.0.gateway",
    "interface.0.route.0.destination",
    "dns.server.0",
    "dns.domain.0",
];

struct Variables<'b>(BTreeMap<&'static str, &'b [u8]>);

impl GuestInfo for Variables<'_> {
    fn get(&mut self, key: &str) -> Result<Option<Vec<u8>>, String> {
        Ok(self.0.get(key).map(|value| value.to_vec()))
    }
}

fuzz_target!(|bytes: &[u8]| {
    let _ = Smbios::parse(bytes);
    // A byte that no text has separates the values.
    let values = bytes.split(|byte| *byte == 0xff);
    let mut variables = Variables(KEYS.into_iter().zip(values).collect());
    let first = understand(&mut variables);
    assert_eq!(understand(&mut variables), first);
});
