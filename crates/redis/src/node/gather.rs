//! Commands of callers that wait for one server at the same time, sent together.
//!
//! A command that is sent by itself costs a place in the connection's queue, a timer, two wake-ups and its own share of
//! the system calls on both sides. Where many wait, that is more than the command itself; a pipeline pays it once.

use std::borrow::Cow;
use std::mem::take;
use std::sync::Arc;

use redis::{Cmd, Value, cmd};
use tokio::sync::oneshot::{self, Receiver};
use tokio::time::Instant;

use crate::connection::flow::length;
use crate::failure::{Failure, connection_lost};
use crate::node::Node;
use crate::node::queue::{Batch, Caller, Counted, Outgoing};
use crate::node::value::{get, sole};
use crate::sync::{spawn, yield_now};

/// How many callers must be waiting for a command to go out with others. Below that the few system calls that it saves
/// don't make up for the wait.
const CROWD: usize = 8;

/// The most commands that go out together: the first of them waits for the answer to the last. Of a large crowd no more
/// than half goes out at once, either, so that the server has the other half to do while answers are dealt out.
const MOST: usize = 128;

/// How many commands are worth a turn of their own among the connections. Fewer follow each other on one: spread over
/// two, sixteen writers of sessions took an eighth longer.
const MANY: usize = 32;

/// Longer commands go out by themselves: for them copying is what costs.
const LONGEST: usize = 4096;

impl Node {
    /// Sends a command and waits for its answer, as [`send`](Self::send). If others do so at the same time, their
    /// commands go out together; each caller has its own answer, and dropping its future does not touch the others'.
    pub(crate) async fn send_with_others(
        self: &Arc<Self>,
        command: Cow<'_, Cmd>,
        stamped: bool,
        until: Instant,
    ) -> Result<Value, Failure> {
        if stamped && self.replicated().is_some() {
            return Box::pin(self.send_replicated(command.into_owned(), until)).await;
        }
        let callers = Counted::new(&self.gathering.callers);
        if callers.before < CROWD || length(&command) > LONGEST {
            // Boxed, so that the usual case under load does not carry the room for it.
            return if stamped {
                Box::pin(self.send_stamped(command.into_owned(), false, until)).await
            } else {
                Box::pin(self.send(&command, until)).await
            };
        }
        let command = command.into_owned();
        let add = |batch: &mut Batch, caller| batch.commands.push(Outgoing { command, stamped, caller });
        let answer = self.join(&callers, until, add);
        heard(answer).await
    }

    /// The value of a key. What others read at the same time goes out in the same `MGET`: with hundreds of readers each
    /// has its value a fifth sooner.
    pub(crate) async fn get_with_others(self: &Arc<Self>, key: &[u8], until: Instant) -> Result<Value, Failure> {
        let callers = Counted::new(&self.gathering.callers);
        if callers.before < CROWD {
            return Box::pin(self.send(&get(key), until)).await.and_then(sole);
        }
        let read = |batch: &mut Batch, caller| {
            if batch.readers.is_empty() {
                batch.values = cmd("MGET");
            }
            batch.values.arg(key);
            batch.readers.push(caller);
        };
        heard(self.join(&callers, until, read)).await
    }

    /// The first to come begins a task, which takes all who have come until it gets its turn. It is a task, so that a
    /// caller who gives up does not take the others' answers along.
    ///
    /// Not `async`: what it is given would stay in the future of every caller, which services box. Above a kilobyte
    /// glibc's allocator takes a lock for each.
    fn join(
        self: &Arc<Self>,
        callers: &Counted<'_>,
        until: Instant,
        add: impl FnOnce(&mut Batch, Caller),
    ) -> Receiver<Result<Value, Failure>> {
        let (caller, answer) = oneshot::channel();
        let (first, full) = {
            let mut queue = self.gathering.queue();
            queue.until = queue.until.filter(|earlier| *earlier < until).or(Some(until));
            add(&mut queue, caller);
            let most = (callers.before / 2).clamp(CROWD, MOST);
            (queue.len() == 1, (queue.len() >= most).then(|| take(&mut *queue)))
        };
        if let Some(batch) = full {
            spawn(send_together(Arc::clone(self), batch));
        } else if first {
            let turn = Turn(Some(Arc::clone(self)));
            spawn(async move {
                yield_now().await;
                if let Some((node, batch)) = turn.take() {
                    send_together(node, batch).await;
                }
            });
        }
        answer
    }
}

pub(super) async fn heard(answer: Receiver<Result<Value, Failure>>) -> Result<Value, Failure> {
    answer.await.unwrap_or_else(|_| Err(Failure::unanswered(connection_lost())))
}

async fn send_together(node: Arc<Node>, mut batch: Batch) {
    let Some(until) = batch.until else { return };
    let turn = if batch.len() < MANY { 0 } else { node.turn() };
    let leased = match node.lease(turn, until).await {
        Ok(leased) => leased,
        Err(failure) => return batch.fail(&failure),
    };
    batch.commands.retain(|outgoing| !outgoing.caller.is_closed());
    if batch.commands.is_empty() && batch.readers.iter().all(Caller::is_closed) {
        return leased.give_back();
    }
    match leased.send_all(batch.take_commands(), None, until).await {
        Ok(answers) => batch.answer(answers),
        Err(failure) => batch.fail(&failure),
    }
}

/// The right to take the queue. If it is never used, because its runtime ends, the queue is emptied all the same: who
/// waits in it learns of it, and who comes next is the first again.
struct Turn(Option<Arc<Node>>);

impl Turn {
    fn take(mut self) -> Option<(Arc<Node>, Batch)> {
        let node = self.0.take()?;
        let batch = take(&mut *node.gathering.queue());
        Some((node, batch))
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if let Some(node) = self.0.take() {
            take(&mut *node.gathering.queue());
        }
    }
}
