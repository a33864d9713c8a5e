//! The task that follows where the servers are.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::runtime::Handle;

/// Whether it runs. It ends with the runtime in which it was begun, and a client may be used from others: so whoever asks
/// where the servers are sees to it that it runs somewhere.
#[derive(Debug, Default)]
pub(crate) struct Following(Arc<AtomicBool>);

impl Following {
    /// Begins the task, unless it runs. Without a runtime the next who has one begins it.
    pub(crate) fn ensure<F: Future<Output = ()> + Send + 'static>(&self, task: impl FnOnce() -> F) {
        if !self.0.load(Ordering::Relaxed) {
            self.begin(task);
        }
    }

    #[cold]
    fn begin<F: Future<Output = ()> + Send + 'static>(&self, task: impl FnOnce() -> F) {
        let Ok(runtime) = Handle::try_current() else { return };
        if self.0.swap(true, Ordering::AcqRel) {
            return;
        }
        let (running, task) = (Running(Arc::clone(&self.0)), task());
        runtime.spawn(async move {
            let _until_it_ends = running;
            task.await;
        });
    }
}

/// Says so when the task ends or is dropped, as it is at the end of its runtime.
struct Running(Arc<AtomicBool>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}
