//! ipMatch: an address in an address or network.
//!
//! `strict` compares addresses of the same family only; an unreadable side is *unknown*.
//! `casbin_ip_match` keeps casbin-rs' mapping of IPv4 into IPv6 and faults where it panics.

use ip_network::IpNetwork;
use std::net::IpAddr;

/// Whether `address` lies in `network` (an address or a CIDR block); `None` if either is unreadable.
pub(crate) fn ip_match(address: &str, network: &str) -> Option<bool> {
    let address: IpAddr = address.parse().ok()?;
    match parse_network(network)? {
        Ok(single) => Some(single == address),
        Err(network) => Some(network.contains(address)),
    }
}

/// casbin-rs' answer; `None` where it panics.
pub(crate) fn casbin_ip_match(address: &str, network: &str) -> Option<bool> {
    let address: IpAddr = address.parse().ok()?;
    match (address, parse_network(network)?) {
        (IpAddr::V4(v4), Ok(IpAddr::V6(v6))) => {
            Some(v6.to_ipv4().map_or(IpAddr::V4(v4) == IpAddr::V6(v6), |mapped| mapped == v4))
        }
        (_, Ok(single)) => Some(single == address),
        (_, Err(network)) => Some(network.contains(address)),
    }
}

/// Go's answer; `None` where it panics. An IPv6 address that maps an IPv4 address is that address.
pub(crate) fn go_ip_match(address: &str, network: &str) -> Option<bool> {
    let address = address.parse::<IpAddr>().ok()?.to_canonical();
    match parse_network(network)? {
        Ok(single) => Some(single.to_canonical() == address),
        Err(IpNetwork::V6(network)) => {
            let mapped = network.network_address().to_ipv4_mapped();
            match (mapped, network.netmask().checked_sub(96)) {
                (Some(v4), Some(bits)) => {
                    let network = IpNetwork::new_truncate(IpAddr::V4(v4), bits).ok()?;
                    Some(network.contains(address))
                }
                _ => Some(IpNetwork::V6(network).contains(address)),
            }
        }
        Err(network) => Some(network.contains(address)),
    }
}

/// Whether `network` can be read at all.
pub(crate) fn is_network(network: &str) -> bool {
    parse_network(network).is_some()
}

/// Whether every address of `narrow` is one of `wide`.
pub(crate) fn covers(wide: &str, narrow: &str) -> bool {
    match (parse_network(wide), parse_network(narrow)) {
        (Some(Ok(one)), Some(Ok(other))) => one == other,
        (Some(Err(network)), Some(Ok(address))) => network.contains(address),
        (Some(Err(IpNetwork::V4(wide))), Some(Err(IpNetwork::V4(narrow)))) => {
            wide.netmask() <= narrow.netmask() && wide.contains(narrow.network_address())
        }
        (Some(Err(IpNetwork::V6(wide))), Some(Err(IpNetwork::V6(narrow)))) => {
            wide.netmask() <= narrow.netmask() && wide.contains(narrow.network_address())
        }
        _ => false,
    }
}

fn parse_network(text: &str) -> Option<Result<IpAddr, IpNetwork>> {
    let Some((address, bits)) = text.split_once('/') else {
        return text.parse().ok().map(Ok);
    };
    IpNetwork::new_truncate(address.parse::<IpAddr>().ok()?, bits.parse().ok()?).ok().map(Err)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_match_networks_of_their_family() {
        for (address, network, expected) in [
            ("10.1.2.3", "10.0.0.0/8", Some(true)),
            ("::ffff:10.1.2.3", "10.0.0.0/8", Some(true)),
            ("10.1.2.3", "::ffff:10.0.0.0/104", Some(true)),
            ("11.1.2.3", "::ffff:10.0.0.0/104", Some(false)),
            ("10.1.2.3", "::ffff:10.1.2.3", Some(true)),
            ("0.0.0.1", "::1", Some(false)),
            ("10.1.2.3", "::/0", Some(false)),
            ("nonsense", "10.0.0.0/8", None),
        ] {
            assert_eq!(go_ip_match(address, network), expected, "go {address} {network}");
        }
        for (address, network, strict, casbin) in [
            ("10.1.2.3", "10.0.0.0/8", Some(true), Some(true)),
            ("11.1.2.3", "10.0.0.0/8", Some(false), Some(false)),
            ("10.1.2.3", "10.1.2.3", Some(true), Some(true)),
            ("2001:db8::1", "2001:db8::/32", Some(true), Some(true)),
            ("0.0.0.1", "::1", Some(false), Some(true)),
            ("10.1.2.3", "10.0.0.0/33", None, None),
            ("nonsense", "10.0.0.0/8", None, None),
            ("10.1.2.3", "nonsense", None, None),
        ] {
            assert_eq!(ip_match(address, network), strict, "{address} {network}");
            assert_eq!(casbin_ip_match(address, network), casbin, "{address} {network}");
        }
    }
}
