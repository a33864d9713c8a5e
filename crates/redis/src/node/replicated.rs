//! Writes that count once replicas have them: what a node holds for them, and what is made of the answers.
//!
//! Such a write is followed by `WAIT` in the same pipeline, for that is about what was written over its own connection. Until
//! it is answered the server says nothing else there; so these writes have a connection of their own, and take turns: while
//! one batch waits, the next gathers. However many callers write at the same time, the replicas are waited for once.

use std::sync::Arc;

use redis::{Pipeline, ServerError, Value, make_extension_error};
use tokio::sync::Mutex;

use crate::config::Replicas;
use crate::connection::link::Link;
use crate::error::UNREPLICATED;
use crate::node::queue::Gathering;

/// How the writes to one server go to its replicas.
pub(crate) struct Replicated {
    pub(super) replicas: Replicas,
    pub(super) link: Arc<Link>,
    pub(super) gathering: Gathering,
    /// Whose batch waits.
    pub(super) turn: Mutex<()>,
}

impl Replicated {
    pub(super) fn new(replicas: Replicas, link: Arc<Link>) -> Self {
        Self { replicas, link, gathering: Gathering::default(), turn: Mutex::default() }
    }

    /// Takes the answer of the `WAIT` off the end. If it falls short, each of these which has written is told: it was executed,
    /// and may be undone.
    pub(super) fn judge(&self, answers: &mut Vec<Value>, has_written: impl Fn(usize) -> bool) {
        let Some(why) = self.lack(answers.pop().unwrap_or(Value::Nil)) else { return };
        let written = answers.iter_mut().enumerate().filter(|(at, _)| has_written(*at)).map(|(_, answer)| answer);
        for answer in written.filter(|answer| !matches!(answer, Value::ServerError(_))) {
            let short = ServerError::try_from(make_extension_error(UNREPLICATED.to_owned(), Some(why.clone())));
            *answer = short.map_or(Value::Nil, Value::ServerError);
        }
    }

    /// What an answer to `WAIT` lacks.
    fn lack(&self, answer: Value) -> Option<String> {
        let Replicas { count, time } = self.replicas;
        match answer.extract_error() {
            Ok(Value::Int(had)) if had >= i64::from(count) => None,
            Ok(Value::Int(had)) => Some(format!("only {had} of {count} replicas had it within {time:?}")),
            Ok(_) => Some("what it answered to WAIT is no number".to_owned()),
            Err(error) => Some(format!("it did not WAIT for replicas ({})", error.code().unwrap_or("ERR"))),
        }
    }
}

/// Adds the question that comes behind writes.
pub(super) fn and_wait(pipeline: &mut Pipeline, replicas: Replicas) {
    let millis = u64::try_from(replicas.time.as_millis()).unwrap_or(u64::MAX);
    pipeline.cmd("WAIT").arg(replicas.count).arg(millis);
}
