//! Where connections come from: mostly there is one.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use redis::RedisError;

use crate::connection::stream::Bounded;
use crate::failure::timed_out;
use crate::sync::{any_of, yield_now};

#[derive(Default)]
pub(crate) struct Source {
    tries: AtomicU64,
    /// How many connect at this moment.
    connecting: AtomicU64,
    /// How many connections have clones.
    open: Arc<AtomicU64>,
}

impl Source {
    /// Connections are numbered by the attempts to make them, as a link numbers its generations.
    pub(crate) async fn connect(
        &self,
        _bulk: bool,
        on_close: Arc<dyn Fn() + Send + Sync>,
    ) -> Result<Bounded, RedisError> {
        assert_eq!(self.connecting.fetch_add(1, Ordering::Relaxed), 0, "two repair one link");
        let number = self.tries.fetch_add(1, Ordering::Relaxed) + 1;
        yield_now().await;
        self.connecting.fetch_sub(1, Ordering::Relaxed);
        match any_of(4) {
            0 => Err(timed_out()),
            1 => {
                // It is closed again soon.
                shuttle::thread::spawn(move || on_close());
                Ok(Bounded::new(number, &self.open))
            }
            _ => Ok(Bounded::new(number, &self.open)),
        }
    }

    pub(crate) fn forget_idle(&self) {}

    pub(crate) fn open(&self) -> u64 {
        self.open.load(Ordering::Relaxed)
    }
}
