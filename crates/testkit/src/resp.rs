//! Just enough of Redis' protocol to look at a server from outside.

use std::io;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

/// What Redis answered.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reply {
    /// A status such as `OK`, or a bulk string.
    Text(String),
    /// An error reply, with its code: `WRONGTYPE Operation against …`.
    Error(String),
    /// A number.
    Integer(i64),
    /// Several replies.
    Array(Vec<Self>),
    /// No value.
    Nil,
}

impl Reply {
    /// The text of a status or bulk string.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The number of an integer reply.
    #[must_use]
    pub const fn integer(&self) -> Option<i64> {
        match self {
            Self::Integer(number) => Some(*number),
            _ => None,
        }
    }
}

/// One connection to Redis.
#[derive(Debug)]
pub(crate) struct Connection(BufReader<TcpStream>);

impl Connection {
    pub(crate) async fn open(address: &str) -> io::Result<Self> {
        Ok(Self(BufReader::new(TcpStream::connect(address).await?)))
    }

    pub(crate) async fn command<A: AsRef<[u8]>>(&mut self, args: &[A]) -> io::Result<Reply> {
        let mut request = format!("*{}\r\n", args.len()).into_bytes();
        for arg in args {
            let arg = arg.as_ref();
            request.extend_from_slice(format!("${}\r\n", arg.len()).as_bytes());
            request.extend_from_slice(arg);
            request.extend_from_slice(b"\r\n");
        }
        self.0.write_all(&request).await?;
        self.reply().await
    }

    async fn reply(&mut self) -> io::Result<Reply> {
        let mut line = String::new();
        self.0.read_line(&mut line).await?;
        let line = line.strip_suffix("\r\n").ok_or(io::ErrorKind::UnexpectedEof)?;
        let invalid = || io::Error::new(io::ErrorKind::InvalidData, format!("not a reply of Redis: {line:?}"));
        let (kind, rest) = line.split_at_checked(1).ok_or_else(invalid)?;
        if kind == "+" || kind == "-" {
            return Ok(if kind == "+" { Reply::Text(rest.to_owned()) } else { Reply::Error(rest.to_owned()) });
        }
        let number: i64 = rest.parse().map_err(|_| invalid())?;
        match (kind, usize::try_from(number)) {
            (":", _) => Ok(Reply::Integer(number)),
            ("$" | "*", Err(_)) => Ok(Reply::Nil),
            ("$", Ok(length)) => self.bulk(length).await,
            ("*", Ok(length)) => {
                let mut replies = Vec::with_capacity(length);
                for _ in 0..length {
                    replies.push(Box::pin(self.reply()).await?);
                }
                Ok(Reply::Array(replies))
            }
            _ => Err(invalid()),
        }
    }

    async fn bulk(&mut self, length: usize) -> io::Result<Reply> {
        let mut bytes = vec![0; length + 2];
        self.0.read_exact(&mut bytes).await?;
        bytes.truncate(length);
        Ok(Reply::Text(String::from_utf8_lossy(&bytes).into_owned()))
    }
}
