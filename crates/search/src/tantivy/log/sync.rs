//! One sync for all who wait.
//!
//! Who wrote a frame waits without a thread. One thread of the runtime syncs, as long as there is something to be synced: what is written
//! during one sync is of the next one. Those that a sync lets go tend to write again at once, so the next one waits for them a moment, for
//! as long as the last one took at most: without that they would be in every other sync.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use statehouse_core::{Error, ErrorKind, Result};

use super::super::error::{BACKEND, map_io};
#[cfg(test)]
use super::disk::Instead;
use super::disk::write_at;
use super::files::{Last, Log, State};
use super::format::header;

/// How long a sync waits for more at most.
const PATIENCE: Duration = Duration::from_millis(5);

/// Frames that were written, and are perhaps not durable yet.
#[derive(Debug)]
pub(in super::super) struct Unsynced {
    log: Arc<Log>,
    frames: u64,
}

impl Unsynced {
    /// Waits until they are durable, by a sync or a commit.
    pub(in super::super) async fn wait(self) -> Result<()> {
        let Self { log, frames } = self;
        let mut told = log.told.subscribe();
        loop {
            let now = told.borrow_and_update().clone();
            match now.failed {
                _ if now.durable >= frames => return Ok(()),
                Some((of, error)) if of >= frames => return Err(in_doubt(error)),
                _ => {}
            }
            if let Some(turn) = Turn::of(&log) {
                tokio::task::spawn_blocking(move || turn.sync());
            }
            // Who tells is there for as long as the log.
            let _ = told.changed().await;
        }
    }
}

/// Who syncs: one at a time. Whether it ends or is gone with its runtime, those who still wait see to the next one.
struct Turn(Arc<Log>);

impl Turn {
    fn of(log: &Arc<Log>) -> Option<Self> {
        (!log.is_syncing.swap(true, Ordering::AcqRel)).then(|| Self(Arc::clone(log)))
    }

    fn sync(self) {
        while self.0.sync() {}
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.0.is_syncing.store(false, Ordering::Release);
        self.0.told.send_modify(|_| {});
    }
}

impl Log {
    /// What was written up to now, if something of it is not durable.
    pub(in super::super) fn unsynced(self: &Arc<Self>) -> Option<Unsynced> {
        let State { frames, durable, .. } = *self.state();
        (durable < frames).then(|| Unsynced { log: Arc::clone(self), frames })
    }

    /// Syncs once. Says whether there may be more to do.
    fn sync(&self) -> bool {
        let state = self.state();
        let Last { wrote, took } = state.last;
        let few = |state: &mut State| (1..wrote).contains(&(state.frames - state.durable));
        let gathered = self.more.wait_timeout_while(state, PATIENCE.min(took), few);
        let (state, _) = gathered.unwrap_or_else(PoisonError::into_inner);
        let (end, frames) = (state.end, state.frames);
        let Some(file) = state.file.clone().filter(|_| state.durable < frames) else { return false };
        drop(state);
        let start = Instant::now();
        let synced = self.disk.sync(&file);
        let took = start.elapsed();
        let mut state = self.state();
        if state.durable >= frames {
            // A commit held it meanwhile.
            return true;
        }
        match synced {
            Ok(()) => {
                state.last = Last { wrote: state.frames - state.durable, took };
                // So that damage to what was synced is told from what was never written to its end.
                let _ = write_at(&file, 0, &header(end));
                self.tell_durable(&mut state, frames);
                true
            }
            Err(error) => {
                // What the disk did not take it may have forgotten: another try would say nothing of that.
                let error = map_io(error);
                state.failure = Some(error.clone());
                let of = state.frames;
                self.told.send_modify(|told| told.failed = Some((of, error)));
                false
            }
        }
    }

    /// Has something else done in place of each sync.
    #[cfg(test)]
    pub(in super::super) fn sync_instead(&self, instead: Instead) {
        *self.disk.instead.lock().unwrap() = Some(instead);
    }
}

/// What is to be said of a write whose sync failed.
fn in_doubt(cause: Error) -> Error {
    let message = "it is written and perhaps not durable; it is committed on its own";
    Error::new(ErrorKind::OutcomeUnknown, message).with_backend(BACKEND).with_source(cause)
}

#[cfg(test)]
mod tests {
    use statehouse_core::conformance::Recorder;

    use super::super::Frame;
    use super::*;

    /// As with a runtime that ends before its thread has begun.
    #[tokio::test]
    async fn who_waits_sees_to_the_sync_that_somebody_else_did_not_come_to() {
        let folder = tempfile::tempdir().unwrap();
        let (log, _) = Log::load(folder.path(), None).unwrap();
        let (log, mut frame) = (Arc::new(log), Frame::new());
        frame.written(1, b"document");
        assert!(log.append(frame).unwrap());
        let turn = Turn::of(&log).unwrap();
        let waits = tokio::spawn(log.unsynced().unwrap().wait());
        let early = tokio::time::timeout(Duration::from_millis(50), log.unsynced().unwrap().wait()).await;
        assert!(early.is_err());
        drop(turn);
        waits.await.unwrap().unwrap();
        assert!(log.unsynced().is_none());
    }

    /// Those that make the file, and one for both frames.
    #[tokio::test]
    async fn each_sync_is_counted() {
        let seen = Recorder::default();
        let guard = metrics::set_default_local_recorder(&seen);
        let folder = tempfile::tempdir().unwrap();
        let (log, _) = Log::load(folder.path(), None).unwrap();
        drop(guard);
        let log = Arc::new(log);
        for version in 1..3 {
            let mut frame = Frame::new();
            frame.written(version, b"document");
            assert!(log.append(frame).unwrap());
        }
        log.unsynced().unwrap().wait().await.unwrap();
        assert_eq!(seen.counts(), [("statehouse.search.syncs backend=tantivy".to_owned(), 3)].into());
    }
}
