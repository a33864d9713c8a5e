use statehouse_core::ManualClock;

use super::*;

const MINUTE: Duration = Duration::from_secs(60);

fn store(capacity: u64) -> (Store<u64>, ManualClock) {
    let clock = ManualClock::default();
    (Store::new(capacity, Arc::new(clock.clone())), clock)
}

fn put(store: &Store<u64>, key: &str, weight: u64, time_to_live: Duration) {
    let outcome = store.set(&Key::new(key).unwrap(), 7, weight, time_to_live, Condition::Always);
    assert!(outcome.stored().is_some());
}

#[test]
fn expired_entries_leave_the_memory_once_others_are_written() {
    let (store, clock) = store(1 << 20);
    for n in 0..1_000 {
        put(&store, &format!("short {n}"), 100, MINUTE);
    }
    put(&store, "long", 100, MINUTE * 10);
    assert_eq!(store.weight(), 100_100);
    clock.advance(MINUTE * 2);
    put(&store, "new", 100, MINUTE);
    assert_eq!(store.weight(), 200);
    assert_eq!(store.value("long"), Some(7));
}

#[test]
fn an_expired_entry_leaves_when_it_is_asked_for() {
    let (store, clock) = store(1 << 20);
    put(&store, "a", 100, MINUTE);
    clock.advance(MINUTE);
    assert!(store.get("a").is_none());
    assert_eq!(store.weight(), 0);
}

#[test]
fn the_weight_stays_within_the_capacity() {
    let (store, _) = store(100_000);
    for n in 0..50_000 {
        put(&store, &format!("key {n}"), 1 + n % 500, MINUTE);
        assert!(store.weight() <= 100_000);
    }
    assert!(store.weight() > 50_000, "{}", store.weight());
}

#[test]
fn a_weight_of_zero_does_not_escape_the_bound() {
    let (store, _) = store(1_000);
    for n in 0..5_000 {
        put(&store, &format!("key {n}"), 0, MINUTE);
    }
    assert!(store.weight() <= 1_000);
    assert!(store.entries.len() <= 1_000);
}

#[test]
fn an_entry_above_the_capacity_is_not_kept_and_takes_the_old_one_with_it() {
    let (store, _) = store(1_000);
    put(&store, "a", 10, MINUTE);
    put(&store, "a", 2_000, MINUTE);
    assert_eq!(store.value("a"), None);
    assert_eq!(store.weight(), 0);
}

#[test]
fn rewriting_the_same_keys_does_not_grow() {
    let (store, _) = store(1 << 30);
    for n in 0..1_000_000_u64 {
        put(&store, &format!("key {}", n % 1_000), 100, MINUTE);
    }
    assert_eq!(store.weight(), 100_000);
    assert_eq!(store.entries.len(), 1_000);
}
