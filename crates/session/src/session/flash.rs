use serde::{Deserialize, Serialize};
use statehouse_core::{Result, span};
use tracing::Instrument;

use super::finish::Finish;
use super::handle::{Session, attribute_too_large};
use super::messages::{PREFIX, is_flash, name};
use super::state::Held;
use super::work::Work;
use crate::operation::NAME;
use crate::record::{Attribute, AttributeName, Delta, entry_size};

/// A message for the next page, for example after a redirect.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Flash {
    /// What kind of message it is, for example `info`.
    pub kind: String,
    /// The message.
    pub message: String,
}

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
            return Err(attribute_too_large(PREFIX, limit));
        }
        state.work.flashes.push(value);
        Ok(())
    }

    /// Takes the messages that were left, the oldest first. They are removed from the session at once, so that of two
    /// requests at the same time one shows them. Those for which a caller has stopped waiting are there for the next one, or for
    /// the next page; with a request that ends without a response they go, as with a response that is lost.
    ///
    /// # Errors
    /// The store's. A message that cannot be decoded is dropped.
    pub async fn take_flash(&self) -> Result<Vec<Flash>> {
        let session = self.clone();
        Finish::new(async move { session.take_gated().await }).await?;
        let mut state = self.state();
        let mut taken = std::mem::take(&mut state.taken);
        taken.append(&mut state.work.flashes);
        Ok(taken.iter().filter_map(|value| value.decode().ok()).collect())
    }

    async fn take_gated(&self) -> Result<()> {
        let _gate = self.inner.gate.lock().await;
        self.load_gated().await?;
        let (held, waiting) = {
            let (state, policy) = (self.open_state()?, self.config().on_login);
            let names = state.loaded_attributes(policy).keys().filter(|name| is_flash(name));
            // What this request removes is shown to nobody.
            let waiting = names.filter(|name| state.attribute(name, policy).is_some());
            (state.held().cloned(), waiting.cloned().collect::<Vec<_>>())
        };
        if let Some(held) = held.filter(|_| !waiting.is_empty()) {
            let taken = self.take_stored(held, &waiting).instrument(span::of_service(NAME.take_flash)).await?;
            let mut state = self.state();
            // They were removed, or somebody else has logged in, while they were taken for a caller who has stopped waiting.
            if !state.removes_messages(self.config().on_login) {
                state.taken.extend(taken);
            }
        }
        Ok(())
    }

    async fn take_stored(&self, held: Held, waiting: &[AttributeName]) -> Result<Vec<Attribute>> {
        let delta = waiting.iter().cloned().fold(Delta::new(), Delta::with_removed);
        let changed = self.change_at_once(held, Work { delta, ..Work::default() }).await;
        let Some(change) = changed.map_err(|error| error.with_operation(NAME.take_flash))? else {
            return Ok(Vec::new());
        };
        let before = change.base.record();
        Ok(waiting.iter().filter_map(|name| before.attributes().get(name).cloned()).collect())
    }
}
