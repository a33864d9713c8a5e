//! A model of the invalidations that a cache keeps while its store is away.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::sync::any_of;
use crate::typed::kept::{Debt, Kept};
use crate::{CacheKey, together};

/// Whatever is kept and paid at the same time: what was kept and not paid is owed, and a glance says so.
pub fn what_is_owed_is_seen_at_a_glance() {
    let key = CacheKey::new("key").unwrap_or_else(|error| panic!("{error}"));
    let (kept, first) = (Arc::new(Kept::default()), Instant::now());
    let second = first + Duration::from_secs(1);
    let (used, debt) = (Arc::clone(&kept), Debt::Key(key.clone()));
    together(3, move || match any_of(4) {
        0 => used.keep(&Debt::Clear, first),
        1 => used.paid(&Debt::Clear, first),
        2 => {
            used.keep(&debt, first);
            used.paid(&debt, first);
        }
        _ => {
            used.keep(&debt, second);
            assert_eq!(used.owed(&key), Some(second), "nobody has paid so late a one");
        }
    });
    assert_eq!(kept.is_empty(), kept.all().is_empty());
}
