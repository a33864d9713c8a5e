use statehouse_core::ManualClock;
use statehouse_testkit::{longest_poll, thread_time};

use super::clear::Clearing;
use super::ring::MOST_PER_WRITE;
use super::*;
use crate::Lease;

const MINUTE: Duration = Duration::from_secs(60);

fn store(capacity: u64) -> (Store<u64>, ManualClock) {
    let clock = ManualClock::default();
    (Store::new(Bound::Bytes(capacity), Arc::new(clock.clone())), clock)
}

fn key(text: &str) -> CacheKey {
    CacheKey::new(text).unwrap()
}

fn put(store: &Store<u64>, text: &str, weight: u64, time_to_live: Duration) {
    let outcome = store.set(&key(text), 7, weight, time_to_live, Guard::Always);
    assert!(outcome.stored().is_some());
}

fn reserve(store: &Store<u64>, text: &str, time_to_live: Duration) -> Version {
    match store.reserve(&key(text), time_to_live, &ReserveOptions::new(time_to_live)) {
        Reserved::Leased(token) => token,
        _ => panic!("no lease"),
    }
}

fn records(store: &Store<u64>) -> usize {
    store.stripes.iter().map(|stripe| lock(stripe).ring.len()).sum()
}

fn leases(store: &Store<u64>) -> usize {
    store.stripes.iter().map(|stripe| lock(stripe).leases.len()).sum()
}

#[test]
fn expired_entries_leave_the_memory_while_others_are_written() {
    let (store, clock) = store(1 << 30);
    for n in 0..1_000 {
        put(&store, &format!("long {n}"), 100, MINUTE * 1_000);
    }
    // Ever new keys, of which a hundred live at any time.
    for n in 0..50_000 {
        put(&store, &format!("short {n}"), 100, Duration::from_millis(100));
        clock.advance(Duration::from_millis(1));
    }
    assert!(store.entries.len() < 1_600, "{} entries for 1,100 live ones", store.entries.len());
    assert!(records(&store) < 1_700, "{} records", records(&store));
    assert!((0..1_000).all(|n| store.value(&format!("long {n}")).is_some()));
}

#[test]
fn expired_entries_leave_a_cache_that_is_only_read() {
    let (store, clock) = store(1 << 30);
    for n in 0..1_000 {
        put(&store, &format!("long {n}"), 100, MINUTE * 1_000);
    }
    for n in 0..20_000 {
        put(&store, &format!("short {n}"), 100, MINUTE);
    }
    clock.advance(MINUTE);
    // Once a millisecond one read looks further, whatever it reads and however many there are.
    for n in 0..2_000 {
        let before = store.entries.len();
        match n % 2 {
            0 => assert_eq!(store.value(&format!("long {}", n % 1_000)), Some(7)),
            _ => assert!(store.get("nothing").is_none()),
        }
        assert!(before - store.entries.len() <= MOST_PER_WRITE);
        let left = store.entries.len();
        (0..100).for_each(|_| assert_eq!(store.value("long 1"), Some(7)));
        assert_eq!(store.entries.len(), left);
        clock.advance(Duration::from_millis(1));
    }
    assert_eq!((store.entries.len(), store.weight(), records(&store)), (1_000, 100_000, 1_000));
}

#[test]
fn after_a_pause_no_write_takes_out_more_than_a_few() {
    let (store, clock) = store(1 << 30);
    for n in 0..100_000 {
        put(&store, &format!("{n}"), 100, MINUTE);
    }
    clock.advance(MINUTE);
    let mut writes = 0;
    // Which keys share a stripe is another matter each time; besides what is old there is what was written.
    while store.entries.len() > 1_000 + writes {
        let before = store.entries.len();
        put(&store, "a", 100, MINUTE);
        put(&store, &format!("new {writes}"), 100, MINUTE);
        assert!(before.saturating_sub(store.entries.len()) <= 2 * MOST_PER_WRITE);
        writes += 1;
        assert!(writes < 20_000, "{} entries are left", store.entries.len());
    }
}

#[test]
fn setting_and_removing_the_same_keys_leaves_no_records_behind() {
    let (store, clock) = store(1 << 30);
    for n in 0..20_000_u64 {
        let text = format!("{}", n % 10);
        put(&store, &text, 100, MINUTE);
        if n % 3 == 0 {
            let removed = store.remove(&key(&text), Guard::Always, None);
            assert_eq!(removed, RemoveOutcome::Removed);
        }
        clock.advance(Duration::from_millis(1));
    }
    assert!(records(&store) < 100, "{} records of 10 keys", records(&store));
}

