//! Bringing the network up for a moment, and down again.
//!
//! The one place with an asynchronous runtime: everything that is called from outside waits.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::io;
use std::net::Ipv4Addr;
use std::path::Path;
use std::pin::pin;
use std::time::{Duration, Instant};

use host::durable::{self, WriteError};
use rtnetlink::Handle;
use tokio::runtime::{Builder, Runtime};
use tokio::time::{sleep, timeout};

use super::links::{self, Link, LinkChoice};
use super::router::{self, Given};
use super::{Device, Lease, Mac, Made, Part, Settings, Static, Wiring, devices, dhcp};

/// How often the kernel is asked whether an interface has appeared.
const APPEAR_POLL: Duration = Duration::from_millis(50);
/// How long a machine without any interface is given to find one: drivers answer late.
const APPEAR: Duration = Duration::from_secs(2);

/// How long a DHCP server is waited for where routers of IPv6 have given addresses.
const FOR_LEASE: Duration = Duration::from_secs(3);
/// How long routers of IPv6 are waited for, if that is wanted, where there is a lease: an address
/// is nobody else's only seconds after a router was heard.
const FOR_ROUTERS: Duration = Duration::from_secs(6);

/// The network could not be brought up, or down.
#[derive(Debug, thiserror::Error)]
pub enum NetError {
    /// The kernel refused something.
    #[error("cannot {doing}")]
    Kernel {
        /// What it refused.
        doing: String,
        /// What it said.
        source: io::Error,
    },
    /// There is no Ethernet interface.
    #[error("this machine has no Ethernet interface")]
    NoInterface,
    /// Interfaces, but no cable.
    #[error("no carrier on {interfaces} within {seconds} s")]
    NoCarrier {
        /// Their names.
        interfaces: String,
        /// How long it was waited for.
        seconds: u64,
    },
    /// No server lent an address.
    #[error(
        "neither a DHCP server nor a router of IPv6 answered on {interfaces} within {seconds} s"
    )]
    NoLease {
        /// The names of those with a carrier.
        interfaces: String,
        /// How long it was waited for.
        seconds: u64,
    },
    /// The interface that a static configuration is for is not there.
    #[error("there is no interface {wanted}, only {interfaces}")]
    NoSuchInterface {
        /// How it was named.
        wanted: String,
        /// Those that are there.
        interfaces: String,
    },
    /// The name servers could not be written down.
    #[error(transparent)]
    ResolvConf(#[from] WriteError),
}

/// The network of this machine while its configuration is looked for.
///
/// What was brought up stays up until [`Network::teardown`].
pub struct Network {
    runtime: Runtime,
    handle: Handle,
    /// The links that were changed here, by index.
    touched: BTreeMap<u32, Touched>,
    /// What was made here, in order.
    made: Vec<(u32, String)>,
    /// The names of those that are asked for a lease; none for all.
    leased: Vec<String>,
}

/// A link that was changed.
#[derive(Debug)]
struct Touched {
    name: String,
    /// It was down before.
    raised: bool,
    /// The longest packet that it had, if that was changed.
    mtu: Option<u32>,
}

impl Touched {
    fn new(link: &Link) -> Touched {
        Touched { name: link.name.clone(), raised: !link.up, mtu: None }
    }
}

impl fmt::Debug for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Network").field("touched", &self.touched).finish_non_exhaustive()
    }
}

impl Network {
    /// Starts to speak with the kernel. Nothing is changed yet.
    pub fn open() -> Result<Network, NetError> {
        let failed = |source| NetError::Kernel { doing: "open rtnetlink".to_owned(), source };
        let runtime = Builder::new_current_thread().enable_all().build().map_err(failed)?;
        let handle = {
            let _context = runtime.enter();
            let (connection, handle, _) = rtnetlink::new_connection().map_err(failed)?;
            runtime.spawn(connection);
            handle
        };
        Ok(Network {
            runtime,
            handle,
            touched: BTreeMap::new(),
            made: Vec::new(),
            leased: Vec::new(),
        })
    }

    /// Makes bonds, bridges and VLANs, of what is there of their members. `load` gets the module
    /// that the kernel lacks for one, by name.
    pub fn wire(
        &mut self,
        wiring: &Wiring,
        load: &mut dyn FnMut(&str) -> io::Result<()>,
    ) -> Result<(), NetError> {
        for device in &wiring.devices {
            self.make(device, load)?;
        }
        self.leased.clone_from(&wiring.leased);
        Ok(())
    }

