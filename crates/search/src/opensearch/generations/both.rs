//! A write where there are two generations, by one of many processes.
//!
//! The live one decides what becomes of an operation without a version, and says which version it has: the other one is told
//! that, and takes it unless it knows something newer. So whatever order they are told in, both end with the newest. The elder
//! one, which remembers deletes from before there were two, decides what is too late of what has a version.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use statehouse_core::{Error, ErrorKind, Fence, Result};
use tokio::time::Instant;

use super::super::bulk::{Rule, Run, To};
use super::super::error::{self, BACKEND};
use super::super::found::Known;
use super::super::marks::Marks;
use super::super::versions::present;
use super::ground::Ground;
use super::set::{Beside, told};
use super::view::View;
use crate::outcome::of_all;
use crate::work::{Stop, away};
use crate::{DocumentId, Operation, Outcome, Refresh};

/// What became of the operations of a bulk.
#[derive(Debug, Default)]
pub(crate) struct Written {
    pub(crate) outcomes: Vec<Option<Outcome>>,
    /// Those that a generation did not take in, for what it is for has changed.
    pub(crate) gone: HashSet<usize>,
    /// What was applied to one generation of two.
    pub(crate) applied: HashMap<usize, Outcome>,
    /// What the elder one took, and the live one was not sent yet.
    pub(crate) accepted: HashMap<usize, Outcome>,
    /// Whether the server may have shown less than was asked for.
    pub(crate) unseen: bool,
}

/// A bulk for two generations.
pub(crate) struct Both<'a> {
    pub(crate) ground: &'a Ground,
    pub(crate) view: Arc<View>,
    /// That of the handle.
    pub(crate) home: u32,
    pub(crate) fence: Option<(&'a Marks, &'a Fence)>,
    pub(crate) is_long: bool,
    pub(crate) deadline: Instant,
    /// Those that one generation took when there were others. Who made another one live may have found them in that one only, and
    /// have deleted them there in their own version.
    pub(crate) again: Arc<HashSet<usize>>,
}

/// What the other generation is to be told, for the operations at these places.
#[derive(Default)]
struct Told {
    places: Vec<usize>,
    operations: Vec<Operation>,
    /// Those that had no version of their own.
    unversioned: HashSet<usize>,
}

