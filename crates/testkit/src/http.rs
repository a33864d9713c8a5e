//! Just enough of HTTP/1.1 to look at a server from outside.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// What an HTTP server answered.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// The headers, names in lowercase.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl Response {
    /// The body as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The value of the header called `name` (lowercase).
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str())
    }
}

/// How long an answer may take. A server that is stopped would keep whoever asks for ever.
const ANSWERED_WITHIN: Duration = Duration::from_secs(120);

/// One request on a connection of its own. `target` is the encoded path with its query; `headers` include no `Host`.
pub(crate) async fn request(
    address: &str,
    method: &str,
    target: &str,
    headers: &[(String, String)],
    body: &[u8],
) -> io::Result<Response> {
    let asked = ask(address, method, target, headers, body);
    tokio::time::timeout(ANSWERED_WITHIN, asked).await.unwrap_or_else(|_| {
        let text = format!("{method} {target} of {address} has no answer after {ANSWERED_WITHIN:?}");
        Err(io::Error::new(io::ErrorKind::TimedOut, text))
    })
}

async fn ask(
    address: &str,
    method: &str,
    target: &str,
    headers: &[(String, String)],
    body: &[u8],
) -> io::Result<Response> {
    let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let head = format!(
        "{method} {target} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n{headers}content-length: {}\r\n\r\n",
        body.len()
    );
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(body).await?;
    let mut answer = Vec::new();
    // Not every server closes the connection when asked to.
    while !is_complete(&answer) && stream.read_buf(&mut answer).await? > 0 {}
    parse(&answer).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "not a complete HTTP answer"))
}

/// Whether the answer has all the bytes that it announced. One that announced none ends with the connection.
fn is_complete(answer: &[u8]) -> bool {
    parse(answer).is_some_and(|response| {
        let length = response.header("content-length").and_then(|length| length.parse().ok());
        length.is_some_and(|length: usize| response.body.len() >= length)
    })
}

fn parse(answer: &[u8]) -> Option<Response> {
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n")?;
    let head = std::str::from_utf8(&answer[..end]).ok()?;
    let mut lines = head.split("\r\n");
    let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
    let header =
        |line: &str| line.split_once(':').map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()));
    let headers: Vec<_> = lines.filter_map(header).collect();
    let mut response = Response { status, headers, body: answer[end + 4..].to_vec() };
    if response.header("transfer-encoding") == Some("chunked") {
        response.body = unchunked(&response.body)?;
    }
    Some(response)
}

fn unchunked(mut rest: &[u8]) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let end = rest.windows(2).position(|window| window == b"\r\n")?;
        let line = std::str::from_utf8(&rest[..end]).ok()?;
        let length = usize::from_str_radix(line.split(';').next()?.trim(), 16).ok()?;
        if length == 0 {
            return Some(body);
        }
        body.extend_from_slice(rest.get(end + 2..end + 2 + length)?);
        rest = rest.get(end + 4 + length..)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunked_answers_are_joined_and_cut_ones_refused() {
        let answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x\r\nde\r\n0\r\n\r\n";
        assert_eq!(parse(answer).unwrap().text(), "abcde");
        assert_eq!(parse(&answer[..answer.len() - 12]), None);
        assert!(is_complete(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nab"));
        assert!(!is_complete(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nab"));
        assert!(!is_complete(b"HTTP/1.1 200 OK\r\n\r\nab") && !is_complete(b"HTTP/1.1"));
        assert_eq!(parse(b"HTTP/1.1 204 No Content\r\nX: y\r\n\r\n").unwrap().header("x"), Some("y"));
    }
}
