//! The end of an application: in order, and within one budget.

use std::convert::Infallible;
use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::{BoxFuture, FutureExt as _, join_all};
use http::{Request, Response};
use http_body::Body;
use tokio::time::{Instant, sleep, timeout_at};
use tower_service::Service;

use super::connection::RequestBody;
use super::server::Server;
use super::signals::{Budget, Cut, Signals};
use crate::services::Services;

/// How an application ends.
#[derive(Clone, Debug)]
pub(super) struct Stop {
    pub(super) delay: Duration,
    pub(super) within: Duration,
    pub(super) work: AtStop,
    pub(super) services: Services,
}

/// What is done beside the requests that are under way.
#[derive(Clone, Default)]
pub(super) struct AtStop(Arc<Mutex<Vec<BoxFuture<'static, ()>>>>);

impl Stop {
    /// Ends it. The signals are those that force.
    pub(super) async fn end<S, B>(self, server: Server<S>, delay: Duration, signals: Signals) -> io::Result<()>
    where
        S: Service<Request<RequestBody>, Response = Response<B>, Error = Infallible> + Clone + Send + 'static,
        S::Future: Send,
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn StdError + Send + Sync>>,
    {
        let delay = Budget::delay(delay, self.within);
        let budget = self.begin(delay);
        let cut = signals.next_or(budget.cut);
        let served = async {
            let delay = first(sleep(delay), cut.clone());
            server.accept_until(delay).await;
            server.close().drain(cut.clone()).await;
        };
        tokio::join!(served, self.work.run(cut.clone()));
        self.store(budget).await
    }

    /// Ends what has not served yet. The signals are those that force.
    pub(super) async fn end_before_it_serves(self, signals: Signals) -> io::Result<()> {
        let budget = self.begin(Duration::ZERO);
        self.work.run(signals.next_or(budget.cut)).await;
        self.store(budget).await
    }

    fn begin(&self, delay: Duration) -> Budget {
        self.services.inner().lifecycle.drain();
        tracing::info!(name: "serve.draining", ?delay, within = ?self.within, "stopping: not ready any more");
        Budget::new(Instant::now(), self.within)
    }

    async fn store(&self, budget: Budget) -> io::Result<()> {
        let stored = timeout_at(budget.end.max(Instant::now() + LEAST), self.services.shutdown()).await;
        let late =
            |_| io::Error::new(io::ErrorKind::TimedOut, "the services had no time to finish what is to be stored");
        stored.map_err(late)?.map_err(io::Error::other)?;
        tracing::info!(name: "serve.ended", "stopped");
        Ok(())
    }
}

/// What is to be stored has at least so long, also when all that came before took longer than it should.
const LEAST: Duration = Duration::from_secs(1);

async fn first(one: impl Future<Output = ()>, other: impl Future<Output = ()>) {
    tokio::select! {
        () = one => {}
        () = other => {}
    }
}

/// What panics has ended, and nothing else has: what is to be stored is stored.
async fn contain(work: BoxFuture<'static, ()>) {
    if AssertUnwindSafe(work).catch_unwind().await.is_err() {
        tracing::error!(name: "serve.work_panicked", "what is done at a stop has panicked");
    }
}

impl AtStop {
    pub(super) fn add(&self, work: impl Future<Output = ()> + Send + 'static) {
        self.all().push(work.boxed());
    }

    async fn run(&self, cut: Cut) {
        let all = std::mem::take(&mut *self.all());
        let count = all.len();
        tokio::select! {
            biased;
            _done = join_all(all.into_iter().map(contain)) => {}
            () = cut => tracing::warn!(name: "serve.work_cut_off", count, "what is done at a stop is cut off"),
        }
    }

    fn all(&self) -> MutexGuard<'_, Vec<BoxFuture<'static, ()>>> {
        // Nothing panics while it is held.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for AtStop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("AtStop").field(&self.all().len()).finish()
    }
}
