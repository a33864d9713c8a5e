//! How much of all streams that are being stored may be in memory.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use statehouse_core::{Error, ErrorKind, Result, Retry};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep, timeout};

/// What is counted at a time, in bytes.
const UNIT: u64 = 1 << 10;

/// By how much a part's share grows at least, in bytes: what the first byte of a stream takes. Were it much, a few clients
/// that begin and then wait would keep everybody else from storing anything.
const STEP: u64 = 64 << 10;

/// How often a part that waits for room looks for one that has kept its own too long.
const LOOKS: Duration = Duration::from_secs(1);

/// The memory that the uploads of one store share.
///
/// Each part takes as much as has come of it. Were that all, many parts that have come half could keep each other from
/// ever becoming whole. A quarter of the memory is therefore only for one part at a time: whoever has it can complete
/// its part, send it, and give everything back.
///
/// A part whose source trickles may take as long as it likes, as long as nobody waits for what it holds. Then it has half
/// of the patience of who waits, and gives way if it holds an equal share or more. So whoever waits gets room before its
/// patience is over, and slow uploads that hold little go on beside fast ones.
#[derive(Debug)]
pub(super) struct Room {
    shared: Arc<Semaphore>,
    last: Arc<Semaphore>,
    /// How much all may have but for what is only for one part at a time, in bytes.
    all: u64,
    /// All parts that have a share or wait for one.
    holders: Mutex<Vec<Weak<Holder>>>,
    /// The longest part there is room for.
    pub(super) longest: u64,
}

/// A part as the others see it.
#[derive(Debug, Default)]
struct Holder {
    bytes: AtomicU64,
    source: Mutex<Source>,
    gives_way: Notify,
}

/// How long a part has waited for its source.
#[derive(Clone, Copy, Debug, Default)]
struct Source {
    before: Duration,
    since: Option<Instant>,
}

/// What one part has taken. Given back when dropped.
#[derive(Debug, Default)]
pub(super) struct Share {
    shared: Option<OwnedSemaphorePermit>,
    last: Option<OwnedSemaphorePermit>,
    bytes: u64,
    holder: Option<Arc<Holder>>,
}

impl Share {
    /// Waits for the part's source, unless the part is to give way to others.
    pub(super) async fn wait_for<T>(&self, source: impl Future<Output = Result<T>>) -> Result<T> {
        let Some(holder) = &self.holder else { return source.await };
        holder.source().since = Some(Instant::now());
        let came = tokio::select! {
            biased;
            () = holder.gives_way.notified() => Err(gave_way()),
            came = source => came,
        };
        let mut source = holder.source();
        *source = Source { before: source.waited(), since: None };
        came
    }

    fn add(&mut self, found: Found) {
        let bytes = match found {
            Found::Room(permit, bytes) => {
                match &mut self.shared {
                    Some(shared) => shared.merge(permit),
                    None => self.shared = Some(permit),
                }
                bytes
            }
            Found::Last(permit) => {
                self.last = Some(permit);
                u64::MAX
            }
        };
        self.bytes = self.bytes.saturating_add(bytes);
        if let Some(holder) = &self.holder {
            holder.bytes.store(self.bytes, Ordering::Relaxed);
        }
    }
}

impl Holder {
    /// Nothing that runs under the lock leaves it half changed.
    fn source(&self) -> MutexGuard<'_, Source> {
        self.source.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How long the part has waited for its source in all, if it does so now.
    fn asks_for(&self) -> Option<Duration> {
        let source = *self.source();
        source.since.map(|_| source.waited())
    }
}

impl Source {
    fn waited(self) -> Duration {
        self.before + self.since.map_or(Duration::ZERO, |since| since.elapsed())
    }
}

/// Room for so many bytes more, or for all of a part.
enum Found {
    Room(OwnedSemaphorePermit, u64),
    Last(OwnedSemaphorePermit),
}

impl Room {
    pub(super) fn new(bytes: u64) -> Self {
        let units = |bytes: u64| usize::try_from(bytes / UNIT).unwrap_or(Semaphore::MAX_PERMITS);
        let longest = bytes / 4;
        let all = bytes - longest;
        let shared = Arc::new(Semaphore::new(units(all).min(Semaphore::MAX_PERMITS)));
        Self { shared, last: Arc::new(Semaphore::new(1)), all, holders: Mutex::default(), longest }
    }

    /// Makes room for a part that will have this many bytes.
    pub(super) async fn grow(&self, share: &mut Share, bytes: u64, patience: Duration) -> Result<()> {
        if share.holder.is_none() && bytes > 0 {
            share.holder = Some(self.enter());
        }
        while share.bytes < bytes {
            let wanted = (bytes - share.bytes).next_multiple_of(STEP);
            let found = match Arc::clone(&self.shared).try_acquire_many_owned(units(wanted)) {
                Ok(permit) => Found::Room(permit, wanted),
                Err(_) => timeout(patience, self.wait(patience)).await.map_err(|_| no_room())?,
            };
            share.add(found);
        }
        Ok(())
    }

    fn enter(&self) -> Arc<Holder> {
        let holder = Arc::<Holder>::default();
        self.holders().push(Arc::downgrade(&holder));
        holder
    }

