//! One direction of a connection.

use std::collections::VecDeque;
use std::future::pending;
use std::io;
use std::time::Duration;

use rustix::net::Shutdown;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::http::RequestFilter;
use super::settings::{Direction, LaneSettings, Settings, Truncation};
use super::shared::Shared;

/// What a lane holds at most; beyond it the sender feels back pressure, as on a real network.
const MOST_HELD: usize = 4 << 20;

/// At a limited rate, what passes in a second comes in so many pieces.
const PIECES: u64 = 200;

/// Timers fire late; what passes late because of that does not make the rate lower.
const CREDIT: Duration = Duration::from_millis(20);

/// Looks at what passes.
pub(super) enum Tap {
    Requests(RequestFilter),
    Answers,
}

enum Item {
    Bytes(Vec<u8>),
    /// The sender ended its side.
    End,
    /// The sender reset the connection.
    Reset,
}

pub(super) struct Lane<'a> {
    from: &'a TcpStream,
    to: &'a TcpStream,
    direction: Direction,
    tap: Tap,
    settings: watch::Receiver<Settings>,
    /// What arrived, and when.
    queue: VecDeque<(Instant, Item)>,
    held: usize,
    reading: bool,
    /// Of the truncation with this id, how many bytes may still pass.
    left: Option<(u64, u64)>,
    /// When what was written so far has passed, at the rate in force.
    passed: Instant,
}

/// What a lane waits for before it can write.
enum Next {
    Nothing,
    Until(Instant),
    Write,
}

impl<'a> Lane<'a> {
    pub(super) fn new(
        from: &'a TcpStream,
        to: &'a TcpStream,
        direction: Direction,
        tap: Tap,
        settings: watch::Receiver<Settings>,
    ) -> Self {
        let queue = VecDeque::new();
        let passed = Instant::now();
        Self { from, to, direction, tap, settings, queue, held: 0, reading: true, left: None, passed }
    }

    /// Passes bytes on until the sender ends its side (`Ok`) or a side resets the connection (`Err`).
    pub(super) async fn run(mut self, shared: &Shared) -> io::Result<()> {
        loop {
            if self.is_truncated() {
                return self.throw_away().await;
            }
            let next = self.next();
            let read = self.reading && self.held < MOST_HELD;
            tokio::select! {
                biased;
                changed = self.settings.changed() => changed.map_err(io::Error::other)?,
                () = wait(&next, self.to) => if self.write()? { return Ok(()) },
                _ = self.from.readable(), if read => self.read(shared),
            }
        }
    }

    fn next(&self) -> Next {
        let settings = self.settings.borrow();
        let lane = settings.lane(self.direction);
        match self.queue.front() {
            Some((arrived, _)) if !lane.hold => {
                let due = due(*arrived, lane, self.passed);
                if due <= Instant::now() { Next::Write } else { Next::Until(due) }
            }
            _ => Next::Nothing,
        }
    }

    fn read(&mut self, shared: &Shared) {
        let mut bytes = vec![0; 64 << 10];
        let item = match self.from.try_read(&mut bytes) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
            Ok(0) => Item::End,
            Err(_) => Item::Reset,
            Ok(length) => {
                bytes.truncate(length);
                let strip = self.settings.borrow().strip.clone();
                shared.count(|counts| match &mut self.tap {
                    Tap::Requests(filter) => {
                        counts.bytes_to_server += length as u64;
                        filter.pass(&mut bytes, &strip, counts);
                    }
                    Tap::Answers => counts.bytes_to_client += length as u64,
                });
                self.held += bytes.len();
                Item::Bytes(bytes)
            }
        };
        self.reading = matches!(item, Item::Bytes(_));
        self.queue.push_back((Instant::now(), item));
    }

    /// Writes the front of the queue if the settings still allow it; true when the direction has ended.
    fn write(&mut self) -> io::Result<bool> {
        // Held during the write: see `FaultProxy::change`.
        let settings = self.settings.borrow();
        let lane = settings.lane(self.direction);
        let Some((arrived, item)) = self.queue.front_mut() else { return Ok(false) };
        let now = Instant::now();
        if lane.hold || due(*arrived, lane, self.passed) > now {
            return Ok(false);
        }
        let bytes = match item {
            Item::Bytes(bytes) => bytes,
            Item::End => {
                rustix::net::shutdown(self.to, Shutdown::Write)?;
                return Ok(true);
            }
            Item::Reset => return Err(io::ErrorKind::ConnectionReset.into()),
        };
        let left = budget(&mut self.left, lane.truncation);
        let piece = lane.rate.map_or(u64::MAX, |rate| rate.get().div_ceil(PIECES));
        let most = left.as_deref().copied().unwrap_or(u64::MAX).min(piece);
        let most = usize::try_from(most).unwrap_or(usize::MAX).min(bytes.len());
        let written = match self.to.try_write(&bytes[..most]) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
            written => written?,
        };
        if let Some(left) = left {
            *left -= written as u64;
        }
        if let Some(rate) = lane.rate {
            let takes = Duration::from_nanos(written as u64 * 1_000_000_000 / rate);
            self.passed = self.passed.max(now - CREDIT) + takes;
        }
        self.held -= written;
        bytes.drain(..written);
        if bytes.is_empty() {
            self.queue.pop_front();
        }
        Ok(false)
    }

    fn is_truncated(&mut self) -> bool {
        let truncation = self.settings.borrow().lane(self.direction).truncation;
        budget(&mut self.left, truncation).is_some_and(|left| *left == 0)
    }

    /// Ends this direction for the receiver and swallows what the sender still sends.
    async fn throw_away(self) -> io::Result<()> {
        rustix::net::shutdown(self.to, Shutdown::Write)?;
        let mut bytes = vec![0; 64 << 10];
        if !self.reading {
            return Ok(());
        }
        loop {
            self.from.readable().await?;
            match self.from.try_read(&mut bytes) {
                Ok(0) => return Ok(()),
                Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Err(error),
                _ => {}
            }
        }
    }
}

/// When the front of a queue may be written.
fn due(arrived: Instant, lane: &LaneSettings, passed: Instant) -> Instant {
    let due = arrived + lane.delay;
    if lane.rate.is_some() { due.max(passed) } else { due }
}

/// What is left of the truncation in force; it begins anew when that is another one.
fn budget(left: &mut Option<(u64, u64)>, truncation: Option<Truncation>) -> Option<&mut u64> {
    if left.map(|(id, _)| id) != truncation.map(|now| now.id) {
        *left = truncation.map(|now| (now.id, now.bytes));
    }
    left.as_mut().map(|(_, bytes)| bytes)
}

async fn wait(next: &Next, to: &TcpStream) {
    match next {
        Next::Nothing => pending().await,
        Next::Until(due) => sleep_until(*due).await,
        // An error shows in the write that follows.
        Next::Write => drop(to.writable().await),
    }
}
