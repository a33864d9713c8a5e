//! What Sentinel and Cluster have in common: several servers that are one.

use std::io;
use std::time::{Duration, Instant};

use crate::StartError;
use crate::process::within;

/// How long a server may take until it answers; a loaded machine starts many at once.
pub(super) const READY_WITHIN: Duration = Duration::from_secs(60);

/// The methods of a handle on several servers: each does to all what the method of one does.
macro_rules! group_controls {
    () => {
        /// Pauses all servers that run.
        pub fn pause(&self) {
            self.members().filter(|server| server.is_running()).for_each(RedisServer::pause);
        }

        /// Lets all servers go on.
        pub fn resume(&self) {
            self.members().filter(|server| server.is_running()).for_each(RedisServer::resume);
        }

        /// Kills all servers at once.
        pub fn kill(&self) {
            self.members().for_each(RedisServer::kill);
        }
    };
}
pub(super) use group_controls;

/// Asks `ready` until it holds.
pub(super) async fn settled<F>(what: &str, mut ready: impl FnMut() -> F) -> Result<(), StartError>
where
    F: Future<Output = io::Result<bool>>,
{
    let deadline = Instant::now() + READY_WITHIN;
    loop {
        let answer = within(Duration::from_secs(5), ready()).await;
        if matches!(answer, Ok(true)) {
            return Ok(());
        }
        if Instant::now() > deadline {
            return Err(StartError::new(format!("{what} after {READY_WITHIN:?}: {answer:?}")));
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
