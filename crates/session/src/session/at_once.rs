//! Changes that are saved at once, and not with the commit.

use statehouse_core::Result;

use super::commit::{Change, Changed};
use super::handle::Session;
use super::state::{Base, Held, Outage};
use super::work::{Committing, Work};
use crate::config::{ConflictPolicy, OutagePolicy};
use crate::record::SaveId;

impl Session {
    /// Saves this for somebody who has to know what came of it. None if there is nothing to change any more, or the store cannot be
    /// reached and the configuration says to go on.
    pub(super) async fn change_at_once(&self, held: Held, work: Work) -> Result<Option<Change>> {
        let version = held.snapshot.record().version();
        let committing = Committing::new(work, SaveId::generate()?);
        let change = match self.change(held, &committing).await {
            Ok(Changed::Ok(change)) => change,
            Ok(Changed::Without(base)) => {
                self.state().set_base(base);
                return Ok(None);
            }
            Err(error) => {
                self.note_outage(&error);
                let go_on = self.config().on_outage == OutagePolicy::Anonymous && Outage::of(&error).is_some();
                return if go_on { Ok(None) } else { Err(error) };
            }
        };
        // What another request has changed since the load is still to be noticed by the commit.
        if change.base.record().version() == version || self.config().on_conflict != ConflictPolicy::Fail {
            self.state().set_base(Base::Held(change.held.clone()));
        }
        Ok(Some(change))
    }
}
