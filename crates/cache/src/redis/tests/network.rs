//! Every verb of the cache under every fault of the network: which outcomes are allowed, and how long a call may take.

use std::time::Instant;

use statehouse_testkit::Direction;
use tokio::task::JoinSet;

use super::*;

#[derive(Clone, Copy, Debug)]
enum Fault {
    Cut,
    /// Nothing reaches the server.
    RequestsLost,
    /// Everything is done and no answer comes.
    AnswersLost,
    /// Answers come late, and in time.
    AnswersLate,
    /// Each connection ends in the middle of an answer.
    AnswersTruncated,
    /// Each request ends in the middle.
    RequestsTruncated,
    /// A long and narrow way there and back.
    Slow,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verb {
    Get,
    GetMany,
    Set,
    SetIfAbsent,
    SetIfVersion,
    Remove,
    RemoveIfVersion,
    Touch,
    Reserve,
    Clear,
    GetOrLoad,
}

const FAULTS: [Fault; 7] = [
    Fault::Cut,
    Fault::RequestsLost,
    Fault::AnswersLost,
    Fault::AnswersLate,
    Fault::AnswersTruncated,
    Fault::RequestsTruncated,
    Fault::Slow,
];

const VERBS: [Verb; 11] = [
    Verb::Get,
    Verb::GetMany,
    Verb::Set,
    Verb::SetIfAbsent,
    Verb::SetIfVersion,
    Verb::Remove,
    Verb::RemoveIfVersion,
    Verb::Touch,
    Verb::Reserve,
    Verb::Clear,
    Verb::GetOrLoad,
];

impl Fault {
    fn begin(self, proxy: &FaultProxy) {
        match self {
            Self::Cut => proxy.cut(),
            Self::RequestsLost => proxy.black_hole_way(Direction::ToServer),
            Self::AnswersLost => proxy.black_hole_way(Direction::ToClient),
            Self::AnswersLate => proxy.delay(Direction::ToClient, Duration::from_millis(300)),
            Self::AnswersTruncated => proxy.truncate(Direction::ToClient, 2),
            Self::RequestsTruncated => proxy.truncate(Direction::ToServer, 10),
            Self::Slow => {
                for direction in [Direction::ToServer, Direction::ToClient] {
                    proxy.delay(direction, Duration::from_millis(60));
                    proxy.limit(direction, 50_000);
                }
            }
        }
    }

    const fn is_passable(self) -> bool {
        matches!(self, Self::AnswersLate | Self::Slow)
    }
}

impl Verb {
    const fn is_write(self) -> bool {
        !matches!(self, Self::Get | Self::GetMany | Self::GetOrLoad)
    }

    /// Whether it changes what is at the key `there`.
    const fn changes(self) -> bool {
        matches!(self, Self::Set | Self::SetIfAbsent | Self::SetIfVersion | Self::RemoveIfVersion)
    }

