//! Reads that say what time it was on their server, and usually without asking it.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use redis::{Cmd, Pipeline, Value};
use statehouse_core::Timestamp;

use crate::clock::timestamp;
use crate::failure::Failure;
use crate::node::Node;
use crate::request::command::send_command;
use crate::topology::Target;

/// A reading that took longer is used for its own answer only: so much may it be late.
const LATEST: Duration = Duration::from_millis(100);

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
