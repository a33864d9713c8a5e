//! What becomes of changes whose client has gone before the response.

use std::sync::{Arc, PoisonError};

use statehouse_core::Result;

use super::handle::{Inner, Session};
use super::state::{Base, State};
use crate::config::ServerErrorPolicy;

impl Session {
    /// The client has gone, and with it whoever commits. What goes on all the same holds the session: a task of the handler's own, or
    /// a layer that answers each request once. What nobody holds has ended in the middle, and is as if it had failed.
    pub(crate) fn leave(&self) {
        let mut state = self.state();
        state.left |= !state.closed && Arc::strong_count(&self.inner) > 1;
    }

    /// Saves what was changed without a client to send a cookie to.
    async fn commit_left(&self) -> Result<()> {
        let _gate = self.inner.gate.lock().await;
        self.load_gated().await?;
        {
            let mut state = self.state();
            state.drop_renewal();
            if !matches!(state.base, Base::Held(_)) {
                // Of what begins now nobody would have the cookie.
                return Ok(());
            }
        }
        self.commit_gated().await
    }
}

impl State {
    fn drop_renewal(&mut self) {
        self.work.pending.take_if(|pending| pending.renews());
    }

    /// Whether there is something to save of a request that nobody waits for. A login, or another new token, is made for nobody, and what
    /// belongs to it is for nobody either.
    fn keeps_what_is_left(&mut self) -> bool {
        self.drop_renewal();
        let begun = self.committing.as_ref().and_then(|committing| committing.work.pending.as_ref());
        let replaces = [self.work.pending.as_ref(), begun].iter().flatten().any(|pending| !pending.renews());
        self.left && !replaces && (self.has_work() || !self.taken.is_empty())
    }
}

/// Nobody can change anything any more: whoever went on without the client has come to an end, unless that is a panic.
impl Drop for Inner {
    fn drop(&mut self) {
        let state = self.state.get_mut().unwrap_or_else(PoisonError::into_inner);
        if !state.left || std::thread::panicking() || !state.keeps_what_is_left() {
            return;
        }
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        // Whether it has failed is not known.
        if self.shared.config.on_server_error == ServerErrorPolicy::Discard {
            state.discard_attributes();
        }
        let state = State { left: false, closed: true, ..std::mem::take(state) };
        let session = Session { inner: Arc::new(self.with_state(state)) };
        runtime.spawn(async move {
            if let Err(error) = session.commit_left().await {
                tracing::warn!(name: "session.not_saved_without_client", kind = %error.kind(), %error, "what a request changed whose client had gone could not be saved");
            }
        });
    }
}
