//! How it is written where a drone shall listen. Which variable says so is in `launch.rs`.

use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;

/// Where a drone listens, and what it tells others: an address, and the ports that it may take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Listen {
    address: IpAddr,
    /// From 0 to 0: any that is free.
    ports: RangeInclusive<u16>,
}

impl Listen {
    /// At this address, at any port that is free.
    pub(crate) fn at(address: IpAddr) -> Self {
        Self {
            address,
            ports: 0..=0,
        }
    }

    /// `IP`, `IP:PORT` or `IP:FIRST-LAST`; with IPv6 in brackets where ports follow. An address that means all
    /// interfaces is none to tell others, and listening on all of them is more than any drone needs.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let bare = text
            .strip_prefix('[')
            .and_then(|text| text.strip_suffix(']'));
        let (address, ports) = match bare.unwrap_or(text).parse::<IpAddr>() {
            Ok(address) => (address, 0..=0),
            Err(_) => with_ports(text)?,
        };
        (!address.is_unspecified() && !address.is_multicast()).then_some(Self { address, ports })
    }

    /// The interface.
    pub(crate) fn address(&self) -> IpAddr {
        self.address
    }

    /// Every place to try, in order.
    pub(crate) fn places(&self) -> impl Iterator<Item = SocketAddr> {
        let address = self.address;
        self.ports
            .clone()
            .map(move |port| SocketAddr::new(address, port))
    }
}

impl std::fmt::Display for Listen {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let first = SocketAddr::new(self.address, *self.ports.start());
        match (*self.ports.start(), *self.ports.end()) {
            (_, 0) => write!(formatter, "{}", self.address),
            (start, end) if start == end => write!(formatter, "{first}"),
            (_, end) => write!(formatter, "{first}-{end}"),
        }
    }
}

fn with_ports(text: &str) -> Option<(IpAddr, RangeInclusive<u16>)> {
    let (host, ports) = text.rsplit_once(':')?;
    let address = match host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
    {
        Some(bracketed) => IpAddr::V6(bracketed.parse().ok()?),
        None => IpAddr::V4(host.parse().ok()?),
    };
    let port = |text: &str| text.parse::<u16>().ok().filter(|port| *port > 0);
    let ports = match ports.split_once('-') {
        Some((first, last)) => port(first)?..=port(last)?,
        None => port(ports)?..=port(ports)?,
    };
    (!ports.is_empty()).then_some((address, ports))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_to_listen_are_an_address_and_ports() {
        for (text, expected) in [
            ("10.0.0.5", "10.0.0.5:0"),
            ("10.0.0.5:80", "10.0.0.5:80"),
            ("10.0.0.5:80-82", "10.0.0.5:80 10.0.0.5:81 10.0.0.5:82"),
            ("fd00::5", "[fd00::5]:0"),
            ("[fd00::5]", "[fd00::5]:0"),
            ("[fd00::5]:80", "[fd00::5]:80"),
            ("[fd00::5]:65534-65535", "[fd00::5]:65534 [fd00::5]:65535"),
        ] {
            let listen = Listen::parse(text).unwrap();
            let places: Vec<String> = listen.places().map(|place| place.to_string()).collect();
            assert_eq!(places.join(" "), expected);
            assert_eq!(Listen::parse(&listen.to_string()), Some(listen));
        }
    }

    #[test]
    fn what_is_no_place_to_listen_is_refused() {
        for text in [
            "",
            "host",
            "host:80",
            "10.0.0.5:",
            "10.0.0.5:0",
            "10.0.0.5:9-8",
            "10.0.0.5:1-70000",
            "10.0.0.5:-5",
            "0.0.0.0",
            "[::]:80",
            "::",
            "[10.0.0.5]:80",
            "fd00::5:80-81",
            "224.0.0.1",
        ] {
            assert_eq!(Listen::parse(text), None, "{text}");
        }
    }
}
