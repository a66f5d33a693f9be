//! Which endpoints of subscriptions may be connected to. A client names them, and whoever names `https://10.0.0.1`
//! wants this server to reach into its own network.
//!
//! Checked twice: what is written, at registration and before each push; and what its name resolves to, by whoever
//! connects, of the very addresses that it connects to.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use http::uri::{PathAndQuery, Uri};

/// Bytes of an endpoint's URL, at most.
const URL_BYTES_MOST: usize = 2_048;

/// An endpoint of a subscription that may be connected to as far as can be read from it.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Endpoint {
    /// `https://host`, with the port where it is not 443.
    pub(crate) origin: String,
    /// A secret of the subscription.
    pub(crate) path: PathAndQuery,
}

impl std::fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Endpoint")
            .field("origin", &self.origin)
            .finish_non_exhaustive()
    }
}

/// Reads an endpoint. Resolves no name.
///
/// # Errors
/// What is wrong with it, to be shown to the client.
pub(crate) fn check_endpoint(url: &str, allow_private: bool) -> Result<Endpoint, String> {
    if url.len() > URL_BYTES_MOST {
        return Err(format!("the endpoint is longer than {URL_BYTES_MOST} bytes"));
    }
    // A parsed URI would not show it any more.
    if url.contains('#') {
        return Err("the endpoint has a fragment".to_owned());
    }
    let uri: Uri = url.parse().map_err(|_| "the endpoint is not a URL".to_owned())?;
    if uri.scheme_str() != Some("https") {
        return Err("the endpoint is not an https URL".to_owned());
    }
    let Some(authority) = uri.authority() else {
        return Err("the endpoint has no host".to_owned());
    };
    if authority.as_str().contains('@') {
        return Err("the endpoint has a user".to_owned());
    }
    let host = authority.host().to_ascii_lowercase();
    if !allow_private {
        check_host(&host)?;
    }
    let after_host = authority.as_str().get(host.len()..).unwrap_or_default();
    let origin = match (after_host, authority.port_u16()) {
        ("", _) | (_, Some(443)) => format!("https://{host}"),
        (_, Some(port)) if port > 0 => format!("https://{host}:{port}"),
        _ => return Err("the endpoint's port is none".to_owned()),
    };
    let path = uri.path_and_query().cloned();
    Ok(Endpoint {
        origin,
        path: path.unwrap_or_else(|| PathAndQuery::from_static("/")),
    })
}

/// Refuses a host in lower case that is written as an address that is not public, or in one of the ways of writing such
/// an address that only some resolvers know.
fn check_host(host: &str) -> Result<(), String> {
    let not_public = || Err(format!("the endpoint's host {host} is not public"));
    if host.is_empty() {
        return Err("the endpoint has no host".to_owned());
    }
    if let Some(literal) = host.strip_prefix('[') {
        let address = literal.strip_suffix(']').and_then(|it| it.parse().ok());
        return match address {
            Some(address) if is_public(IpAddr::V6(address)) => Ok(()),
            _ => not_public(),
        };
    }
    if let Ok(address) = host.parse::<Ipv4Addr>() {
        return if is_public(IpAddr::V4(address)) {
            Ok(())
        } else {
            not_public()
        };
    }
    let name = host.strip_suffix('.').unwrap_or(host);
    let last = name.rsplit('.').next().unwrap_or_default();
    // 127.1, 2130706433, 0x7f000001, 127.0.0.1.
    let number = last.bytes().all(|it| it.is_ascii_digit()) || last.starts_with("0x");
    if number || last == "localhost" {
        return not_public();
    }
    Ok(())
}

