//! A bulk, to whichever generations there are when it is applied.
//!
//! It is sent to an alias whose name says which there are, so that a server takes it only from who knows them. What one of
//! them did not take in, for there are others by then, is sent again by what is so now.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use statehouse_core::{Error, ErrorKind, Result, Retry};
use tokio::time::{Instant, sleep};

use super::bulk::{Rule, Run, To};
use super::checked::refusals;
use super::client;
use super::error::{self, BACKEND, Effect};
use super::generations::{Both, Rows, SLOW, View, Written, is_applied, is_in_doubt, not_filled};
use super::{OpenSearchIndex, Seen};
use crate::outcome::of_all;
use crate::work::{Stop, away};
use crate::{BulkOptions, Operation, Outcome, Reach, Refresh};

/// How long a write pauses that finds another generation about to become live.
const PAUSE: Duration = Duration::from_millis(50);

impl OpenSearchIndex {
    pub(super) async fn bulk_shared(
        &self,
        operations: &Arc<Vec<Operation>>,
        is_long: bool,
        options: &BulkOptions,
    ) -> Result<Vec<Outcome>> {
        self.check_open()?;
        let deadline = client::deadline(options.deadline.unwrap_or(self.deadline));
        let left = || deadline.saturating_duration_since(Instant::now());
        let outcomes = if is_long {
            let (schema, operations) = (Arc::clone(&self.schema), Arc::clone(operations));
            away(Some(left()), move |stop| refusals(&schema, &operations, stop)).await?
        } else {
            refusals(&self.schema, operations, &Stop::default())?
        };
        if outcomes.iter().any(Option::is_none) {
            self.check_shape(deadline).await?;
        }
        let sending = Sending { index: self, operations, is_long, options, deadline };
        if options.reach == Reach::Own {
            return sending.own(outcomes).await;
        }
        let (outcomes, unseen) = sending.all(outcomes).await?;
        if unseen && options.refresh != Refresh::None {
            // What was written is not in doubt, only whether it can be found.
            self.refresh_all(Some(left())).await.map_err(|error| error::of_doubt(Effect::Once, error))?;
        }
        Ok(outcomes)
    }
}

struct Sending<'a> {
    index: &'a OpenSearchIndex,
    operations: &'a Arc<Vec<Operation>>,
    is_long: bool,
    options: &'a BulkOptions,
    deadline: Instant,
}

impl Sending<'_> {
    fn left(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(1))
    }

    /// Rows, for the generation that the handle fills.
    async fn own(&self, outcomes: Vec<Option<Outcome>>) -> Result<Vec<Outcome>> {
        self.index.look(self.left()).await?;
        let home = self.index.home(self.left()).await?;
        let Seen { view, .. } = self.index.seen();
        let is_filling = view.set.beside.is_some_and(|(number, state)| number == home.number && state.is_filling());
        if !is_filling {
            return Err(not_filled(home.number));
        }
        let rows = Rows { index: self.index, view, number: home.number, deadline: self.deadline };
        let outcomes = rows.bulk(self.operations, outcomes).await?;
        if self.options.refresh != Refresh::None {
            self.index.refresh_all(Some(self.left())).await?;
        }
        Ok(outcomes)
    }

    /// Sends everything until all of it was taken in by those that there are. Says besides whether what was written may not be
    /// seen yet.
    async fn all(&self, mut outcomes: Vec<Option<Outcome>>) -> Result<(Vec<Outcome>, bool)> {
        let mut before: Vec<Option<Outcome>> = outcomes.iter().map(|_| None).collect();
        let (mut unseen, mut stayed, mut doubted) = (false, false, HashSet::new());
        for round in 0.. {
            let view = match self.thawed().await {
                Err(error) if round > 0 => return Ok((self.given_up(outcomes, (before, &doubted), &error), true)),
                view => view?,
            };
            let start = Instant::now();
            let is_again = |place: &usize| before[*place].is_some() || doubted.contains(place);
            let known = std::mem::take(&mut outcomes);
            let mut written = match self.once(&view, known.iter().map(decided).collect(), is_again).await {
                Err(error) if round == 0 => return Err(error),
                Err(error) => return Ok((self.given_up(known, (before, &doubted), &error), true)),
                Ok(written) => written,
            };
            for (place, known) in known.into_iter().enumerate().filter(|(_, known)| known.is_some()) {
                written.outcomes[place] = known;
            }
            unseen |= written.unseen || round > 0;
            let moved = !written.gone.is_empty();
            if !moved && start.elapsed() < SLOW {
                return Ok((settled(written.outcomes, before, &doubted), unseen));
            }
            let looked = self.index.look(self.left()).await;
            let same = self.index.seen().view.set == view.set;
            if moved {
                // What was refused as others came may find those that were there before: once more, and no oftener.
                let is_last = !matches!(looked, Ok(Some(_))) || same && std::mem::replace(&mut stayed, true);
                if is_last || Instant::now() >= self.deadline {
                    written.restore();
                    return Ok((settled(written.outcomes, before, &doubted), unseen));
                }
                if same {
                    sleep(PAUSE).await;
                }
            } else if let Err(error) = looked {
                return Ok((self.given_up(written.outcomes, (before, &doubted), &error), true));
            } else if same {
                return Ok((settled(written.outcomes, before, &doubted), unseen));
            }
            carry(&mut written, &mut before, &mut doubted);
            outcomes = written.outcomes;
        }
        unreachable!("the loop ends by returning")
    }

    /// What is seen of the index, once nobody is about to make another generation live.
    async fn thawed(&self) -> Result<Arc<View>> {
        loop {
            let view = self.index.seen().view;
            if !view.set.frozen {
                return Ok(view);
            }
            if Instant::now() + PAUSE >= self.deadline {
                let message = "another generation of the index is about to become live";
                let error = Error::new(ErrorKind::Unavailable, message).with_backend(BACKEND);
                return Err(error.with_retry(Retry::After(PAUSE)));
            }
            sleep(PAUSE).await;
            self.index.look(self.left()).await?;
        }
    }

    async fn once(
        &self,
        view: &Arc<View>,
        outcomes: Vec<Option<Outcome>>,
        is_again: impl Fn(&usize) -> bool,
    ) -> Result<Written> {
        let is_again = |place: &usize| self.operations[*place].version().is_some() && is_again(place);
        let again = Arc::new((0..self.operations.len()).filter(is_again).collect());
        let fence = self.options.fence.as_ref().map(|fence| (&self.index.marks, fence));
        let ground = &*self.index.ground;
        if view.beside.is_some() {
            let home = self.index.home(self.left()).await?.number;
            let (view, is_long, deadline) = (Arc::clone(view), self.is_long, self.deadline);
            return Both { ground, view, home, fence, is_long, deadline, again }.bulk(self.operations, outcomes).await;
        }
        let alias = view.set.name(ground.alias.as_str());
        let to = To { client: &ground.client, alias: &alias, rule: Rule::Newer };
        let mut run = Run { fence, outcomes, again, ..Run::new(to, self.operations, self.is_long, self.deadline) };
        run.finish(self.options.refresh).await?;
        // The server does not refresh where all it was given is stale, which is also what a second try finds.
        let unseen = run.requests > 1 || run.outcomes.iter().any(|outcome| matches!(outcome, Some(Outcome::Stale)));
        let Run { outcomes, gone, .. } = run;
        Ok(Written { outcomes, gone, unseen, ..Written::default() })
    }

    /// Nobody can say any more which generations have what was applied.
    fn given_up(
        &self,
        outcomes: Vec<Option<Outcome>>,
        (before, doubted): (Vec<Option<Outcome>>, &HashSet<usize>),
        error: &Error,
    ) -> Vec<Outcome> {
        let failed = |(place, (outcome, before)): (usize, (Option<Outcome>, Option<Outcome>))| {
            let key = self.operations[place].id().as_str();
            match outcome {
                Some(outcome) if !is_applied(&outcome) && before.is_none() => outcome,
                None if before.is_none() && !doubted.contains(&place) => Outcome::Failed(of_all(error).with_key(key)),
                _ => Outcome::Failed(error::of_doubt(Effect::Once, of_all(error)).with_key(key)),
            }
        };
        outcomes.into_iter().zip(before).enumerate().map(failed).collect()
    }
}

