//! What the layer does with the session of a request that is done.

use statehouse_core::Result;

use super::finish::Finish;
use super::handle::Session;
use super::state::Outage;
use super::work::Work;

impl Session {
    /// The outage that this request met, if it met one.
    pub(crate) fn outage(&self) -> Option<Outage> {
        self.state().outage
    }

    /// Drops the changed attributes of a failed request. What a login removes is part of the login.
    pub(crate) async fn discard_attributes(&self) {
        let _gate = self.inner.gate.lock().await;
        self.state().discard_attributes();
    }

    /// Drops all changes of a request that could not reach the store: they may rest on what it did not read.
    pub(crate) async fn abandon(&self) {
        let _gate = self.inner.gate.lock().await;
        let mut state = self.state();
        state.work = Work::default();
        state.committing = None;
        state.closed = true;
    }

    /// Refuses changes from here on: nobody would save them. What is under way comes to its end, and whoever goes on may still
    /// [commit](Self::commit) what was changed before.
    pub(crate) fn close(&self) {
        self.state().closed = true;
    }

    /// Closes it if there is nothing to commit.
    fn close_without_work(&self) -> bool {
        let mut state = self.state();
        let has_none = !state.has_work() && state.taken.is_empty();
        state.closed |= has_none;
        has_none
    }

    /// [Commits](Self::commit) for the last time: what is changed from here on is refused, since nobody would save it.
    pub(crate) async fn commit_last(&self) -> Result<()> {
        // Mostly there is nothing to be done to its end, and so nothing is kept for that.
        if let Ok(_gate) = self.inner.gate.try_lock()
            && self.close_without_work()
        {
            self.slide(false).await;
            return Ok(());
        }
        let session = self.clone();
        Finish::new(async move {
            let _gate = session.inner.gate.lock().await;
            session.state().closed = true;
            session.commit_gated().await
        })
        .await
    }
}