/// Whether an address is anybody's on the internet. What holds an IPv4 address and is routed by it is judged by it.
pub(crate) fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let private = matches!(
        address.octets(),
        [0 | 10 | 127 | 224.., ..]
            | [100, 64..=127, ..]
            | [169, 254, ..]
            | [172, 16..=31, ..]
            | [192, 0, 0 | 2, _]
            | [192, 88, 99, _]
            | [192, 168, ..]
            | [198, 18 | 19, ..]
            | [198, 51, 100, _]
            | [203, 0, 113, _]
    );
    !private
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let embedded = |high: u16, low: u16| {
        let [a, b] = high.to_be_bytes();
        let [c, d] = low.to_be_bytes();
        is_public_v4(Ipv4Addr::new(a, b, c, d))
    };
    match address.segments() {
        // IPv4 within IPv6, and the well-known prefix of translators.
        [0, 0, 0, 0, 0, 0xffff, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] => embedded(high, low),
        // 6to4.
        [0x2002, high, low, ..] => embedded(high, low),
        // Protocols' own, such as Teredo and ORCHID; documentation, twice.
        [0x2001, 0..=0x1ff | 0xdb8, ..] | [0x3fff, 0..=0xfff, ..] => false,
        // No other addresses have been given to anybody.
        [first, ..] => first & 0xe000 == 0x2000,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn public_addresses() {
        for address in [
            "1.1.1.1",
            "8.8.8.8",
            "100.63.255.255",
            "100.128.0.1",
            "172.15.0.1",
            "172.32.0.1",
            "192.0.1.1",
            "192.167.0.1",
            "198.17.0.1",
            "198.20.0.1",
            "223.255.255.255",
            "2606:4700::1111",
            "2a00:1450::1",
            "2001:200::1",
            "::ffff:8.8.8.8",
            "64:ff9b::8.8.8.8",
            "2002:808:808::1",
        ] {
            assert!(is_public(address.parse().unwrap()), "{address}");
        }
    }

    #[test]
    fn addresses_that_are_not() {
        for address in [
            "0.0.0.0",
            "0.1.2.3",
            "10.0.0.1",
            "100.64.0.1",
            "100.127.255.255",
            "127.0.0.1",
            "127.255.255.255",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.1",
            "192.0.2.1",
            "192.88.99.1",
            "192.168.1.1",
            "198.18.0.1",
            "198.19.255.255",
            "198.51.100.1",
            "203.0.113.1",
            "224.0.0.1",
            "239.255.255.255",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::127.0.0.1",
            "::8.8.8.8",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "::ffff:0:8.8.8.8",
            "64:ff9b::10.0.0.1",
            "64:ff9b:1::1",
            "100::1",
            "2001::1",
            "2001:0:808:808::1",
            "2001:2::1",
            "2001:10::1",
            "2001:db8::1",
            "2002:a00:1::1",
            "2002:7f00:1::1",
            "3fff::1",
            "4000::1",
            "5f00::1",
            "fc00::1",
            "fd12:3456::1",
            "fe80::1",
            "fec0::1",
            "ff02::1",
        ] {
            assert!(!is_public(address.parse().unwrap()), "{address}");
        }
    }

    #[test]
    fn endpoints_are_read() {
        for (url, origin, path) in [
            (
                "https://push.example.org/x/y?z=1",
                "https://push.example.org",
                "/x/y?z=1",
            ),
            ("https://Push.Example.org:443/x", "https://push.example.org", "/x"),
            ("https://push.example.org:8443/x", "https://push.example.org:8443", "/x"),
            ("https://push.example.org", "https://push.example.org", "/"),
            ("https://8.8.8.8/x", "https://8.8.8.8", "/x"),
            (
                "https://[2606:4700::1111]:8443/x",
                "https://[2606:4700::1111]:8443",
                "/x",
            ),
            ("https://1e100.net/x", "https://1e100.net", "/x"),
        ] {
            let endpoint = check_endpoint(url, false).unwrap();
            assert_eq!(
                (endpoint.origin.as_str(), endpoint.path.as_str()),
                (origin, path),
                "{url}"
            );
        }
    }

    #[test]
    fn endpoints_that_are_none_are_refused_everywhere() {
        let long = format!("https://push.example.org/{}", "x".repeat(2_048));
        for url in [
            "",
            "push.example.org",
            "/x",
            "http://push.example.org/x",
            "ftp://push.example.org/x",
            "https://",
            "https:///x",
            "https://user@push.example.org/x",
            "https://user:password@push.example.org/x",
            "https://push.example.org/x#y",
            "https://push.example.org:0/x",
            "https://push.example.org:99999/x",
            "https://push.example.org:/x",
            "https://push example.org/x",
            &long,
        ] {
            for allow_private in [false, true] {
                assert!(check_endpoint(url, allow_private).is_err(), "{url}");
            }
        }
    }

    #[test]
    fn private_endpoints_are_refused_unless_they_are_allowed() {
        for url in [
            "https://127.0.0.1/x",
            "https://127.0.0.1:8443/x",
            "https://169.254.169.254/latest/meta-data",
            "https://[::1]/x",
            "https://[::ffff:10.0.0.1]/x",
            "https://localhost/x",
            "https://LOCALHOST/x",
            "https://a.localhost./x",
            "https://127.1/x",
            "https://2130706433/x",
            "https://0x7f000001/x",
            "https://0x7f.0.0.0x1/x",
            "https://127.0.0.1./x",
        ] {
            assert!(check_endpoint(url, false).is_err(), "{url}");
            assert!(check_endpoint(url, true).is_ok(), "{url}");
        }
    }
}
