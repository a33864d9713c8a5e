//! For how long sessions wait for a server that is there and answers no writes, or no reads.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use statehouse_core::policy::{Pace, Refused};
use statehouse_core::{Error, ErrorKind, Namespace, Result, Retry};
use statehouse_redis::{KeySpace, RedisClient, redis};
use tokio::time::{sleep, timeout};

/// For how long what is asked is waited for, once it is known that nothing is answered; and how often that is looked at.
/// Less than a second, which no request waits for longer than then.
const LIMIT: Duration = Duration::from_millis(800);

/// What the server has answered of late: to reads, and to writes, which it holds back while it hands over to a replica.
///
/// Only that nothing comes counts here. What comes late is right all the same: a session has no other source, and to refuse
/// it because the server is slow would be an outage of our own making.
#[derive(Debug)]
pub(super) struct Answers {
    redis: RedisClient,
    /// A name that nothing is ever stored under, to ask for.
    probe: Vec<u8>,
    reads: Side,
    writes: Side,
}

#[derive(Debug)]
struct Side {
    pace: Pace,
    verb: Verb,
    /// Whether a task finds out for all when something is answered again.
    looks: AtomicBool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verb {
    Read,
    Write,
}

impl Answers {
    pub(super) fn new(redis: RedisClient, namespace: &Namespace) -> Result<Arc<Self>> {
        let probe = KeySpace::new(namespace, "session", "answers")?.key("probe");
        let side = |verb| Side { pace: Pace::new(LIMIT), verb, looks: AtomicBool::new(false) };
        Ok(Arc::new(Self { redis, probe, reads: side(Verb::Read), writes: side(Verb::Write) }))
    }

    /// Waits for the answer to a read. It is pinned by the caller, as that to a write, so that it is not moved.
    pub(super) async fn read<T>(self: &Arc<Self>, work: Pin<&mut impl Future<Output = Result<T>>>) -> Result<T> {
        self.wait(|this| &this.reads, work).await
    }

    /// Waits for the answer to a write.
    pub(super) async fn write<T>(self: &Arc<Self>, work: Pin<&mut impl Future<Output = Result<T>>>) -> Result<T> {
        self.wait(|this| &this.writes, work).await
    }

    async fn wait<T>(
        self: &Arc<Self>,
        side: fn(&Self) -> &Side,
        mut work: Pin<&mut impl Future<Output = Result<T>>>,
    ) -> Result<T> {
        let Side { pace, verb, .. } = side(self);
        if let Some(refused) = pace.refusal() {
            self.look(side);
            return Err(verb.refused(refused));
        }
        let mut asked = pace.asks();
        loop {
            if let Ok(done) = timeout(LIMIT, work.as_mut()).await {
                if is_answer(&done) {
                    asked.came();
                }
                return done;
            }
            asked.is_late();
            if pace.is_slow() {
                self.look(side);
                return Err(verb.given_up());
            }
        }
    }

    /// Finds out in the background when something is answered again, unless that is being done.
    fn look(self: &Arc<Self>, side: fn(&Self) -> &Side) {
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        if side(self).looks.swap(true, Ordering::AcqRel) {
            return;
        }
        let looking = Looking { of: Arc::downgrade(self), side };
        tracing::warn!(name: "session.held_back", verb = side(self).verb.word(), "Redis is there and answers none of these; sessions do not wait for it");
        runtime.spawn(looking.run());
    }

    /// Asks over a connection of its own: whoever shares one with a write that is held back waits with it.
    async fn find_out(&self, side: &Side) {
        let Ok(asked) = side.pace.may_ask() else { return };
        let mut command = redis::cmd(side.verb.command());
        command.arg(&self.probe[..]);
        let answer = async {
            let mut connection = self.redis.exclusive(Some(&self.probe)).await?;
            connection.query::<redis::Value>(&command, LIMIT).await
        };
        if timeout(LIMIT, answer).await.is_ok_and(|answer| is_answer(&answer)) {
            asked.came();
        }
    }
}

/// The task that finds out for all. Whatever ends it, as the end of the runtime that it is on, who is refused next begins
/// another.
struct Looking {
    of: Weak<Answers>,
    side: fn(&Answers) -> &Side,
}

impl Looking {
    /// A store that nobody has any more ends it.
    async fn run(self) {
        while let Some(answers) = self.of.upgrade() {
            let Some(refused) = (self.side)(&answers).pace.refusal() else { return };
            drop(answers);
            sleep(refused.after()).await;
            let Some(answers) = self.of.upgrade() else { return };
            answers.find_out((self.side)(&answers)).await;
        }
    }
}

impl Drop for Looking {
    fn drop(&mut self) {
        if let Some(answers) = self.of.upgrade() {
            (self.side)(&answers).looks.store(false, Ordering::Release);
        }
    }
}

impl Verb {
    const fn word(self) -> &'static str {
        match self {
            Self::Read => "reads",
            Self::Write => "writes",
        }
    }

    const fn command(self) -> &'static str {
        match self {
            Self::Read => "GET",
            Self::Write => "DEL",
        }
    }

    fn refused(self, refused: Refused) -> Error {
        let message = format!("Redis answers no {}: none is sent before it does", self.word());
        Error::new(ErrorKind::Unavailable, message).with_retry(Retry::After(refused.after()))
    }

    fn given_up(self) -> Error {
        match self {
            Self::Read => Error::new(ErrorKind::Timeout, "Redis answers no reads: this one is not waited for"),
            Self::Write => {
                let message = "Redis answers no writes: this one may have been done or still be";
                Error::new(ErrorKind::OutcomeUnknown, message)
            }
        }
    }
}

/// Whether it came from the server, as far as that is certain.
fn is_answer<T>(done: &Result<T>) -> bool {
    let answers = [ErrorKind::Corrupt, ErrorKind::Fenced, ErrorKind::PermissionDenied];
    done.as_ref().map_or_else(|error| answers.contains(&error.kind()), |_| true)
}
