//! Which addresses may be reached: those of the public network, and what the configuration names.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Entries of one list of what may be private.
pub const ALLOWED_MAX: usize = 1_000;

/// IPv4 networks that are not the public network (IANA's registry of special-purpose addresses).
const SPECIAL_V4: [(Ipv4Addr, u8); 15] = [
    (Ipv4Addr::new(0, 0, 0, 0), 8),
    (Ipv4Addr::new(10, 0, 0, 0), 8),
    (Ipv4Addr::new(100, 64, 0, 0), 10),
    (Ipv4Addr::new(127, 0, 0, 0), 8),
    (Ipv4Addr::new(169, 254, 0, 0), 16),
    (Ipv4Addr::new(172, 16, 0, 0), 12),
    (Ipv4Addr::new(192, 0, 0, 0), 24),
    (Ipv4Addr::new(192, 0, 2, 0), 24),
    (Ipv4Addr::new(192, 88, 99, 0), 24),
    (Ipv4Addr::new(192, 168, 0, 0), 16),
    (Ipv4Addr::new(198, 18, 0, 0), 15),
    (Ipv4Addr::new(198, 51, 100, 0), 24),
    (Ipv4Addr::new(203, 0, 113, 0), 24),
    (Ipv4Addr::new(224, 0, 0, 0), 4),
    (Ipv4Addr::new(240, 0, 0, 0), 4),
];

/// The only IPv6 network that is public: what lies outside of it is local, mapped, translated or reserved.
const GLOBAL_V6: (Ipv6Addr, u8) = (Ipv6Addr::new(0x2000, 0, 0, 0, 0, 0, 0, 0), 3);

/// Parts of it that are not: protocols such as Teredo, documentation, 6to4.
const SPECIAL_V6: [(Ipv6Addr, u8); 4] = [
    (Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 23),
    (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0), 32),
    (Ipv6Addr::new(0x2002, 0, 0, 0, 0, 0, 0, 0), 16),
    (Ipv6Addr::new(0x3fff, 0, 0, 0, 0, 0, 0, 0), 20),
];

/// Whether an address belongs to the public network.
#[must_use]
pub fn is_public(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => !SPECIAL_V4.iter().any(|(net, bits)| in_v4(address, *net, *bits)),
        IpAddr::V6(address) => {
            in_v6(address, GLOBAL_V6.0, GLOBAL_V6.1)
                && !SPECIAL_V6.iter().any(|(net, bits)| in_v6(address, *net, *bits))
        }
    }
}

fn in_v4(address: Ipv4Addr, net: Ipv4Addr, bits: u8) -> bool {
    let shift = 32 - u32::from(bits);
    address.to_bits().checked_shr(shift) == net.to_bits().checked_shr(shift)
}

fn in_v6(address: Ipv6Addr, net: Ipv6Addr, bits: u8) -> bool {
    let shift = 128 - u32::from(bits);
    address.to_bits().checked_shr(shift) == net.to_bits().checked_shr(shift)
}

/// Private addresses that may be reached: by the name that a URL has for them, or by network.
///
/// ```
/// use planwire_engine::tools::http::AllowPrivate;
///
/// let allowed = AllowPrivate::parse(["build.internal", "10.1.0.0/16", "::1"]).unwrap();
/// assert!(allowed.permits("anything", "10.1.2.3".parse().unwrap()));
/// assert!(allowed.permits("build.internal", "192.168.0.7".parse().unwrap()));
/// assert!(!allowed.permits("anything", "10.2.0.1".parse().unwrap()));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AllowPrivate {
    hosts: Vec<String>,
    nets: Vec<(IpAddr, u8)>,
}

/// An entry that is neither a host nor a network.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AddressError {
    /// It cannot be read.
    #[error("'{}' is neither a host, an address nor a network such as 10.0.0.0/8", entry.escape_debug())]
    Entry {
        /// The entry.
        entry: String,
    },
    /// There are too many.
    #[error("more than {ALLOWED_MAX} entries")]
    TooMany,
}

