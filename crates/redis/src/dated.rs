//! Reads that say what time it was on their server, and usually without asking it.

use std::borrow::Cow;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use redis::{Cmd, FromRedisValue, Pipeline, Value};
use statehouse_core::{Result, Timestamp};

use crate::client::{Idempotence, RedisClient};
use crate::clock::timestamp;
use crate::node::Node;
use crate::pending::Failure;
use crate::request::{Request, send_command};
use crate::topology::Target;

/// How long a reading of a server's clock is used.
const GOOD_FOR: Duration = Duration::from_secs(1);

/// A reading that took longer is used for its own answer only: so much may it be late.
const LATEST: Duration = Duration::from_millis(100);

impl RedisClient {
    /// Sends one command that only reads, and answers the time on the server that answered, too.
    ///
    /// The server is asked for the time in the same round trip, and not again for a second: until then it is what the
    /// server said plus what has passed here since. So it is never ahead of the server's clock, and at most 100 ms
    /// behind unless somebody sets that clock. Each server of a cluster has its own.
    ///
    /// # Errors
    /// As [`query`](Self::query).
    pub async fn query_dated<T: FromRedisValue>(&self, command: &Cmd) -> Result<(T, Timestamp)> {
        let answer = self.execute(&Request::Dated(command), Idempotence::Idempotent).await?;
        let (value, micros) = self.convert(answer)?;
        Ok((value, Timestamp::from_micros(micros)))
    }
}

/// What time it is on a server, as far as that is known without asking.
#[derive(Default)]
pub(crate) struct ServerClock(Mutex<Option<Reading>>);

#[derive(Clone, Copy)]
struct Reading {
    server: Timestamp,
    taken: Instant,
    wall: SystemTime,
}

impl ServerClock {
    fn reading(&self) -> Option<Reading> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).filter(Reading::is_good)
    }

    fn set(&self, server: Timestamp) {
        let reading = Reading { server, taken: Instant::now(), wall: SystemTime::now() };
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(reading);
    }
}

impl Reading {
    /// Of a machine that was suspended only the wall clock tells.
    fn is_good(&self) -> bool {
        self.taken.elapsed() < GOOD_FOR && self.wall.elapsed().is_ok_and(|passed| passed < GOOD_FOR)
    }

    fn now(&self) -> Timestamp {
        self.server + self.taken.elapsed()
    }
}

/// The answer of the command and the server's time in microseconds, as one value.
pub(crate) async fn send_dated(
    target: &Target<'_>,
    command: &Cmd,
    until: tokio::time::Instant,
) -> Result<Value, Failure> {
    if let Some(reading) = target.node.clock().reading() {
        let answer = send_command(target, command, until).await?;
        return Ok(dated(answer, reading.now()));
    }
    let mut both = Pipeline::with_capacity(3);
    if target.asking {
        both.cmd("ASKING");
    }
    both.add_command(command.clone()).cmd("TIME");
    let asked = Instant::now();
    let mut answers = target.node.send_each(&both, until).await?;
    let mut last = || answers.pop().unwrap_or(Value::Nil).extract_error().map_err(Failure::answered);
    let (time, answer) = (last(), last()?);
    let now = timestamp(time?).map_err(|error| Failure::answered(error.into()))?;
    if asked.elapsed() < LATEST {
        target.node.clock().set(now);
    }
    Ok(dated(answer, now))
}

/// The first try: once the time is known, it may go out with the requests of others.
pub(crate) async fn send_dated_first(
    node: &Arc<Node>,
    command: &Cmd,
    until: tokio::time::Instant,
) -> Result<Value, Failure> {
    let Some(reading) = node.clock().reading() else {
        return Box::pin(send_dated(&Target::of(node), command, until)).await;
    };
    let answer = node.send_with_others(Cow::Borrowed(command), false, until).await?;
    Ok(dated(answer, reading.now()))
}

fn dated(answer: Value, now: Timestamp) -> Value {
    Value::Array(vec![answer, Value::Int(i64::try_from(now.as_micros()).unwrap_or(i64::MAX))])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reading_is_good_for_a_second_of_either_clock() {
        let said = Timestamp::from_micros(1_000_000);
        let ago = |taken: u64, wall: u64| Reading {
            server: said,
            taken: Instant::now().checked_sub(Duration::from_millis(taken)).unwrap(),
            wall: SystemTime::now() - Duration::from_millis(wall),
        };
        assert!(ago(500, 500).is_good());
        assert!(!ago(1_000, 500).is_good());
        assert!(!ago(500, 60_000).is_good(), "the machine was suspended");
        let ahead = Reading { wall: SystemTime::now() + Duration::from_secs(60), ..ago(500, 0) };
        assert!(!ahead.is_good(), "somebody set this machine's clock");
        assert!(ago(500, 500).now() >= said + Duration::from_millis(500));
    }
}
