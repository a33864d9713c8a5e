//! The one owner of retries: redirections, further tries, and what is said when they end.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use redis::Value;
use statehouse_core::policy::Backoff;
use statehouse_core::{Error, Result, span};
use tokio::time::{Instant, sleep, timeout_at};
use tracing::{Instrument as _, Span};

use crate::client::lost::Lost;
use crate::client::{Inner, RedisClient};
use crate::connection::flow::time_for;
use crate::counters;
use crate::error::{is_busy, is_too_large, may_retry};
use crate::failure::{Failure, Sent, timed_out};
use crate::idempotence::Idempotence;
use crate::node::Node;
use crate::request::Request;
use crate::topology::Target;

/// How often one try may be redirected by a cluster.
const REDIRECTIONS: u32 = 5;

/// The pauses between tries.
const FIRST_PAUSE: Duration = Duration::from_millis(25);
const LONGEST_PAUSE: Duration = Duration::from_millis(800);

/// How long after its limit an operation may find out what to say.
const OVERTIME: Duration = Duration::from_millis(20);

/// What is known of the tries of one request.
pub(crate) struct Tries {
    /// When the operation is over.
    pub(crate) deadline: Instant,
    /// Of a request that says until when it may run: those of its tries that may be executed, or may have been, though
    /// nobody said so.
    pub(crate) lost: Option<Box<Lost>>,
}

impl Tries {
    /// Nothing was tried yet.
    pub(crate) const fn new(deadline: Instant) -> Self {
        Self { deadline, lost: None }
    }

    /// After a try that failed and was to be over at `until`.
    pub(crate) fn note(&mut self, request: &Request<'_>, failure: &Failure, until: Instant) {
        if failure.sent == Sent::Unanswered && request.is_stamped() {
            self.lost.get_or_insert_default().add(failure, until);
        }
    }
}

impl RedisClient {
    /// When an operation that begins now is to be over, if it sends so many bytes.
    pub(crate) fn deadline(&self, size: usize) -> Instant {
        self.until.unwrap_or_else(|| Instant::now() + self.inner.timing.total + time_for(size))
    }

    /// Whether the caller has set when all is to be over.
    pub(crate) const fn has_own_limit(&self) -> bool {
        self.until.is_some()
    }

    /// Whether there is no time to send anything.
    pub(crate) fn is_over(&self) -> bool {
        self.until.is_some_and(|until| until <= Instant::now())
    }

    /// When a try that begins now is to be over, if it sends so many bytes.
    pub(crate) fn end_of_try(&self, deadline: Instant, size: usize) -> Instant {
        deadline.min(Instant::now() + self.inner.timing.operation + time_for(size))
    }

    /// Sends a request with redirections and retries, within the deadline.
    pub(crate) async fn execute(&self, request: &Request<'_>, idempotence: Idempotence) -> Result<Value> {
        self.execute_on(request, idempotence, Tries::new(self.deadline(request.size()))).await
    }

    /// As [`execute`](Self::execute), where something was tried already.
    pub(crate) async fn execute_on(
        &self,
        request: &Request<'_>,
        idempotence: Idempotence,
        tries: Tries,
    ) -> Result<Value> {
        if self.until.is_some() {
            return Box::pin(self.within_limit(request, idempotence, tries)).await;
        }
        if !span::is_listened_to() {
            return self.with_retries(request, idempotence, tries).await;
        }
        // Boxed only where somebody listens: instrumenting moves the whole future.
        Box::pin(self.with_retries(request, idempotence, tries)).instrument(span_of(request)).await
    }

    /// Where the caller has set the limit, an answer that is still coming does not put it off.
    async fn within_limit(&self, request: &Request<'_>, idempotence: Idempotence, tries: Tries) -> Result<Value> {
        let deadline = tries.deadline;
        let work = self.with_retries(request, idempotence, tries).instrument(span_of(request));
        timeout_at(deadline + OVERTIME, work).await.unwrap_or_else(|_| {
            let failure = Failure::unanswered(timed_out());
            let mut tries = Tries::new(deadline);
            tries.note(request, &failure, deadline);
            Err(self.given_up(failure, idempotence, &tries, true))
        })
    }

    /// The same for what is sent with others: where the caller has set the limit, it is over then.
    pub(crate) async fn in_time<T>(
        &self,
        deadline: Instant,
        work: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        if self.until.is_none() {
            return work.await;
        }
        timeout_at(deadline + OVERTIME, work).await.unwrap_or_else(|_| Err(Failure::unanswered(timed_out())))
    }

    async fn with_retries(&self, request: &Request<'_>, idempotence: Idempotence, tries: Tries) -> Result<Value> {
        let until = self.end_of_try(tries.deadline, request.size());
        let left = until.saturating_duration_since(Instant::now());
        let node = self.inner.topology.node_of(|| request.slot());
        let answer = match &node {
            // Its turn has come too late, behind others of its batch.
            Ok(_) if left.is_zero() => Err(Failure::not_sent(timed_out())),
            // Who has a deadline of its own does not wait for the answers to others. And those who go out together have the
            // time of the first that is over: who has little left is answered, or not, by itself.
            Ok(node) if self.until.is_none() && left >= self.inner.timing.operation / 2 => {
                request.send_first(node, until).await
            }
            Ok(node) => Box::pin(request.send(&Target::of(node), until)).await,
            Err(failure) => Err(failure.clone()),
        };
        match answer {
            Ok(value) if tries.lost.is_none() => {
                self.inner.budget.earn();
                Ok(value)
            }
            // Boxed, so that the usual case does not carry the room for it.
            answer => Box::pin(self.go_on(request, idempotence, tries, node.ok(), until, answer)).await,
        }
    }

