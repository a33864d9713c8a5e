//! One verb under one fault.

use std::fmt::Debug;
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::task::Poll;
use std::time::{Duration, Instant};

use super::fault::{NetworkFault, PATIENT};
use super::subject::{Effect, NetworkSubject, RedisTopology};
use super::way::Way;

/// Beyond a deadline: the machine is busy with the other cells.
const SLACK: Duration = Duration::from_secs(10);
/// What health takes, by its own clock, is a second.
const HEALTH: Duration = Duration::from_secs(3);
/// After how long a verb works once all is well.
const HEALED: Duration = Duration::from_secs(60);

/// What became of a verb, and what is wrong about that.
struct Verdict {
    line: String,
    wrong: Vec<String>,
}

impl Verdict {
    fn check(&mut self, good: bool, otherwise: impl FnOnce() -> String) {
        if !good {
            self.wrong.push(otherwise());
        }
    }
}

/// Runs it: a line of the table, or the same with what is wrong.
pub(super) async fn run<S: NetworkSubject>(
    topology: RedisTopology,
    fault: NetworkFault,
    verb: S::Verb,
) -> Result<String, String> {
    let large = S::is_large(verb);
    let named = |why| format!("{fault:?} {verb:?}: before the fault: {why}");
    let way = Way::new(topology, fault).await.map_err(|error| named(error.to_string()))?;
    let url = format!("{}{}", way.url, fault.parameters(large));
    let around = format!("{}{PATIENT}", way.around);
    let subject = open::<S>(&url, &around).await.map_err(named)?;
    // Its connections are there, and the server knows its scripts.
    works(&subject, verb).await.map_err(named)?;
    let scene = subject.scene(verb).await;
    way.begin(fault);
    let (outcome, mut verdict) = under_fault(&subject, fault, verb, &scene).await;
    way.heal().await;
    if let Err(why) = works(&subject, verb).await {
        verdict.wrong.push(format!("not healed: {why}"));
    }
    let done = subject.is_done(verb, &scene).await;
    verdict.check(outcome != Ok(()) || done != Some(false), || "was done, and is not".to_owned());
    let refused = S::effect(verb) == Effect::Writes && outcome.is_err_and(|kind| kind != "outcome_unknown");
    verdict.check(!refused || done != Some(true), || "was not done, and is".to_owned());
    if verdict.wrong.is_empty() {
        Ok(verdict.line)
    } else {
        Err(format!("{} {}", verdict.line, verdict.wrong.join("; ")))
    }
}

/// Opens a client, for which a busy machine may have no time at first.
async fn open<S: NetworkSubject>(url: &str, around: &str) -> Result<S, String> {
    let begun = Instant::now();
    loop {
        match S::open(url, around).await {
            Err(_) if begun.elapsed() < HEALED => tokio::time::sleep(Duration::from_millis(20)).await,
            opened => return opened,
        }
    }
}

/// Waits until the verb works.
async fn works<S: NetworkSubject>(subject: &S, verb: S::Verb) -> Result<(), String> {
    let begun = Instant::now();
    loop {
        match once(subject, verb).await {
            Err(_) if begun.elapsed() < HEALED => tokio::time::sleep(Duration::from_millis(20)).await,
            tried => return tried,
        }
    }
}

/// Runs the verb on a scene of its own, while all is well: or nearly, since who sets it may find the server away for a moment yet.
async fn once<S: NetworkSubject>(subject: &S, verb: S::Verb) -> Result<(), String> {
    let scene = unless_it_panics(subject.scene(verb)).await.ok_or("the scene could not be set")?;
    subject.run(verb, &scene).await?;
    match subject.is_done(verb, &scene).await {
        Some(false) => Err("was done, and is not".to_owned()),
        _ => Ok(()),
    }
}

/// The verb, and at the same time the question how the service is.
async fn under_fault<S: NetworkSubject>(
    subject: &S,
    fault: NetworkFault,
    verb: S::Verb,
    scene: &S::Scene,
) -> (Result<(), &'static str>, Verdict) {
    let large = S::is_large(verb);
    let ((outcome, took), (up, asked)) = tokio::join!(timed(subject.run(verb, scene)), timed_fairly(subject.is_up()));
    let word = outcome.err().unwrap_or("ok");
    let allowed = fault.allows(S::effect(verb), large);
    let limit = Duration::from_secs(fault.deadline(large, S::deadline(verb)));
    let line = row([&fault, &verb], word, took, limit, up, asked);
    let mut verdict = Verdict { line, wrong: Vec::new() };
    verdict.check(allowed.contains(&word), || format!("allowed: {allowed:?}"));
    verdict.check(took < limit + SLACK, || "took too long".to_owned());
    verdict.check(asked < HEALTH, || "health took too long".to_owned());
    verdict.check(!up || !fault.is_silence(), || "is not up".to_owned());
    (outcome, verdict)
}

async fn unless_it_panics<T>(work: impl Future<Output = T>) -> Option<T> {
    let mut work = pin!(work);
    poll_fn(|cx| match catch_unwind(AssertUnwindSafe(|| work.as_mut().poll(cx))) {
        Ok(polled) => polled.map(Some),
        Err(_) => Poll::Ready(None),
    })
    .await
}

/// How long work took that has a second, less what the machine has kept this process waiting in that: no clock of it was in time then.
pub async fn timed_fairly<T>(work: impl Future<Output = T>) -> (T, Duration) {
    let second = Duration::from_secs(1);
    let ((answer, took), ((), stood)) = tokio::join!(timed(work), timed(tokio::time::sleep(second)));
    (answer, took.saturating_sub(stood.saturating_sub(second)))
}

async fn timed<T>(work: impl Future<Output = T>) -> (T, Duration) {
    let begun = Instant::now();
    let answer = work.await;
    (answer, begun.elapsed())
}

/// A line of the table.
fn row(
    [fault, verb]: [&dyn Debug; 2],
    outcome: &str,
    took: Duration,
    limit: Duration,
    up: bool,
    asked: Duration,
) -> String {
    // What pads text does not pad what is derived.
    let [fault, verb] = [fault, verb].map(|name| format!("{name:?}"));
    format!("{fault:<18}{verb:<18}{outcome:<16}{took:<8.1?}{limit:<6.0?}{up:<6}{asked:.1?}")
}