    fn make(
        &mut self,
        device: &Device,
        load: &mut dyn FnMut(&str) -> io::Result<()>,
    ) -> Result<(), NetError> {
        let parts = self.parts(device)?;
        for (part, link) in &parts {
            if let Part::Hardware(.., Some(mtu)) = part {
                self.set_mtu(link, *mtu)?;
            }
        }
        let indexes: Vec<_> = parts.iter().map(|(part, link)| (*part, link.index)).collect();
        let make = || self.runtime.block_on(devices::make(&self.handle, device, &indexes));
        let index = match make() {
            Err(error) if error.kind() == io::ErrorKind::Unsupported => {
                load(device.module()).and_then(|()| make())
            }
            result => result,
        };
        let name = &device.name;
        let doing = || format!("make the {} {name}", device.kind());
        let index = index.map_err(|source| NetError::Kernel { doing: doing(), source })?;
        self.made.push((index, name.clone()));
        for (_, link) in &parts {
            if matches!(device.made, Made::Bond(..)) && link.up {
                let down = links::set_down(&self.handle, link.index);
                self.kernel(format!("bring down {}", link.name), down)?;
            }
            if !matches!(device.made, Made::Vlan(..)) {
                let join = devices::join(&self.handle, link.index, index);
                self.kernel(format!("put {} into {name}", link.name), join)?;
            }
            self.note(link);
            let up = links::set_up(&self.handle, link.index);
            self.kernel(format!("bring up {}", link.name), up)?;
        }
        self.kernel(format!("bring up {name}"), links::set_up(&self.handle, index))
    }

