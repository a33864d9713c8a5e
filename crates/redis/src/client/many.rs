//! Many requests in few round trips: a pipeline per server.

use std::sync::Arc;

use futures_util::future::join_all;
use futures_util::stream::{self, StreamExt as _};
use redis::{Cmd, FromRedisValue, Value, cmd};
use statehouse_core::{ErrorKind, Result, Timestamp};
use tokio::time::Instant;

use crate::client::RedisClient;
use crate::client::tries::Tries;
use crate::connection::flow::time_for;
use crate::error::{may_retry, unexpected_reply};
use crate::failure::{Failure, timed_out};
use crate::idempotence::Idempotence;
use crate::node::Node;
use crate::node::value::get;
use crate::request::{Request, ScriptCall};

/// The index of a request and what became of it.
type Answer = (usize, Result<Value>);

/// The indices of the requests that go to one server.
type Group = (Arc<Node>, Vec<usize>);

/// How many requests go out at once. More would make the others on the same connection wait.
const BATCH: usize = 256;

/// How many of a batch are repeated at a time, for example after a slot has moved.
const REPEATS: usize = 16;

impl RedisClient {
    /// Sends commands that have nothing to do with each other, in one round trip per server, and answers each by
    /// itself, in the order given.
    ///
    /// Commands may be executed in any order. In a cluster their keys may be in any slots.
    pub async fn query_many<T: FromRedisValue>(&self, commands: &[Cmd], idempotence: Idempotence) -> Vec<Result<T>> {
        let requests: Vec<_> = commands.iter().map(Request::Command).collect();
        self.many(&requests, idempotence).await
    }

