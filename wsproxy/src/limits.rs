//! How many WebSockets there may be at a time.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};

use crate::handler::{Denial, Peer};

/// Bounds on the number of WebSockets; by default there are none.
#[derive(Clone, Debug, Default)]
pub struct Limits(Option<Arc<Bounds>>);

#[derive(Debug)]
struct Bounds {
    total: Option<usize>,
    per_client: Option<usize>,
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    total: usize,
    by_client: HashMap<IpAddr, usize>,
}

/// The right to one WebSocket, until this is dropped.
#[derive(Debug, Default)]
pub struct Place(Option<(Arc<Bounds>, Option<IpAddr>)>);

impl Limits {
    /// At most `total` WebSockets, and at most `per_client` of one client.
    pub fn new(total: Option<usize>, per_client: Option<usize>) -> Self {
        let bounded = total.is_some() || per_client.is_some();
        Limits(bounded.then(|| Arc::new(Bounds { total, per_client, taken: Mutex::default() })))
    }

    /// Takes a place for a client.
    ///
    /// # Errors
    /// 503 when there are as many as there may be at all, 429 when the client has as many as it may have.
    pub fn enter(&self, peer: Peer) -> Result<Place, Denial> {
        let Some(bounds) = &self.0 else { return Ok(Place::default()) };
        let client = bounds.per_client.and(client(peer));
        let mut taken = bounds.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if bounds.total.is_some_and(|total| taken.total >= total) {
            return Err(Denial::new("503 Service Unavailable", "Too many connections").counted_as("limit"));
        }
        if let (Some(most), Some(client)) = (bounds.per_client, client) {
            let count = taken.by_client.entry(client).or_default();
            if *count >= most {
                let denial = Denial::new("429 Too Many Requests", "Too many connections from your address");
                return Err(denial.counted_as("limit"));
            }
            *count += 1;
        }
        taken.total += 1;
        drop(taken);
        Ok(Place(Some((Arc::clone(bounds), client))))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let Some((bounds, client)) = self.0.take() else { return };
        let mut taken = bounds.taken.lock().unwrap_or_else(PoisonError::into_inner);
        taken.total -= 1;
        if let Some(client) = client
            && let Some(count) = taken.by_client.get_mut(&client)
        {
            *count -= 1;
            if *count == 0 {
                taken.by_client.remove(&client);
            }
        }
    }
}

/// What stands for a client: its IPv4 address, or the /64 network that a subscriber of IPv6 has for itself (RFC 6177).
/// Clients of a Unix socket cannot be told apart.
pub(crate) fn client(peer: Peer) -> Option<IpAddr> {
    match peer {
        Peer::Inet(addr) => Some(match addr.ip().to_canonical() {
            IpAddr::V6(ip) => IpAddr::V6(Ipv6Addr::from_bits(ip.to_bits() & !u128::from(u64::MAX))),
            ip => ip,
        }),
        Peer::Unix => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(ip: &str) -> Peer {
        Peer::Inet((ip.parse::<IpAddr>().unwrap(), 1).into())
    }

    #[test]
    fn a_place_is_given_back() {
        let limits = Limits::new(Some(2), None);
        let first = limits.enter(peer("192.0.2.1")).unwrap();
        let _second = limits.enter(Peer::Unix).unwrap();
        assert!(limits.enter(peer("192.0.2.2")).unwrap_err().status.starts_with("503"));
        drop(first);
        limits.enter(peer("192.0.2.2")).unwrap();
    }

    #[test]
    fn a_client_is_an_address_or_a_network() {
        let limits = Limits::new(None, Some(1));
        let held: Vec<_> = ["192.0.2.1", "192.0.2.2", "2001:db8::1", "2001:db8:0:1::1"]
            .map(|ip| limits.enter(peer(ip)).unwrap())
            .into();
        for ip in ["192.0.2.1", "::ffff:192.0.2.2", "2001:db8::2"] {
            assert!(limits.enter(peer(ip)).unwrap_err().status.starts_with("429"), "{ip}");
        }
        drop(held);
        limits.enter(peer("192.0.2.1")).unwrap();
        let Some(bounds) = &limits.0 else { panic!("bounded") };
        assert!(bounds.taken.lock().unwrap().by_client.is_empty());
    }
}
