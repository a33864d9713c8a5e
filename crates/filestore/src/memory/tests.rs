use std::sync::Arc;
use std::time::Duration;

use statehouse_core::ManualClock;

use super::*;

crate::filestore_conformance!(async { crate::conformance::Store::new(MemoryFileStore::new()) });

#[tokio::test]
async fn times_come_from_the_clock() {
    let clock = ManualClock::default();
    let store = MemoryFileStore::with_clock(Arc::new(clock.clone()));
    let key = FileKey::new("a").unwrap();
    clock.advance(Duration::from_secs(5));
    let stored = store.put_with(&key, "x".into(), PutOptions::default()).await.unwrap().stored();
    assert!(stored.is_some());
    assert_eq!(store.head_with(&key, HeadOptions::default()).await.unwrap().found().unwrap().modified, clock.now());
}

/// A clock whose time of day has been set.
#[derive(Clone, Debug, Default)]
struct Set(ManualClock, Arc<std::sync::atomic::AtomicBool>);

impl Clock for Set {
    fn now(&self) -> Timestamp {
        let ahead = if self.1.load(std::sync::atomic::Ordering::SeqCst) { 3600 } else { 0 };
        self.0.now() + Duration::from_secs(ahead)
    }

    fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }
}

#[tokio::test]
async fn a_clock_that_is_set_ends_no_file() {
    let clock = Set::default();
    let store = MemoryFileStore::with_clock(Arc::new(clock.clone()));
    let (key, minute) = (FileKey::new("a").unwrap(), Duration::from_secs(60));
    let stored = store.put_with(&key, "x".into(), PutOptions::default().with_time_to_live(minute)).await.unwrap();
    assert!(stored.stored().is_some());
    clock.1.store(true, std::sync::atomic::Ordering::SeqCst);
    assert_eq!(store.sweep_with(SweepOptions::new("")).await.unwrap().expired, 0);
    clock.0.advance(minute);
    assert_eq!(store.sweep_with(SweepOptions::new("")).await.unwrap().expired, 1);
}

fn bounded(capacity: u64) -> (Arc<MemoryFileStore>, crate::Files) {
    let store = Arc::new(MemoryFileStore::with_config(MemoryConfig::default().with_capacity(capacity)));
    (Arc::clone(&store), crate::Files::new(store, statehouse_core::Namespace::new("n").unwrap()))
}

fn is_full(error: &Error) -> bool {
    (error.kind(), error.retry()) == (ErrorKind::Unavailable, statehouse_core::Retry::FULL)
}

/// A source without an end ends where the room does, and leaves all of it to others.
#[tokio::test]
async fn what_is_beyond_the_capacity_is_refused_and_leaves_nothing() {
    let (store, files) = bounded(1 << 20);
    files.put("a", "old").await.unwrap();
    let before = store.room.used();
    let endless = || futures_util::stream::repeat_with(|| Ok::<_, std::io::Error>(vec![7; 4096]));
    let long = || vec![7; 2 << 20];
    let refused = [
        files.put("a", Body::from_stream(endless())).await.map(drop).unwrap_err(),
        files.put("b", long()).await.map(drop).unwrap_err(),
        files.put("c", Body::from_stream(endless())).stage().await.map(drop).unwrap_err(),
    ];
    assert!(refused.iter().all(is_full), "{refused:?}");
    assert_eq!((store.room.used(), files.get("a").bytes().await.unwrap()), (before, "old".into()));
    // Nor do names without end, or copies, go on for ever.
    let mut names = 0;
    let full = loop {
        names += 1;
        if let Err(full) = files.put(format!("empty/{names}"), "").await {
            break full;
        }
    };
    assert!(is_full(&full) && names < 4096, "{names}: {full:?}");
    assert!(is_full(&files.copy("a", "another").await.unwrap_err()));
    assert_eq!(files.delete_prefix("").await.unwrap().failed, 0);
    assert_eq!(store.room.used(), 0);
}

