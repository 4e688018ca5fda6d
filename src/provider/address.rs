//! Which addresses a provider may have, and the resolver that keeps to it. Invariant: the address that is checked is
//! the one that is connected to. The client connects to what this resolver returns and resolves nothing again, so a
//! name whose address changes between check and connection gains nothing.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::sync::Arc;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use tokio::sync::Semaphore;

use crate::compute::off_thread;

/// Lookups at once. One that is no longer wanted still occupies its thread until the system answers.
const LOOKUPS_AT_ONCE: usize = 64;

/// Who can be reached at an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AddressClass {
    /// Anybody's host on the internet.
    Public,
    /// A host of the operator's own network, or this machine.
    Private,
    /// What configures machines and gives out their credentials, or no single host. No setting allows it.
    Never,
}

impl AddressClass {
    pub(super) fn of(address: IpAddr) -> AddressClass {
        match address {
            IpAddr::V4(v4) => of_v4(v4),
            IpAddr::V6(v6) => of_v6(v6),
        }
    }

    pub(super) fn is_allowed(self, private: bool) -> bool {
        match self {
            AddressClass::Public => true,
            AddressClass::Private => private,
            AddressClass::Never => false,
        }
    }
}

/// By the IANA registry of special-purpose addresses (RFC 6890), and what clouds use beside it.
fn of_v4(address: Ipv4Addr) -> AddressClass {
    match address.octets() {
        // Link-local, where clouds answer for their machines, and the two that do so elsewhere (Azure, Alibaba).
        [169, 254, ..] | [168, 63, 129, 16] | [100, 100, 100, 200] => AddressClass::Never,
        // Unspecified, protocol assignments, documentation, relays of 6to4, multicast, reserved and broadcast.
        [0 | 224..=255, ..] | [192, 0, 0 | 2, _] | [198, 51, 100, _] | [203, 0, 113, _] | [192, 88, 99, _] => {
            AddressClass::Never
        }
        [10 | 127, ..] | [172, 16..=31, ..] | [192, 168, ..] => AddressClass::Private,
        // Shared by the customers of one network (100.64.0.0/10), and benchmarks.
        [100, 64..=127, ..] | [198, 18 | 19, ..] => AddressClass::Private,
        _ => AddressClass::Public,
    }
}

fn of_v6(address: Ipv6Addr) -> AddressClass {
    let low = |high: u16, low: u16| of_v4(Ipv4Addr::from((u32::from(high) << 16) | u32::from(low)));
    match address.segments() {
        [0, 0, 0, 0, 0, 0, 0, 1] => AddressClass::Private,
        // IPv4 in IPv6: mapped, and translated by NAT64.
        [0, 0, 0, 0, 0, 0xffff, a, b] | [0x64, 0xff9b, 0, 0, 0, 0, a, b] => low(a, b),
        // 6to4 tunnels to the IPv4 address in it.
        [0x2002, a, b, ..] => low(a, b),
        // Where AWS answers for its machines.
        [0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254] => AddressClass::Never,
        [0xfc00..=0xfdff, ..] => AddressClass::Private,
        // Protocol assignments (Teredo among them), documentation.
        [0x2001, 0..=0x1ff, ..] | [0x2001, 0xdb8, ..] | [0x3fff, 0..=0xfff, ..] => AddressClass::Never,
        // All that is assigned to the internet; link-local, multicast and the rest lie outside.
        [0x2000..=0x3fff, ..] => AddressClass::Public,
        _ => AddressClass::Never,
    }
}

/// A name whose addresses are all refused. It does not say them: who may not connect need not learn them.
#[derive(Debug, thiserror::Error)]
#[error("the name stands for no address that is allowed")]
pub(super) struct RefusedAddress;

/// How a name is looked up: blocking.
pub(super) type NameLookup = Arc<dyn Fn(&str) -> io::Result<Vec<SocketAddr>> + Send + Sync>;

/// Looks up by the system's resolver.
pub(super) fn system_lookup() -> NameLookup {
    Arc::new(|name| Ok((name, 0).to_socket_addrs()?.collect()))
}

/// Resolves names to allowed addresses only.
pub(super) struct CheckedResolver {
    allow_private: bool,
    lookup: NameLookup,
    lookups: Arc<Semaphore>,
}

impl fmt::Debug for CheckedResolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CheckedResolver").field("allow_private", &self.allow_private).finish_non_exhaustive()
    }
}

