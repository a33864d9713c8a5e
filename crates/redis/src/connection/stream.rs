//! A stream to a server that looks at the answers on their way: none may be without end.
//!
//! redis-rs believes the lengths that it reads and keeps what it has until an answer is whole. So a line without an end,
//! or a list of a billion empty lists, takes all memory before any deadline passes.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use futures_util::future::select_ok;
use redis::aio::MultiplexedConnection;
use redis::io::tcp::socket2::{SockRef, TcpKeepalive};
use redis::{AsyncConnectionConfig, ConnectionInfo, RedisResult};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, lookup_host};
use tokio::task::AbortHandle;

use crate::clock::Clock;
use crate::connection::flow::{Flow, LARGE};
use crate::counters::Traffic;
use crate::failure::TOO_LARGE;

/// The longest line: a status, a number or an error.
const LONGEST_LINE: u64 = 64 << 10;

/// What an element of a list takes in memory besides its bytes.
const ELEMENT: u64 = 64;

/// How deep lists may be nested; redis-rs refuses as much.
const DEEPEST: usize = 100;

/// A connection of which each answer is bounded. Its driver ends with the last clone.
#[derive(Clone)]
pub(crate) struct Bounded {
    pub(crate) connection: MultiplexedConnection,
    end: Arc<End>,
}

/// What all clones share.
#[derive(Default)]
struct End {
    /// None where redis-rs, or a pool, has the driver.
    driver: Option<AbortHandle>,
    clock: Clock,
    /// What the server calls the connection; zero if it has not said so.
    client: AtomicU64,
    /// None where only redis-rs sees the bytes.
    flow: Option<Arc<Flow>>,
}

impl Bounded {
    /// What is known of the clock at the other end.
    pub(crate) fn clock(&self) -> &Clock {
        &self.end.clock
    }

    /// What the server calls it, once it has said so.
    pub(crate) fn client(&self) -> Option<u64> {
        Some(self.end.client.load(Ordering::Relaxed)).filter(|client| *client != 0)
    }

    /// Notes what the server calls it.
    pub(crate) fn note_client(&self, client: u64) {
        self.end.client.store(client, Ordering::Relaxed);
    }

    /// What passes over it; with TLS and of a pool that is not seen.
    pub(crate) fn flow(&self) -> Option<&Flow> {
        self.end.flow.as_deref()
    }

    /// How much of a large value is still to come.
    pub(crate) fn coming(&self) -> usize {
        self.flow().map_or(0, Flow::coming)
    }
}

impl Drop for End {
    fn drop(&mut self) {
        if let Some(driver) = &self.driver {
            driver.abort();
        }
    }
}

impl From<MultiplexedConnection> for Bounded {
    fn from(connection: MultiplexedConnection) -> Self {
        Self { connection, end: Arc::default() }
    }
}

/// Connects to `host:port` without TLS and logs in.
pub(crate) async fn connect(
    (host, port): (&str, u16),
    info: &ConnectionInfo,
    settings: AsyncConnectionConfig,
    keep_alive: &TcpKeepalive,
    limit: u64,
    (traffic, bulk): (Traffic, bool),
) -> RedisResult<Bounded> {
    let attempts: Vec<_> =
        lookup_host((host, port)).await?.map(|address| Box::pin(TcpStream::connect(address))).collect();
    if attempts.is_empty() {
        return Err(io::Error::new(io::ErrorKind::NotFound, "failed to lookup address: the name has none").into());
    }
    let (stream, _slower) = select_ok(attempts).await?;
    stream.set_nodelay(true)?;
    SockRef::from(&stream).set_tcp_keepalive(keep_alive)?;
    let flow = Arc::<Flow>::default();
    let stream = Watched { stream, answers: Answers::new(limit), flow: Arc::clone(&flow), traffic, bulk };
    let (connection, driver) = MultiplexedConnection::new_with_config(info.redis_settings(), stream, settings).await?;
    let driver = Some(tokio::spawn(driver).abort_handle());
    let (clock, client) = (Clock::default(), AtomicU64::default());
    Ok(Bounded { connection, end: Arc::new(End { driver, clock, client, flow: Some(flow) }) })
}

struct Watched {
    stream: TcpStream,
    answers: Answers,
    flow: Arc<Flow>,
    traffic: Traffic,
    /// Whether it carries what is large: then bytes that leave show that the server takes them.
    bulk: bool,
}

impl Watched {
    fn note_written(&self, written: &Poll<io::Result<usize>>) {
        let Poll::Ready(Ok(bytes)) = written else { return };
        self.traffic.sent.add(*bytes as u64);
        if self.bulk {
            self.flow.pass(*bytes);
        }
    }
}

