//! Taking an address.

use tokio::net::{TcpSocket, lookup_host};

/// The address, before anybody can connect to it.
pub(crate) async fn take(listen: &str) -> std::io::Result<TcpSocket> {
    let address = lookup_host(listen).await?.next().ok_or(std::io::ErrorKind::AddrNotAvailable)?;
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // The connections of a clinic that has just ended keep nobody from the address.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    Ok(socket)
}
