//! What a write asks once it has the locks that it waited for.

use statehouse_core::fence::{Held, Marks};
use statehouse_core::{Fence, Result};

use crate::work::Stop;

/// Asked behind every other lock: a mark that were held while one waits would keep the lock's next holder waiting as well,
/// and a write that nobody waits for any more might come behind a later one.
#[derive(Default)]
pub(super) struct Gate<'a> {
    fence: Option<(&'a Marks, &'a Fence)>,
    stop: Option<&'a Stop>,
}

impl<'a> Gate<'a> {
    pub(super) fn new(marks: &'a Marks, fence: Option<&'a Fence>, stop: &'a Stop) -> Self {
        Self { fence: fence.map(|fence| (marks, fence)), stop: Some(stop) }
    }

    /// Keeps the mark from rising until the write is made.
    pub(super) fn enter(&self) -> Result<Option<Held<'a>>> {
        self.stop.map_or(Ok(()), Stop::check)?;
        self.fence.map(|(marks, fence)| marks.hold(Some(fence))).transpose()
    }
}