impl AsyncRead for Watched {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buffer);
        if let Poll::Ready(Ok(())) = &read {
            let came = &buffer.filled()[before..];
            if let Err(too_large) = self.answers.feed(came) {
                return Poll::Ready(Err(too_large));
            }
            self.flow.pass(came.len());
            self.traffic.received.add(came.len() as u64);
            self.flow.expect(self.answers.coming());
        }
        read
    }
}

impl AsyncWrite for Watched {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.note_written(&written);
        written
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.note_written(&written);
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// Follows the answers of a server, however they are cut into reads, and measures each: its bytes, and what its elements
/// take besides.
struct Answers {
    limit: u64,
    /// What the answer under way has taken, with what it has announced.
    taken: u64,
    /// How many elements each list that is not finished still has to come.
    lists: Vec<u64>,
    part: Part,
}

#[derive(Clone, Copy)]
enum Part {
    /// The first byte of an element.
    Kind,
    /// A line of this kind, of which so many bytes have come. Its number, as far as it has been read.
    Line { kind: u8, length: u64, number: Number },
    /// So many bytes of a value are left, with its line end.
    Value { left: u64, whole: u64 },
    /// No answer of Redis: redis-rs says so.
    Foreign,
}

/// The number on a line; what is none, redis-rs refuses.
#[derive(Clone, Copy, Default)]
struct Number {
    negative: bool,
    value: u64,
}

impl Number {
    const fn push(&mut self, byte: u8) {
        match byte {
            b'-' => self.negative = true,
            b'0'..=b'9' => self.value = self.value.saturating_mul(10).saturating_add((byte - b'0') as u64),
            _ => {}
        }
    }

    const fn get(self) -> u64 {
        if self.negative { 0 } else { self.value }
    }
}

impl Answers {
    const fn new(limit: u64) -> Self {
        Self { limit, taken: 0, lists: Vec::new(), part: Part::Kind }
    }

    /// How much of a large value is still to come.
    const fn coming(&self) -> u64 {
        match self.part {
            Part::Value { left, whole } if whole >= LARGE as u64 => left,
            _ => 0,
        }
    }

    fn feed(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while let Some((first, rest)) = bytes.split_first() {
            match self.part {
                Part::Kind => {
                    self.take(ELEMENT)?;
                    self.part = match first {
                        b'+' | b'-' | b':' | b'_' | b',' | b'#' | b'(' | b'$' | b'=' | b'!' | b'*' | b'~' | b'>'
                        | b'%' | b'|' => Part::Line { kind: *first, length: 0, number: Number::default() },
                        _ => Part::Foreign,
                    };
                    bytes = rest;
                }
                Part::Line { kind, length, number } => bytes = self.line(kind, length, number, bytes)?,
                Part::Value { left, whole } => {
                    let here = left.min(bytes.len() as u64);
                    bytes = &bytes[usize::try_from(here).unwrap_or(bytes.len())..];
                    self.part = Part::Value { left: left - here, whole };
                    if left == here {
                        self.finish_element();
                    }
                }
                Part::Foreign => {
                    self.take(bytes.len() as u64)?;
                    bytes = &[];
                }
            }
        }
        Ok(())
    }

