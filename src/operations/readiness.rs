//! Whether requests are welcome, and why not.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use serde::Serialize;
use statehouse_core::Health;
use tokio::time::timeout;

use super::dependency::Dependency;
use super::startup;
use crate::health::Lasting;
use crate::lifecycle::{Lifecycle, Progress, Step};
use crate::services::Services;
use crate::standing::{Standing, Verdict};
use crate::watched::Seen;

/// Whoever asks more often gets what is known: probes of many load balancers are no load for the services.
const FRESH_FOR: Duration = Duration::from_secs(1);
/// The longest that a probe waits for the services. Probers give up after a second, and a service that does not matter must
/// not make this process look dead: what answers later stands in the next answer.
const WAIT: Duration = Duration::from_millis(500);

/// Whether requests can be answered without it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Need {
    Hard,
    Soft,
}

/// What a process depends on, and how that was when it was last looked at.
#[derive(Debug)]
pub(super) struct Readiness {
    services: Services,
    dependencies: Vec<(Need, Dependency)>,
    /// Held while everything is looked at.
    looked: tokio::sync::Mutex<Option<Instant>>,
    found: Mutex<BTreeMap<String, Found>>,
}

#[derive(Debug)]
struct Found {
    need: Need,
    health: Health,
    seen: Seen,
}

/// What `/started` answers.
#[derive(Debug, Serialize)]
pub(super) struct Started {
    status: &'static str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    reasons: Vec<String>,
    startup: BTreeMap<String, TaskAnswer>,
}

#[derive(Debug, Serialize)]
struct TaskAnswer {
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    done: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    total: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    for_seconds: u64,
}

/// What `/ready` answers.
#[derive(Debug, Serialize)]
pub(super) struct Ready {
    status: &'static str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    reasons: Vec<String>,
    /// What is lost, and why it answers requests all the same.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    degraded: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fleet: Option<FleetAnswer>,
    dependencies: BTreeMap<String, DependencyAnswer>,
}

/// The other replicas, as far as they are known.
#[derive(Debug, Serialize)]
struct FleetAnswer {
    members: Option<usize>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    differences: Vec<String>,
}

/// A dependency as JSON: its health, with what it means here.
#[derive(Debug, Serialize)]
struct DependencyAnswer {
    need: Need,
    #[serde(flatten)]
    health: serde_json::Value,
}

impl Started {
    pub(super) fn of(lifecycle: &Lifecycle) -> Self {
        let tasks = lifecycle.tasks();
        let reasons: Vec<_> = unfinished(lifecycle);
        let startup = tasks.iter().map(|task| (task.name.clone(), TaskAnswer::of(task.progress()))).collect();
        Self { status: if reasons.is_empty() { "started" } else { "starting" }, reasons, startup }
    }

    pub(super) fn is_yes(&self) -> bool {
        self.reasons.is_empty()
    }
}

/// What is not done yet of what has to be done first.
fn unfinished(lifecycle: &Lifecycle) -> Vec<String> {
    let tasks = lifecycle.tasks().into_iter().map(|task| (task.name.clone(), task.progress()));
    let waiting = tasks.filter(|(_, progress)| progress.step != Step::Finished);
    waiting.map(|(name, progress)| startup::describe(&name, &progress)).collect()
}

impl TaskAnswer {
    fn of(progress: Progress) -> Self {
        let Progress { step, done, total, since } = progress;
        let known = (total > 0).then_some((done, total));
        let (state, error) = match step {
            Step::Waiting => ("waiting", None),
            Step::Running => ("running", None),
            Step::Failed(why) => ("failed", Some(why)),
            Step::Finished => ("finished", None),
            Step::Abandoned(why) => ("abandoned", why),
        };
        let for_seconds = since.elapsed().as_secs();
        Self { state, done: known.map(|(done, _)| done), total: known.map(|(_, total)| total), error, for_seconds }
    }
}

impl Ready {
    pub(super) fn is_yes(&self) -> bool {
        self.reasons.is_empty()
    }
}