    /// After the first try: follows redirections, and tries again while that makes sense. Of a request that says until when
    /// it may run, it returns when no try can be executed any more.
    async fn go_on(
        &self,
        request: &Request<'_>,
        idempotence: Idempotence,
        mut tries: Tries,
        node: Option<Cow<'_, Arc<Node>>>,
        until: Instant,
        mut answer: Result<Value, Failure>,
    ) -> Result<Value> {
        if let (Err(failure), Some(node)) = (&answer, node) {
            answer = self.follow(request, idempotence, until, node, failure.clone()).await;
        }
        let answer = self.try_on(request, idempotence, &mut tries, until, answer).await;
        if let Some(lost) = &tries.lost {
            self.settle(lost).await;
        }
        answer.map_err(|(failure, exhausted)| self.given_up(failure, idempotence, &tries, exhausted))
    }

    /// The answer, or the last failure and whether there was no time or budget to try again.
    async fn try_on(
        &self,
        request: &Request<'_>,
        idempotence: Idempotence,
        tries: &mut Tries,
        mut until: Instant,
        mut answer: Result<Value, Failure>,
    ) -> Result<Value, (Failure, bool)> {
        let Inner { timing, budget, .. } = &*self.inner;
        let mut backoff = Backoff::new(FIRST_PAUSE, LONGEST_PAUSE);
        let (mut count, mut told) = (0, None);
        loop {
            let failure = match answer {
                Ok(value) => {
                    budget.earn();
                    return Ok(value);
                }
                Err(failure) => failure,
            };
            tries.note(request, &failure, until);
            let may_repeat = may_retry(&failure, idempotence) && request.may_repeat(&failure, idempotence);
            if !may_repeat && !self.may_ask_another(request, &failure) {
                return Err((failure, false));
            }
            count += 1;
            let pause = backoff.pause();
            let gives_up = count >= timing.tries && !is_busy(&failure.error);
            if gives_up || Instant::now() + pause >= tries.deadline || !budget.spend() {
                return Err((more_telling(told, failure, request, idempotence), true));
            }
            told = (failure.sent == Sent::Answered).then(|| failure.clone());
            tracing::debug!(name: "redis.retry", count, kind = ?failure.error.kind(), sent = ?failure.sent, "trying a Redis request again");
            counters::retry(reason(&failure));
            sleep(pause).await;
            until = self.end_of_try(tries.deadline, request.size());
            answer = self.try_again(request, idempotence, until).await;
        }
    }

    /// Whether any server may answer, and only the one whose turn it was is away.
    fn may_ask_another(&self, request: &Request<'_>, failure: &Failure) -> bool {
        failure.sent == Sent::Away && request.slot().is_none() && self.inner.topology.has_another()
    }

    /// The error of a request that is not tried again.
    pub(crate) fn given_up(&self, failure: Failure, idempotence: Idempotence, tries: &Tries, exhausted: bool) -> Error {
        match tries.lost {
            None => self.error(&failure, idempotence, exhausted),
            // It was executed, and does no harm however often: only what it answered cannot be had.
            Some(_) if idempotence == Idempotence::Idempotent && is_too_large(&failure.error) => {
                self.error(&failure, idempotence, exhausted)
            }
            // Whatever the last of them was answered.
            Some(_) => self.error(&Failure::unanswered(failure.error), Idempotence::NotIdempotent, exhausted),
        }
    }

    async fn try_again(
        &self,
        request: &Request<'_>,
        idempotence: Idempotence,
        until: Instant,
    ) -> Result<Value, Failure> {
        let target = Target { node: self.inner.topology.node_of(|| request.slot())?, asking: false };
        match request.send(&target, until).await {
            Err(failure) => self.follow(request, idempotence, until, target.node, failure).await,
            answer => answer,
        }
    }

    /// Sends to where a cluster redirects to, if that is what the failure says.
    async fn follow(
        &self,
        request: &Request<'_>,
        idempotence: Idempotence,
        until: Instant,
        mut node: Cow<'_, Arc<Node>>,
        mut failure: Failure,
    ) -> Result<Value, Failure> {
        for _ in 0..REDIRECTIONS {
            let redirection = self.inner.topology.learn(&node, &failure);
            let next = redirection.filter(|next| request.may_follow(next, idempotence) && Instant::now() < until);
            let Some(next) = next else { return Err(failure) };
            match request.send(&next, until).await {
                Err(again) => (failure, node) = (again, next.node),
                answer => return answer,
            }
        }
        Err(failure)
    }
}

/// What a server has said of the try before, where the time for the last was too short for an answer, and no harm is done if
/// it was executed: that it is busy, or loads.
fn more_telling(told: Option<Failure>, last: Failure, request: &Request<'_>, idempotence: Idempotence) -> Failure {
    let is_harmless = idempotence == Idempotence::Idempotent && !request.is_stamped();
    told.filter(|_| is_harmless && last.sent == Sent::Unanswered).unwrap_or(last)
}

/// Why a request is sent again: a few words, for metrics.
fn reason(failure: &Failure) -> &str {
    match failure.sent {
        Sent::No => "not_sent",
        Sent::Unanswered => "unanswered",
        // Of those that pass, there are few.
        Sent::Answered => failure.code().unwrap_or("answered"),
        Sent::Away => "away",
    }
}

fn span_of(request: &Request<'_>) -> Span {
    span::of_request("redis.request", "redis", request.name())
}

#[cfg(test)]
mod tests;