impl Both<'_> {
    pub(super) fn left(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }

    pub(super) fn beside(&self) -> Option<(&Known, Beside)> {
        let beside = self.view.beside.as_ref()?;
        Some((beside, self.view.beside_of(beside)?))
    }

    /// Whether what the other one lacks is found before it becomes live: what is copied to it is compared with the live one.
    fn may_lack(&self) -> bool {
        self.beside().is_some_and(|(known, state)| state == Beside::Copied && known.number != self.home)
    }

    /// Writes what is not known to be refused yet.
    pub(crate) async fn bulk(
        &self,
        operations: &Arc<Vec<Operation>>,
        mut outcomes: Vec<Option<Outcome>>,
    ) -> Result<Written> {
        for (place, refused) in self.refusals(operations).await?.into_iter().enumerate() {
            outcomes[place] = outcomes[place].take().or(refused);
        }
        let mut written = Written { outcomes, unseen: true, ..Written::default() };
        for group in groups(operations, &written.outcomes) {
            if let Err(error) = self.group(operations, group.clone(), &mut written).await {
                if self.is_moved(&error).await {
                    written.is_lost(&group, &error);
                    continue;
                }
                if written.is_nothing() {
                    return Err(error);
                }
                written.fail(group, &error);
            }
        }
        Ok(written)
    }

    /// Whether something was not where it was looked for because there are other generations by now.
    async fn is_moved(&self, error: &Error) -> bool {
        let left = self.left().max(Duration::from_millis(1));
        error::is_gone(error)
            && self.ground.view(Some(left)).await.is_ok_and(|now| now.is_some_and(|now| now.set != self.view.set))
    }

    /// Which of the operations at these places were taken before, by their places among those.
    fn again(&self, places: &[usize]) -> Arc<HashSet<usize>> {
        let again = places.iter().enumerate().filter(|(_, place)| self.again.contains(place));
        Arc::new(again.map(|(nth, _)| nth).collect())
    }

    /// What one of them cannot hold is in neither.
    async fn refusals(&self, operations: &Arc<Vec<Operation>>) -> Result<Vec<Option<Outcome>>> {
        let (view, home, lacks) = (Arc::clone(&self.view), self.home, self.may_lack());
        let operations = Arc::clone(operations);
        let check = move |stop: &Stop| {
            let Some(home) = view.number(home) else { return Ok(Vec::new()) };
            let others: Vec<_> = view
                .all()
                .filter(|other| other.number != home.number && !(lacks && view.beside_of(other).is_some()))
                .collect();
            let refused = |operation: &Operation| {
                let mut checks = others
                    .iter()
                    .map(|other| other.stored.schema.check_operation(&view.adapted(home, other, operation)));
                stop.check()?;
                let checked = checks.try_for_each(|checked| checked);
                Ok(checked.err().map(|error| Outcome::Failed(error.with_backend(BACKEND))))
            };
            operations.iter().map(refused).collect()
        };
        if self.is_long { away(Some(self.left()), check).await } else { check(&Stop::default()) }
    }

    /// Operations by the schema of another generation.
    async fn by(&self, known: &Known, operations: Vec<Operation>) -> Result<Arc<Vec<Operation>>> {
        if known.number == self.home {
            return Ok(Arc::new(operations));
        }
        let (view, from, to) = (Arc::clone(&self.view), self.home, known.number);
        let adapt = move |_: &Stop| {
            let (Some(from), Some(to)) = (view.number(from), view.number(to)) else { return Ok(operations) };
            Ok(operations.iter().map(|operation| view.adapted(from, to, operation)).collect())
        };
        let adapted = if self.is_long { away(Some(self.left()), adapt).await } else { adapt(&Stop::default()) };
        adapted.map(Arc::new)
    }

    async fn group(&self, operations: &[Operation], places: Vec<usize>, written: &mut Written) -> Result<()> {
        let live = &self.view.live;
        let is_elder = self.view.set.elder() == live.number;
        let places = if is_elder { places } else { self.elder_first(operations, places, written).await? };
        let sent = places.iter().map(|place| operations[*place].clone()).collect();
        let sent = self.by(live, sent).await?;
        let alias = self.view.set.name(self.ground.alias.as_str());
        let to = To { client: &self.ground.client, alias: &alias, rule: Rule::Newer };
        let mut run = Run::new(to, &sent, self.is_long, self.deadline);
        (run.fence, run.again) = (self.fence, self.again(&places));
        run.finish(Refresh::None).await?;
        let Run { outcomes, gone, absent, .. } = run;
        let (mut told, mut late) = (Told::default(), Vec::new());
        for (nth, outcome) in outcomes.into_iter().enumerate() {
            let (place, outcome) = (places[nth], outcome.unwrap_or(Outcome::NotFound));
            let operation = &operations[place];
            let has_version = operation.version().is_some();
            let accepted = written.accepted.remove(&place);
            if gone.contains(&nth) {
                written.gone.insert(place);
                // The elder one has it: sent again to that alone it comes too late.
                written.applied.extend(accepted.map(|accepted| (place, accepted)));
                written.outcomes[place] = Some(outcome);
                continue;
            }
            let outcome = match outcome {
                Outcome::Failed(error) if accepted.is_some() => Outcome::Failed(in_one(error)),
                outcome => outcome,
            };
            match &outcome {
                Outcome::Stale if is_elder => late.push(place),
                Outcome::Stale | Outcome::Failed(_) => {}
                applied if is_elder || !has_version => {
                    told.push(place, now(operation, applied, absent.get(&nth).copied()), has_version);
                }
                _ => {}
            }
            written.outcomes[place] = Some(outcome);
        }
        self.tell_again(operations, late, &mut told, written).await;
        self.tell(operations, told, written).await;
        Ok(())
    }

    /// Sends what has a version to the elder generation, which knows what is too late. Gives those that go on.
    async fn elder_first(
        &self,
        operations: &[Operation],
        places: Vec<usize>,
        written: &mut Written,
    ) -> Result<Vec<usize>> {
        let Some((elder, _)) = self.beside() else { return Ok(places) };
        let versioned: Vec<_> = places.iter().copied().filter(|place| operations[*place].version().is_some()).collect();
        if versioned.is_empty() {
            return Ok(places);
        }
        let sent = self.by(elder, versioned.iter().map(|place| operations[*place].clone()).collect()).await?;
        let alias = told(self.ground.alias.as_str(), elder.number);
        let to = To { client: &self.ground.client, alias: &alias, rule: Rule::Newer };
        let mut run = Run::new(to, &sent, self.is_long, self.deadline);
        (run.fence, run.again) = (self.fence, self.again(&versioned));
        run.finish(Refresh::None).await?;
        let Run { outcomes, gone, .. } = run;
        let mut late = Vec::new();
        for (nth, outcome) in outcomes.into_iter().enumerate() {
            let place = versioned[nth];
            if gone.contains(&nth) {
                written.gone.insert(place);
            }
            match outcome {
                Some(Outcome::Stale) => late.push(place),
                Some(failed @ Outcome::Failed(_)) => written.outcomes[place] = Some(failed),
                Some(accepted) => drop(written.accepted.insert(place, accepted)),
                None => {}
            }
        }
        let ids = late.iter().map(|place| operations[*place].id().clone()).collect();
        let found = match present(&self.ground.client, &alias, ids, self.deadline).await {
            Ok(found) => found,
            Err(error) if self.is_moved(&error).await => return Err(error),
            // What is late is in the index already, if it is; what it took beside that goes on.
            Err(error) => {
                written.fail(late.drain(..), &error);
                Vec::new()
            }
        };
        for (place, found) in late.into_iter().zip(found) {
            // One that was sent before may be in this one only.
            let is_there = match &operations[place] {
                Operation::Upsert(record) => found == record.version(),
                Operation::Delete { .. } => found.is_none(),
            };
            if !is_there {
                written.outcomes[place] = Some(Outcome::Stale);
            } else if let Some(version) = operations[place].version() {
                // What the live one says of it is not all that there is to say.
                written.accepted.insert(place, had(&operations[place], version));
            }
        }
        Ok(places.into_iter().filter(|place| written.outcomes[*place].is_none()).collect())
    }

    /// What the other one lacks of what came too late: this may be the second time that it is sent, and the first time only one
    /// of them has got it.
    async fn tell_again(&self, operations: &[Operation], late: Vec<usize>, told: &mut Told, written: &mut Written) {
        let Some((beside, _)) = self.beside().filter(|_| !late.is_empty()) else { return };
        let ids: Vec<_> = late.iter().map(|place| operations[*place].id().clone()).collect();
        let alias = self.ground.alias.as_str();
        let found = async |known: &Known| {
            present(&self.ground.client, &self.view.address(alias, known), ids.clone(), self.deadline).await
        };
        let found = async { Ok((found(&self.view.live).await?, found(beside).await?)) };
        let (decided, known) = match found.await {
            Ok(found) => found,
            Err(error) if self.is_moved(&error).await => return written.gone.extend(late),
            Err(error) => {
                late.iter().for_each(|place| written.outcomes[*place] = None);
                return written.fail(late, &error);
            }
        };
        for (nth, place) in late.into_iter().enumerate() {
            let is_all_of_it = match &operations[place] {
                Operation::Upsert(record) => decided[nth] == record.version(),
                Operation::Delete { .. } => decided[nth].is_none(),
            };
            if is_all_of_it && decided[nth] != known[nth] {
                told.push(place, operations[place].clone(), true);
            }
        }
    }

    /// Tells the other one what is so now.
    async fn tell(&self, operations: &[Operation], told: Told, written: &mut Written) {
        let Some((beside, state)) = self.beside().filter(|_| !told.places.is_empty()) else { return };
        let Told { places, operations: telling, unversioned } = told;
        if state.is_of_rows() {
            let has_version = |nth: usize| !unversioned.contains(&places[nth]);
            match self.note(beside.number, &telling, has_version).await {
                Ok(true) => {}
                Ok(false) => return places.iter().for_each(|place| written.is_gone(*place)),
                Err(error) => return self.not_told(&places, &error, written),
            }
        }
        let sent = match self.by(beside, telling).await {
            Ok(sent) => sent,
            Err(error) => return self.not_told(&places, &error, written),
        };
        let alias = super::set::told(self.ground.alias.as_str(), beside.number);
        let to = To { client: &self.ground.client, alias: &alias, rule: Rule::Exact };
        let mut run = Run::new(to, &sent, self.is_long, self.deadline);
        let done = run.finish(Refresh::None).await;
        let Run { outcomes, gone, .. } = run;
        if let Err(error) = done {
            return self.not_told(&places, &error, written);
        }
        for (nth, outcome) in outcomes.into_iter().enumerate() {
            let place = places[nth];
            if gone.contains(&nth) {
                written.is_gone(place);
                continue;
            }
            match outcome {
                Some(Outcome::Failed(error)) => self.not_told(&[place], &error, written),
                Some(Outcome::Stale) if unversioned.contains(&place) => {
                    match self.repair(&operations[place], beside).await {
                        Ok(Some(outcome)) => written.outcomes[place] = Some(outcome),
                        Ok(None) => {}
                        Err(error) if self.is_moved(&error).await => written.is_gone(place),
                        Err(error) => written.outcomes[place] = Some(Outcome::Failed(in_one(error))),
                    }
                }
                _ => {}
            }
        }
    }

    fn not_told(&self, places: &[usize], error: &Error, written: &mut Written) {
        if self.may_lack() {
            tracing::warn!(name: "search.generation_behind", error = %error, "a generation that is being filled was not written");
            return;
        }
        for place in places {
            written.outcomes[*place] = Some(Outcome::Failed(in_one(of_all(error))));
        }
    }
}

