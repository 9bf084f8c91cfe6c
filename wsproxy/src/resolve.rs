//! Names of hosts, by the system's resolver.
//!
//! getaddrinfo(3) waits for as long as its name servers let it, and cannot be called off. So it runs beside the connections, on
//! threads that the runtime lends, and few look-ups at a time may: with a name server that hangs, files that are read on such threads
//! as well would otherwise wait behind it.

use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs as _};

use tokio::sync::Semaphore;

/// How many look-ups there may be at a time in this process: well below the 512 threads that a runtime lends.
const AT_A_TIME: usize = 32;

static PLACES: Semaphore = Semaphore::const_new(AT_A_TIME);

/// The addresses of a port of a host. An address stands for itself, and waits for nobody. Who stops waiting for a name leaves the
/// look-up's place taken until the resolver comes back.
///
/// # Errors
/// Those of the resolver.
pub(crate) async fn resolve(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    if let Ok(address) = host.parse::<IpAddr>() {
        return Ok(vec![(address, port).into()]);
    }
    let place = PLACES.acquire().await.map_err(io::Error::other)?;
    let host = host.to_owned();
    let found = tokio::task::spawn_blocking(move || {
        let _place = place;
        (host.as_str(), port).to_socket_addrs().map(Iterator::collect)
    });
    found.await.map_err(io::Error::other)?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_address_waits_for_nobody() {
        let taken = PLACES.acquire_many(u32::try_from(AT_A_TIME).unwrap()).await.unwrap();
        for (host, addr) in [("127.0.0.1", "127.0.0.1:1"), ("::1", "[::1]:1")] {
            assert_eq!(resolve(host, 1).await.unwrap(), [addr.parse().unwrap()]);
        }
        assert!(tokio::time::timeout(std::time::Duration::from_millis(50), resolve("localhost", 1)).await.is_err());
        drop(taken);
        assert!(resolve("localhost", 1).await.unwrap().iter().all(|addr| addr.ip().is_loopback()));
    }
}
