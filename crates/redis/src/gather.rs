//! Commands of callers that wait for one server at the same time, sent together.
//!
//! A command that is sent by itself costs a place in the connection's queue, a timer, two wake-ups and its own share of
//! the system calls on both sides. Where many wait, that is more than the command itself; a pipeline pays it once.

use std::borrow::Cow;
use std::mem::take;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use redis::{Arg, Cmd, Pipeline, Value, cmd};
use tokio::sync::oneshot;
use tokio::task::yield_now;
use tokio::time::Instant;

use crate::node::Node;
use crate::pending::{Failure, connection_lost};

/// How many callers must be waiting for a command to go out with others. Below that the few system calls that it saves
/// don't make up for the wait.
const CROWD: usize = 8;

/// The most commands that go out together: the first of them waits for the answer to the last. Of a large crowd no more
/// than half goes out at once, either, so that the server has the other half to do while answers are dealt out.
const MOST: usize = 64;

/// Longer commands go out by themselves: for them copying is what costs.
const LONGEST: usize = 4096;

/// The callers that wait for a server.
#[derive(Default)]
pub(crate) struct Gathering {
    callers: AtomicUsize,
    queue: Mutex<Vec<Waiting>>,
}

/// What is to be sent, and who wants its answer.
struct Waiting {
    asked: Asked,
    answer: Caller,
}

enum Asked {
    Command(Cmd),
    /// The value of this key.
    Value(Vec<u8>),
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
        self.join(Asked::Command(command.into_owned()), &callers, until).await
    }

    /// Sends [`get`] and waits for its answer. What others read at the same time goes out in the same `MGET`: with
    /// hundreds of readers each has its value a fifth sooner.
    pub(crate) async fn get_with_others(self: &Arc<Self>, key: &[u8], until: Instant) -> Result<Value, Failure> {
        let callers = Counted::new(&self.gathering.callers);
        if callers.before < CROWD {
            return Box::pin(self.send(&get(key), until)).await;
        }
        self.join(Asked::Value(key.to_vec()), &callers, until).await
    }

    async fn join(self: &Arc<Self>, asked: Asked, callers: &Counted<'_>, until: Instant) -> Result<Value, Failure> {
        let (answer, answered) = oneshot::channel();
        self.gather(Waiting { asked, answer }, until, (callers.before / 2).clamp(CROWD, MOST));
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

async fn send_together(node: Arc<Node>, waiting: Vec<Waiting>, until: Instant) {
    let leased = match node.lease(until).await {
        Ok(leased) => leased,
        Err(failure) => return fail(waiting.into_iter().map(|waiting| waiting.answer), &failure),
    };
    let batch = Batch::new(waiting.into_iter().filter(|waiting| !waiting.answer.is_closed()));
    if batch.commands.is_empty() {
        return leased.give_back();
    }
    match leased.send_each(&batch.commands, until).await {
        Ok(answers) => batch.answer(answers),
        Err(failure) => fail(batch.callers.into_iter().chain(batch.readers), &failure),
    }
}

fn fail(callers: impl Iterator<Item = Caller>, failure: &Failure) {
    for caller in callers {
        let _gone = caller.send(Err(failure.clone()));
    }
}

/// What is sent as one.
struct Batch {
    /// One for each of `callers`, and then one `MGET` for all `readers`, if there are any.
    commands: Pipeline,
    callers: Vec<Caller>,
    readers: Vec<Caller>,
}

impl Batch {
    fn new(waiting: impl Iterator<Item = Waiting>) -> Self {
        let (mut commands, mut callers, mut readers) = (Pipeline::new(), Vec::new(), Vec::new());
        let mut values = cmd("MGET");
        for Waiting { asked, answer } in waiting {
            match asked {
                Asked::Command(command) => {
                    commands.add_command(command);
                    callers.push(answer);
                }
                Asked::Value(key) => {
                    values.arg(key);
                    readers.push(answer);
                }
            }
        }
        if !readers.is_empty() {
            commands.add_command(values);
        }
        Self { commands, callers, readers }
    }

    fn answer(self, mut answers: Vec<Value>) {
        if !self.readers.is_empty() {
            answer_readers(self.readers, answers.pop());
        }
        for (caller, answer) in self.callers.into_iter().zip(answers) {
            let _gone = caller.send(answer.extract_error().map_err(Failure::answered));
        }
    }
}

/// Gives each reader what it had been told alone: a list of one. Whom the answer says nothing has lost its own.
fn answer_readers(readers: Vec<Caller>, answer: Option<Value>) {
    match answer.map(Value::extract_error) {
        Some(Ok(Value::Array(values))) => {
            for (reader, value) in readers.into_iter().zip(values) {
                let _gone = reader.send(Ok(Value::Array(vec![value])));
            }
        }
        Some(Err(error)) => fail(readers.into_iter(), &Failure::answered(error)),
        _ => {}
    }
}

/// The command that reads one value, and answers with a list of one: unlike `GET` it takes a key of another type for
/// absent, as where many are read.
pub(crate) fn get(key: &[u8]) -> Cmd {
    let mut command = cmd("MGET");
    command.arg(key);
    command
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
