//! A wall clock that somebody puts right.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use statehouse_core::{Clock, ManualClock, Timestamp};
use statehouse_session::{
    LocalConfig, LocalSessionStore, MemoryConfig, MemorySessionStore, NewSession, SessionStore, SessionStoreExt as _,
    Token,
};

const MINUTE: Duration = Duration::from_secs(60);

/// A clock whose time of day is put forward or back while time passes as before.
#[derive(Clone, Debug, Default)]
struct SetClock {
    clock: ManualClock,
    minutes: Arc<AtomicI64>,
}

impl Clock for SetClock {
    fn now(&self) -> Timestamp {
        let by = self.minutes.load(Ordering::Relaxed) * 60_000_000;
        Timestamp::from_micros(self.clock.now().as_micros().saturating_add_signed(by))
    }

    fn elapsed(&self) -> Duration {
        self.clock.elapsed()
    }
}

async fn idles_as_long_as_it_may(store: Arc<dyn SessionStore>, clock: &SetClock) {
    let token = Token::generate().unwrap();
    let new = NewSession::new(token.verifier_hash(), 30 * MINUTE, 600 * MINUTE);
    store.create(&token.key(), &new).await.unwrap();
    let is_there = async || store.load(&token.key()).await.unwrap().found().is_some();
    // By a quarter of an hour, by what a summer is put forward and back by, and by more.
    for minutes in [15, -15, 0, 60, 0, -60, 0, 1_000, -1_000] {
        clock.minutes.store(minutes, Ordering::Relaxed);
        clock.clock.advance(29 * MINUTE);
        assert!(is_there().await, "idle for 29 minutes, the clock put by {minutes}");
        let _ = store.touch(&token.key()).await.unwrap();
    }
    clock.minutes.store(-15, Ordering::Relaxed);
    clock.clock.advance(30 * MINUTE);
    assert!(!is_there().await, "idle for 30 minutes");
}

#[tokio::test]
async fn a_wall_clock_that_is_put_right_logs_nobody_out_of_memory_and_keeps_nobody() {
    let clock = SetClock::default();
    let store = MemorySessionStore::with_config(MemoryConfig::default().with_clock(clock.clone()));
    idles_as_long_as_it_may(Arc::new(store), &clock).await;
}

#[tokio::test]
async fn a_wall_clock_that_is_put_right_logs_nobody_out_of_the_disk_and_keeps_nobody() {
    let (clock, folder) = (SetClock::default(), tempfile::tempdir().unwrap());
    let config = LocalConfig::new(folder.path()).with_clock(clock.clone());
    idles_as_long_as_it_may(Arc::new(LocalSessionStore::open_with(config).await.unwrap()), &clock).await;
}
