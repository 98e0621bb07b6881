//! Outbound safety: which addresses, ports and URLs a request may go to.
//!
//! The IPv4 and IPv6 ranges are IANA's special-purpose registries (RFC 6890 and successors); everything in IPv6 outside 2000::/3 is
//! unallocated or special, and refused.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use url::{Host, Url};

use crate::limits;

/// What an operator lets through although it is special: for receivers on the operator's own premises.
#[derive(Clone, Debug, Default)]
pub struct AllowList {
    /// Networks.
    pub networks: Vec<IpNet>,
    /// Host names, or suffixes that begin with a dot; their addresses are not judged.
    pub hosts: Vec<String>,
}

/// Why a URL or address is refused.
#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq, Eq)]
pub enum Refused {
    /// Not a URL.
    #[error("not an absolute http or https URL")]
    NotHttp,
    /// Too long.
    #[error("longer than {} bytes", limits::URL_BYTES)]
    TooLong,
    /// A port nobody receives webhooks on.
    #[error("this port is not allowed")]
    Port,
    /// A special address, or a name that can only be one.
    #[error("this address is not allowed")]
    Address,
}

/// Networks never to be called, by the operator's list excepted.
const REFUSED_V4: [(Ipv4Addr, u8); 16] = [
    (Ipv4Addr::UNSPECIFIED, 8),
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
    // Azure's metadata and health address; public, and not to be reached through us.
    (Ipv4Addr::new(168, 63, 129, 16), 32),
];

/// Exceptions inside 2000::/3.
const REFUSED_V6: [(Ipv6Addr, u8); 4] = [
    (Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 23),
    (Ipv6Addr::new(0x2001, 0x0db8, 0, 0, 0, 0, 0, 0), 32),
    (Ipv6Addr::new(0x2002, 0, 0, 0, 0, 0, 0, 0), 16),
    (Ipv6Addr::new(0x3fff, 0, 0, 0, 0, 0, 0, 0), 20),
];

/// Ports from 1024 up where a POST does harm: what browsers refuse (WHATWG Fetch, "bad port"), and common unauthenticated services.
const REFUSED_PORTS: [u16; 25] = [
    1719, 1720, 1723, 2049, 2375, 2376, 3306, 3659, 4045, 4190, 5060, 5061, 5432, 5672, 6000, 6379, 6566, 6667, 6697, 9200,
    10080, 10250, 11211, 25672, 27017,
];

impl AllowList {
    /// Whether an address may be called.
    pub fn judge(&self, address: IpAddr) -> Result<(), Refused> {
        let allowed = |address: IpAddr| self.networks.iter().any(|network| network.contains(&address));
        let ordinary = match address {
            IpAddr::V4(v4) => is_ordinary_v4(v4),
            IpAddr::V6(v6) => match v6.to_ipv4_mapped() {
                Some(v4) => return self.judge(IpAddr::V4(v4)),
                None => match nat64_embedded(v6) {
                    // A translator is the operator's own: it must be on the list, and then the embedded address counts.
                    Some(v4) => allowed(address) && (is_ordinary_v4(v4) || allowed(IpAddr::V4(v4))),
                    None => is_ordinary_v6(v6) || allowed(address),
                },
            },
        };
        let embedded = matches!(address, IpAddr::V6(v6) if nat64_embedded(v6).is_some());
        if ordinary || (!embedded && allowed(address)) { Ok(()) } else { Err(Refused::Address) }
    }

    /// Whether the operator vouches for a host name, whatever it resolves to.
    pub fn vouches_for(&self, host: &str) -> bool {
        let host = host.trim_end_matches('.');
        self.hosts.iter().any(|entry| match entry.strip_prefix('.') {
            Some(suffix) => host.strip_suffix(suffix).is_some_and(|rest| rest.ends_with('.')),
            None => host == entry,
        })
    }

    /// Judges a URL before anything is resolved: scheme, port, and the address where the URL spells one.
    pub fn judge_url(&self, url: &Url) -> Result<(), Refused> {
        if !matches!(url.scheme(), "http" | "https") {
            return Err(Refused::NotHttp);
        }
        if url.as_str().len() > limits::URL_BYTES {
            return Err(Refused::TooLong);
        }
        if !url.port_or_known_default().is_some_and(is_ordinary_port) {
            return Err(Refused::Port);
        }
        match url.host() {
            None => Err(Refused::NotHttp),
            Some(Host::Ipv4(v4)) => self.judge(IpAddr::V4(v4)),
            Some(Host::Ipv6(v6)) => self.judge(IpAddr::V6(v6)),
            Some(Host::Domain(name)) if self.vouches_for(name) => Ok(()),
            Some(Host::Domain(name)) => self.judge_name(name),
        }
    }

    /// Reads and judges the text of a URL.
    pub fn parse_url(&self, text: &str) -> Result<Url, Refused> {
        let url = Url::parse(text).map_err(|_| Refused::NotHttp)?;
        self.judge_url(&url).map(|()| url)
    }

    /// Names that can only mean this machine or this network (RFC 6761, RFC 8375).
    fn judge_name(&self, name: &str) -> Result<(), Refused> {
        let name = name.trim_end_matches('.');
        let special = ["localhost", "local", "internal", "home.arpa"];
        let is_special = special.iter().any(|s| name == *s || name.strip_suffix(s).is_some_and(|rest| rest.ends_with('.')));
        if name.is_empty() {
            Err(Refused::NotHttp)
        } else if is_special && !(name.ends_with("localhost") && self.judge(IpAddr::V4(Ipv4Addr::LOCALHOST)).is_ok()) {
            Err(Refused::Address)
        } else {
            Ok(())
        }
    }
}