/// There are others by now. What was applied is applied again by what is so now.
fn carry(written: &mut Written, before: &mut [Option<Outcome>], doubted: &mut HashSet<usize>) {
    for (place, before) in before.iter_mut().enumerate() {
        let applied = written.outcomes[place].take_if(|outcome| is_applied(outcome));
        let applied = applied.or_else(|| written.applied.remove(&place));
        if written.gone.contains(&place) {
            let was = written.outcomes[place].take();
            doubted.extend(was.filter(is_in_doubt).map(|_| place));
        }
        *before = applied.or_else(|| before.take());
    }
}

/// What became of each: what was applied at first, and came too late when it was sent again, was applied; what was refused then
/// is in doubt.
fn settled(outcomes: Vec<Option<Outcome>>, before: Vec<Option<Outcome>>, doubted: &HashSet<usize>) -> Vec<Outcome> {
    let settle = |(place, (outcome, before)): (usize, (Option<Outcome>, Option<Outcome>))| match (outcome, before) {
        (None | Some(Outcome::Stale | Outcome::NotFound), Some(before)) => before,
        // The same version once more.
        (Some(Outcome::Updated { version }), Some(Outcome::Created { version: before })) if version == before => {
            Outcome::Created { version }
        }
        (Some(Outcome::Failed(error)), before)
            if error.kind() != ErrorKind::OutcomeUnknown && (before.is_some() || doubted.contains(&place)) =>
        {
            let key = error.key().unwrap_or_default().to_owned();
            Outcome::Failed(error::of_doubt(Effect::Once, error).with_key(&key))
        }
        (outcome, _) => outcome.expect("each was refused or sent"),
    };
    outcomes.into_iter().zip(before).enumerate().map(settle).collect()
}

/// In place of what is known of an operation, which is not sent any more.
fn decided(known: &Option<Outcome>) -> Option<Outcome> {
    known.as_ref().map(|_| Outcome::Failed(Error::new(ErrorKind::Unexpected, "it was told before")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_applied_once_is_never_told_as_refused() {
        let refused = |kind| Some(Outcome::Failed(Error::new(kind, "no").with_key("a")));
        let applied = || Some(Outcome::Created { version: 1 });
        let outcomes = vec![
            refused(ErrorKind::RateLimited),
            refused(ErrorKind::InvalidInput),
            refused(ErrorKind::InvalidInput),
            Some(Outcome::Stale),
            refused(ErrorKind::InvalidInput),
        ];
        let told = settled(outcomes, vec![applied(), applied(), None, applied(), None], &HashSet::from([4]));
        let failed = |outcome: &Outcome| match outcome {
            Outcome::Failed(error) => Some((error.kind(), error.key() == Some("a"))),
            _ => None,
        };
        let unknown = Some((ErrorKind::OutcomeUnknown, true));
        let told: Vec<_> = told.iter().map(failed).collect();
        assert_eq!(told, [unknown, unknown, Some((ErrorKind::InvalidInput, true)), None, unknown]);
    }
}
