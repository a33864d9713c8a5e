//! For how long sessions wait for a server that is there and answers no writes, or no reads.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use statehouse_core::policy::{Pace, PerServer, Refused};
use statehouse_core::{Error, ErrorKind, Namespace, Result, Retry};
use statehouse_redis::{KeySpace, RedisClient, redis};
use tokio::time::{sleep, timeout};

/// For how long what is asked is waited for, once it is known that nothing is answered; and how often that is looked at.
/// Less than a second, which no request waits for longer than then.
const LIMIT: Duration = Duration::from_millis(800);

/// What each server has answered of late: to reads, and to writes, which it holds back while it hands over to a replica. Each
/// command counts for the server of its key.
///
/// Only that nothing comes counts here. What comes late is right all the same: a session has no other source, and to refuse
/// it because the server is slow would be an outage of our own making.
#[derive(Debug)]
pub(super) struct Answers {
    redis: RedisClient,
    /// Names that nothing is ever stored under, to ask for.
    probes: KeySpace,
    servers: PerServer<Sides>,
}

#[derive(Debug)]
struct Sides {
    reads: Side,
    writes: Side,
}

#[derive(Debug)]
struct Side {
    pace: Pace,
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
        let probes = KeySpace::new(namespace, "session", "answers")?;
        let side = || Side { pace: Pace::new(LIMIT), looks: AtomicBool::new(false) };
        let servers = PerServer::new(move || Sides { reads: side(), writes: side() });
        Ok(Arc::new(Self { redis, probes, servers }))
    }

    /// Waits for the answer to a command that reads this key. It is pinned by the caller, as that to a write, so that it is not
    /// moved.
    pub(super) async fn read<T>(
        self: &Arc<Self>,
        key: &[u8],
        work: Pin<&mut impl Future<Output = Result<T>>>,
    ) -> Result<T> {
        self.wait(Verb::Read, key, work).await
    }

    /// Waits for the answer to one that may write.
    pub(super) async fn write<T>(
        self: &Arc<Self>,
        key: &[u8],
        work: Pin<&mut impl Future<Output = Result<T>>>,
    ) -> Result<T> {
        self.wait(Verb::Write, key, work).await
    }

    async fn wait<T>(
        self: &Arc<Self>,
        verb: Verb,
        key: &[u8],
        mut work: Pin<&mut impl Future<Output = Result<T>>>,
    ) -> Result<T> {
        let sides = self.servers.of(self.redis.server_of(key));
        let pace = &verb.of(&sides).pace;
        if let Some(refused) = pace.refusal() {
            self.look(&sides, verb, key);
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
                self.look(&sides, verb, key);
                return Err(verb.given_up());
            }
        }
    }

    /// Finds out in the background when something is answered again where this key lies, unless that is being done.
    fn look(self: &Arc<Self>, sides: &Arc<Sides>, verb: Verb, key: &[u8]) {
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        if verb.of(sides).looks.swap(true, Ordering::AcqRel) {
            return;
        }
        let probe = self.probes.beside(key, "probe");
        let looking = Looking { answers: Arc::downgrade(self), sides: Arc::clone(sides), verb, probe };
        tracing::warn!(name: "session.held_back", verb = verb.word(), "Redis is there and answers none of these; sessions do not wait for it");
        runtime.spawn(looking.run());
    }
}

/// The task that finds out for all. Whatever ends it, as the end of the runtime that it is on, who is refused next begins
/// another.
struct Looking {
    answers: Weak<Answers>,
    sides: Arc<Sides>,
    verb: Verb,
    probe: Vec<u8>,
}

impl Looking {
    async fn run(self) {
        let side = self.verb.of(&self.sides);
        while let Some(refused) = side.pace.refusal() {
            sleep(refused.after()).await;
            // A store that nobody has any more ends it.
            let Some(answers) = self.answers.upgrade() else { return };
            if self.is_elsewhere(&answers) {
                return;
            }
            self.find_out(&answers, side).await;
        }
    }

    /// Whether another server has the slot by now, which says nothing of the one that had it: of that, who is refused next
    /// begins to find out, beside another key.
    fn is_elsewhere(&self, answers: &Answers) -> bool {
        !Arc::ptr_eq(&self.sides, &answers.servers.of(answers.redis.server_of(&self.probe)))
    }

    /// Asks over a connection of its own: whoever shares one with a write that is held back waits with it.
    async fn find_out(&self, answers: &Answers, side: &Side) {
        let Ok(asked) = side.pace.may_ask() else { return };
        let mut command = redis::cmd(self.verb.command());
        command.arg(&self.probe[..]);
        let answer = async {
            let mut connection = answers.redis.exclusive(Some(&self.probe)).await?;
            connection.query::<redis::Value>(&command, LIMIT).await
        };
        let is_answered = timeout(LIMIT, answer).await.is_ok_and(|answer| is_answer(&answer));
        if is_answered && !self.is_elsewhere(answers) {
            asked.came();
        }
    }
}

impl Drop for Looking {
    fn drop(&mut self) {
        self.verb.of(&self.sides).looks.store(false, Ordering::Release);
    }
}

impl Verb {
    const fn of(self, sides: &Sides) -> &Side {
        match self {
            Self::Read => &sides.reads,
            Self::Write => &sides.writes,
        }
    }

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
