//! VMware's guestinfo: variables that the hypervisor has for its guest, asked for through its
//! backdoor, and the OVF environment, which is one of them.
//!
//! ```text
//! coreos.config.data[.encoding], coreos.config.url            CoreOS
//! ignition.config.data[.encoding]                             only if it is a cloud-config
//! userdata, metadata, vendordata [.encoding]                  cloud-init
//! hostname, interface.N.…, dns.server.X, dns.domain.Y         CoreOS
//! ovfenv                                                      the same keys as properties
//! ```
//!
//! The port is only touched where the processor says that VMware is under it: elsewhere, reading
//! it is a fault, or, on QEMU, an answer that leads nowhere.

mod backdoor; // asking the hypervisor
pub(super) mod ovf; // XML → properties
mod vmware; // the keys → a configuration

use std::error::Error;
use std::time::Instant;

use cloud_config::MAX_USER_DATA;
use host::error::chain;
use host::http::Fetch;

use super::{ConfigUrl, Found, Glance, Need, Places, SourceName, Survey, Uplink};
use vmware::{Answer, Wanted};
pub use vmware::{GuestInfo, understand};

pub(super) fn look(places: &Places, uplink: &mut dyn Uplink, survey: &mut Survey) {
    let start = Instant::now();
    let (place, glance) = match backdoor::open() {
        None => ("not on VMware".to_owned(), Glance::Absent),
        Some(Err(reason)) => ("VMware's backdoor".to_owned(), Glance::Failed(reason)),
        Some(Ok(mut hypervisor)) => match hypervisor.ask(understand) {
            Ok(answer) => ("VMware's backdoor".to_owned(), settle(answer, places, uplink)),
            Err(reason) => ("VMware's backdoor".to_owned(), Glance::Failed(reason)),
        },
    };
    survey.note(SourceName::Guestinfo, place, start, glance);
}

/// What an answer comes to, once what it only has the address of is fetched.
pub(super) fn settle(answer: Answer, places: &Places, uplink: &mut dyn Uplink) -> Glance {
    let Answer { mut found, wanted } = answer;
    if let Wanted::Address(url) = wanted {
        if let Some(network) = &found.network {
            uplink.know(network);
        }
        match fetch(&url, places, uplink) {
            Ok(user_data) => {
                found.place = format!("{}, {url}", found.place);
                found.user_data = user_data;
            }
            Err(error) => return Glance::Failed(chain(&*error)),
        }
    }
    Glance::Holds(found)
}

fn fetch(
    url: &ConfigUrl,
    places: &Places,
    uplink: &mut dyn Uplink,
) -> Result<Vec<u8>, Box<dyn Error + Send + Sync>> {
    uplink.up(Need::Net)?;
    let roots = places.roots.clone();
    let how = Fetch { limit: MAX_USER_DATA as u64, roots, ..Fetch::default() };
    Ok(host::http::fetch(url.as_str(), &how)?)
}

/// The configuration of an OVF environment that is a file. Nothing is fetched for it.
pub(super) fn of_properties(properties: ovf::Properties) -> Result<Found, String> {
    let Answer { mut found, wanted } = vmware::properties_answer(properties)?;
    if let Wanted::Address(url) = wanted {
        found
            .notes
            .push(format!("{url} is not fetched: only guestinfo itself may name an address"));
    }
    Ok(*found)
}

impl Found {
    /// Something of VMware's, of which nothing is known yet.
    fn of_vmware(place: &str) -> Found {
        Found { source: SourceName::Guestinfo, place: place.to_owned(), ..Found::empty() }
    }
}

#[cfg(test)]
mod tests;
