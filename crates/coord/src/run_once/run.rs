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
    /// All ids of its puts begin with this.
    ids: [u8; 12],
    written: Mutex<Written>,
}

/// What this attempt knows of its record.
#[derive(Debug)]
struct Written {
    version: Version,
    state: RunState,
    /// How many puts were begun, with those whose answer was lost or not waited for.
    puts: u32,
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
        let options = PutOptions::default().with_condition(condition);
        let id = WriteId::generate()?;
        let put = put_settled(&**store, key, &state.encode()?, id, options).await?;
        let PutOutcome::Stored(version) = put else { return Ok(None) };
        let [ids @ .., _, _, _, _] = *id.as_bytes();
        Ok(Some(Self(Arc::new(Inner {
            store: Arc::clone(store),
            key: key.clone(),
            attempt: state.status.attempt,
            checkpoint: state.checkpoint.clone(),
            fence: fence.clone(),
            ids,
            written: Mutex::new(Written { version, state, puts: 0 }),
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
            state.checkpoint = Some(checkpoint.clone());
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
            state.status.error.clone_from(&failure);
        };
        self.change(change).await
    }

    async fn change(&self, change: impl Fn(&mut RunState)) -> Result<()> {
        let mut written = self.0.written.lock().await;
        // Twice: the second time over what a put before has left, of which nobody has heard. Of all puts over one version one
        // at most is made.
        for _ in 0..2 {
            let mut next = written.state.clone();
            change(&mut next);
            written.puts = written.puts.wrapping_add(1);
            let options = PutOptions::default().with_condition(Condition::Match(written.version));
            let id = self.id(written.puts);
            match put_settled(&*self.0.store, &self.0.key, &next.encode()?, id, options).await? {
                PutOutcome::Stored(version) => {
                    (written.version, written.state) = (version, next);
                    return Ok(());
                }
                PutOutcome::Conflict(Some(record)) if self.is_own(record.id) => {
                    (written.version, written.state) = (record.version, RunState::decode(&record.value)?);
                }
                PutOutcome::Conflict(_) => break,
            }
        }
        let message = "another replica has taken over this run";
        Err(Error::new(ErrorKind::Conflict, message).with_key(&self.0.key))
    }

    fn id(&self, put: u32) -> WriteId {
        let mut bytes = [0; 16];
        bytes[..12].copy_from_slice(&self.0.ids);
        bytes[12..].copy_from_slice(&put.to_be_bytes());
        WriteId::from_bytes(bytes)
    }

    fn is_own(&self, id: WriteId) -> bool {
        id.as_bytes().starts_with(&self.0.ids)
    }
}

/// What the body writes fenced is refused once another replica has taken over: see
/// [`RunOnce::guards`](crate::RunOnce::guards).
impl AsFence for Run {
    fn as_fence(&self) -> &Fence {
        &self.0.fence
    }
}