    /// Runs calls of scripts that have nothing to do with each other, as [`query_many`](Self::query_many).
    pub async fn run_many<T: FromRedisValue>(
        &self,
        calls: &[ScriptCall<'_>],
        idempotence: Idempotence,
    ) -> Vec<Result<T>> {
        let requests: Vec<_> = calls.iter().map(Request::Script).collect();
        self.many(&requests, idempotence).await
    }

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

    /// Reads the value of one key. Where many callers do so at the same time, all that they ask of a server goes out as
    /// one `MGET`, except in a cluster. A key of another type has no value.
    ///
    /// # Errors
    /// As [`query`](Self::query).
    pub async fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>> {
        if self.inner.topology.is_cluster() {
            let (value,) = self.query(&get(key), Idempotence::Idempotent).await?;
            return Ok(value);
        }
        self.get_by(key, self.deadline(0)).await
    }

    async fn get_by(&self, key: &[u8], deadline: Instant) -> Result<Option<Vec<u8>>> {
        let was_alone = self.inner.topology.node_of(|| None).is_ok_and(|node| node.large.has(key));
        match self.execute_on(&Request::Get(key), Idempotence::Idempotent, Tries::new(deadline)).await {
            Err(error) if error.kind() == ErrorKind::TooLarge && !was_alone => {
                Box::pin(self.get_alone(key, deadline)).await
            }
            answer => self.convert(answer?),
        }
    }

    /// What was too large in one answer with others may not be so by itself. It is asked for where small ones do not wait, also
    /// from now on.
    async fn get_alone(&self, key: &[u8], deadline: Instant) -> Result<Option<Vec<u8>>> {
        let node = self.inner.topology.node_of(|| None).ok();
        node.inspect(|node| node.large.add(key));
        self.convert(self.execute_on(&Request::Get(key), Idempotence::Idempotent, Tries::new(deadline)).await?)
    }

    /// Reads many values, in the order of `keys`. A key of another type has none. However many they are, all of it has the
    /// deadline of one operation, and what more the bytes need that come.
    ///
    /// # Errors
    /// As [`query`](Self::query), if any of them cannot be read.
    pub async fn get_many<K: AsRef<[u8]>>(&self, keys: &[K]) -> Result<Vec<Option<Vec<u8>>>> {
        if self.inner.topology.is_cluster() {
            let gets: Vec<_> = keys.iter().map(|key| get(key.as_ref())).collect();
            let values = self.query_many(&gets, Idempotence::Idempotent).await;
            return values.into_iter().map(|value| value.map(|(value,)| value)).collect();
        }
        let (mut values, mut deadline) = (Vec::with_capacity(keys.len()), self.deadline(0));
        for batch in keys.chunks(BATCH) {
            let keys: Vec<_> = batch.iter().map(AsRef::as_ref).collect();
            let mut found = self.get_batch(keys, deadline).await?;
            deadline = self.put_off(deadline, &found);
            values.append(&mut found);
        }
        Ok(values)
    }

    /// What has come has had the time that it needed, unless the caller has set the limit.
    fn put_off(&self, deadline: Instant, come: &[Option<Vec<u8>>]) -> Instant {
        let bytes = come.iter().flatten().map(Vec::len).sum();
        if self.has_own_limit() { deadline } else { deadline + time_for(bytes) }
    }

    /// Reads what is small in one command, and each of what was large by itself.
    async fn get_batch(&self, keys: Vec<&[u8]>, mut deadline: Instant) -> Result<Vec<Option<Vec<u8>>>> {
        let node = self.inner.topology.node_of(|| None).ok();
        let is_large = |key: &[u8]| node.as_ref().is_some_and(|node| node.large.has(key));
        if !keys.iter().any(|key| is_large(key)) {
            let values: Vec<Value> = match self.values_of(&keys, deadline).await {
                // Together they are more than a server may answer at once.
                Err(error) if error.kind() == ErrorKind::TooLarge => return self.get_each(&keys, deadline).await,
                values => values?,
            };
            if let Some(node) = node {
                keys.iter().zip(&values).for_each(|(key, value)| node.large.note(key, value));
            }
            return values.into_iter().map(|value| self.convert(value)).collect();
        }
        let (large, small): (Vec<_>, Vec<_>) = keys.iter().copied().enumerate().partition(|(_, key)| is_large(key));
        let mut found = Vec::with_capacity(keys.len());
        if !small.is_empty() {
            let keys: Vec<_> = small.iter().map(|(_, key)| *key).collect();
            let values: Vec<_> = match self.values_of(&keys, deadline).await {
                Err(error) if error.kind() == ErrorKind::TooLarge => self.get_each(&keys, deadline).await?,
                values => values?,
            };
            deadline = self.put_off(deadline, &values);
            found.extend(small.iter().map(|(index, _)| *index).zip(values));
        }
        for (index, key) in large {
            let value = self.get_by(key, deadline).await?;
            deadline = self.put_off(deadline, std::slice::from_ref(&value));
            found.push((index, value));
        }
        found.sort_unstable_by_key(|(index, _)| *index);
        Ok(found.into_iter().map(|(_, value)| value).collect())
    }

    async fn get_each(&self, keys: &[&[u8]], mut deadline: Instant) -> Result<Vec<Option<Vec<u8>>>> {
        let mut values = Vec::with_capacity(keys.len());
        for key in keys {
            let value = Box::pin(self.get_alone(key, deadline)).await?;
            deadline = self.put_off(deadline, std::slice::from_ref(&value));
            values.push(value);
        }
        Ok(values)
    }

    /// One `MGET`. As many values as keys, or none can be told from another.
    async fn values_of<T: FromRedisValue>(&self, keys: &[&[u8]], deadline: Instant) -> Result<Vec<T>> {
        let command = cmd("MGET").arg(keys).clone();
        let request = Request::Command(&command);
        let deadline = if self.has_own_limit() { deadline } else { deadline + time_for(request.size()) };
        let answer = self.execute_on(&request, Idempotence::Idempotent, Tries::new(deadline)).await;
        let values: Vec<T> = self.convert(answer?)?;
        if values.len() == keys.len() { Ok(values) } else { Err(unexpected_reply(&self.inner.place)) }
    }

    async fn many<T: FromRedisValue>(&self, requests: &[Request<'_>], idempotence: Idempotence) -> Vec<Result<T>> {
        let (groups, homeless) = self.by_server(requests);
        let deadline = self.deadline(requests.iter().map(Request::size).sum());
        let homeless = homeless.into_iter().map(|index| (index, Tries::new(deadline))).collect();
        let batches = groups.iter().flat_map(|(node, members)| members.chunks(BATCH).map(move |batch| (node, batch)));
        let sent = join_all(batches.map(|(node, batch)| self.batch(node, requests, batch, idempotence, deadline)));
        let (batched, repeated) = tokio::join!(sent, self.each(requests, homeless, idempotence));
        let mut answers: Vec<_> = batched.into_iter().flatten().chain(repeated).collect();
        answers.sort_unstable_by_key(|(index, _)| *index);
        answers.into_iter().map(|(_, answer)| answer.and_then(|value| self.convert(value))).collect()
    }

    /// The indices of the requests by the server that they go to, and those of requests that have none now.
    fn by_server(&self, requests: &[Request<'_>]) -> (Vec<Group>, Vec<usize>) {
        let (mut groups, mut homeless): (Vec<Group>, _) = (Vec::new(), Vec::new());
        for (index, request) in requests.iter().enumerate() {
            let Ok(node) = self.inner.topology.node_of(|| request.slot()) else {
                homeless.push(index);
                continue;
            };
            match groups.iter_mut().find(|(known, _)| Arc::ptr_eq(known, &node)) {
                Some((_, members)) => members.push(index),
                None => groups.push((node.into_owned(), vec![index])),
            }
        }
        (groups, homeless)
    }

    async fn batch(
        &self,
        node: &Arc<Node>,
        requests: &[Request<'_>],
        members: &[usize],
        idempotence: Idempotence,
        deadline: Instant,
    ) -> Vec<Answer> {
        let size = members.iter().map(|index| requests[*index].size()).sum();
        let until = self.end_of_try(deadline, size);
        let outgoing = members.iter().map(|index| (requests[*index].command(), requests[*index].is_stamped()));
        let sent = match self.is_over() {
            true => Err(Failure::not_sent(timed_out())),
            false => self.in_time(deadline, node.send_all(outgoing.collect(), until)).await,
        };
        let answers: Vec<Result<Value, Failure>> = match sent {
            Ok(values) => values.into_iter().map(|value| value.extract_error().map_err(Failure::answered)).collect(),
            Err(failure) => members.iter().map(|_| Err(failure.clone())).collect(),
        };
        let (mut done, mut again, mut lost) = (Vec::with_capacity(members.len()), Vec::new(), None);
        for (index, answer) in members.iter().zip(answers) {
            let failure = match answer {
                Ok(value) => {
                    done.push((*index, Ok(value)));
                    continue;
                }
                Err(failure) => failure,
            };
            self.inner.topology.learn(node, &failure);
            let mut tries = Tries::new(deadline);
            tries.note(&requests[*index], &failure, until);
            if may_retry(&failure, idempotence) || failure.code() == Some("NOSCRIPT") {
                again.push((*index, tries));
            } else {
                done.push((*index, Err(self.given_up(failure, idempotence, &tries, false))));
                // They were sent together, and are over together.
                lost = lost.or(tries.lost);
            }
        }
        done.append(&mut self.each(requests, again, idempotence).await);
        if let Some(lost) = lost {
            self.settle(&lost).await;
        }
        done
    }

    /// Sends requests by themselves, with all redirections and retries.
    async fn each(
        &self,
        requests: &[Request<'_>],
        which: Vec<(usize, Tries)>,
        idempotence: Idempotence,
    ) -> Vec<Answer> {
        let answers = which
            .into_iter()
            .map(|(index, tries)| async move { (index, self.execute_on(&requests[index], idempotence, tries).await) });
        stream::iter(answers).buffer_unordered(REPEATS).collect().await
    }
}