impl Told {
    fn push(&mut self, place: usize, operation: Operation, has_version: bool) {
        if !has_version {
            self.unversioned.insert(place);
        }
        self.places.push(place);
        self.operations.push(operation);
    }
}

impl Written {
    /// Says of what was applied to one generation that it was, where there is no other one to be told.
    pub(crate) fn restore(&mut self) {
        for (place, _) in self.applied.drain() {
            let error = Error::new(ErrorKind::Unavailable, "the other generation is not there").with_backend(BACKEND);
            self.outcomes[place] = Some(Outcome::Failed(in_one(error)));
        }
    }

    /// Takes note that the other generation is not what it was, so that this was applied to one only.
    fn is_gone(&mut self, place: usize) {
        self.gone.insert(place);
        let applied = self.outcomes[place].take_if(|outcome| is_applied(outcome));
        self.applied.extend(applied.map(|outcome| (place, outcome)));
    }

    /// Takes note that a generation was not where it was looked for: what these are in the end is only known by what is so now.
    fn is_lost(&mut self, places: &[usize], error: &Error) {
        for &place in places {
            match &self.outcomes[place] {
                Some(Outcome::Failed(_)) => {}
                Some(Outcome::Stale) => drop(self.gone.insert(place)),
                Some(_) => self.is_gone(place),
                None => {
                    self.gone.insert(place);
                    self.applied.extend(self.accepted.remove(&place).map(|accepted| (place, accepted)));
                    self.outcomes[place] = Some(Outcome::Failed(of_all(error)));
                }
            }
        }
    }