impl CheckedResolver {
    pub(super) fn new(allow_private: bool, lookup: NameLookup) -> CheckedResolver {
        CheckedResolver { allow_private, lookup, lookups: Arc::new(Semaphore::new(LOOKUPS_AT_ONCE)) }
    }
}

impl Resolve for CheckedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let (allow_private, lookup, lookups) = (self.allow_private, self.lookup.clone(), self.lookups.clone());
        Box::pin(async move {
            let permit = lookups.acquire_owned().await?;
            let looking = off_thread(move || {
                let _permit = permit;
                lookup(name.as_str())
            });
            let found = looking.await??;
            let allowed = allowed(&found, allow_private);
            if allowed.is_empty() && !found.is_empty() {
                return Err(RefusedAddress.into());
            }
            let addresses: Addrs = Box::new(allowed.into_iter());
            Ok(addresses)
        })
    }
}

fn allowed(found: &[SocketAddr], private: bool) -> Vec<SocketAddr> {
    found.iter().filter(|address| AddressClass::of(address.ip()).is_allowed(private)).copied().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_classed_as_the_registries_say() {
        use AddressClass::{Never, Private, Public};
        for (text, expected) in [
            ("1.1.1.1", Public),
            ("172.15.255.255", Public),
            ("172.32.0.0", Public),
            ("100.63.255.255", Public),
            ("100.128.0.0", Public),
            ("198.20.0.0", Public),
            ("223.255.255.255", Public),
            ("10.0.0.1", Private),
            ("127.0.0.1", Private),
            ("127.255.255.254", Private),
            ("172.16.0.1", Private),
            ("172.31.255.255", Private),
            ("192.168.1.1", Private),
            ("100.64.0.1", Private),
            ("198.19.0.1", Private),
            ("0.0.0.0", Never),
            ("0.1.2.3", Never),
            ("169.254.169.254", Never),
            ("168.63.129.16", Never),
            ("100.100.100.200", Never),
            ("192.0.0.192", Never),
            ("203.0.113.7", Never),
            ("224.0.0.1", Never),
            ("255.255.255.255", Never),
            ("2606:4700:4700::1111", Public),
            ("::1", Private),
            ("fd12:3456::1", Private),
            ("::", Never),
            ("fe80::1", Never),
            ("fec0::1", Never),
            ("ff02::1", Never),
            ("fd00:ec2::254", Never),
            ("2001:db8::1", Never),
            ("2001::1", Never),
            ("100::1", Never),
            ("64:ff9b:1::a00:1", Never),
            ("::ffff:1.1.1.1", Public),
            ("::ffff:127.0.0.1", Private),
            ("::ffff:169.254.169.254", Never),
            ("::127.0.0.1", Never),
            ("64:ff9b::1.1.1.1", Public),
            ("64:ff9b::10.0.0.1", Private),
            ("2002:a00:1::", Private),
            ("2002:a9fe:a9fe::1", Never),
        ] {
            assert_eq!(AddressClass::of(text.parse().unwrap()), expected, "{text}");
        }
    }

    #[test]
    fn of_several_addresses_only_the_allowed_ones_are_left() {
        let found: Vec<SocketAddr> =
            ["1.1.1.1:0", "10.0.0.1:0", "169.254.169.254:0"].map(|text| text.parse().unwrap()).to_vec();
        assert_eq!(allowed(&found, false), found[..1]);
        assert_eq!(allowed(&found, true), found[..2]);
    }

    #[tokio::test]
    async fn a_name_that_turns_private_after_its_first_lookup_is_refused_then() {
        let asked = std::sync::atomic::AtomicUsize::new(0);
        let lookup: NameLookup = Arc::new(move |_| {
            let first = asked.fetch_add(1, std::sync::atomic::Ordering::SeqCst) == 0;
            Ok(vec![if first { "1.1.1.1:0" } else { "127.0.0.1:0" }.parse().unwrap()])
        });
        let resolver = CheckedResolver::new(false, lookup);
        let first: Vec<SocketAddr> = resolver.resolve("turning.example".parse().unwrap()).await.unwrap().collect();
        assert_eq!(first, ["1.1.1.1:0".parse().unwrap()]);
        let then = resolver.resolve("turning.example".parse().unwrap()).await.map(Vec::from_iter);
        assert!(then.unwrap_err().is::<RefusedAddress>());
    }
}
