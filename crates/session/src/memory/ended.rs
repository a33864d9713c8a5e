//! What was ended with everybody's sessions and is still to be freed.

use std::collections::VecDeque;

use statehouse_core::Timestamp;

use crate::outcome::{Loaded, REMEMBERED};
use crate::principals::Taken;
use crate::record::Record;

/// What the last revocation of everybody has ended.
#[derive(Debug, Default)]
pub(super) struct Ended {
    /// All logins before this.
    pub(super) epoch: u64,
    pub(super) at: Timestamp,
    /// The sessions of which some may not be freed yet.
    pub(super) left: VecDeque<Taken>,
}

impl Ended {
    pub(super) fn has(&self, record: &Record) -> bool {
        record.is_revoked_in(self.epoch)
    }

    /// What is found of one that it has, which was to expire then: of what had expired before, nothing.
    pub(super) fn found(&self, expires: Timestamp, now: Timestamp) -> Loaded {
        match expires > self.at && now < self.at + REMEMBERED {
            true => Loaded::Deleted { ago: now.since(self.at) },
            false => Loaded::Absent,
        }
    }
}
