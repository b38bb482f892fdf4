//! `inet` and `cidr`.
//!
//! *Enters*: an address with an optional `/bits`. *Leaves*: its order and which networks hold it.
//! *Invariant*: addresses of the two families compare by family and never contain one another.

use std::cmp::Ordering;
use std::net::{Ipv4Addr, Ipv6Addr};

/// An address and how many of its bits name the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Network {
    pub(crate) wide: bool,
    pub(crate) bits: u8,
    /// An IPv4 address stands in the highest bits.
    pub(crate) address: u128,
}

impl Network {
    /// Reads the full form; `None` for others, short ones of `cidr` among them. A `strict` one has
    /// no bits beyond its network.
    pub(crate) fn read(text: &str, strict: bool) -> Option<Network> {
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) if !bits.starts_with('+') => (address, Some(bits)),
            Some(_) => return None,
            None => (text, None),
        };
        let (wide, address) = match address.parse::<Ipv4Addr>() {
            Ok(narrow) => (false, u128::from(narrow.to_bits()) << 96),
            Err(_) => (true, address.parse::<Ipv6Addr>().ok()?.to_bits()),
        };
        let most = if wide { 128 } else { 32 };
        let bits = match bits {
            Some(bits) => bits.parse::<u8>().ok().filter(|bits| *bits <= most)?,
            None => most,
        };
        let network = Network { wide, bits, address };
        (!strict || address == network.prefix(bits)).then_some(network)
    }

    /// The address as a number.
    pub(crate) fn number(&self) -> u128 {
        if self.wide { self.address } else { self.address >> 96 }
    }

    /// Another address of the family.
    pub(crate) fn numbered(&self, number: u128) -> Network {
        Network { address: if self.wide { number } else { number << 96 }, ..*self }
    }

    /// The bits of a whole address.
    pub(crate) fn most(&self) -> u8 {
        if self.wide { 128 } else { 32 }
    }

    /// Ones in place of all bits of the address beyond so many.
    pub(crate) fn beyond(&self, bits: u8) -> u128 {
        let all = if self.wide { u128::MAX } else { u128::MAX << 96 };
        all & u128::MAX.checked_shr(u32::from(bits)).unwrap_or(0)
    }

    /// The address as Postgres prints it: IPv4 inside of IPv6 with points.
    pub(crate) fn host(&self) -> String {
        // The shift leaves 32 bits, and so does the mask.
        let narrow = Ipv4Addr::from_bits((self.address >> 96) as u32);
        let last = Ipv4Addr::from_bits(self.address as u32);
        match self.address >> 32 {
            _ if !self.wide => narrow.to_string(),
            0xffff => format!("::ffff:{last}"),
            0 if self.address > 0xffff => format!("::{last}"),
            _ => Ipv6Addr::from_bits(self.address).to_string(),
        }
    }

    /// The text of an `inet`, or of a `cidr`, which always shows its size.
    pub(crate) fn text(&self, sized: bool) -> String {
        let size = if sized || self.bits < self.most() {
            format!("/{}", self.bits)
        } else {
            String::new()
        };
        self.host() + &size
    }

    pub(crate) fn prefix(&self, bits: u8) -> u128 {
        match bits {
            0 => 0,
            bits => self.address & (u128::MAX << (128 - u32::from(bits))),
        }
    }

    /// The network first, then its size, then the address.
    pub(crate) fn compare(&self, other: &Network) -> Ordering {
        let common = self.bits.min(other.bits);
        (self.wide.cmp(&other.wide))
            .then_with(|| self.prefix(common).cmp(&other.prefix(common)))
            .then_with(|| self.bits.cmp(&other.bits))
            .then_with(|| self.address.cmp(&other.address))
    }

    /// Whether this network is `other` or a part of it.
    pub(crate) fn is_within(&self, other: &Network) -> bool {
        self.wide == other.wide
            && self.bits >= other.bits
            && self.prefix(other.bits) == other.prefix(other.bits)
    }
}

impl std::fmt::Display for Network {
    /// A form that Postgres reads, which is not always the one it prints.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.wide {
            return write!(f, "{}/{}", Ipv6Addr::from_bits(self.address), self.bits);
        }
        let narrow = u32::try_from(self.address >> 96).unwrap_or_default();
        write!(f, "{}/{}", Ipv4Addr::from_bits(narrow), self.bits)
    }
}

#[cfg(test)]
mod tests {
    use super::Network;

    #[test]
    fn orders_and_contains_like_postgres() {
        let read = |text| Network::read(text, false).unwrap();
        assert_eq!(read("10.0.0.1"), read("10.0.0.1/32"));
        assert!(read("10.0.0.0/8").compare(&read("10.0.0.0/16")).is_lt());
        assert!(read("255.0.0.1").compare(&read("::1")).is_lt());
        assert!(read("10.1.2.3").is_within(&read("10.0.0.0/8")));
        assert!(!read("11.1.2.3").is_within(&read("10.0.0.0/8")));
        assert!(read("::1").is_within(&read("::/0")) && !read("::1").is_within(&read("0.0.0.0/0")));
        for bad in ["", "10.1", "10.0.0.1/33", "::1/129", "10.0.0.1/", "a"] {
            assert!(Network::read(bad, false).is_none(), "{bad}");
        }
        assert!(Network::read("10.0.0.1/8", true).is_none());
    }
}
