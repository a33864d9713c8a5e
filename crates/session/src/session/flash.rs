use serde::{Deserialize, Serialize};
use statehouse_core::Result;
use tracing::Instrument;

use super::Session;
use super::commit::Changed;
use super::state::{Base, Held, Outage};
use super::work::{Committing, Work};
use crate::config::{ConflictPolicy, OutagePolicy};
use crate::record::{Attribute, AttributeName, Attributes, Delta, SaveId, entry_size};

/// A message for the next page, for example after a redirect.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Flash {
    /// What kind of message it is, for example `info`.
    pub kind: String,
    /// The message.
    pub message: String,
}

/// Each message is an attribute of its own, so that two requests can leave one at the same time. Names go on with the
/// number of the message that was left last, in 16 hexadecimal digits.
const PREFIX: &str = "statehouse.flash.";
const DIGITS: usize = 16;

/// How many messages wait at most. The oldest gives way.
const WAITING: usize = 16;

impl Session {
    /// Leaves a message for the next request that takes it. Messages are in the order in which they were saved; of more
    /// than sixteen that wait, the oldest are dropped.
    ///
    /// # Errors
    /// As [`insert`](Self::insert).
    pub fn flash(&self, kind: impl Into<String>, message: impl Into<String>) -> Result<()> {
        let value = Attribute::encode(&Flash { kind: kind.into(), message: message.into() })?;
        let mut state = self.open_state()?;
        let limit = self.config().max_attribute;
        if entry_size(&name(0), &value) > limit {
            return Err(super::attribute_too_large(PREFIX, limit));
        }
        state.work.flashes.push(value);
        Ok(())
    }

    /// Takes the messages that were left, the oldest first. They are removed from the session at once, so that of two
    /// requests at the same time one shows them.
    ///
    /// # Errors
    /// The store's. A message that cannot be decoded is dropped.
    pub async fn take_flash(&self) -> Result<Vec<Flash>> {
        self.load().await?;
        let _gate = self.inner.gate.lock().await;
        let (held, waiting) = {
            let state = self.open_state()?;
            let names = state.loaded_attributes(self.config().on_login).keys();
            (state.held().cloned(), names.filter(|name| is_flash(name)).cloned().collect::<Vec<_>>())
        };
        let mut taken = Vec::new();
        if let Some(held) = held.filter(|_| !waiting.is_empty()) {
            taken = self.take_stored(held, &waiting).instrument(tracing::debug_span!("session.take_flash")).await?;
        }
        taken.append(&mut self.state().work.flashes);
        Ok(taken.iter().filter_map(|value| value.decode().ok()).collect())
    }

    async fn take_stored(&self, held: Held, waiting: &[AttributeName]) -> Result<Vec<Attribute>> {
        let delta = waiting.iter().cloned().fold(Delta::new(), Delta::with_removed);
        let version = held.snapshot.record().version();
        let committing = Committing::new(Work { delta, ..Work::default() }, SaveId::generate()?);
        let changed = match self.change(held, &committing).await {
            Ok(changed) => changed,
            Err(error) => {
                self.note_outage(&error);
                let go_on = self.config().on_outage == OutagePolicy::Anonymous && Outage::of(&error).is_some();
                return if go_on { Ok(Vec::new()) } else { Err(error) };
            }
        };
        match changed {
            Changed::Ok(change) => {
                let before = change.base.record();
                // What another request has changed since the load is still to be noticed by the commit.
                if before.version() == version || self.config().on_conflict != ConflictPolicy::Fail {
                    self.state().set_base(Base::Held(change.held));
                }
                Ok(waiting.iter().filter_map(|name| before.attributes().get(name).cloned()).collect())
            }
            Changed::Without(base) => {
                self.state().set_base(base);
                Ok(Vec::new())
            }
        }
    }
}

pub(super) fn is_flash(name: &AttributeName) -> bool {
    name.as_str().starts_with(PREFIX)
}

/// Adds the messages to the changes of a session with these attributes, after those that wait in it.
pub(super) fn number(delta: &mut Delta, stored: &Attributes, flashes: &[Attribute]) {
    if flashes.is_empty() {
        return;
    }
    let kept = stored.keys().filter(|name| !delta.clear && !delta.remove.contains(*name));
    let mut waiting: Vec<_> = kept.chain(delta.set.keys()).filter(|name| is_flash(name)).cloned().collect();
    waiting.sort_unstable();
    waiting.dedup();
    let last = waiting.last().and_then(number_of).unwrap_or(0);
    let new = (1..).map(|count| name(last.saturating_add(count))).zip(flashes.iter().cloned());
    delta.set.extend(new.skip(flashes.len().saturating_sub(WAITING)));
    let excess = (waiting.len() + flashes.len().min(WAITING)).saturating_sub(WAITING);
    for name in waiting.into_iter().take(excess) {
        delta.set.remove(&name);
        delta.remove.insert(name);
    }
}

fn name(number: u64) -> AttributeName {
    AttributeName::reserved(&format!("{PREFIX}{number:0width$x}", width = DIGITS))
}

fn number_of(name: &AttributeName) -> Option<u64> {
    let digits = name.as_str().strip_prefix(PREFIX)?.get(..DIGITS)?;
    u64::from_str_radix(digits, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flashes(count: usize) -> Vec<Attribute> {
        (0..count).map(|number| Attribute::encode(&number).unwrap()).collect()
    }

    #[test]
    fn numbers_go_on_after_the_last_one_also_of_names_with_a_time() {
        let earlier = format!("{PREFIX}{:016x}0001a5a5a5a5", 1_795_223_382_034_413_u64);
        let stored = Attributes::from_iter([(AttributeName::reserved(&earlier), flashes(1).remove(0))]);
        let mut delta = Delta::new();
        number(&mut delta, &stored, &flashes(2));
        let numbers: Vec<_> = delta.set.keys().filter_map(number_of).collect();
        assert_eq!(numbers, [1_795_223_382_034_414, 1_795_223_382_034_415]);
    }

    #[test]
    fn the_oldest_give_way() {
        let mut stored = Attributes::new();
        for round in 0..3 {
            let mut delta = Delta::new();
            number(&mut delta, &stored, &flashes(10));
            stored = delta.apply(&stored).unwrap();
            assert_eq!(stored.len(), 10.max(WAITING.min(10 * (round + 1))));
        }
        let mut delta = Delta::new();
        number(&mut delta, &stored, &flashes(100));
        stored = delta.apply(&stored).unwrap();
        let values: Vec<usize> = stored.values().map(|value| value.decode().unwrap()).collect();
        assert_eq!(values, (84..100).collect::<Vec<_>>());
    }
}
