//! Why a server cannot be opened, where the error alone does not tell: the wrong side of TLS looks like silence, garbage
//! or a closed connection.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::config::{Address, RedisConfig, Servers};

/// How long a server is asked for. It adds to the deadline of opening, if that failed.
const LIMIT: Duration = Duration::from_millis(500);

/// The shortest hello of TLS: it offers one cipher suite and no extension. No server agrees to it, and each that speaks
/// TLS says so in TLS. A Redis that does not waits for the end of the line.
const HELLO: &[u8] = &{
    let mut hello = [0; 52];
    let head = [0x16, 3, 1, 0, 47, 1, 0, 0, 43, 3, 3];
    let mut at = 0;
    while at < head.len() {
        hello[at] = head[at];
        at += 1;
    }
    // 32 random bytes (zeros do), no session, one suite, no compression; then an empty list of extensions.
    let tail = [0, 0, 2, 0x13, 0x01, 1, 0, 0, 0];
    at = 0;
    while at < tail.len() {
        hello[43 + at] = tail[at];
        at += 1;
    }
    hello
};

/// What is wrong with the choice between `redis:` and `rediss:`, if one of the configured servers shows that it is.
pub(crate) async fn wrong_side_of_tls(config: &RedisConfig) -> Option<String> {
    let addresses = match &config.servers {
        Servers::Single(address) => std::slice::from_ref(address),
        Servers::Sentinel { sentinels, .. } => sentinels,
        Servers::Cluster(nodes) => nodes,
        Servers::Brought(_) => return None,
    };
    let secure = config.is_secure();
    let work = async {
        for address in addresses {
            let question = if secure { b"PING\r\n" } else { HELLO };
            let answer = first_bytes(address, question).await;
            match (secure, answer) {
                (true, Some([b'+' | b'-', _])) => {
                    return Some(format!(
                        "Redis at {address} does not speak TLS on this port and the configuration asks for it: use \
                         redis: in place of rediss:, or the port with TLS"
                    ));
                }
                (false, Some([0x15 | 0x16, 3])) => {
                    return Some(format!(
                        "Redis at {address} speaks TLS on this port and the configuration does not ask for it: use \
                         rediss: in place of redis:, or the port without TLS"
                    ));
                }
                _ => {}
            }
        }
        None
    };
    timeout(LIMIT, work).await.ok().flatten()
}

async fn first_bytes(address: &Address, question: &[u8]) -> Option<[u8; 2]> {
    let mut stream = TcpStream::connect((address.host.as_str(), address.port)).await.ok()?;
    stream.write_all(question).await.ok()?;
    let mut answer = [0; 2];
    stream.read_exact(&mut answer).await.ok()?;
    Some(answer)
}
