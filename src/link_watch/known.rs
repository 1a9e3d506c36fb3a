//! Which links run and which addresses there are, from the messages of rtnetlink(7). Pure.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Most links and most addresses that are known. With one more, all are forgotten.
const MOST_KNOWN: usize = 256;

/// The header of a message (`struct nlmsghdr`): its length, its type.
const HEADER: usize = 16;
/// `struct ifinfomsg` behind it, and `struct ifaddrmsg`, behind which attributes follow.
const LINK: usize = 16;
const ADDRESS: usize = 8;
/// The header of an attribute (`struct rtattr`): its length, its type.
const ATTRIBUTE: usize = 4;

/// `RTM_NEWLINK` and so on.
const NEW_LINK: u16 = 16;
const OLD_LINK: u16 = 17;
const NEW_ADDRESS: u16 = 20;
const OLD_ADDRESS: u16 = 21;

/// `IFF_UP`, `IFF_LOOPBACK`, `IFF_RUNNING`.
const UP: u32 = 0x1;
const LOOPBACK: u32 = 0x8;
const RUNNING: u32 = 0x40;

/// `AF_UNSPEC`: other families tell of a bridge's ports.
const ANY_FAMILY: u8 = 0;
/// `RT_SCOPE_LINK`; from there on an address reaches no further than its link.
const LINK_SCOPE: u8 = 253;
/// `IFA_ADDRESS`, `IFA_LOCAL`, `IFA_FLAGS`.
const PEER: u16 = 1;
const LOCAL: u16 = 2;
const FLAGS: u16 = 8;
/// `IFA_F_DADFAILED`, `IFA_F_TENTATIVE`: the address cannot be used, or not yet.
const UNUSABLE: u32 = 0x08 | 0x40;

/// The links that run and the addresses that can be used.
#[derive(Debug, Default)]
pub(super) struct Known {
    links: BTreeSet<u32>,
    addresses: BTreeSet<(u32, IpAddr)>,
}

impl Known {
    /// Takes the messages of one datagram. Whether a link or an address has come by them. Bytes that
    /// are no message end it.
    pub(super) fn take(&mut self, datagram: &[u8]) -> bool {
        let (mut left, mut came) = (datagram, false);
        while let (Some(length), Some(kind)) = (u32_at(left, 0), u16_at(left, 4)) {
            let length = usize::try_from(length).unwrap_or(usize::MAX);
            if length < HEADER {
                break;
            }
            // One that did not fit into the buffer is cut.
            let body = left.get(HEADER..length.min(left.len())).unwrap_or_default();
            came |= self.message(kind, body).unwrap_or(false);
            left = left.get(aligned(length)..).unwrap_or_default();
        }
        came
    }

    /// Takes a message; `None` if it is cut.
    fn message(&mut self, kind: u16, body: &[u8]) -> Option<bool> {
        match kind {
            NEW_LINK | OLD_LINK => {
                let (family, index, flags) = (*body.first()?, u32_at(body, 4)?, u32_at(body, 8)?);
                if family != ANY_FAMILY || body.len() < LINK {
                    return None;
                }
                let runs = flags & (UP | RUNNING | LOOPBACK) == UP | RUNNING;
                Some(note(&mut self.links, index, kind == NEW_LINK && runs))
            }
            NEW_ADDRESS | OLD_ADDRESS => {
                let (flags, scope, index) = (*body.get(2)?, *body.get(3)?, u32_at(body, 4)?);
                let attributes = Attributes(body.get(ADDRESS..)?);
                let address = attributes.clone().find(|(kind, _)| *kind == LOCAL);
                let address =
                    address.or_else(|| attributes.clone().find(|(kind, _)| *kind == PEER));
                let address = address_of(address?.1)?;
                let more = attributes.clone().find(|(kind, _)| *kind == FLAGS);
                let more = more.and_then(|(_, value)| u32_at(value, 0)).unwrap_or(0);
                let is_usable = (u32::from(flags) | more) & UNUSABLE == 0;
                let is_there =
                    kind == NEW_ADDRESS && scope < LINK_SCOPE && is_usable && !is_local(address);
                Some(note(&mut self.addresses, (index, address), is_there))
            }
            _ => None,
        }
    }
}

/// Notes whether something is there. Whether it is, and was not.
fn note<T: Ord>(known: &mut BTreeSet<T>, what: T, is_there: bool) -> bool {
    if !is_there {
        known.remove(&what);
        return false;
    }
    if known.len() >= MOST_KNOWN && !known.contains(&what) {
        known.clear();
    }
    known.insert(what)
}

/// Whether an address reaches no further than its link, whatever its scope says.
fn is_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_loopback() || address.is_link_local(),
        IpAddr::V6(address) => address.is_loopback() || address.is_unicast_link_local(),
    }
}

fn address_of(bytes: &[u8]) -> Option<IpAddr> {
    match bytes.len() {
        4 => <[u8; 4]>::try_from(bytes).ok().map(|bytes| Ipv4Addr::from(bytes).into()),
        16 => <[u8; 16]>::try_from(bytes).ok().map(|bytes| Ipv6Addr::from(bytes).into()),
        _ => None,
    }
}

/// Attributes: a type and a value each. One whose length is wrong ends them.
#[derive(Clone)]
struct Attributes<'a>(&'a [u8]);

impl<'a> Iterator for Attributes<'a> {
    type Item = (u16, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let length = usize::from(u16_at(self.0, 0)?);
        let kind = u16_at(self.0, 2)?;
        let value = self.0.get(ATTRIBUTE..length)?;
        self.0 = self.0.get(aligned(length)..).unwrap_or_default();
        Some((kind, value))
    }
}