    /// Those that are there still.
    fn holders(&self) -> MutexGuard<'_, Vec<Weak<Holder>>> {
        let mut holders = self.holders.lock().unwrap_or_else(PoisonError::into_inner);
        holders.retain(|holder| holder.strong_count() > 0);
        holders
    }

    async fn wait(&self, patience: Duration) -> Found {
        let shared = Arc::clone(&self.shared).acquire_many_owned(units(STEP));
        let last = Arc::clone(&self.last).acquire_owned();
        // Neither semaphore is ever closed.
        tokio::select! {
            Ok(permit) = shared => Found::Room(permit, STEP),
            Ok(permit) = last => Found::Last(permit),
            found = self.ask_for_room(patience) => found,
        }
    }

    /// Has parts give way for as long as somebody waits. Finds nothing itself.
    async fn ask_for_room(&self, patience: Duration) -> Found {
        loop {
            if let Some(holder) = self.slowest(patience / 2) {
                holder.gives_way.notify_one();
            }
            sleep(LOOKS.min(patience / 8)).await;
        }
    }

    /// Of the parts with an equal share or more, the one that has waited the longest for its source, if that is too long.
    fn slowest(&self, longest: Duration) -> Option<Arc<Holder>> {
        let holders = self.holders();
        let equal = self.all / holders.len().max(1) as u64;
        let there = holders.iter().filter_map(Weak::upgrade);
        let large = there.filter(|holder| holder.bytes.load(Ordering::Relaxed) >= equal);
        let slow = large.filter_map(|holder| Some((holder.asks_for()?, holder))).filter(|(long, _)| *long > longest);
        slow.max_by_key(|(long, _)| *long).map(|(_, holder)| holder)
    }
}

fn units(bytes: u64) -> u32 {
    u32::try_from(bytes / UNIT).unwrap_or(u32::MAX)
}

fn no_room() -> Error {
    refused("all of upload_memory is taken by other uploads to this store")
}

fn gave_way() -> Error {
    refused(
        "others wait for upload_memory, and what has come of this upload has held an equal share of it for too long",
    )
}

fn refused(message: &'static str) -> Error {
    Error::new(ErrorKind::RateLimited, message).with_retry(Retry::After(Duration::from_secs(1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHORT: Duration = Duration::from_millis(20);

    /// As of thousands of clients who send a byte and then nothing for as long as they may.
    #[tokio::test]
    async fn streams_that_have_only_begun_take_little() {
        let room = Room::new(32 << 20);
        let mut begun: Vec<_> = (0..300).map(|_| Share::default()).collect();
        for share in &mut begun {
            room.grow(share, 1, SHORT).await.unwrap();
        }
        let mut whole = [Share::default(), Share::default()];
        for share in &mut whole {
            room.grow(share, 5 << 20, SHORT).await.unwrap();
        }
        assert!(room.grow(&mut Share::default(), 5 << 20, SHORT).await.is_err());
        begun.clear();
        whole = Default::default();
        assert_eq!(room.shared.available_permits(), 24 << 10, "all of it is given back: {whole:?}");
    }

    #[tokio::test]
    async fn parts_that_have_come_half_do_not_keep_each_other_from_becoming_whole() {
        let room = Room::new(32 << 20);
        let mut shares: Vec<_> = (0..8).map(|_| Share::default()).collect();
        for share in &mut shares[..6] {
            room.grow(share, 4 << 20, SHORT).await.unwrap();
        }
        room.grow(&mut shares[0], 8 << 20, SHORT).await.unwrap();
        let refused = room.grow(&mut shares[1], 8 << 20, SHORT).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::RateLimited);
        shares[0] = Share::default();
        room.grow(&mut shares[1], 8 << 20, SHORT).await.unwrap();
        for share in &mut shares[2..] {
            *share = Share::default();
        }
        room.grow(&mut shares[2], 8 << 20, SHORT).await.unwrap();
    }

    const PATIENCE: Duration = Duration::from_secs(300);

    /// A part of this length to which a byte comes each second from then on.
    fn trickling(room: &Arc<Room>, bytes: u64) -> tokio::task::JoinHandle<Error> {
        let room = Arc::clone(room);
        tokio::spawn(async move {
            let mut share = Share::default();
            room.grow(&mut share, bytes, PATIENCE).await.unwrap();
            loop {
                let byte = async {
                    sleep(Duration::from_secs(1)).await;
                    Ok(())
                };
                if let Err(error) = share.wait_for(byte).await {
                    return error;
                }
            }
        })
    }

    #[tokio::test(start_paused = true)]
    async fn parts_that_trickle_give_way_to_who_waits_and_small_ones_go_on() {
        let room = Arc::new(Room::new(32 << 20));
        let small = trickling(&room, STEP);
        // The last of them has what is only for one part at a time.
        let large: Vec<_> = (0..4).map(|_| trickling(&room, 7 << 20)).collect();
        sleep(20 * PATIENCE).await;
        assert!(large.iter().all(|part| !part.is_finished()), "nobody waits for what they hold");
        let mut quick = Share::default();
        room.grow(&mut quick, 8 << 20, PATIENCE).await.unwrap();
        assert!(!small.is_finished(), "it holds less than an equal share");
        let ended = large.into_iter().filter(tokio::task::JoinHandle::is_finished).collect::<Vec<_>>();
        assert!((1..4).contains(&ended.len()), "as many as had to: {ended:?}");
        for part in ended {
            assert_eq!(part.await.unwrap().kind(), ErrorKind::RateLimited);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_gets_room_before_its_patience_is_over_and_others_have_half_of_it() {
        let room = Arc::new(Room::new(32 << 20));
        let large: Vec<_> = (0..4).map(|_| trickling(&room, 7 << 20)).collect();
        sleep(Duration::from_secs(1)).await;
        let begun = Instant::now();
        room.grow(&mut Share::default(), 5 << 20, PATIENCE).await.unwrap();
        let waited = begun.elapsed();
        assert!(waited > PATIENCE / 2 - Duration::from_secs(5) && waited < PATIENCE, "{waited:?}");
        assert!(large.iter().any(tokio::task::JoinHandle::is_finished));
    }
}
