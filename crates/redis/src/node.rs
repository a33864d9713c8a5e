use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use deadpool_redis::Connection;
use redis::{Cmd, Pipeline, RedisResult, Value};
use tokio::time::Instant;

use crate::config::Address;
use crate::connect::Source;
use crate::link::{Lease, Link};
use crate::pending::{Failure, wait};

/// One server: its shared connections and its pool of exclusive ones.
pub(crate) struct Node {
    address: Option<Address>,
    source: Arc<Source>,
    links: Box<[Arc<Link>]>,
    turn: AtomicUsize,
}

impl Node {
    /// The server that the source connects to. Only a caller's pool has no address.
    pub(crate) fn over(source: Source, connections: usize, address: Option<Address>) -> Arc<Self> {
        let source = Arc::new(source);
        let name: Arc<str> = address.as_ref().map_or_else(|| "pool".to_owned(), Address::to_string).into();
        let links = (0..connections).map(|_| Link::new(Arc::clone(&source), Arc::clone(&name))).collect();
        Arc::new(Self { address, source, links, turn: AtomicUsize::new(0) })
    }

    pub(crate) const fn address(&self) -> Option<&Address> {
        self.address.as_ref()
    }

    pub(crate) fn is_connected(&self) -> bool {
        self.links.iter().any(|link| link.is_connected())
    }

    fn link(&self) -> &Link {
        let turn = if self.links.len() == 1 { 0 } else { self.turn.fetch_add(1, Ordering::Relaxed) };
        &self.links[turn % self.links.len()]
    }

    /// Sends a command and waits for its answer, connecting first if need be.
    pub(crate) async fn send(&self, command: &Cmd, until: Instant) -> Result<Value, Failure> {
        let (link, mut lease) = self.lease(until).await?;
        let answer = wait(link, lease.generation, lease.connection.send_packed_command(command), until).await?;
        let answer = answer.extract_error().map_err(Failure::answered);
        answer.inspect_err(|failure| leave_replica(link, lease.generation, failure.error.code()))
    }

    /// Sends a pipeline or transaction; the answer is that of redis-rs' `query_async`.
    pub(crate) async fn send_pipeline(&self, pipeline: &Pipeline, until: Instant) -> Result<Value, Failure> {
        let (link, mut lease) = self.lease(until).await?;
        let reply = pipeline.query_async::<Value>(&mut lease.connection);
        let answer = wait(link, lease.generation, reply, until).await;
        answer.inspect_err(|failure| leave_replica(link, lease.generation, failure.error.code()))
    }

    /// Sends several commands at once and answers with what each answered, which may be a `Value::ServerError`.
    pub(crate) async fn send_each(&self, pipeline: &Pipeline, until: Instant) -> Result<Vec<Value>, Failure> {
        let (link, mut lease) = self.lease(until).await?;
        let replies = lease.connection.send_packed_commands(pipeline, 0, pipeline.len());
        let answers = wait(link, lease.generation, replies, until).await?;
        for answer in &answers {
            if let Value::ServerError(error) = answer {
                leave_replica(link, lease.generation, Some(error.code()));
            }
        }
        Ok(answers)
    }

    async fn lease(&self, until: Instant) -> Result<(&Link, Lease), Failure> {
        let link = self.link();
        link.lease(until).await.map(|lease| (link, lease)).map_err(Failure::not_sent)
    }

    pub(crate) async fn check_out(&self) -> RedisResult<Connection> {
        self.source.check_out().await
    }
}

/// A server that refuses a write because it became a replica is left: behind the same name or virtual address a new
/// connection finds its successor.
fn leave_replica(link: &Link, generation: u64, code: Option<&str>) {
    if code == Some("READONLY") {
        link.broke(generation, "the server is a replica");
    }
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Node").field("address", &self.address).field("links", &self.links).finish_non_exhaustive()
    }
}
