//! A switch's port that carries a machine's network as a VLAN, tagged (IEEE 802.1Q): what comes
//! from the card without the tag is dropped, and so is what has another one.
//!
//! Two ends of QEMU's meet here, the card's and the built-in network's, as datagrams of one frame
//! each. The host's kernel takes no part in it.

use std::io;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::thread;

use tempfile::TempDir;

use crate::error::{Error, Result};
use crate::wiring::{End, Tagged};

/// The longest frame, in bytes.
const FRAME: usize = 64 << 10;
/// Destination and source of a frame; the tag follows.
const ADDRESSES: usize = 12;
/// The type of a frame that is tagged.
const TAGGED: [u8; 2] = [0x81, 0x00];
/// What a tag has beside the number: priority and drop eligibility.
const NUMBER: u16 = 0x0fff;

/// The port; it ends when it is dropped.
#[derive(Debug)]
pub(crate) struct Trunk {
    folder: TempDir,
}

impl Trunk {
    /// A port for this VLAN.
    pub(crate) fn new(vlan: u16) -> Result<Trunk> {
        let failed = |source| Error::Channel { channel: "VLAN", source };
        // Not the machine's own folder: the path of a socket is short.
        let trunk = Trunk { folder: tempfile::tempdir().map_err(failed)? };
        let ends = trunk.ends();
        let bind = |end: &End| UnixDatagram::bind(&end.remote).map_err(failed);
        let (card, network) = (bind(&ends.card)?, bind(&ends.network)?);
        let copy = |socket: &UnixDatagram| socket.try_clone().map_err(failed);
        let (card_out, network_out) = (copy(&card)?, copy(&network)?);
        thread::spawn(move || relay(&card, &network_out, &ends.network.local, |f| untag(f, vlan)));
        let ends = trunk.ends();
        thread::spawn(move || relay(&network, &card_out, &ends.card.local, |f| tag(f, vlan)));
        Ok(trunk)
    }

    /// Where QEMU's ends are, and ours.
    pub(crate) fn ends(&self) -> Tagged {
        let path = |name: &str| self.folder.path().join(name);
        Tagged {
            card: End { local: path("card"), remote: path("card-port") },
            network: End { local: path("network"), remote: path("network-port") },
        }
    }
}

impl Drop for Trunk {
    fn drop(&mut self) {
        let ends = self.ends();
        for end in [ends.card, ends.network] {
            // An empty frame ends a relay. If it cannot be sent, that has ended.
            let _ = UnixDatagram::unbound().and_then(|socket| socket.send_to(&[], end.remote));
        }
    }
}

/// Hands every frame on that `change` makes one of.
fn relay(
    from: &UnixDatagram,
    to: &UnixDatagram,
    path: &PathBuf,
    change: impl Fn(&[u8]) -> Option<Vec<u8>>,
) {
    let mut buffer = vec![0; FRAME];
    loop {
        match from.recv(&mut buffer) {
            Ok(0) => return,
            Ok(length) => {
                // Who is switched off hears nothing.
                let _ = change(&buffer[..length]).map(|frame| to.send_to(&frame, path));
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return,
        }
    }
}

/// The frame with a tag.
fn tag(frame: &[u8], vlan: u16) -> Option<Vec<u8>> {
    let (addresses, rest) = frame.split_at_checked(ADDRESSES)?;
    Some([addresses, &TAGGED, &vlan.to_be_bytes(), rest].concat())
}

/// The frame without its tag, if it has this one.
fn untag(frame: &[u8], vlan: u16) -> Option<Vec<u8>> {
    let (addresses, rest) = frame.split_at_checked(ADDRESSES)?;
    let tag = u16::from_be_bytes(rest.strip_prefix(&TAGGED)?.get(..2)?.try_into().ok()?);
    (tag & NUMBER == vlan).then(|| [addresses, &rest[4..]].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_tagged_on_one_side_and_plain_on_the_other() {
        let trunk = Trunk::new(5).unwrap();
        let ends = trunk.ends();
        let end = |end: &End| {
            let socket = UnixDatagram::bind(&end.local).unwrap();
            socket.connect(&end.remote).unwrap();
            socket
        };
        let (card, network) = (end(&ends.card), end(&ends.network));
        let mut buffer = [0; 100];
        let plain = b"to....from..\x08\x00content";
        let tagged = b"to....from..\x81\x00\x00\x05\x08\x00content";

        network.send(plain).unwrap();
        let length = card.recv(&mut buffer).unwrap();
        assert_eq!(&buffer[..length], tagged);

        // Neither a frame without a tag, nor one with another, nor half a one arrives.
        card.send(plain).unwrap();
        card.send(b"to....from..\x81\x00\x00\x06\x08\x00other").unwrap();
        card.send(&tagged[..13]).unwrap();
        card.send(b"to....from..\x81\x00\xe0\x05\x08\x00content").unwrap();
        let length = network.recv(&mut buffer).unwrap();
        assert_eq!(&buffer[..length], plain);
    }
}
