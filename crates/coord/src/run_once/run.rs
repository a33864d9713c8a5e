use std::sync::Arc;

use bytes::Bytes;
use statehouse_core::{AsFence, Condition, Error, ErrorKind, Fence, Result, Version};
use tokio::sync::Mutex;

use super::format::{RunPhase, RunState};
use crate::api::CoordStore;
use crate::key::CoordKey;
use crate::options::PutOptions;
use crate::outcome::PutOutcome;
use crate::record::{Record, WriteId};
use crate::settled::put_settled;

/// One attempt at a run: what its body is given.
#[derive(Clone, Debug)]
pub struct Run(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    store: Arc<dyn CoordStore>,
    key: CoordKey,
    attempt: u32,
    checkpoint: Option<Bytes>,
    fence: Fence,
    written: Mutex<(Version, RunState)>,
}

impl Run {
    /// The most bytes of a checkpoint.
    pub const MAX_CHECKPOINT: usize = Record::MAX_VALUE - (16 << 10);

    /// Writes that it begins, in place of what was there. None if somebody else has written in between.
    pub(super) async fn begin(
        store: &Arc<dyn CoordStore>,
        key: &CoordKey,
        before: Option<Version>,
        state: RunState,
        fence: &Fence,
    ) -> Result<Option<Self>> {
        let condition = before.map_or(Condition::Absent, Condition::Match);
        let Some(version) = write(&**store, key, condition, &state).await? else { return Ok(None) };
        Ok(Some(Self(Arc::new(Inner {
            store: Arc::clone(store),
            key: key.clone(),
            attempt: state.status.attempt,
            checkpoint: state.checkpoint.clone(),
            fence: fence.clone(),
            written: Mutex::new((version, state)),
        }))))
    }

    /// Which attempt it is, the first being 1.
    #[must_use]
    pub fn attempt(&self) -> u32 {
        self.0.attempt
    }

    /// What an attempt before this one has saved last: where this one goes on.
    #[must_use]
    pub fn checkpoint(&self) -> Option<&Bytes> {
        self.0.checkpoint.as_ref()
    }

    /// Says that so many parts are done, for [`status`](crate::RunOnce::status).
    ///
    /// # Errors
    /// [`ErrorKind::Conflict`] if another replica has taken over: this attempt should end.
    pub async fn progress(&self, done: u64, total: u64) -> Result<()> {
        self.change(|state| (state.status.done, state.status.total) = (done, total)).await
    }

    /// Saves where a next attempt is to go on, in one step with how many parts are done.
    ///
    /// # Errors
    /// [`ErrorKind::TooLarge`] above [`MAX_CHECKPOINT`](Self::MAX_CHECKPOINT); else as [`progress`](Self::progress).
    pub async fn save(&self, checkpoint: impl Into<Bytes>, done: u64, total: u64) -> Result<()> {
        let checkpoint = checkpoint.into();
        if checkpoint.len() > Self::MAX_CHECKPOINT {
            let message = format!("a checkpoint has at most {} bytes", Self::MAX_CHECKPOINT);
            return Err(Error::new(ErrorKind::TooLarge, message));
        }
        let change = |state: &mut RunState| {
            state.checkpoint = Some(checkpoint);
            (state.status.done, state.status.total) = (done, total);
        };
        self.change(change).await
    }

    /// Writes how it ended.
    pub(super) async fn end(&self, failure: Option<String>) -> Result<()> {
        let change = |state: &mut RunState| {
            state.status.phase = if failure.is_some() { RunPhase::Failed } else { RunPhase::Done };
            if failure.is_none() {
                state.checkpoint = None;
            }
            state.status.error = failure;
        };
        self.change(change).await
    }

    async fn change(&self, change: impl FnOnce(&mut RunState)) -> Result<()> {
        let mut written = self.0.written.lock().await;
        let mut next = written.1.clone();
        change(&mut next);
        match write(&*self.0.store, &self.0.key, Condition::Match(written.0), &next).await? {
            Some(version) => *written = (version, next),
            None => {
                let message = "another replica has taken over this run";
                return Err(Error::new(ErrorKind::Conflict, message).with_key(&self.0.key));
            }
        }
        Ok(())
    }
}

/// What the body writes fenced is refused once another replica has taken over: see
/// [`RunOnce::guards`](crate::RunOnce::guards).
impl AsFence for Run {
    fn as_fence(&self) -> &Fence {
        &self.0.fence
    }
}

async fn write(
    store: &dyn CoordStore,
    key: &CoordKey,
    condition: Condition<Version>,
    state: &RunState,
) -> Result<Option<Version>> {
    let options = PutOptions::default().with_condition(condition);
    let put = put_settled(store, key, &state.encode()?, WriteId::generate()?, options).await?;
    Ok(match put {
        PutOutcome::Stored(version) => Some(version),
        PutOutcome::Conflict(_) => None,
    })
}
