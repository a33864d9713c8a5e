use std::future::Future;
use std::sync::Arc;

use tokio::sync::Barrier;
use tokio::task::JoinSet;

/// How many take part in a [`race`].
pub const RACERS: usize = 16;

/// Starts all racers at the same moment, each a task of its own that is told its number, and collects what they return.
pub async fn race<T: Send + 'static, F: Future<Output = T> + Send + 'static>(racer: impl Fn(usize) -> F) -> Vec<T> {
    let start = Arc::new(Barrier::new(RACERS));
    let mut racers = JoinSet::new();
    for number in 0..RACERS {
        let (start, work) = (Arc::clone(&start), racer(number));
        racers.spawn(async move {
            start.wait().await;
            work.await
        });
    }
    racers.join_all().await
}
