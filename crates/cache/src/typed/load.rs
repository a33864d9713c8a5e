use std::error::Error as StdError;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use statehouse_core::Result;

use super::cache::TypedCache;
use super::call::Call;
use super::tier::CacheValue;
use crate::operation::NAME;

/// A read that loads what is missing; made by [`TypedCache::get_or_load`], run by `.await`.
#[must_use = "nothing happens until it is awaited"]
pub struct GetOrLoad<'a, V, K, F> {
    cache: &'a TypedCache<V>,
    key: K,
    loader: F,
    time_to_live: Duration,
}

impl<'a, V, K, F> GetOrLoad<'a, V, K, F> {
    pub(crate) fn new(cache: &'a TypedCache<V>, key: K, loader: F) -> Self {
        Self { cache, key, loader, time_to_live: cache.settings.time_to_live }
    }

    /// Keeps a loaded value for this long, instead of the cache's time to live.
    pub fn time_to_live(mut self, time_to_live: Duration) -> Self {
        self.time_to_live = time_to_live;
        self
    }
}

impl<'a, V, K, F, Fut, E> IntoFuture for GetOrLoad<'a, V, K, F>
where
    V: CacheValue,
    K: AsRef<str> + Send + 'a,
    F: FnOnce() -> Fut + Send + 'a,
    Fut: Future<Output = Result<V, E>> + Send + 'a,
    E: Into<Box<dyn StdError + Send + Sync>> + Send + 'a,
{
    type Output = Result<Arc<V>>;
    type IntoFuture = LoadFuture<'a, V, K, F>;

    fn into_future(self) -> Self::IntoFuture {
        LoadFuture(State::New(self))
    }
}

/// The future of [`GetOrLoad`]. A hit in memory is answered by the first poll, without an allocation.
pub struct LoadFuture<'a, V, K, F>(State<'a, V, K, F>);

enum State<'a, V, K, F> {
    New(GetOrLoad<'a, V, K, F>),
    Running(Pin<Box<dyn Future<Output = Result<Arc<V>>> + Send + 'a>>),
    Done,
}

// Key and loader are moved out before they are used and never pinned in place.
impl<V, K, F> Unpin for LoadFuture<'_, V, K, F> {}

impl<'a, V, K, F, Fut, E> Future for LoadFuture<'a, V, K, F>
where
    V: CacheValue,
    K: AsRef<str> + Send + 'a,
    F: FnOnce() -> Fut + Send + 'a,
    Fut: Future<Output = Result<V, E>> + Send + 'a,
    E: Into<Box<dyn StdError + Send + Sync>> + Send + 'a,
{
    type Output = Result<Arc<V>>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if let State::New(call) = &self.0
            && let Some(hit) = call.cache.hit(call.key.as_ref())
        {
            self.0 = State::Done;
            return Poll::Ready(Ok(hit));
        }
        let mut running = match std::mem::replace(&mut self.0, State::Done) {
            State::New(call) => start(call),
            State::Running(future) => future,
            State::Done => panic!("polled after completion"),
        };
        let answer = running.as_mut().poll(context);
        if answer.is_pending() {
            self.0 = State::Running(running);
        }
        answer
    }
}

fn start<'a, V, K, F, Fut, E>(call: GetOrLoad<'a, V, K, F>) -> Pin<Box<dyn Future<Output = Result<Arc<V>>> + Send + 'a>>
where
    V: CacheValue,
    K: AsRef<str> + Send + 'a,
    F: FnOnce() -> Fut + Send + 'a,
    Fut: Future<Output = Result<V, E>> + Send + 'a,
    E: Into<Box<dyn StdError + Send + Sync>> + Send + 'a,
{
    let GetOrLoad { cache, key, loader, time_to_live } = call;
    Box::pin(async move {
        let key = cache.key(key, NAME.get_or_load)?;
        let call = Call { core: &cache.core, settings: cache.settings, key: &key, time_to_live };
        call.run(loader).await.map_err(|error| cache.named(error, NAME.get_or_load, &key))
    })
}

impl<V, K, F> fmt::Debug for GetOrLoad<'_, V, K, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GetOrLoad").field("time_to_live", &self.time_to_live).finish_non_exhaustive()
    }
}

impl<V, K, F> fmt::Debug for LoadFuture<'_, V, K, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LoadFuture").finish_non_exhaustive()
    }
}
