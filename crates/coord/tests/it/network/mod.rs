//! Every verb in Redis under every fault of the network: which outcomes are allowed, within what time, and what is there
//! afterwards.

mod signals;
mod store;

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use statehouse_coord::CoordKey;
use statehouse_core::{Error, Fence, Key, Version};

/// Nothing is over by itself.
const LONG: Duration = Duration::from_secs(600);

/// Of 64 KiB, as the text begins.
fn large(text: &str) -> String {
    text.repeat((64 << 10) / text.len())
}

/// A name that no other scene has, the first segment of its key too.
fn fresh_key() -> CoordKey {
    CoordKey::new(format!("{}/a", fresh())).unwrap()
}

fn fresh() -> String {
    static LAST: AtomicU64 = AtomicU64::new(0);
    format!("scene-{}", LAST.fetch_add(1, Ordering::Relaxed))
}

/// Two holders of one lock, one after the other.
fn holders() -> [Fence; 2] {
    let lock = Key::new(format!("lock/{}", fresh())).unwrap();
    [1, 2].map(|token| Fence::new(lock.clone(), Version::new(token)))
}

fn word(error: &Error) -> &'static str {
    error.kind().as_str()
}
