use std::pin::{Pin, pin};

use redis::{Cmd, Pipeline, RedisResult, Value, from_redis_value};
use tokio::time::Instant;

use crate::clock::Latest;
use crate::config::Replicas;
use crate::connection::link::{Lease, Link};
use crate::connection::wait::wait;
use crate::connection::waited::leaves_time;
use crate::error::LATE;
use crate::failure::{Failure, inner_code, timed_out};
use crate::node::replicated::and_wait;

/// A connection to send over, and the link to return it to.
pub(crate) struct Leased<'a> {
    pub(super) link: &'a Link,
    pub(super) lease: Lease,
}

impl Leased<'_> {
    /// Until when what is sent now may run, if its caller is told at `until`. The server's clock is read first if it is
    /// not known.
    pub(crate) async fn latest(&mut self, until: Instant) -> Result<Latest, Failure> {
        if let Some(latest) = self.lease.connection.clock().latest(until) {
            return Ok(latest);
        }
        let begun = Instant::now();
        // Boxed: it is rare.
        Box::pin(self.read_clock(until)).await?;
        leaves_time(begun.elapsed(), until)?;
        self.lease.connection.clock().latest(until).ok_or_else(|| Failure::not_sent(timed_out()))
    }

    /// Also asks what the server calls the connection, in case what is sent over it is lost. Fails as one who has sent
    /// nothing, since what the caller wants was not.
    async fn read_clock(&mut self, until: Instant) -> Result<(), Failure> {
        let mut questions = Pipeline::with_capacity(2);
        questions.cmd("TIME").cmd("CLIENT").arg("ID");
        let answers = {
            let reply = pin!(self.lease.connection.connection.send_packed_commands(&questions, 0, 2));
            wait(self.link, self.lease.generation, reply, until).await
        };
        let mut answers = answers.map_err(|failure| Failure::not_sent(failure.error))?.into_iter();
        let mut next = || answers.next().unwrap_or(Value::Nil).extract_error().map_err(Failure::answered);
        let (time, client) = (next()?, next());
        // Who may not ask, or is told nonsense, does without.
        if let Some(client) = client.ok().and_then(|client| from_redis_value(client).ok()) {
            self.lease.connection.note_client(client);
        }
        self.lease.connection.clock().note(time).map_err(|error| Failure::not_sent(error.into()))
    }

    pub(crate) async fn send(self, command: &Cmd, until: Instant) -> Result<Value, Failure> {
        let Self { link, mut lease } = self;
        let place = Place::of(link, &lease);
        let answer = {
            let reply = pin!(lease.connection.connection.send_packed_command(command));
            place.wait(reply, until).await
        };
        let answer = answer.and_then(|value| value.extract_error().map_err(Failure::answered));
        finish(link, lease, answer.as_ref().err().and_then(Failure::code));
        answer
    }

    /// Sends several commands at once, some of them with the latest time at which they may run. The last answer is that of the
    /// `WAIT` for replicas, if there is one.
    pub(crate) async fn send_all(
        mut self,
        commands: Vec<(Cmd, bool)>,
        replicas: Option<Replicas>,
        until: Instant,
    ) -> Result<Vec<Value>, Failure> {
        let latest = match commands.iter().any(|(_, stamped)| *stamped) {
            true => Some(self.latest(until).await?),
            false => None,
        };
        let mut pipeline = Pipeline::with_capacity(commands.len() + 2);
        for (mut command, stamped) in commands {
            if let Some(latest) = latest.filter(|_| stamped) {
                command.arg(latest.micros);
            }
            pipeline.add_command(command);
        }
        if let Some(replicas) = replicas {
            and_wait(&mut pipeline, replicas);
        }
        self.send_each_and_time(pipeline, latest.is_some_and(|latest| latest.stale), until).await
    }

    pub(crate) async fn send_pipeline(self, pipeline: &Pipeline, until: Instant) -> Result<Value, Failure> {
        let Self { link, mut lease } = self;
        let place = Place::of(link, &lease);
        let answer = {
            let reply = pin!(pipeline.query_async::<Value>(&mut lease.connection.connection));
            place.wait(reply, until).await
        };
        finish(link, lease, answer.as_ref().err().and_then(Failure::code));
        answer
    }

    /// As [`send_each`](Self::send_each); with `and_time` it reads the server's clock in the same round trip.
    pub(crate) async fn send_each_and_time(
        self,
        mut pipeline: Pipeline,
        and_time: bool,
        until: Instant,
    ) -> Result<Vec<Value>, Failure> {
        if !and_time {
            return self.send_each(&pipeline, until).await;
        }
        pipeline.cmd("TIME");
        let connection = self.lease.connection.clone();
        let mut answers = self.send_each(&pipeline, until).await?;
        // What it is instead is found by who needs it.
        let time = answers.pop().and_then(|time| time.extract_error().ok());
        let noted = time.is_some_and(|time| connection.clock().note(time).is_ok());
        if !noted {
            connection.clock().forget();
        }
        Ok(answers)
    }

    /// As [`Node::send_each`].
    pub(crate) async fn send_each(self, pipeline: &Pipeline, until: Instant) -> Result<Vec<Value>, Failure> {
        let Self { link, mut lease } = self;
        let place = Place::of(link, &lease);
        let answers = {
            let replies = pin!(lease.connection.connection.send_packed_commands(pipeline, 0, pipeline.len()));
            place.wait(replies, until).await?
        };
        let codes = answers.iter().filter_map(|answer| match answer {
            Value::ServerError(error) => inner_code(error.code(), error.details()).or_else(|| Some(error.code())),
            _ => None,
        });
        finish(link, lease, codes.into_iter().find(|code| [READONLY, LATE].contains(code)));
        Ok(answers)
    }

    /// Whether a large value is coming over it.
    pub(crate) fn is_waiting_for_much(&self) -> bool {
        self.lease.connection.coming() > 0
    }

    /// Nothing is to be sent after all.
    pub(crate) fn give_back(self) {
        self.link.give_back(self.lease);
    }
}

/// Which connection something is sent over.
struct Place<'a> {
    link: &'a Link,
    generation: u64,
    client: Option<u64>,
}

impl<'a> Place<'a> {
    fn of(link: &'a Link, lease: &Lease) -> Self {
        Self { link, generation: lease.generation, client: lease.connection.client() }
    }

    /// The answer; of one that was lost, the failure says over which connection.
    async fn wait<T>(
        self,
        reply: Pin<&mut impl Future<Output = RedisResult<T>>>,
        until: Instant,
    ) -> Result<T, Failure> {
        let answer = wait(self.link, self.generation, reply, until).await;
        answer.map_err(|failure| failure.over(self.link.name(), self.client))
    }
}

const READONLY: &str = "READONLY";

/// Gives the connection back, unless its server refused a write because it became a replica: behind the same name or
/// virtual address a new connection finds its successor. A server that found a request late has its clock read again.
fn finish(link: &Link, lease: Lease, code: Option<&str>) {
    if code == Some(READONLY) {
        return link.broke(lease.generation, "the server is a replica");
    }
    if code == Some(LATE) {
        lease.connection.clock().forget();
    }
    link.give_back(lease);
}