impl AllowPrivate {
    /// Reads hosts, addresses and networks (`10.0.0.0/8`).
    ///
    /// A host stands for whatever address it has at the time of the call.
    ///
    /// # Errors
    ///
    /// [`AddressError`] for the first entry that is none of them.
    pub fn parse<T: AsRef<str>>(entries: impl IntoIterator<Item = T>) -> Result<Self, AddressError> {
        let mut allowed = Self::default();
        for entry in entries {
            let entry = entry.as_ref().trim();
            let unknown = || AddressError::Entry { entry: entry.to_owned() };
            match net_of(entry) {
                Some(net) => allowed.nets.push(net),
                None if is_host(entry) => allowed.hosts.push(entry.to_ascii_lowercase()),
                None => return Err(unknown()),
            }
            if allowed.nets.len() + allowed.hosts.len() > ALLOWED_MAX {
                return Err(AddressError::TooMany);
            }
        }
        Ok(allowed)
    }

    /// Whether a connection to `address`, which `host` of a URL stands for, may be made.
    #[must_use]
    pub fn permits(&self, host: &str, address: IpAddr) -> bool {
        let address = address.to_canonical();
        is_public(address)
            || self.hosts.iter().any(|allowed| allowed == host)
            || self.nets.iter().any(|(net, bits)| match (address, net) {
                (IpAddr::V4(address), IpAddr::V4(net)) => in_v4(address, *net, *bits),
                (IpAddr::V6(address), IpAddr::V6(net)) => in_v6(address, *net, *bits),
                _ => false,
            })
    }
}

fn net_of(entry: &str) -> Option<(IpAddr, u8)> {
    let (address, bits) =
        entry.split_once('/').map_or((entry, None), |(address, bits)| (address, Some(bits)));
    let address: IpAddr = address.trim_start_matches('[').trim_end_matches(']').parse().ok()?;
    let widest = if address.is_ipv4() { 32 } else { 128 };
    let bits = match bits {
        Some(bits) => bits.parse::<u8>().ok().filter(|bits| *bits <= widest)?,
        None => widest,
    };
    Some((address, bits))
}

/// Letters, digits, `-`, `_` and dots; not something that looks like a number, which a resolver would take for one.
pub(super) fn is_host(text: &str) -> bool {
    const HOST_BYTES_MAX: usize = 253;
    let is_label = |label: &str| {
        !label.is_empty()
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    text.len() <= HOST_BYTES_MAX && text.strip_suffix('.').unwrap_or(text).split('.').all(is_label)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_public_network_is_public() {
        let public = [
            "1.1.1.1",
            "8.8.8.8",
            "172.15.0.1",
            "172.32.0.1",
            "100.128.0.1",
            "2606:4700::1111",
            "2a00:1450::1",
        ];
        for address in public {
            assert!(is_public(address.parse().unwrap()), "{address}");
        }
        let private = [
            "0.0.0.0",
            "0.1.2.3",
            "10.0.0.1",
            "100.64.0.1",
            "127.0.0.1",
            "127.255.255.255",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.8",
            "192.0.2.1",
            "192.168.1.1",
            "198.18.0.1",
            "198.19.0.1",
            "198.51.100.1",
            "203.0.113.1",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "::127.0.0.1",
            "64:ff9b::7f00:1",
            "64:ff9b:1::1",
            "100::1",
            "2001::1",
            "2001:db8::1",
            "2002:7f00:1::",
            "fc00::1",
            "fd00::1",
            "fe80::1",
            "fec0::1",
            "ff02::1",
        ];
        for address in private {
            assert!(!is_public(address.parse().unwrap()), "{address}");
        }
        assert!(is_public("::ffff:1.1.1.1".parse().unwrap()), "it is 1.1.1.1");
    }

    #[test]
    fn allowed_are_hosts_addresses_and_networks() {
        let allowed =
            AllowPrivate::parse(["Build.Internal", "10.1.0.0/16", "127.0.0.1", "[fd00::]/8", "0.0.0.0/0"]);
        let allowed = allowed.unwrap();
        for address in ["10.1.255.1", "127.0.0.1", "::ffff:127.0.0.1", "fd12::1", "192.168.0.1"] {
            assert!(allowed.permits("x", address.parse().unwrap()), "{address}");
        }
        assert!(allowed.permits("build.internal", "fe80::1".parse().unwrap()));
        assert!(!allowed.permits("x", "fe80::1".parse().unwrap()));
        for entry in ["", "10.0.0.0/33", "::/129", "a b", "http://a", "a/8", "*"] {
            let error = AllowPrivate::parse([entry]).unwrap_err();
            assert_eq!(error, AddressError::Entry { entry: entry.to_owned() });
        }
        assert_eq!(AllowPrivate::parse(vec!["a"; ALLOWED_MAX + 1]), Err(AddressError::TooMany));
    }
}