#[tokio::test]
async fn what_is_read_staged_or_copied_counts_once_and_until_nobody_has_it() {
    let (store, files) = bounded(1 << 20);
    let staged = files.put("a", vec![7; 500_000]).stage().await.unwrap();
    let once = store.room.used();
    assert!((500_000..510_000).contains(&once), "{once}");
    let _committed = staged.commit().await.unwrap();
    assert_eq!(store.room.used(), once);
    files.copy("a", "b").await.unwrap();
    assert!(store.room.used() < once + 5_000, "a copy shares the content");
    let read = files.get("a").bytes().await.unwrap();
    let _gone = files.delete_prefix("").await.unwrap();
    assert!(is_full(&files.put("c", vec![7; 600_000]).await.unwrap_err()), "somebody has it still");
    drop(read);
    assert_eq!(store.room.used(), 0);
    files.put("c", vec![7; 600_000]).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_source_that_is_silent_holds_nothing_for_ever() {
    let (store, files) = bounded(1 << 20);
    let begins = || futures_util::stream::iter([Ok::<_, std::io::Error>(vec![7; 500_000])]);
    let silent = || Body::from_stream(futures_util::StreamExt::chain(begins(), futures_util::stream::pending()));
    for staged in [false, true] {
        let put = files.put("a", silent());
        let error = if staged { put.stage().await.map(drop).unwrap_err() } else { put.await.map(drop).unwrap_err() };
        assert_eq!(error.kind(), ErrorKind::Timeout, "{error:?}");
        assert!(error.message().contains("body_timeout"), "{error}");
        assert_eq!(store.room.used(), 0);
    }
}

#[test]
fn it_needs_no_runtime() {
    let store = MemoryFileStore::new();
    let (key, content) = (FileKey::new("a").unwrap(), vec![7; 1 << 20]);
    let put = store.put_with(&key, content.clone().into(), PutOptions::default());
    let stored = futures_util::FutureExt::now_or_never(put).unwrap().unwrap();
    let stored = stored.stored().unwrap();
    assert_eq!(stored.sha256, Some(crate::digest::Digest::of(&content)));
    let etag = stored.etag.as_str();
    assert!(etag.len() == 34 && etag.starts_with('"') && etag.ends_with('"'), "as HTTP writes it: {etag}");
}

/// Bytes that tell when nobody has them any more.
struct Told(Vec<u8>, Arc<std::sync::atomic::AtomicBool>);

impl AsRef<[u8]> for Told {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Told {
    fn drop(&mut self) {
        self.1.store(true, std::sync::atomic::Ordering::SeqCst);
    }
}

/// Also of a length that is copied elsewhere.
#[tokio::test]
async fn a_slice_of_a_large_buffer_does_not_keep_it() {
    let store = MemoryFileStore::new();
    for len in [100, LONG] {
        let gone = Arc::new(std::sync::atomic::AtomicBool::new(false));
        let buffer = Bytes::from_owner(Told(vec![7; 1 << 20], Arc::clone(&gone)));
        let key = FileKey::new(format!("of-{len}")).unwrap();
        let stored = store.put_with(&key, buffer.slice(..len).into(), PutOptions::default()).await.unwrap();
        assert!(stored.stored().is_some());
        drop(buffer);
        assert!(gone.load(std::sync::atomic::Ordering::SeqCst), "{len}");
        let got = store.get_with(&key, GetOptions::default()).await.unwrap().found().unwrap();
        assert_eq!(got.bytes().await.unwrap(), vec![7; len]);
    }
}

#[tokio::test]
async fn what_can_never_fit_is_refused_before_any_of_it_is_taken() {
    let store = MemoryFileStore::with_config(MemoryConfig::default().with_capacity(10_000));
    let never = futures_util::stream::poll_fn(|_| panic!("nothing of it is asked for"));
    let body = Body::from_stream::<_, Bytes, Error>(never).with_len(10_001);
    let key = FileKey::new("a").unwrap();
    let refused = store.put_with(&key, body, PutOptions::default()).await.unwrap_err();
    assert_eq!(refused.retry(), statehouse_core::Retry::FULL);
}

/// Everybody else has their turn meanwhile, and another namespace is not gone through.
#[tokio::test]
async fn a_sweep_goes_by_a_few_files_at_a_time() {
    let clock = ManualClock::default();
    let store = MemoryFileStore::with_clock(Arc::new(clock.clone()));
    let options = PutOptions::default().with_time_to_live(Duration::from_secs(1));
    for number in 0..1_000 {
        for namespace in ["a", "b"] {
            let key = FileKey::new(format!("{namespace}/{number:04}")).unwrap();
            assert!(store.put_with(&key, "x".into(), options.clone()).await.unwrap().stored().is_some());
        }
    }
    clock.advance(Duration::from_secs(1));
    let (mut sweep, mut polls) = (store.sweep_with(SweepOptions::new("a/")), 0);
    let swept = std::future::poll_fn(|cx| {
        polls += 1;
        sweep.as_mut().poll(cx)
    });
    assert_eq!(swept.await.unwrap().expired, 1_000);
    assert!(polls > 3, "{polls}");
    assert_eq!(store.sweep_with(SweepOptions::new("")).await.unwrap().expired, 1_000);
}

/// Tells whether others could read while it was freed.
struct Freed(std::sync::Weak<MemoryFileStore>, Arc<Mutex<Vec<bool>>>);

impl AsRef<[u8]> for Freed {
    fn as_ref(&self) -> &[u8] {
        b"content"
    }
}

impl Drop for Freed {
    fn drop(&mut self) {
        if let Some(store) = self.0.upgrade() {
            self.1.lock().unwrap().push(store.files.try_read().is_ok());
        }
    }
}

#[tokio::test]
async fn what_is_replaced_or_deleted_is_freed_while_others_read() {
    let (store, freed) = (Arc::new(MemoryFileStore::new()), Arc::new(Mutex::new(Vec::new())));
    let key = FileKey::new("a").unwrap();
    let plant = || {
        let content = Bytes::from_owner(Freed(Arc::downgrade(&store), Arc::clone(&freed)));
        store.write().get_mut(&key).unwrap().content = content;
    };
    let _stored = store.put_with(&key, "x".into(), PutOptions::default()).await.unwrap();
    plant();
    let _stored = store.put_with(&key, "y".into(), PutOptions::default()).await.unwrap();
    plant();
    let _deleted = store.delete_with(&key, DeleteOptions::default()).await.unwrap();
    assert_eq!(*freed.lock().unwrap(), [true, true]);
}