#[test]
fn evicted_entries_leave_no_records_behind() {
    let (store, _) = store(100_000);
    for n in 0..100_000 {
        put(&store, &format!("{n}"), 100, MINUTE);
    }
    assert!(records(&store) < 3_000, "{} records of 1,000 entries", records(&store));
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
fn what_is_not_refused_is_kept() {
    for capacity in (1..200).chain([1_000, 4 << 20, 5_000_001, 64 << 20, 1 << 30]) {
        for bound in [Bound::Bytes(capacity), Bound::Units(capacity), Bound::Entries(capacity)] {
            let store = Store::<u64>::new(bound, Arc::new(ManualClock::default()));
            let most = (0..=64).map(|shift| capacity.checked_shr(shift).unwrap_or(0));
            let largest = most.chain([store.most]).filter(|weight| store.check_weight(*weight).is_ok()).max().unwrap();
            assert!(largest > 0, "{bound:?} takes nothing");
            put(&store, "a", largest, MINUTE);
            assert_eq!(store.value("a"), Some(7), "{bound:?}, weight {largest}");
        }
    }
    assert_eq!(store(1_000).0.check_weight(1_001).unwrap_err().kind(), ErrorKind::TooLarge);
}

#[test]
fn rewriting_the_same_keys_does_not_grow() {
    let (store, _) = store(1 << 30);
    for n in 0..1_000_000_u64 {
        put(&store, &format!("key {}", n % 1_000), 100, MINUTE);
    }
    assert_eq!(store.weight(), 100_000);
    assert_eq!((store.entries.len(), records(&store)), (1_000, 1_000));
}

#[test]
fn leases_weigh_nothing_and_are_not_evicted() {
    let (store, _) = store(1_000);
    let token = reserve(&store, "a", MINUTE);
    for n in 0..5_000 {
        put(&store, &format!("key {n}"), 100, MINUTE);
        reserve(&store, &format!("other {}", n % 500), MINUTE);
    }
    assert!(store.weight() > 500, "leases took the place of entries");
    let outcome = store.set(&key("a"), 1, 100, MINUTE, Guard::Lease(Lease::new(token)));
    assert!(outcome.stored().is_some());
}

#[test]
fn leases_that_nobody_uses_do_not_pile_up() {
    let (store, clock) = store(1_000);
    for n in 0..200_000 {
        reserve(&store, &format!("{n}"), Duration::from_millis(100));
        clock.advance(Duration::from_millis(1));
    }
    assert!(leases(&store) <= 64 * 16, "{} leases for 100 live ones", leases(&store));
    for n in 0..100_000 {
        reserve(&store, &format!("long {n}"), MINUTE);
    }
    assert!(leases(&store) <= 64 * leases::MOST_LEASES, "{}", leases(&store));
}

/// Versions of a stripe run ahead of a clock that stands still, and of one that was set back.
#[test]
fn what_was_set_in_the_same_moment_is_old_enough_for_a_removal_of_no_age() {
    let (store, clock) = store(1 << 20);
    let late = |text: &str, age| store.remove(&key(text), Guard::Always, Some(age));
    for n in 0..500 {
        put(&store, &n.to_string(), 1, MINUTE);
    }
    let now = clock.now();
    for n in 0..500 {
        let text = n.to_string();
        let created = store.get(&text).unwrap().created;
        assert!(created <= now && created.as_micros() + 2_000 > now.as_micros(), "{text}");
        assert!(matches!(late(&text, Duration::from_millis(2)), RemoveOutcome::Conflict(_)), "{text}: it is younger");
        assert_eq!(late(&text, Duration::ZERO), RemoveOutcome::Removed, "{text}");
        // So are leases.
        reserve(&store, &text, MINUTE);
        assert_eq!(late(&text, Duration::from_millis(2)), RemoveOutcome::Absent);
    }
    assert_eq!(leases(&store), 500, "those are younger");
    for n in 0..500 {
        assert_eq!(late(&n.to_string(), Duration::ZERO), RemoveOutcome::Absent);
    }
    assert_eq!(leases(&store), 0);
}

/// A value that uses its cache when it is dropped. So does each copy: of an `Arc` any copy may be the last one, if others evict
/// or replace its entry.
#[derive(Clone)]
struct Reentrant(std::sync::Weak<Store<Self>>);

impl Drop for Reentrant {
    fn drop(&mut self) {
        thread_local!(static DROPS: std::cell::Cell<bool> = const { std::cell::Cell::new(false) });
        if DROPS.replace(true) {
            return;
        }
        if let Some(store) = self.0.upgrade() {
            for n in 0..100 {
                store.get(&n.to_string());
                let _ = store.touch(&key(&n.to_string()), MINUTE);
            }
        }
        DROPS.set(false);
    }
}

#[test]
fn a_value_that_is_dropped_may_use_the_cache() {
    let (done, ended) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let clock = ManualClock::default();
        let store = Arc::new(Store::new(Bound::Entries(40), Arc::new(clock.clone()) as Arc<dyn Clock>));
        let put = |n: usize| {
            let value = Reentrant(Arc::downgrade(&store));
            let _ = store.set(&key(&n.to_string()), value, 1, MINUTE, Guard::Always);
        };
        // Evicted, replaced, removed, reserved and cleared.
        (0..200).chain(0..100).for_each(put);
        for n in 0..50 {
            put(n);
            let _ = store.remove(&key(&n.to_string()), Guard::Always, None);
            put(n);
            if let Some(found) = store.get(&n.to_string()) {
                let version = found.version;
                drop(found);
                let options = ReserveOptions::new(MINUTE).with_replacing(version);
                drop(store.reserve(&key(&n.to_string()), MINUTE, &options));
            }
        }
        (0..40).for_each(put);
        // Expired, and swept by writes and by reads.
        clock.advance(2 * MINUTE);
        (0..20).for_each(put);
        for _ in 0..STRIPES {
            clock.advance(Duration::from_millis(2));
            store.value("0");
        }
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(store.clear());
        done.send(store.weight()).unwrap();
    });
    assert_eq!(ended.recv_timeout(Duration::from_secs(30)), Ok(0), "a value waits for a lock that its own drop holds");
}

