//! The gathering of commands in `statehouse-redis`. The server is a stand-in here, which answers with what it was sent.

#[path = "../../redis/src/node/gather.rs"]
mod gather;
#[allow(dead_code, reason = "compiled for its locks, not for its callers")]
#[path = "../../redis/src/node/queue.rs"]
mod queue;
#[allow(dead_code, reason = "as above")]
#[path = "../../redis/src/node/value.rs"]
mod value;

use std::convert::Infallible;
use std::sync::Arc;

use redis::{Arg, Cmd, Value};
use tokio::time::Instant;

use crate::failure::{Failure, connection_lost};
use crate::node::queue::Gathering;
use crate::sync::{Ordering, any_of, yield_now};

pub(crate) struct Node {
    gathering: Gathering,
}

impl Node {
    /// One for which so many wait already that commands are gathered.
    pub(crate) fn crowded() -> Arc<Self> {
        let node = Self { gathering: Gathering::default() };
        node.gathering.callers.store(8, Ordering::Relaxed);
        Arc::new(node)
    }

    /// Whether nobody is left who waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.gathering.queue().len() == 0 && self.gathering.callers.load(Ordering::Relaxed) == 8
    }

    fn replicated(&self) -> Option<&Infallible> {
        None
    }

    #[expect(clippy::unused_async, reason = "as the real one")]
    async fn send_replicated(&self, command: Cmd, _until: Instant) -> Result<Value, Failure> {
        Ok(answer(&command))
    }

    #[expect(clippy::unused_async, reason = "as the real one")]
    async fn send_stamped(&self, command: Cmd, _asking: bool, _until: Instant) -> Result<Value, Failure> {
        Ok(answer(&command))
    }

    #[expect(clippy::unused_async, reason = "as the real one")]
    async fn send(&self, command: &Cmd, _until: Instant) -> Result<Value, Failure> {
        Ok(answer(command))
    }

    fn turn(&self) -> usize {
        0
    }

    async fn lease(&self, _turn: usize, _until: Instant) -> Result<Leased, Failure> {
        yield_now().await;
        if any_of(4) == 0 { Err(Failure::not_sent(connection_lost())) } else { Ok(Leased) }
    }
}

struct Leased;

impl Leased {
    fn give_back(self) {}

    async fn send_all(
        self,
        commands: Vec<(Cmd, bool)>,
        _replicas: Option<Infallible>,
        _until: Instant,
    ) -> Result<Vec<Value>, Failure> {
        yield_now().await;
        if any_of(4) == 0 {
            return Err(Failure::unanswered(connection_lost()));
        }
        Ok(commands.iter().map(|(command, _)| answer(command)).collect())
    }
}

/// What was asked for: of an `MGET`, a list of the keys.
fn answer(command: &Cmd) -> Value {
    let words: Vec<_> = command
        .args_iter()
        .filter_map(|arg| if let Arg::Simple(word) = arg { Some(Value::BulkString(word.to_vec())) } else { None })
        .skip(1)
        .collect();
    Value::Array(words)
}
