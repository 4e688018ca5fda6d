//! The origin of a request: the other end of its connection or, behind a trusted proxy, the client that the proxy
//! names. Invariant: without that trust no header changes anything.

use std::net::{IpAddr, SocketAddr};

use axum::extract::Request;
use axum::http::HeaderMap;

const FORWARDED_FOR: &str = "x-forwarded-for";
const FORWARDED_PROTO: &str = "x-forwarded-proto";
const FORWARDED_PREFIX: &str = "x-forwarded-prefix";

/// The other end of the connection; `listen` puts it into every request.
#[derive(Debug, Clone, Copy)]
pub(super) struct Peer(pub(super) SocketAddr);

/// The sender of a request, as far as the network shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Client {
    pub(super) address: Option<IpAddr>,
    /// `http` or `https`, as the client used it.
    pub(super) scheme: &'static str,
}

impl Client {
    pub(super) fn of(request: &Request, trust_proxy: bool) -> Client {
        let peer = request.extensions().get::<Peer>().map(|peer| peer.0.ip());
        match trust_proxy {
            true => Client::forwarded(request.headers(), peer),
            false => Client { address: peer, scheme: "http" },
        }
    }

    /// The last address counts: the proxy next to this server wrote it, and the client may have invented those before
    /// it.
    fn forwarded(headers: &HeaderMap, peer: Option<IpAddr>) -> Client {
        let https = last(headers, FORWARDED_PROTO).is_some_and(|scheme| scheme.eq_ignore_ascii_case("https"));
        let address = last(headers, FORWARDED_FOR).and_then(address).or(peer);
        Client { address, scheme: if https { "https" } else { "http" } }
    }
}

/// The last of the values that the lines of a header list.
fn last<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    let value = headers.get_all(name).iter().next_back()?.to_str().ok()?;
    value.rsplit(',').next().map(str::trim)
}

/// The prefix that a trusted proxy has cut off the path, to be put before links: `/vec`, or an empty string. A value
/// that could not stand as a path in a URL counts as empty.
pub(super) fn prefix(headers: &HeaderMap, trust_proxy: bool) -> &str {
    let said = last(headers, FORWARDED_PREFIX).filter(|_| trust_proxy).unwrap_or_default().trim_end_matches('/');
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"/._~-".contains(&b);
    let path = said.starts_with('/') && said.bytes().all(plain) && !said.contains("//");
    if path && !said.split('/').any(|part| matches!(part, "." | "..")) { said } else { "" }
}

/// An address, with or without a port.
fn address(text: &str) -> Option<IpAddr> {
    let bare = text.parse().ok();
    let with_port = || text.parse().ok().map(|address: SocketAddr| address.ip());
    let in_brackets = || text.strip_prefix('[')?.strip_suffix(']')?.parse().ok();
    bare.or_else(with_port).or_else(in_brackets)
}

#[cfg(test)]
mod tests {
    use axum::body::Body;

    use super::*;

    fn client(headers: &[(&str, &str)], trust_proxy: bool) -> (String, &'static str) {
        let request = headers.iter().fold(Request::builder(), |request, (name, value)| request.header(*name, *value));
        let mut request = request.body(Body::empty()).unwrap();
        request.extensions_mut().insert(Peer("192.0.2.1:5000".parse().unwrap()));
        let Client { address, scheme } = Client::of(&request, trust_proxy);
        (address.unwrap().to_string(), scheme)
    }

    #[test]
    fn forwarded_headers_count_only_if_the_proxy_is_trusted() {
        let headers = [("x-forwarded-for", "203.0.113.9"), ("x-forwarded-proto", "https")];
        assert_eq!(client(&headers, false), ("192.0.2.1".to_owned(), "http"));
        assert_eq!(client(&headers, true), ("203.0.113.9".to_owned(), "https"));
        assert_eq!(client(&[], true), ("192.0.2.1".to_owned(), "http"));
    }

    #[test]
    fn a_prefix_is_a_path_and_counts_only_if_the_proxy_is_trusted() {
        let of = |value: &str, trust: bool| {
            let headers = HeaderMap::from_iter([(FORWARDED_PREFIX.parse().unwrap(), value.parse().unwrap())]);
            prefix(&headers, trust).to_owned()
        };
        for (value, expected) in [
            ("/vec", "/vec"),
            ("/a/b-c_d/", "/a/b-c_d"),
            ("/inner, /outer", "/outer"),
            ("vec", ""),
            ("/", ""),
            ("//evil.example", ""),
            ("/a/../b", ""),
            ("/a\"onload=", ""),
            ("/a b", ""),
        ] {
            assert_eq!(of(value, true), expected, "{value}");
            assert_eq!(of(value, false), "", "{value}");
        }
        assert_eq!(prefix(&HeaderMap::new(), true), "");
    }

    #[test]
    fn the_address_that_the_nearest_proxy_wrote_counts() {
        let cases: [(&[&str], &str); 6] = [
            (&["10.0.0.1, 203.0.113.9"], "203.0.113.9"),
            (&["10.0.0.1", "198.51.100.7"], "198.51.100.7"),
            (&["203.0.113.9:1234"], "203.0.113.9"),
            (&["[2001:db8::1]:443"], "2001:db8::1"),
            (&["[2001:db8::1]"], "2001:db8::1"),
            (&["somebody"], "192.0.2.1"),
        ];
        for (values, expected) in cases {
            let headers: Vec<(&str, &str)> = values.iter().map(|value| ("x-forwarded-for", *value)).collect();
            assert_eq!(client(&headers, true).0, expected, "{values:?}");
        }
    }
}
