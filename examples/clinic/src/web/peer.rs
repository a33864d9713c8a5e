use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Once;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{Extensions, HeaderMap};
use statehouse::PeerAddress;

use super::site;

const FORWARDED: &str = "x-forwarded-for";

/// Whose address a request comes from: the other end of the connection, or behind a load balancer that is trusted
/// (`CLINIC_FORWARDED`) what that says it is.
pub(crate) struct Peer(pub(crate) IpAddr);

impl<S: Send + Sync> FromRequestParts<S> for Peer {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Self::Rejection> {
        let connected = connected(&parts.extensions).unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
        let said = site().forwarded.then(|| last_forwarded(&parts.headers)).flatten();
        // A program on this machine needs no load balancer.
        if site().forwarded && said.is_none() && !is_this_machine(parts) {
            unsaid();
        }
        Ok(Self(said.unwrap_or(connected).to_canonical()))
    }
}

/// Then all who come through it are one to the limits of log-ins.
fn unsaid() {
    static TOLD: Once = Once::new();
    TOLD.call_once(|| {
        tracing::warn!("CLINIC_FORWARDED is true, and a request came without an X-Forwarded-For that names an address");
    });
}

/// Whether a program on this machine asks, and nobody through it.
pub(crate) fn is_this_machine(parts: &Parts) -> bool {
    let through = ["x-forwarded-for", "forwarded", "via", "x-real-ip"];
    connected(&parts.extensions).is_some_and(|ip| ip.to_canonical().is_loopback())
        && !through.iter().any(|name| parts.headers.contains_key(*name))
}

fn connected(extensions: &Extensions) -> Option<IpAddr> {
    extensions.get::<PeerAddress>().map(|PeerAddress(address)| address.ip())
}

/// The last one is what the load balancer itself saw; those before it are what it was told.
fn last_forwarded(headers: &HeaderMap) -> Option<IpAddr> {
    let last = headers.get_all(FORWARDED).iter().next_back()?.to_str().ok()?.rsplit(',').next()?.trim();
    // Some write the port, too.
    last.parse().ok().or_else(|| last.parse::<SocketAddr>().ok().map(|address| address.ip()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_load_balancer_saw_itself_is_believed() {
        let headers = |text: &str| HeaderMap::from_iter([(FORWARDED.parse().unwrap(), text.parse().unwrap())]);
        assert_eq!(last_forwarded(&headers("1.1.1.1, 10.0.0.7")), "10.0.0.7".parse().ok());
        assert_eq!(last_forwarded(&headers("2001:db8::1")), "2001:db8::1".parse().ok());
        assert_eq!(last_forwarded(&headers("1.1.1.1, 10.0.0.7:5678")), "10.0.0.7".parse().ok());
        assert_eq!(last_forwarded(&headers("[2001:db8::1]:443")), "2001:db8::1".parse().ok());
        assert_eq!(last_forwarded(&headers("unknown")), None);
        assert_eq!(last_forwarded(&HeaderMap::new()), None);
    }
}
