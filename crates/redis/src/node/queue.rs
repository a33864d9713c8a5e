//! What waits for its turn to be sent, and who wants the answers.

use std::mem::take;

use redis::{Cmd, Value};
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::failure::Failure;
use crate::sync::{AtomicUsize, Mutex, MutexGuard, Ordering, PoisonError};

/// The callers that wait for a server.
#[derive(Default)]
pub(crate) struct Gathering {
    pub(super) callers: AtomicUsize,
    queue: Mutex<Batch>,
}

impl Gathering {
    pub(super) fn queue(&self) -> MutexGuard<'_, Batch> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is to be sent as one, and who wants the answers.
#[derive(Default)]
pub(super) struct Batch {
    /// When the first of the callers gives up: all are told by then, and nothing runs later.
    pub(super) until: Option<Instant>,
    pub(super) commands: Vec<Outgoing>,
    /// An `MGET` of what `readers` want, if there are any.
    pub(super) values: Cmd,
    pub(super) readers: Vec<Caller>,
}

pub(super) struct Outgoing {
    pub(super) command: Cmd,
    /// Whether it carries the latest time at which it may run.
    pub(super) stamped: bool,
    pub(super) caller: Caller,
}

pub(super) type Caller = oneshot::Sender<Result<Value, Failure>>;

impl Batch {
    pub(super) fn len(&self) -> usize {
        self.commands.len() + self.readers.len()
    }

    pub(super) fn take_commands(&mut self) -> Vec<(Cmd, bool)> {
        let mut commands = Vec::with_capacity(self.commands.len() + 1);
        commands.extend(self.commands.iter_mut().map(|outgoing| (take(&mut outgoing.command), outgoing.stamped)));
        if !self.readers.is_empty() {
            commands.push((take(&mut self.values), false));
        }
        commands
    }

    pub(super) fn answer(self, mut answers: Vec<Value>) {
        if !self.readers.is_empty() {
            answer_readers(self.readers, answers.pop());
        }
        for (outgoing, answer) in self.commands.into_iter().zip(answers) {
            let _gone = outgoing.caller.send(answer.extract_error().map_err(Failure::answered));
        }
    }

    pub(super) fn fail(self, failure: &Failure) {
        let callers = self.commands.into_iter().map(|outgoing| outgoing.caller);
        fail(callers.chain(self.readers), failure);
    }
}

fn fail(callers: impl Iterator<Item = Caller>, failure: &Failure) {
    for caller in callers {
        let _gone = caller.send(Err(failure.clone()));
    }
}

/// Whom the answer says nothing is told that it was lost, as is everybody whose caller is dropped.
fn answer_readers(readers: Vec<Caller>, answer: Option<Value>) {
    match answer.map(Value::extract_error) {
        Some(Ok(Value::Array(values))) => {
            for (reader, value) in readers.into_iter().zip(values) {
                let _gone = reader.send(Ok(value));
            }
        }
        Some(Err(error)) => fail(readers.into_iter(), &Failure::answered(error)),
        _ => {}
    }
}

/// Counts a caller for as long as it waits.
pub(super) struct Counted<'a> {
    callers: &'a AtomicUsize,
    pub(super) before: usize,
}

impl<'a> Counted<'a> {
    pub(super) fn new(callers: &'a AtomicUsize) -> Self {
        Self { callers, before: callers.fetch_add(1, Ordering::Relaxed) }
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.callers.fetch_sub(1, Ordering::Relaxed);
    }
}