/// The names of so many keys of one stripe.
fn of_one_stripe(store: &Store<u64>, count: usize) -> Vec<String> {
    let is_first = |name: &String| store.hasher.hash_one(key(name)).is_multiple_of(STRIPES as u64);
    (0..).map(|n: u32| n.to_string()).filter(is_first).take(count).collect()
}

#[test]
fn a_clear_holds_a_lock_for_no_longer_than_a_write_and_takes_what_was_there_when_it_began() {
    let (store, clock) = store(1 << 30);
    let names = of_one_stripe(&store, 3 * MOST_PER_WRITE);
    let (leased, there) = names.split_last().unwrap();
    there.iter().for_each(|name| put(&store, name, 1, MINUTE));
    reserve(&store, leased, MINUTE);
    let clearing = Clearing::begin(&store.stripes[0]);
    assert_eq!((leases(&store), clearing.left()), (0, there.len()), "nothing that is loaded is stored any more");
    assert!(store.clear_some(&clearing));
    assert_eq!(clearing.left(), there.len() - MOST_PER_WRITE);

    // Between two pieces: in the place of what is to go, after it, and anew; and what sweeps find none of it.
    let (last, first) = (there.last().unwrap(), &there[0]);
    for name in [first, last, leased] {
        put(&store, name, 1, MINUTE);
    }
    let _removed = store.remove(&key(&there[there.len() - 2]), Guard::Always, None);
    let _touched = store.touch(&key(&there[there.len() - 3]), 2 * MINUTE);
    while store.clear_some(&clearing) {}
    drop(clearing);
    let kept: Vec<_> = names.iter().filter(|name| store.get(name).is_some()).collect();
    assert_eq!(kept, [first, last, leased]);
    assert_eq!((store.weight(), records(&store)), (3, 3), "each has a record, so that it leaves when it has expired");
    clock.advance(2 * MINUTE);
    put(&store, first, 1, MINUTE);
    put(&store, first, 1, MINUTE);
    assert_eq!(store.weight(), 1);
}

/// What was set beside the first of two clears is what the second is to take out, also where the first is never ended.
#[test]
fn a_clear_beside_another_takes_out_all_that_there_was_when_it_began() {
    for ends in [true, false] {
        let (store, _) = store(1 << 30);
        let names = of_one_stripe(&store, 3 * MOST_PER_WRITE);
        names.iter().for_each(|name| put(&store, name, 1, MINUTE));
        let first = Clearing::begin(&store.stripes[0]);
        assert!(store.clear_some(&first));
        put(&store, names.last().unwrap(), 1, MINUTE);
        let second = Clearing::begin(&store.stripes[0]);
        put(&store, &names[0], 1, MINUTE);
        while ends && store.clear_some(&first) {}
        drop(first);
        while store.clear_some(&second) {}
        drop(second);
        let kept: Vec<_> = names.iter().filter(|name| store.get(name).is_some()).collect();
        assert_eq!((kept, records(&store)), (vec![&names[0]], 1), "{ends}");
    }
}

#[tokio::test]
async fn a_clear_leaves_the_thread_to_others_and_one_that_is_dropped_loses_no_record() {
    let (store, clock) = store(1 << 30);
    (0..100_000).for_each(|n| put(&store, &n.to_string(), 1, MINUTE));
    let begun = thread_time();
    let ((), longest) = longest_poll(store.clear()).await;
    assert!(longest * 3 < thread_time() - begun, "{longest:?}");
    assert_eq!((store.weight(), records(&store)), (0, 0));

    (0..100_000).for_each(|n| put(&store, &n.to_string(), 1, MINUTE));
    let cut_short = tokio::time::timeout(Duration::ZERO, store.clear()).await;
    assert!(cut_short.is_err());
    let left = store.weight();
    assert!(left > 0 && left < 100_000, "{left}");
    assert_eq!(records(&store) as u64, left);
    clock.advance(2 * MINUTE);
    for _ in 0..2_000 {
        clock.advance(Duration::from_millis(2));
        store.get("0");
    }
    assert_eq!(store.weight(), 0, "they leave as ever");
}