fn is_ordinary_v4(address: Ipv4Addr) -> bool {
    !REFUSED_V4.iter().any(|(network, bits)| Ipv4Net::new(*network, *bits).is_ok_and(|net| net.contains(&address)))
}

fn is_ordinary_v6(address: Ipv6Addr) -> bool {
    let global = address.segments()[0] & 0xe000 == 0x2000;
    global && !REFUSED_V6.iter().any(|(network, bits)| Ipv6Net::new(*network, *bits).is_ok_and(|net| net.contains(&address)))
}

/// The IPv4 address inside the well-known NAT64 prefix 64:ff9b::/96 (RFC 6052).
fn nat64_embedded(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let segments = address.segments();
    let [a, b, c, d] =
        [segments[6] >> 8, segments[6] & 0xff, segments[7] >> 8, segments[7] & 0xff].map(|part| part.to_le_bytes()[0]);
    (segments[..6] == [0x64, 0xff9b, 0, 0, 0, 0]).then(|| Ipv4Addr::new(a, b, c, d))
}

fn is_ordinary_port(port: u16) -> bool {
    matches!(port, 80 | 443) || (port >= 1024 && !REFUSED_PORTS.contains(&port))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn nothing_allowed(text: &str) -> Result<(), Refused> {
        AllowList::default().parse_url(text).map(|_| ())
    }

    #[test]
    fn every_spelling_of_a_special_address_is_refused() {
        for url in [
            "http://127.0.0.1/",
            "http://2130706433/",
            "http://0x7f.1/",
            "http://0177.0.0.1/",
            "http://127.1/",
            "http://127.0.0.1./",
            "http://[::1]/",
            "http://[::ffff:7f00:1]/",
            "http://[::ffff:127.0.0.1]/",
            "http://[64:ff9b::7f00:1]/",
            "http://[::]/",
            "http://[fe80::1]/",
            "http://[fd00::1]/",
            "http://[2002:7f00:1::]/",
            "http://localhost/",
            "http://LOCALHOST./",
            "http://a.localhost/",
            "http://printer.local/",
            "http://metadata.google.internal/",
            "http://example.com@127.0.0.1/",
            "http://127.0.0.1%2f@10.0.0.1/",
            "http://169.254.169.254/latest/meta-data",
            "http://168.63.129.16/",
            "http://0/",
        ] {
            assert_eq!(nothing_allowed(url), Err(Refused::Address), "{url}");
        }
    }

    #[test]
    fn ordinary_urls_pass_and_odd_ones_do_not() {
        for url in ["https://example.com/hook?x=1", "http://example.com:8080/", "https://8.8.8.8/", "https://[2606:4700::1111]/"]
        {
            assert_eq!(nothing_allowed(url), Ok(()), "{url}");
        }
        for url in ["ftp://example.com/", "example.com", "", "http://", "file:///etc/passwd", "javascript:alert(1)"] {
            assert_eq!(nothing_allowed(url), Err(Refused::NotHttp), "{url}");
        }
        for url in ["http://example.com:22/", "http://example.com:6379/", "http://example.com:1023/"] {
            assert_eq!(nothing_allowed(url), Err(Refused::Port), "{url}");
        }
        assert_eq!(nothing_allowed(&format!("http://example.com/{}", "x".repeat(limits::URL_BYTES))), Err(Refused::TooLong));
    }

    #[test]
    fn the_operator_may_vouch() {
        let list = AllowList {
            networks: vec!["10.1.0.0/16".parse().expect("a network"), "64:ff9b::/96".parse().expect("a network")],
            hosts: vec![".corp.internal".into(), "hooks.local".into()],
        };
        for url in [
            "http://10.1.2.3/",
            "http://[::ffff:10.1.2.3]/",
            "http://a.corp.internal/",
            "http://hooks.local/",
            "http://[64:ff9b::808:808]/",
        ] {
            assert!(list.parse_url(url).is_ok(), "{url}");
        }
        for url in [
            "http://10.2.0.1/",
            "http://evilcorp.internal/",
            "http://corp.internal/",
            "http://a.hooks.local/",
            "http://[64:ff9b::7f00:1]/",
        ] {
            assert!(list.parse_url(url).is_err(), "{url}");
        }
    }

    proptest! {
        #[test]
        fn whole_ranges_are_refused_mapped_or_not(index in 0..REFUSED_V4.len(), host: u32) {
            let (network, bits) = REFUSED_V4[index];
            let mask = u32::MAX.checked_shr(u32::from(bits)).unwrap_or(0);
            let address = Ipv4Addr::from(u32::from(network) | (host & mask));
            prop_assert_eq!(AllowList::default().judge(IpAddr::V4(address)), Err(Refused::Address));
            prop_assert_eq!(AllowList::default().judge(IpAddr::V6(address.to_ipv6_mapped())), Err(Refused::Address));
            prop_assert_eq!(nothing_allowed(&format!("http://{}/", u32::from(address))), Err(Refused::Address));
        }

        #[test]
        fn outside_the_ranges_ipv4_passes(host: u32) {
            let address = Ipv4Addr::from(host);
            let model = REFUSED_V4.iter().any(|(network, bits)| {
                let mask = !u32::MAX.checked_shr(u32::from(*bits)).unwrap_or(0);
                host & mask == u32::from(*network)
            });
            prop_assert_eq!(AllowList::default().judge(IpAddr::V4(address)).is_err(), model);
        }

        #[test]
        fn ipv6_outside_global_unicast_is_refused(host: u128) {
            let address = Ipv6Addr::from(host);
            if host >> 125 != 1 && address.to_ipv4_mapped().is_none() {
                prop_assert_eq!(AllowList::default().judge(IpAddr::V6(address)), Err(Refused::Address));
            }
        }
    }
}
