use std::fmt;
use std::time::Duration;

use deadpool_redis::Connection;
use redis::{Cmd, FromRedisValue, Pipeline, Value};
use statehouse_core::{Error, Result};
use tokio::time::{timeout, timeout_at};

use crate::client::RedisClient;
use crate::failure::{Failure, Sent, connection_lost, timed_out};
use crate::idempotence::Idempotence;
use crate::request::Request;

/// A connection for one user alone: for `WATCH`, for blocking reads, and for what is so large that others would wait.
///
/// Dropping it returns it to the pool. If something was sent and not answered, it is closed instead, so that the next
/// user does not meet the late answer. Nothing is retried here: the caller holds the state that a retry needs. It stays
/// with its server when that one is replaced, so that what holds one for long takes a new one now and then.
pub struct Exclusive {
    connection: Option<Connection>,
    client: RedisClient,
}

/// A connection on which something was asked. It is closed unless it is answered: dropping what a pool has lent would return
/// it there, with its answer still to come.
struct Asked(Option<Connection>);

impl Drop for Asked {
    fn drop(&mut self) {
        drop(self.0.take().map(Connection::take));
    }
}

impl RedisClient {
    /// A connection for one user alone, to the server that has `key`, or to any. There are at most 16 per server, or as
    /// many as a brought pool has; who wants one more waits for the operation's timeout.
    ///
    /// # Errors
    /// As [`query`](Self::query); nothing is sent yet.
    pub async fn exclusive(&self, key: Option<&[u8]>) -> Result<Exclusive> {
        Exclusive::check_out(self, key).await
    }
}

impl Exclusive {
    async fn check_out(client: &RedisClient, key: Option<&[u8]>) -> Result<Self> {
        let topology = &client.inner.topology;
        let unsent = |failure: &Failure| client.error(failure, Idempotence::Idempotent, false);
        let node = topology.node_of_key(key).map_err(|failure| unsent(&failure))?;
        let checked_out = timeout_at(client.deadline(0), node.check_out()).await;
        let connection = checked_out.unwrap_or_else(|_| Err(Failure::not_sent(timed_out()))).map_err(|failure| {
            topology.learn(&node, &failure);
            unsent(&failure)
        })?;
        Ok(Self { connection: Some(connection), client: client.clone() })
    }

    /// Sends one command and waits for its answer for at most `limit`: for a blocking command, longer than it blocks.
    ///
    /// # Errors
    /// As [`RedisClient::query`]. After an error without an answer the connection is closed.
    pub async fn query<T: FromRedisValue>(&mut self, command: &Cmd, limit: Duration) -> Result<T> {
        let reply = self.send(&Request::Command(command), limit).await?;
        self.client.convert(reply)
    }

    /// Sends a pipeline, with [`Pipeline::atomic`] as a transaction; a transaction that a `WATCH` stopped answers nil.
    ///
    /// A write and `WAIT` in one pipeline say in one round trip how many replicas have the write: ask here, because while a
    /// server waits it answers nothing else on that connection.
    ///
    /// # Errors
    /// As [`query`](Self::query).
    pub async fn pipeline<T: FromRedisValue>(&mut self, pipeline: &Pipeline, limit: Duration) -> Result<T> {
        let reply = self.send(&Request::Pipeline(pipeline), limit).await?;
        self.client.convert(reply)
    }

    async fn send(&mut self, request: &Request<'_>, limit: Duration) -> Result<Value> {
        // Taken, and put back only after an answer.
        let mut asked = Asked(self.connection.take());
        let Some(connection) = asked.0.as_mut() else {
            return Err(self.error(&Failure::not_sent(connection_lost())));
        };
        connection.set_response_timeout(limit);
        let exchange = async {
            match request {
                Request::Pipeline(pipeline) => pipeline.query_async::<Value>(&mut **connection).await,
                single => single.command().query_async::<Value>(&mut **connection).await,
            }
        };
        let answer = timeout(limit, exchange).await.unwrap_or_else(|_| Err(timed_out())).map_err(Failure::of_reply);
        if !matches!(&answer, Err(failure) if failure.sent != Sent::Answered) {
            self.connection = asked.0.take();
        }
        answer.map_err(|failure| self.error(&failure))
    }

    fn error(&self, failure: &Failure) -> Error {
        self.client.error(failure, Idempotence::NotIdempotent, false)
    }
}

impl fmt::Debug for Exclusive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exclusive").field("place", &self.client.inner.place).finish_non_exhaustive()
    }
}