/// Messages and attributes begin at multiples of four.
fn aligned(length: usize) -> usize {
    length.saturating_add(3) & !3
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..at + 2)?.try_into().ok().map(u16::from_ne_bytes)
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at + 4)?.try_into().ok().map(u32::from_ne_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A message with its header.
    fn message(kind: u16, body: &[u8]) -> Vec<u8> {
        let length = (HEADER + body.len()) as u32;
        let mut bytes = length.to_ne_bytes().to_vec();
        bytes.extend(kind.to_ne_bytes());
        bytes.extend([0; 10]);
        bytes.extend(body);
        bytes.resize(aligned(bytes.len()), 0);
        bytes
    }

    fn link(kind: u16, family: u8, index: u32, flags: u32) -> Vec<u8> {
        let body = [[family, 0, 1, 0], index.to_ne_bytes(), flags.to_ne_bytes(), [0; 4]].concat();
        message(kind, &body)
    }

    fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
        let length = (ATTRIBUTE + value.len()) as u16;
        let mut bytes = [length.to_ne_bytes(), kind.to_ne_bytes()].concat();
        bytes.extend(value);
        bytes.resize(aligned(bytes.len()), 0);
        bytes
    }

    fn address(kind: u16, address: &str, flags: u32, scope: u8) -> Vec<u8> {
        let (family, bytes) = match address.parse().unwrap() {
            IpAddr::V4(address) => (2, address.octets().to_vec()),
            IpAddr::V6(address) => (10, address.octets().to_vec()),
        };
        let mut body = vec![family, 24, flags as u8, scope];
        body.extend(3u32.to_ne_bytes());
        let attributes = [
            attribute(3, b"eth0\0"),
            attribute(if family == 2 { LOCAL } else { PEER }, &bytes),
            attribute(FLAGS, &flags.to_ne_bytes()),
        ];
        body.extend(attributes.concat());
        message(kind, &body)
    }

    #[test]
    fn what_comes_is_told_once_until_it_goes() {
        let (running, down) = (UP | RUNNING, UP);
        let universe = 0;
        let table: [(&str, Vec<u8>, bool); 17] = [
            ("a link without a carrier", link(NEW_LINK, 0, 2, down), false),
            ("a carrier", link(NEW_LINK, 0, 2, running), true),
            ("something else of the same link", link(NEW_LINK, 0, 2, running | 0x1000), false),
            ("another link", link(NEW_LINK, 0, 3, running), true),
            ("loopback", link(NEW_LINK, 0, 1, running | LOOPBACK), false),
            ("the port of a bridge", link(NEW_LINK, 7, 4, running), false),
            ("the carrier goes", link(NEW_LINK, 0, 2, down), false),
            ("and comes", link(NEW_LINK, 0, 2, running), true),
            ("the link goes", link(OLD_LINK, 0, 2, running), false),
            ("and comes", link(NEW_LINK, 0, 2, running), true),
            ("an address", address(NEW_ADDRESS, "192.0.2.7", 0x80, universe), true),
            ("its lease is longer", address(NEW_ADDRESS, "192.0.2.7", 0x80, universe), false),
            ("it goes", address(OLD_ADDRESS, "192.0.2.7", 0x80, universe), false),
            ("another comes", address(NEW_ADDRESS, "192.0.2.8", 0x80, universe), true),
            ("one of the link", address(NEW_ADDRESS, "169.254.1.1", 0, LINK_SCOPE), false),
            ("one of the link by its value", address(NEW_ADDRESS, "fe80::1", 0, 0), false),
            ("loopback", address(NEW_ADDRESS, "127.0.0.1", 0, 254), false),
        ];
        let mut known = Known::default();
        for (what, message, came) in table {
            assert_eq!(known.take(&message), came, "{what}");
        }
        // An address of IPv6 counts when it was found to be the only one.
        let of = |flags| address(NEW_ADDRESS, "2001:db8::7", flags, 0);
        let told = [0x40, 0x48, 0x80, 0x80].map(|flags| known.take(&of(flags)));
        assert_eq!(told, [false, false, true, false]);
    }

    #[test]
    fn several_messages_in_one_datagram_are_taken_and_what_is_cut_is_not() {
        let both = [link(NEW_LINK, 0, 2, UP), address(NEW_ADDRESS, "192.0.2.7", 0, 0)].concat();
        assert!(Known::default().take(&both));
        let whole = address(NEW_ADDRESS, "192.0.2.7", 0, 0);
        for cut in 0..whole.len() {
            let mut known = Known::default();
            let came = known.take(&whole[..cut]);
            // The flags behind the address may be missing.
            assert_eq!(came, cut >= HEADER + ADDRESS + 12 + 8, "{cut}");
        }
        for cut in 0..HEADER + LINK {
            let whole = link(NEW_LINK, 0, 2, UP | RUNNING);
            assert!(!Known::default().take(&whole[..cut]), "{cut}");
        }
    }

    #[test]
    fn what_is_known_is_bounded() {
        let mut known = Known::default();
        for index in 0..100_000 {
            assert!(known.take(&link(NEW_LINK, 0, index, UP | RUNNING)));
            assert!(known.links.len() <= MOST_KNOWN);
        }
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>, kind in 14u16..24, length in 0u32..200) {
            Known::default().take(&bytes);
            let mut message = message(kind, &bytes);
            Known::default().take(&message);
            message[..4].copy_from_slice(&length.to_ne_bytes());
            Known::default().take(&message);
        }
    }
}
