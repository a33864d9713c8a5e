//! What the members of this process are told with their beats, for all who watch here.

use std::sync::Arc;
use std::time::{Duration, Instant};

use statehouse_core::Version;
use tokio::sync::watch;

use crate::beats::Beaten;

/// What is felt, shared by all that a [`Coordination`](crate::Coordination) hands out.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pulse(Arc<watch::Sender<Option<Felt>>>);

/// What the last beat was answered.
#[derive(Clone, Copy, Debug)]
pub(super) struct Felt {
    /// When it was sent, so that it tells of a moment after that.
    pub(super) at: Instant,
    pub(super) changes: Version,
    /// When one of the others is over, unless it beats again.
    pub(super) ends: Option<Instant>,
}

/// The store is asked when somebody is over, not just before.
pub(super) const MOMENT: Duration = Duration::from_millis(5);

impl Pulse {
    pub(super) fn feel(&self, sent: Instant, beaten: &Beaten) {
        let ends = beaten.ends_in.and_then(|ends_in| Instant::now().checked_add(ends_in + MOMENT));
        self.0.send_replace(Some(Felt { at: sent, changes: beaten.changes, ends }));
    }

    /// Nobody of this process beats any more, as far as is known here.
    pub(super) fn stops(&self) {
        self.0.send_replace(None);
    }

    pub(super) fn felt(&self) -> Option<Felt> {
        *self.0.borrow()
    }

    /// What is felt from now on.
    pub(super) fn listen(&self) -> Listening {
        Listening(self.0.subscribe())
    }
}

/// Waits for beats.
pub(super) struct Listening(watch::Receiver<Option<Felt>>);

impl Listening {
    pub(super) async fn felt(&mut self) {
        if self.0.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
