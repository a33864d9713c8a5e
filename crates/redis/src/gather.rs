//! Commands of callers that wait for one server at the same time, sent together.
//!
//! A command that is sent by itself costs a place in the connection's queue, a timer, two wake-ups and its own share of
//! the system calls on both sides. Where many wait, that is more than the command itself; a pipeline pays it once.

use std::borrow::Cow;
use std::mem::take;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use redis::{Arg, Cmd, Pipeline, Value};
use tokio::sync::oneshot;
use tokio::task::yield_now;
use tokio::time::Instant;

use crate::node::Node;
use crate::pending::{Failure, connection_lost};

/// How many callers must be waiting for a command to go out with others. Below that the few system calls that it saves
/// don't make up for the wait.
const CROWD: usize = 8;

/// The most commands that go out together: the first of them waits for the answer to the last. No more than half of
/// what waits goes out at once, either, so that the server has the other half to do while answers are dealt out.
const MOST: usize = 64;

/// Longer commands go out by themselves: for them copying is what costs.
const LONGEST: usize = 4096;

/// The callers that wait for a server.
#[derive(Default)]
pub(crate) struct Gathering {
    callers: AtomicUsize,
    queue: Mutex<Vec<Waiting>>,
}

/// A command to be sent, and who wants its answer.
struct Waiting {
    command: Cmd,
    answer: Caller,
}

type Caller = oneshot::Sender<Result<Value, Failure>>;

impl Gathering {
    fn queue(&self) -> MutexGuard<'_, Vec<Waiting>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Node {
    /// Sends a command and waits for its answer, as [`send`](Self::send). If others do so at the same time, their
    /// commands go out together; each caller has its own answer, and dropping its future does not touch the others'.
    pub(crate) async fn send_with_others(
        self: &Arc<Self>,
        command: Cow<'_, Cmd>,
        until: Instant,
    ) -> Result<Value, Failure> {
        let callers = Counted::new(&self.gathering.callers);
        if callers.before < CROWD || length(&command) > LONGEST {
            // Boxed, so that the usual case under load does not carry the room for it.
            return Box::pin(self.send(&command, until)).await;
        }
        let (answer, answered) = oneshot::channel();
        let most = (callers.before / 2).clamp(CROWD, MOST);
        self.gather(Waiting { command: command.into_owned(), answer }, until, most);
        answered.await.unwrap_or_else(|_| Err(Failure::unanswered(connection_lost())))
    }

    /// The first to come begins a task, which takes all who have come until it gets its turn. It is a task, so that a
    /// caller who gives up does not take the others' answers along.
    fn gather(self: &Arc<Self>, waiting: Waiting, until: Instant, most: usize) {
        let mut queue = self.gathering.queue();
        queue.push(waiting);
        let full = (queue.len() >= most).then(|| take(&mut *queue));
        let first = queue.len() == 1;
        drop(queue);
        if let Some(batch) = full {
            tokio::spawn(send_together(Arc::clone(self), batch, until));
        } else if first {
            let turn = Turn(Some(Arc::clone(self)));
            tokio::spawn(async move {
                yield_now().await;
                if let Some((node, batch)) = turn.take() {
                    send_together(node, batch, until).await;
                }
            });
        }
    }
}

async fn send_together(node: Arc<Node>, batch: Vec<Waiting>, until: Instant) {
    let (callers, answers) = match node.lease(until).await {
        Ok(leased) => {
            let (commands, callers) = still_waiting(batch);
            if callers.is_empty() {
                return leased.give_back();
            }
            (callers, leased.send_each(&commands, until).await)
        }
        Err(failure) => (batch.into_iter().map(|waiting| waiting.answer).collect(), Err(failure)),
    };
    match answers {
        Ok(values) => {
            for (caller, value) in callers.into_iter().zip(values) {
                let _gone = caller.send(value.extract_error().map_err(Failure::answered));
            }
        }
        Err(failure) => {
            for caller in callers {
                let _gone = caller.send(Err(failure.clone()));
            }
        }
    }
}

/// What is to be sent and who waits for it, without those who have given up.
fn still_waiting(batch: Vec<Waiting>) -> (Pipeline, Vec<Caller>) {
    let (mut commands, mut callers) = (Pipeline::with_capacity(batch.len()), Vec::with_capacity(batch.len()));
    for Waiting { command, answer } in batch {
        if !answer.is_closed() {
            commands.add_command(command);
            callers.push(answer);
        }
    }
    (commands, callers)
}

/// The right to take the queue. If it is never used, because its runtime ends, the queue is emptied all the same: who
/// waits in it learns of it, and who comes next is the first again.
struct Turn(Option<Arc<Node>>);

impl Turn {
    fn take(mut self) -> Option<(Arc<Node>, Vec<Waiting>)> {
        let node = self.0.take()?;
        let batch = take(&mut *node.gathering.queue());
        Some((node, batch))
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if let Some(node) = self.0.take() {
            node.gathering.queue().clear();
        }
    }
}

fn length(command: &Cmd) -> usize {
    command.args_iter().map(|arg| if let Arg::Simple(bytes) = arg { bytes.len() } else { 0 }).sum()
}

/// Counts a caller for as long as it waits.
struct Counted<'a> {
    callers: &'a AtomicUsize,
    before: usize,
}

impl<'a> Counted<'a> {
    fn new(callers: &'a AtomicUsize) -> Self {
        Self { callers, before: callers.fetch_add(1, Ordering::Relaxed) }
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.callers.fetch_sub(1, Ordering::Relaxed);
    }
}