impl Readiness {
    pub(super) fn new(services: Services, dependencies: Vec<(Need, Dependency)>) -> Self {
        Self { services, dependencies, looked: tokio::sync::Mutex::default(), found: Mutex::default() }
    }

    /// Looks at everything, for as long as probers have patience, and says what is known then.
    pub(super) async fn ask(self: &Arc<Self>) -> Ready {
        let looking = Arc::clone(self);
        // In a task of its own: it goes on when nobody waits any more.
        let looking = tokio::spawn(async move { looking.look().await });
        // Who is late is in the next answer.
        let _late = timeout(WAIT, looking).await;
        self.answer()
    }

    pub(super) async fn look(&self) {
        let mut looked = self.looked.lock().await;
        if looked.is_some_and(|at| at.elapsed() < FRESH_FOR) {
            return;
        }
        join_all(self.all().into_iter().map(|(need, dependency)| async move {
            if let Some((health, seen)) = dependency.look(&self.services).await {
                self.take_down(dependency.name(), Found { need, health, seen });
            }
        }))
        .await;
        *looked = Some(Instant::now());
    }

    /// What was named, and what else is used, which is soft.
    fn all(&self) -> Vec<(Need, Dependency)> {
        let named = |name: &str| self.dependencies.iter().any(|(_, dependency)| dependency.name() == name);
        let used = self.services.inner().wanted().map(|row| row.service());
        let others = used.filter(|service| !named(service.as_str())).map(|service| (Need::Soft, service.into()));
        self.dependencies.iter().cloned().chain(others).collect()
    }

    /// One line for each change that matters.
    fn take_down(&self, name: &str, found: Found) {
        let mut all = self.found();
        let was_lost = all.get(name).is_some_and(|before| before.seen.is_lost);
        if found.need == Need::Hard && found.seen.is_lost != was_lost {
            match &found.health.error {
                Some(error) if found.seen.is_lost => {
                    tracing::warn!(name: "ready.lost", dependency = name, %error, "a dependency is lost that no request can be answered without");
                }
                _ => tracing::info!(name: "ready.back", dependency = name, "a dependency is back"),
            }
        }
        all.insert(name.to_owned(), found);
    }

    fn answer(&self) -> Ready {
        let (inner, found) = (self.services.inner(), self.found());
        let lifecycle = &inner.lifecycle;
        let mut reasons = Vec::new();
        if inner.is_shut_down() {
            reasons.push("the services were shut down".to_owned());
        } else if let Some(since) = lifecycle.draining() {
            reasons.push(format!(
                "stopping for {} s: requests that are under way are finished",
                since.elapsed().as_secs()
            ));
        }
        reasons.extend(unfinished(lifecycle));
        let (mut degraded, standing) = (Vec::new(), lifecycle.standing());
        reasons.extend(standing.iter().filter_map(|standing| standing.behind.clone()));
        for name in self.hard() {
            match found.get(name) {
                None => reasons.push(format!("{name}: has not answered yet")),
                Some(found) if found.seen.is_lost => match found.verdict(name, standing.as_ref()) {
                    Verdict::Out(reason) => reasons.push(reason),
                    Verdict::In(reason) => degraded.push(reason),
                },
                Some(_) => {}
            }
        }
        let dependencies = found.iter().map(|(name, found)| (name.clone(), found.answer())).collect();
        let fleet = standing.map(|Standing { members, differences, .. }| FleetAnswer { members, differences });
        let status = if reasons.is_empty() { "ready" } else { "not ready" };
        Ready { status, reasons, degraded, fleet, dependencies }
    }

    fn hard(&self) -> impl Iterator<Item = &str> {
        let hard = self.dependencies.iter().filter(|(need, _)| *need == Need::Hard);
        hard.map(|(_, dependency)| dependency.name())
    }