    /// What went wrong, if anything did. A wrong answer panics.
    async fn run(self, cell: &Cell) -> Option<ErrorKind> {
        let (cache, there) = (&cell.cache, key("there"));
        let options = SetOptions::new(LONG);
        let value = Bytes::from_static(b"new");
        let result = match self {
            Self::Get => cache.get(&there).await.map(|found| assert_eq!(found.unwrap().value, "old")),
            Self::GetMany => cache.get_many(&[key("none"), there]).await.map(|found| {
                assert_eq!((&found[0], found[1].as_ref().unwrap().value.as_ref()), (&None, &b"old"[..]));
            }),
            Self::Set => cache.set(&there, value, LONG).await.map(|version| assert!(version > cell.version)),
            Self::SetIfAbsent => {
                let options = options.with_condition(Condition::Absent);
                let stored = cache.set_with(&there, value, options).await;
                stored.map(|outcome| assert_eq!(outcome, SetOutcome::Conflict(Some(cell.version))))
            }
            Self::SetIfVersion => {
                let options = options.with_condition(Condition::Match(cell.version));
                cache.set_with(&there, value, options).await.map(|outcome| assert!(outcome.stored().is_some()))
            }
            Self::Remove => cache.remove(&key("none")).await.map(|done| assert_eq!(done, RemoveOutcome::Absent)),
            Self::RemoveIfVersion => {
                let options = RemoveOptions::default().with_condition(Condition::Match(cell.version));
                cache.remove_with(&there, options).await.map(|done| assert_eq!(done, RemoveOutcome::Removed))
            }
            Self::Touch => {
                let touched = cache.touch(&there, LONG).await;
                touched.map(|done| assert_eq!(done, TouchOutcome::Touched(cell.version)))
            }
            Self::Reserve => {
                let reserved = cache.reserve_with(&key("none"), ReserveOptions::new(LONG)).await;
                reserved.map(|done| assert!(matches!(done, Reservation::Leased(_))))
            }
            Self::Clear => cache.clear().await,
            Self::GetOrLoad => {
                let loaded = cell.typed.get_or_load("typed", || async { Ok::<_, io::Error>(7) }).await;
                loaded.map(|value| assert!([5, 7].contains(&*value)))
            }
        };
        result.err().map(|error| error.kind())
    }
}

/// The connector's three seconds for each of its requests, of which a verb has a few, and room for a busy machine.
const LIMIT: Duration = Duration::from_secs(30);

/// One client behind a network of its own.
struct Cell {
    proxy: FaultProxy,
    cache: RedisCache,
    /// The same cache, around the fault.
    around: RedisCache,
    typed: TypedCache<u32>,
    version: Version,
}

impl Cell {
    async fn new(server: &RedisServer, settings: &str) -> Self {
        let proxy = FaultProxy::start(server.address());
        let mut url = ServiceUrl::parse("URL", &format!("{}{settings}", proxy.url(&server.url()))).unwrap();
        let client = RedisClient::open(RedisConfig::from_url(&mut url).unwrap()).await.unwrap();
        let namespace = namespace();
        let cache = RedisCache::new(client.clone(), &namespace, "main", SchemaId(1)).unwrap();
        let typed = Caches::redis(client, &namespace).cache("typed").time_to_live(LONG).open().unwrap();
        typed.set("typed", 5).await.unwrap();
        let mut url = ServiceUrl::parse("URL", &server.url()).unwrap();
        let client = RedisClient::open(RedisConfig::from_url(&mut url).unwrap()).await.unwrap();
        let around = RedisCache::new(client, &namespace, "main", SchemaId(1)).unwrap();
        let version = cache.set(&key("there"), Bytes::from_static(b"old"), LONG).await.unwrap();
        Self { proxy, cache, around, typed, version }
    }
}

fn is_allowed(fault: Fault, verb: Verb, failed: Option<ErrorKind>) -> bool {
    match failed {
        None => fault.is_passable() || verb == Verb::GetOrLoad,
        Some(ErrorKind::OutcomeUnknown) => verb.is_write() && !fault.is_passable(),
        Some(ErrorKind::Timeout | ErrorKind::Unavailable) => !fault.is_passable(),
        // Half an answer is one that is not understood.
        Some(ErrorKind::Unexpected) => matches!(fault, Fault::AnswersTruncated),
        Some(_) => false,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_verb_ends_in_time_and_as_allowed_under_every_fault_and_works_again_afterwards() {
    let server = RedisServer::shared().await;
    let mut cells = JoinSet::new();
    for (fault, verb) in FAULTS.into_iter().flat_map(|fault| VERBS.map(|verb| (fault, verb))) {
        cells.spawn(async move {
            // Through what can be passed a verb succeeds, however late its answers are on a busy machine.
            let cell = Cell::new(server, if fault.is_passable() { PATIENT } else { "" }).await;
            fault.begin(&cell.proxy);
            let begun = Instant::now();
            let failed = verb.run(&cell).await;
            let took = begun.elapsed();
            assert!(is_allowed(fault, verb, failed), "{fault:?}, {verb:?}: {failed:?}");
            assert!(fault.is_passable() || took < LIMIT, "{fault:?}, {verb:?}: took {took:?}");
            if verb.changes() && failed.is_some_and(|kind| kind != ErrorKind::OutcomeUnknown) {
                let found = cell.around.get(&key("there")).await.unwrap().map(|entry| entry.version);
                assert_eq!(found, Some(cell.version), "{fault:?}, {verb:?}: {failed:?}, and it was executed");
            }
            cell.proxy.heal();
            cell.proxy.reset_connections();
            let begun = Instant::now();
            while cell.cache.set(&key("after"), Bytes::from_static(b"x"), LONG).await.is_err() {
                assert!(begun.elapsed() < LIMIT, "{fault:?}, {verb:?}: not healed");
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            assert!(cell.cache.get(&key("after")).await.unwrap().is_some());
        });
    }
    while let Some(cell) = cells.join_next().await {
        cell.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_with_a_deadline_returns_by_then() {
    const DEADLINE: Duration = Duration::from_millis(100);
    let cell = Cell::new(RedisServer::shared().await, PATIENT).await;
    cell.proxy.black_hole();
    let (cache, there) = (&cell.cache, key("there"));
    let timed = async |name: &str, call: &mut (dyn Future<Output = bool> + Send + Unpin)| {
        let begun = Instant::now();
        assert!(call.await, "{name}: no error");
        // Without it, as long as the client is patient.
        assert!(begun.elapsed() < PATIENCE / 2, "{name}: took {:?}", begun.elapsed());
    };
    let get = GetOptions::default().with_deadline(DEADLINE);
    timed("get", &mut Box::pin(async { cache.get_with(&there, get.clone()).await.is_err() })).await;
    let keys = std::slice::from_ref(&there);
    timed("get_many", &mut Box::pin(async { cache.get_many_with(keys, get.clone()).await.is_err() })).await;
    let set = SetOptions::new(LONG).with_deadline(DEADLINE);
    timed("set", &mut Box::pin(async { cache.set_with(&there, Bytes::new(), set).await.is_err() })).await;
    let remove = RemoveOptions::default().with_deadline(DEADLINE);
    timed("remove", &mut Box::pin(async { cache.remove_with(&there, remove).await.is_err() })).await;
    let touch = TouchOptions::new(LONG).with_deadline(DEADLINE);
    timed("touch", &mut Box::pin(async { cache.touch_with(&there, touch).await.is_err() })).await;
    let reserve = ReserveOptions::new(LONG).with_deadline(DEADLINE);
    timed("reserve", &mut Box::pin(async { cache.reserve_with(&there, reserve).await.is_err() })).await;
    let clear = ClearOptions::default().with_deadline(DEADLINE);
    timed("clear", &mut Box::pin(async { cache.clear_with(clear).await.is_err() })).await;
}