    /// Goes on with a line, and answers with what follows it.
    fn line<'a>(&mut self, kind: u8, length: u64, mut number: Number, bytes: &'a [u8]) -> io::Result<&'a [u8]> {
        let end = bytes.iter().position(|byte| *byte == b'\n');
        let (line, rest) = bytes.split_at(end.map_or(bytes.len(), |end| end + 1));
        let length = length + line.len() as u64;
        if length > LONGEST_LINE {
            return Err(self.too_large());
        }
        self.take(line.len() as u64)?;
        if !matches!(kind, b'+' | b'-') {
            line.iter().for_each(|byte| number.push(*byte));
        }
        if end.is_none() {
            self.part = Part::Line { kind, length, number };
            return Ok(rest);
        }
        let count = number.get();
        match kind {
            // With a negative length there is no value, and so no line end after it.
            b'$' | b'=' | b'!' if !number.negative => {
                self.take(count)?;
                self.part = Part::Value { left: count.saturating_add(2), whole: count };
            }
            b'*' | b'~' | b'>' => self.open_list(count)?,
            b'%' => self.open_list(count.saturating_mul(2))?,
            b'|' => self.open_list(count.saturating_mul(2).saturating_add(1))?,
            _ => self.finish_element(),
        }
        Ok(rest)
    }

    fn open_list(&mut self, count: u64) -> io::Result<()> {
        if count == 0 {
            self.finish_element();
            return Ok(());
        }
        // Announced is not come yet: it is only compared.
        let announced = count.saturating_mul(ELEMENT);
        if self.taken.saturating_add(announced) > self.limit || self.lists.len() >= DEEPEST {
            return Err(self.too_large());
        }
        self.lists.push(count);
        self.part = Part::Kind;
        Ok(())
    }

    /// One element has come, and with it perhaps the list that it is in, and the whole answer.
    fn finish_element(&mut self) {
        self.part = Part::Kind;
        while let Some(left) = self.lists.last_mut() {
            *left -= 1;
            if *left > 0 {
                return;
            }
            self.lists.pop();
        }
        self.taken = 0;
    }

    fn take(&mut self, bytes: u64) -> io::Result<()> {
        self.taken = self.taken.saturating_add(bytes);
        if self.taken > self.limit { Err(self.too_large()) } else { Ok(()) }
    }

    fn too_large(&self) -> io::Error {
        io::Error::new(io::ErrorKind::FileTooLarge, format!("{TOO_LARGE} {} bytes, or a line of 64 KiB", self.limit))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Where in `bytes` it is refused when they come in pieces of this size, if it is.
    fn refused_at(limit: u64, bytes: &[u8], piece: usize) -> Option<usize> {
        let mut answers = Answers::new(limit);
        bytes.chunks(piece).position(|piece| answers.feed(piece).is_err()).map(|at| at * piece)
    }

    #[test]
    fn good_answers_pass_however_they_are_cut() {
        let answers = [
            "+OK\r\n",
            "$5\r\nhello\r\n",
            "$-1\r\n",
            "*-1\r\n",
            "*0\r\n",
            "*2\r\n*2\r\n:1\r\n$2\r\n\r\n\r\n%1\r\n+k\r\n*0\r\n",
            "_\r\n",
            ",1.5\r\n",
            "#t\r\n",
            "(123\r\n",
            "=7\r\ntxt:abc\r\n",
            "!9\r\nERR wrong\r\n",
            "|1\r\n+ttl\r\n:3\r\n$1\r\nv\r\n",
            ">3\r\n+message\r\n$1\r\nc\r\n$1\r\nm\r\n",
            "~2\r\n:1\r\n:2\r\n",
            "-ERR 1\r\n",
        ];
        // Each answer is far below the limit, all of them together are far above it.
        let stream = answers.concat().repeat(100);
        for piece in [1, 2, 3, 7, 64, 4096] {
            let mut watched = Answers::new(1000);
            for bytes in stream.as_bytes().chunks(piece) {
                watched.feed(bytes).unwrap();
            }
            assert!(matches!(watched.part, Part::Kind) && watched.lists.is_empty() && watched.taken == 0, "{piece}");
        }
    }

    #[test]
    fn what_has_no_end_is_refused_at_the_limit_or_before() {
        let (limit, most) = (200_000, 210_000);
        let line = |kind: &str| kind.to_owned() + &"1".repeat(1 << 20);
        let endless = [
            line("+"),
            line("-"),
            line(":"),
            line("$"),
            line("("),
            line("hello"),
            format!("$1000000\r\n{}", "x".repeat(1 << 20)),
            format!("$18446744073709551615\r\n{}", "x".repeat(1 << 20)),
            format!("*4000000000\r\n{}", "*0\r\n".repeat(1 << 18)),
            format!("%9223372036854775807\r\n{}", "_\r\n".repeat(1 << 18)),
            format!("*3000\r\n{}", "$100\r\n".to_owned().repeat(1 << 18)),
            "*1\r\n".repeat(1 << 18),
            "*2\r\n:1\r\n".repeat(1 << 17),
            format!(">3000\r\n{}", ("$1000\r\n".to_owned() + &"x".repeat(1000) + "\r\n").repeat(1000)),
        ];
        for bytes in endless {
            for piece in [1, 4096] {
                let at = refused_at(limit, bytes.as_bytes(), piece);
                assert!(at.is_some_and(|at| at <= most), "{:?} {at:?}", &bytes[..20]);
            }
        }
    }

    #[test]
    fn a_value_as_large_as_the_limit_passes() {
        let value = |length: usize| format!("$5\r\nother\r\n${length}\r\n{}\r\n", "x".repeat(length));
        assert_eq!(refused_at(10_000, value(9_900).as_bytes(), 100), None);
        assert!(refused_at(10_000, value(10_001).as_bytes(), 100).is_some());
    }
}
