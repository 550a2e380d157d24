//! IP addresses and networks as conditions on `aws:SourceIp` write them. They are parsed here, because the core
//! does not import the standard library's socket types.

/// An address or a network, such as `203.0.113.7`, `203.0.113.0/24` or `2001:db8::/32`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Network {
    base: u128,
    /// The bits of an address: 32 for IPv4, 128 for IPv6.
    width: u32,
    /// The length of the network's prefix, in bits.
    pub shared: u32,
}

impl Network {
    /// Parses a network; a single address is a network of one address. `None`: the text is neither.
    #[must_use]
    pub fn parse(text: &str) -> Option<Network> {
        let (address, shared) = text.split_once('/').map_or((text, None), |(base, bits)| (base, Some(bits)));
        let (base, width) = match v4(address) {
            Some(base) => (base.into(), 32),
            None => (v6(address)?, 128),
        };
        let shared = shared.map_or(Some(width), |bits| number(bits, 10, 3)).filter(|bits| *bits <= width)?;
        Some(Network { base, width, shared })
    }

    /// Whether this is an IPv6 network.
    #[must_use]
    pub fn is_v6(&self) -> bool {
        self.width == 128
    }

    /// Whether all of the other network is in this one.
    #[must_use]
    pub fn contains(&self, other: &Network) -> bool {
        self.width == other.width
            && self.shared <= other.shared
            && (self.shared == 0 || (self.base ^ other.base) >> (self.width - self.shared) == 0)
    }
}

/// Whether these networks together cover every IPv4 address or every IPv6 address.
#[must_use]
pub fn are_everywhere(networks: &[Network]) -> bool {
    let mut open: Vec<&Network> = Vec::new();
    for network in networks {
        let is_within = |other: &&Network| other.contains(network) && (*other != network);
        let is_first = !open.contains(&network);
        if is_first && !networks.iter().any(|other| is_within(&other)) {
            open.push(network);
        }
    }
    // The remaining networks do not overlap, so their shares of the address space can be added: 1/2, 1/4, …
    [32, 128].into_iter().any(|width| {
        // A share is counted in units of 2^-100. A network that is smaller than that is too small to matter.
        let shares = open.iter().filter(|network| network.width == width && network.shared < 100);
        shares.map(|network| 1_u128 << (100 - network.shared)).sum::<u128>() >= 1 << 100
    })
}

fn number(text: &str, radix: u32, digits_max: usize) -> Option<u32> {
    let is_number = text.len() <= digits_max && text.chars().all(|letter| letter.is_digit(radix));
    is_number.then(|| u32::from_str_radix(text, radix).ok()).flatten()
}

fn v4(text: &str) -> Option<u32> {
    let mut parts = text.split('.');
    let mut address = 0;
    for _ in 0..4 {
        let part = parts.next()?;
        let is_padded = part.len() > 1 && part.starts_with('0');
        address = address << 8 | number(part, 10, 3).filter(|byte| *byte < 256 && !is_padded)?;
    }
    parts.next().is_none().then_some(address)
}

fn v6(text: &str) -> Option<u128> {
    let groups = match text.split_once("::") {
        None => groups(text, true).filter(|groups| groups.len() == 8)?,
        Some((head, tail)) => {
            let (mut head, tail) = (groups(head, false)?, groups(tail, true)?);
            // `::` stands for one group or more.
            let missing = 8_usize.checked_sub(head.len() + tail.len()).filter(|missing| *missing > 0)?;
            head.extend(std::iter::repeat_n(0, missing));
            head.extend(tail);
            head
        }
    };
    Some(groups.into_iter().fold(0, |address, group| address << 16 | u128::from(group)))
}