    fn found(&self) -> MutexGuard<'_, BTreeMap<String, Found>> {
        // Nothing panics while it is held.
        self.found.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Found {
    fn lasting(&self) -> u64 {
        self.seen.since.elapsed().as_secs()
    }

    fn why_lost(&self, name: &str) -> String {
        match &self.health.error {
            Some(error) => format!("{name}: {} for {} s: {error}", self.health.status, self.lasting()),
            None => format!("{name}: up for {} s, which is not long enough", self.lasting()),
        }
    }

    /// Whether it answers requests without it, which the others have a say in.
    fn verdict(&self, name: &str, standing: Option<&Standing>) -> Verdict {
        let lost = self.why_lost(name);
        let stays = |why: &str| Verdict::In(format!("{lost}; it stays ready: {why}"));
        match standing.map(|standing| standing.verdicts.get(name)) {
            None => Verdict::Out(lost),
            Some(None) => stays("the other replicas are not known yet"),
            Some(Some(Verdict::In(why))) => stays(why),
            Some(Some(Verdict::Out(why))) => Verdict::Out(format!("{lost}; {why}")),
        }
    }

    fn answer(&self) -> DependencyAnswer {
        let lasting = Lasting { health: &self.health, for_seconds: self.lasting() };
        // A health is a map of texts and numbers.
        DependencyAnswer { need: self.need, health: serde_json::to_value(lasting).unwrap_or_default() }
    }
}

/// Something that is lost and that requests cannot be answered without.
#[cfg(feature = "coord")]
#[derive(Clone, Debug)]
pub(super) struct Lost {
    pub(super) name: String,
    /// Since when it is down.
    pub(super) since: Instant,
}

/// What the others are told.
#[cfg(feature = "coord")]
impl Readiness {
    pub(super) fn lost(&self) -> Vec<Lost> {
        let found = self.found();
        let lost = self.hard().filter_map(|name| Some((name, found.get(name)?.seen)));
        let lost = lost.filter(|(_, seen)| seen.is_lost);
        lost.map(|(name, seen)| Lost { name: name.to_owned(), since: seen.turned }).collect()
    }

    /// What no request can be answered without, and is down or is not back yet.
    pub(super) fn down(&self) -> Vec<String> {
        let found = self.found();
        let is_down = |found: &Found| found.seen.is_lost || found.health.status == statehouse_core::HealthStatus::Down;
        self.hard().filter(|name| found.get(*name).is_some_and(is_down)).map(ToOwned::to_owned).collect()
    }

    /// Of each dependency whether it answered the last look.
    pub(super) fn reaches(&self) -> BTreeMap<String, bool> {
        let is_reached = |found: &Found| found.health.status != statehouse_core::HealthStatus::Down;
        self.found().iter().map(|(name, found)| (name.clone(), is_reached(found))).collect()
    }

    /// Why it does not answer requests, in words that stay the same as long as that does.
    pub(super) fn why_not(&self) -> Vec<String> {
        let (lifecycle, found) = (&self.services.inner().lifecycle, self.found());
        let unfinished = lifecycle.tasks().into_iter().filter(|task| task.progress().step != Step::Finished);
        let standing = lifecycle.standing();
        let out = self.hard().filter_map(|name| match found.get(name) {
            None => Some(format!("{name}: has not answered yet")),
            Some(found) if !found.seen.is_lost => None,
            Some(found) => match found.verdict(name, standing.as_ref()) {
                Verdict::In(_) => None,
                Verdict::Out(_) => Some(match &found.health.error {
                    Some(error) => format!("{name}: {}: {error}", found.health.status),
                    None => format!("{name}: {}", found.health.status),
                }),
            },
        });
        let stopping = lifecycle.draining().map(|_| "it stops".to_owned());
        let begun = unfinished.map(|task| format!("{}: not finished", task.name));
        let behind = standing.iter().filter_map(|standing| standing.behind.clone());
        stopping.into_iter().chain(begun).chain(behind).chain(out).collect()
    }

    pub(super) fn state(&self) -> statehouse_coord::MemberState {
        use statehouse_coord::MemberState;
        let (inner, answer) = (self.services.inner(), self.answer());
        if inner.is_shut_down() || inner.lifecycle.draining().is_some() {
            MemberState::Stopping
        } else if !unfinished(&inner.lifecycle).is_empty() {
            MemberState::Starting
        } else if answer.is_yes() {
            MemberState::Ready
        } else {
            MemberState::Unready
        }
    }
}
