//! Ports that nobody else gets.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};

use rustix::net::sockopt;
use tokio::net::TcpSocket;

/// A port of 127.0.0.1 that is ours until this value drops, whether or not a server listens on it.
///
/// Asking the kernel for a free port and closing the socket is a race: another test, or any outgoing connection, may
/// take the port before the server binds it, or while a killed server waits to be started again. This keeps the socket
/// bound without listening. It sets `SO_REUSEADDR` only after the bind: others who look for a port get "in use", while
/// a server that sets the option before its own bind, as all servers here do, is let in.
#[derive(Debug)]
pub(crate) struct Port {
    number: u16,
    _bound: TcpSocket,
}

impl Port {
    pub(crate) fn reserve() -> io::Result<Self> {
        let socket = TcpSocket::new_v4()?;
        sockopt::set_socket_reuseaddr(&socket, false)?;
        socket.bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
        sockopt::set_socket_reuseaddr(&socket, true)?;
        Ok(Self { number: socket.local_addr()?.port(), _bound: socket })
    }

    pub(crate) const fn number(&self) -> u16 {
        self.number
    }

    pub(crate) fn text(&self) -> String {
        self.number.to_string()
    }

    pub(crate) fn address(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.number))
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn a_reserved_port_is_refused_to_others_and_open_to_its_server() {
        let port = Port::reserve().unwrap();
        let prober = TcpSocket::new_v4().unwrap();
        assert_eq!(prober.bind(port.address()).unwrap_err().kind(), io::ErrorKind::AddrInUse);

        // The standard library's listener sets SO_REUSEADDR, as servers do; it may come and go.
        for _ in 0..2 {
            let listener = TcpListener::bind(port.address()).unwrap();
            let client = std::net::TcpStream::connect(port.address()).unwrap();
            let accepted = listener.accept().unwrap();
            assert_eq!(accepted.1, client.local_addr().unwrap());
        }
        assert_eq!(prober.bind(port.address()).unwrap_err().kind(), io::ErrorKind::AddrInUse);
    }
}