/// Parses groups of 16 bits. The last two groups of an address may be written as an IPv4 address.
fn groups(text: &str, is_end: bool) -> Option<Vec<u32>> {
    let mut groups = Vec::new();
    let mut parts = text.split(':').filter(|_| !text.is_empty()).peekable();
    while let Some(part) = parts.next() {
        match v4(part).filter(|_| is_end && parts.peek().is_none()) {
            Some(address) => groups.extend([address >> 16, address & 0xffff]),
            None => groups.push(number(part, 16, 4)?),
        }
    }
    Some(groups)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

    #[test]
    fn addresses_are_read_as_the_standard_library_reads_them() {
        for text in [
            "0.0.0.0",
            "255.255.255.255",
            "203.0.113.7",
            "1.2.3",
            "1.2.3.4.5",
            "256.1.1.1",
            "01.2.3.4",
            "1..2.3",
            "",
            "::",
            "::1",
            "1::",
            "2001:db8::7",
            "1:2:3:4:5:6:7:8",
            "1:2:3:4:5:6:7",
            "1:2:3:4:5:6:7:8:9",
            "1::2::3",
            ":1",
            "1:",
            "::1.2.3.4",
            "::ffff:1.2.3.4",
            "1.2.3.4::",
            "12345::",
            "g::",
            "1:2:3:4:5:6:1.2.3.4",
            "1:2:3:4:5:6:7:1.2.3.4",
            "::2:3:4:5:6:7:8",
            "::1:2:3:4:5:6:7:8",
            "+1.2.3.4",
            "::+1",
            "1:::2",
            ":::",
        ] {
            let theirs = text.parse::<IpAddr>().ok();
            let ours = Network::parse(text).map(|network| match u32::try_from(network.base) {
                Ok(base) if !network.is_v6() => IpAddr::V4(Ipv4Addr::from(base)),
                _ => IpAddr::V6(Ipv6Addr::from(network.base)),
            });
            assert_eq!(ours, theirs, "{text}");
        }
    }

    #[test]
    fn networks_that_cover_all_addresses_together_are_recognised() {
        let everywhere = |networks: &[&str]| {
            are_everywhere(&networks.iter().filter_map(|text| Network::parse(text)).collect::<Vec<_>>())
        };
        assert!(everywhere(&["0.0.0.0/0"]) && everywhere(&["::/0", "203.0.113.7"]));
        assert!(everywhere(&["0.0.0.0/1", "128.0.0.0/1"]));
        assert!(everywhere(&["0.0.0.0/1", "128.0.0.0/2", "192.0.0.0/2"]));
        assert!(!everywhere(&["0.0.0.0/1", "0.0.0.0/1"]) && !everywhere(&["0.0.0.0/1", "64.0.0.0/2"]));
        assert!(!everywhere(&["0.0.0.0/1", "::/1"]) && !everywhere(&["203.0.113.0/24"]) && !everywhere(&[]));
    }

    #[test]
    fn a_network_contains_the_addresses_with_its_prefix() {
        let contains = |outer: &str, inner: &str| {
            Network::parse(outer)
                .zip(Network::parse(inner))
                .is_some_and(|(outer, inner)| outer.contains(&inner))
        };
        for (outer, inner) in [
            ("0.0.0.0/0", "203.0.113.7"),
            ("203.0.113.0/24", "203.0.113.7"),
            ("203.0.113.0/24", "203.0.113.128/25"),
            ("203.0.113.7", "203.0.113.7/32"),
            ("::/0", "2001:db8::1"),
            ("2001:db8::/32", "2001:db8:ffff::"),
        ] {
            assert!(contains(outer, inner), "{outer} {inner}");
        }
        for (outer, inner) in [
            ("203.0.113.0/24", "203.0.114.7"),
            ("203.0.113.128/25", "203.0.113.0/24"),
            ("0.0.0.0/0", "2001:db8::1"),
            ("203.0.113.0/33", "203.0.113.7"),
            ("203.0.113.0/", "203.0.113.7"),
            ("203.0.113.0/x", "203.0.113.7"),
        ] {
            assert!(!contains(outer, inner), "{outer} {inner}");
        }
    }
}
