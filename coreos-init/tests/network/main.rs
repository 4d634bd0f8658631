//! The network against real peers, in network namespaces that each test makes and removes. Needs
//! root, and says so without it.

mod cables; // two network namespaces and what is between them
mod check_in; // telling the platform that a machine is ready
mod leases; // addresses by DHCP and by hand
mod made; // bonds, bridges and VLANs
mod metadata; // every platform's metadata service
mod server; // a server that answers as a platform does