    /// What is there of the parts of a device. The names that udev will give are not known yet:
    /// where a machine has as many interfaces as are named, and none by such a name, all are
    /// meant.
    fn parts<'d>(&self, device: &'d Device) -> Result<Vec<(&'d Part, Link)>, NetError> {
        let links = self.links()?;
        let (mut found, mut missing) = (Vec::new(), None);
        for part in device.parts() {
            let named;
            let choice = match part {
                Part::Hardware(_, choice, _) => choice,
                Part::Made(name) => {
                    named = LinkChoice { name: Some(name.clone()), mac: None };
                    &named
                }
            };
            match self.find(choice, &links) {
                // On a machine with one interface any name means that one, but only once.
                Ok(link)
                    if found.iter().any(|(_, other): &(_, Link)| other.index == link.index) => {}
                Ok(link) => found.push((part, link)),
                Err(error) => {
                    missing.get_or_insert(error);
                }
            }
        }
        let unknown =
            |part: &Part| matches!(part, Part::Hardware(_, choice, _) if choice.mac.is_none());
        let hardware = links.into_iter().filter(|link| !self.is_made(link));
        let hardware: Vec<Link> = hardware.collect();
        match missing {
            Some(error) if found.is_empty() => {
                let all = device.parts();
                if hardware.len() == all.len() && all.iter().all(unknown) {
                    return Ok(all.iter().zip(hardware).collect());
                }
                Err(error)
            }
            _ => Ok(found),
        }
    }

    /// Takes note that a link is changed.
    fn note(&mut self, link: &Link) -> &mut Touched {
        self.touched.entry(link.index).or_insert_with(|| Touched::new(link))
    }

    fn set_mtu(&mut self, link: &Link, mtu: u32) -> Result<(), NetError> {
        if link.mtu == mtu {
            return Ok(());
        }
        let doing = format!("set the MTU of {} to {mtu}", link.name);
        self.kernel(doing, links::set_mtu(&self.handle, link.index, mtu))?;
        self.note(link).mtu.get_or_insert(link.mtu);
        Ok(())
    }

    /// Brings up all Ethernet interfaces and takes the first lease that any of them is offered,
    /// or, on a network without IPv4, what its routers hand out. The address that was lent is not
    /// configured by that: see [`Network::configure`]. With `ipv6` a lease alone is not enough,
    /// if routers are there.
    pub fn lease(&mut self, deadline: Duration, ipv6: bool) -> Result<Lease, NetError> {
        let start = Instant::now();
        let links = self.raise()?;
        let links: Vec<Link> = links.into_iter().filter(|link| self.may_ask(link)).collect();
        let left = deadline.saturating_sub(start.elapsed());
        let handle = self.handle.clone();
        let (lease, given) = self.runtime.block_on(async {
            let lease = async { timeout(left, dhcp::first_lease(&handle, &links)).await.ok()? };
            let given = async { timeout(left, router::first(&handle, &links)).await.ok()? };
            let (mut lease, mut given) = (pin!(lease), pin!(given));
            tokio::select! {
                leased = &mut lease => match leased {
                    Some(_) if !ipv6 => (leased, None),
                    Some(_) => (leased, timeout(FOR_ROUTERS, given).await.unwrap_or_default()),
                    None => (None, given.await),
                },
                routed = &mut given => match routed {
                    Some(_) => (timeout(FOR_LEASE, lease).await.unwrap_or_default(), routed),
                    None => (lease.await, None),
                },
            }
        });
        let lease = match (lease, given) {
            (None, None) => return Err(self.no_lease(deadline)?),
            (Some(lease), None) => lease,
            (lease, Some(given)) => self.take(lease, given)?,
        };
        Ok(lease)
    }

    /// A lease with what routers gave, which alone is one, too.
    fn take(&mut self, lease: Option<Lease>, given: Given) -> Result<Lease, NetError> {
        if let Some(address) = given.leased {
            let name = given.interface.clone();
            let touched = || Touched { name, raised: false, mtu: None };
            self.touched.entry(given.index).or_insert_with(touched);
            let doing = format!("add {address} to {}", given.interface);
            self.kernel(doing, links::add_address(&self.handle, given.index, address))?;
        }
        let mut lease = lease.unwrap_or_else(|| Lease {
            interface: given.interface,
            address: None,
            ipv6: Vec::new(),
            prefix: 0,
            router: None,
            routes: Vec::new(),
            dns: Vec::new(),
            server: Ipv4Addr::UNSPECIFIED,
            lease_seconds: 0,
            client_id: Vec::new(),
        });
        lease.ipv6 = given.addresses;
        lease.dns.extend(given.dns);
        Ok(lease)
    }

    /// The kernel's indexes of the Ethernet interfaces.
    pub fn interfaces(&self) -> Result<Vec<u32>, NetError> {
        Ok(self.usable()?.iter().map(|link| link.index).collect())
    }

    /// Name and address of the first interface with a carrier, else of the first.
    pub fn first_with_carrier(&self) -> Result<(String, Mac), NetError> {
        let link = self.find(&LinkChoice::default(), &self.usable()?)?;
        Ok((link.name, link.mac))
    }

    /// Why there is no lease.
    fn no_lease(&self, deadline: Duration) -> Result<NetError, NetError> {
        let links: Vec<Link> =
            self.usable()?.into_iter().filter(|link| self.may_ask(link)).collect();
        let seconds = deadline.as_secs();
        let with_carrier: Vec<_> = links.iter().filter(|link| link.carrier).cloned().collect();
        Ok(if with_carrier.is_empty() {
            NetError::NoCarrier { interfaces: names(&links), seconds }
        } else {
            NetError::NoLease { interfaces: names(&with_carrier), seconds }
        })
    }

    /// Gives an interface that is up, such as the one of a lease, its addresses and routes, and
    /// writes the name servers to `resolv_conf`.
    pub fn configure(
        &mut self,
        interface: &str,
        settings: &Settings,
        resolv_conf: &Path,
    ) -> Result<(), NetError> {
        let choice = LinkChoice { name: Some(interface.to_owned()), mac: None };
        let link = self.find(&choice, &self.links()?)?;
        self.apply(&link, settings)?;
        write_resolv_conf(settings, resolv_conf)
    }

    /// Brings up the interfaces of a static configuration, gives them their addresses and routes,
    /// writes all name servers to `resolv_conf`, and waits for the carriers.
    pub fn configure_static(
        &mut self,
        statics: &[Static],
        resolv_conf: &Path,
        deadline: Duration,
    ) -> Result<(), NetError> {
        let start = Instant::now();
        let links = self.raise()?;
        let mut all = Settings::default();
        for one in statics {
            let link = self.find(&one.link, &links)?;
            let left = deadline.saturating_sub(start.elapsed());
            let handle = self.handle.clone();
            let carrier = self.runtime.block_on(async {
                timeout(left, links::carrier(&handle, link.index))
                    .await
                    .unwrap_or_else(|_| Err(io::Error::from(io::ErrorKind::TimedOut)))
            });
            carrier.map_err(|_| NetError::NoCarrier {
                interfaces: link.name.clone(),
                seconds: deadline.as_secs(),
            })?;
            self.apply(&link, &one.settings)?;
            all.dns.extend(&one.settings.dns);
        }
        write_resolv_conf(&all, resolv_conf)
    }

    /// Takes addresses and routes away again and brings down what was brought up here, so that
    /// udev can rename the interfaces and networkd finds them untouched. All links are tried; the
    /// first failure is returned.
    pub fn teardown(mut self) -> Result<(), NetError> {
        let mut result = Ok(());
        let made = std::mem::take(&mut self.made);
        // Before what they are made of; with them go their addresses.
        for (index, name) in made.iter().rev() {
            let doing = format!("remove {name}");
            result = result.and(self.kernel(doing, devices::remove(&self.handle, *index)));
            self.touched.remove(index);
        }
        for (index, link) in std::mem::take(&mut self.touched) {
            let name = &link.name;
            result =
                result.and(self.kernel(format!("flush {name}"), links::flush(&self.handle, index)));
            if let Some(mtu) = link.mtu {
                let doing = format!("set the MTU of {name} to {mtu}");
                result = result.and(self.kernel(doing, links::set_mtu(&self.handle, index, mtu)));
            }
            // A bond leaves its members down.
            let (doing, set) = match link.raised {
                true => (format!("bring down {name}"), false),
                false => (format!("bring up {name}"), true),
            };
            result = result.and(match set {
                false => self.kernel(doing, links::set_down(&self.handle, index)),
                true => self.kernel(doing, links::set_up(&self.handle, index)),
            });
        }
        result
    }

    /// The Ethernet interfaces, waiting a little for the first.
    fn links(&self) -> Result<Vec<Link>, NetError> {
        let made: Vec<u32> = self.made.iter().map(|(index, _)| *index).collect();
        let found = async {
            let start = Instant::now();
            loop {
                let links = links::ethernet(&self.handle, &made).await?;
                if !links.is_empty() || start.elapsed() > APPEAR {
                    return Ok(links);
                }
                sleep(APPEAR_POLL).await;
            }
        };
        match self.kernel("list the network interfaces".to_owned(), found)? {
            links if links.is_empty() => Err(NetError::NoInterface),
            links => Ok(links),
        }
    }

    /// Brings up every interface that is not, and returns them all.
    fn raise(&mut self) -> Result<Vec<Link>, NetError> {
        let links = self.usable()?;
        for link in links.iter().filter(|link| !link.up) {
            let doing = format!("bring up {}", link.name);
            self.kernel(doing, links::set_up(&self.handle, link.index))?;
            self.note(link);
        }
        Ok(links)
    }

    /// Those that can have an address: all but members of others.
    fn usable(&self) -> Result<Vec<Link>, NetError> {
        Ok(self.links()?.into_iter().filter(|link| link.above.is_none()).collect())
    }

    /// Whether a link was made here.
    fn is_made(&self, link: &Link) -> bool {
        self.made.iter().any(|(index, _)| *index == link.index)
    }

    /// Whether a lease is asked for on a link.
    fn may_ask(&self, link: &Link) -> bool {
        self.leased.is_empty() || self.leased.contains(&link.name)
    }

    /// The link that is meant: one that was made here, by its name, else one of hardware.
    fn find(&self, choice: &LinkChoice, links: &[Link]) -> Result<Link, NetError> {
        let (made, hardware): (Vec<Link>, Vec<Link>) =
            links.iter().cloned().partition(|link| self.is_made(link));
        let by_name = made.iter().find(|link| Some(&link.name) == choice.name.as_ref());
        let found = by_name.filter(|_| choice.mac.is_none()).or(choice.choose(&hardware));
        let found = found.or(if choice.name.is_none() { made.first() } else { None });
        found.cloned().ok_or_else(|| NetError::NoSuchInterface {
            wanted: choice.to_string(),
            interfaces: names(links),
        })
    }

    fn apply(&mut self, link: &Link, settings: &Settings) -> Result<(), NetError> {
        if !self.is_made(link) {
            let touched = || Touched { raised: false, ..Touched::new(link) };
            self.touched.entry(link.index).or_insert_with(touched);
        }
        if let Some(mtu) = settings.mtu {
            self.set_mtu(link, mtu)?;
        }
        for &address in &settings.addresses {
            let doing = format!("add {address} to {}", link.name);
            self.kernel(doing, links::add_address(&self.handle, link.index, address))?;
        }
        for &route in &settings.routes {
            let on_link = route.via.is_some_and(|via| !settings.reaches(via));
            let doing = format!("add the route to {} on {}", route.destination(), link.name);
            self.kernel(doing, links::add_route(&self.handle, link.index, route, on_link))?;
        }
        Ok(())
    }

    fn kernel<T>(
        &self,
        doing: String,
        request: impl Future<Output = io::Result<T>>,
    ) -> Result<T, NetError> {
        self.runtime.block_on(request).map_err(|source| NetError::Kernel { doing, source })
    }
}

fn names(links: &[Link]) -> String {
    let names: Vec<_> = links.iter().map(|link| format!("{} ({})", link.name, link.mac)).collect();
    names.join(", ")
}

fn write_resolv_conf(settings: &Settings, path: &Path) -> Result<(), NetError> {
    if settings.dns.is_empty() {
        return Ok(());
    }
    Ok(durable::write(path, settings.resolv_conf().as_bytes(), 0o644)?)
}