    /// Whether no generation has taken any of it.
    fn is_nothing(&self) -> bool {
        let is_none = |outcome: &Outcome| !is_applied(outcome) && !is_in_doubt(outcome);
        self.accepted.is_empty() && self.applied.is_empty() && self.outcomes.iter().flatten().all(is_none)
    }

    /// Says of those of which nothing is known yet that they failed: in doubt where the elder generation has them.
    fn fail(&mut self, places: impl IntoIterator<Item = usize>, error: &Error) {
        for place in places {
            if self.outcomes[place].is_none() {
                let cause = of_all(error);
                let cause = if self.accepted.remove(&place).is_some() { in_one(cause) } else { cause };
                self.outcomes[place] = Some(Outcome::Failed(cause));
            }
        }
    }
}

/// What is so behind an operation that was applied.
fn now(operation: &Operation, outcome: &Outcome, absent: Option<u64>) -> Operation {
    match (operation, outcome) {
        (Operation::Upsert(record), Outcome::Created { version } | Outcome::Updated { version }) => {
            Operation::Upsert(record.clone().with_version(*version))
        }
        (Operation::Delete { id, .. }, Outcome::Deleted { version }) => {
            Operation::Delete { id: id.clone(), version: Some(*version) }
        }
        (Operation::Delete { id, version }, _) => Operation::Delete { id: id.clone(), version: version.or(absent) },
        (operation, _) => operation.clone(),
    }
}

/// What became of an operation that a generation had taken in before.
const fn had(operation: &Operation, version: u64) -> Outcome {
    match operation {
        Operation::Upsert(_) => Outcome::Updated { version },
        Operation::Delete { .. } => Outcome::Deleted { version },
    }
}

/// The places of operations that may be written at once: of each document either with versions or without.
fn groups(operations: &[Operation], known: &[Option<Outcome>]) -> Vec<Vec<usize>> {
    let (mut groups, mut kinds) = (vec![Vec::new()], HashMap::<&DocumentId, bool>::new());
    for (place, operation) in operations.iter().enumerate().filter(|(place, _)| known[*place].is_none()) {
        let has_version = operation.version().is_some();
        if kinds.insert(operation.id(), has_version).is_some_and(|before| before != has_version) {
            kinds = HashMap::from([(operation.id(), has_version)]);
            groups.push(Vec::new());
        }
        if let Some(group) = groups.last_mut() {
            group.push(place);
        }
    }
    groups.retain(|group| !group.is_empty());
    groups
}

pub(crate) const fn is_applied(outcome: &Outcome) -> bool {
    !matches!(outcome, Outcome::Stale | Outcome::Failed(_))
}

/// Whether a generation may have it.
pub(crate) fn is_in_doubt(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Failed(error) if error.kind() == ErrorKind::OutcomeUnknown)
}

pub(super) fn in_one(cause: Error) -> Error {
    let message = "it was written to one generation of the index, and not to the other";
    Error::new(ErrorKind::OutcomeUnknown, message).with_backend(BACKEND).with_source(cause)
}
