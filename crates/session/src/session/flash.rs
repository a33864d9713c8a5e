use std::time::SystemTime;

use serde::{Deserialize, Serialize};
use statehouse_core::{Result, Timestamp};

use super::Session;
use crate::record::{Attribute, AttributeName};
use crate::token::{push_hex, random};

/// A message for the next page, for example after a redirect.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Flash {
    /// What kind of message it is, for example `info`.
    pub kind: String,
    /// The message.
    pub message: String,
}

/// Each message is an attribute of its own, so that two requests can leave one at the same time.
const PREFIX: &str = "statehouse.flash.";

impl Session {
    /// Leaves a message for the next request that takes it.
    ///
    /// # Errors
    /// As [`insert`](Self::insert).
    pub fn flash(&self, kind: impl Into<String>, message: impl Into<String>) -> Result<()> {
        let value = Attribute::encode(&Flash { kind: kind.into(), message: message.into() })?;
        // Names sort as the messages were left; the random end keeps those of two requests apart.
        let time = Timestamp::from(SystemTime::now()).as_micros();
        let count = {
            let mut state = self.open_state()?;
            state.flashes = state.flashes.wrapping_add(1);
            state.flashes
        };
        let mut text = format!("{PREFIX}{time:016x}{count:04x}");
        push_hex(&mut text, &random::<4>()?);
        self.set(&AttributeName::reserved(&text), value)
    }

    /// Takes the messages that were left, the oldest first.
    ///
    /// # Errors
    /// Only those of all methods. A message that cannot be decoded is dropped.
    pub async fn take_flash(&self) -> Result<Vec<Flash>> {
        self.load().await?;
        let taken = {
            let state = self.state();
            let now = state.delta.apply(state.loaded_attributes());
            let all = now.as_ref().unwrap_or(state.loaded_attributes());
            let ours = all.iter().filter(|(name, _)| name.as_str().starts_with(PREFIX));
            ours.map(|(name, value)| (name.clone(), value.clone())).collect::<Vec<_>>()
        };
        let mut messages = Vec::with_capacity(taken.len());
        for (name, value) in taken {
            messages.extend(value.decode::<Flash>().ok());
            self.change(|delta| delta.with_removed(name))?;
        }
        Ok(messages)
    }
}
