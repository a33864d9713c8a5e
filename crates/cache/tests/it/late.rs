//! What the network holds back while its caller is told that it failed is not executed when it arrives.

use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::future::join_all;
use statehouse_core::conformance::rounds;
use statehouse_testkit::Direction;
use tokio::time::sleep;

use super::*;

/// A server that is silent for longer may count as away: a little less than the connector waits for.
const AWAY: Duration = Duration::from_millis(900);

/// So many keys are treated side by side in each round.
const PAIRS: usize = 12;

/// Two processes on one server, one of them behind a network of its own. Its calls give up soon, so that a round is short.
struct Pair {
    proxy: FaultProxy,
    cut_off: RedisCache,
    other: RedisCache,
}

async fn pair() -> Pair {
    let server = RedisServer::shared().await;
    let (proxy, namespace) = (FaultProxy::start(server.address()), namespace());
    let open = async |url: String| {
        let mut url = ServiceUrl::parse("URL", &url).unwrap();
        let client = RedisClient::open(RedisConfig::from_url(&mut url).unwrap()).await.unwrap();
        RedisCache::new(client, &namespace, "main", SchemaId(1)).unwrap()
    };
    let hasty = format!("{}?timeout=150ms&deadline=300ms", proxy.url(&server.url()));
    Pair { cut_off: open(hasty).await, other: open(server.url()).await, proxy }
}

impl Pair {
    /// Until the cut off one is answered again, and what was held back has long arrived.
    async fn heal(&self) {
        self.proxy.heal();
        while self.cut_off.get(&key("?")).await.is_err() {
            sleep(Duration::from_millis(5)).await;
        }
        sleep(Duration::from_millis(20)).await;
    }
}

impl Pair {
    /// The server's clock is known to the connector from now on: it can say until when a request may be executed without
    /// asking first, so that requests are sent into a network that holds them back. Its calls are short, and a machine may
    /// be busy.
    async fn warm_up(&self) {
        while self.cut_off.set(&key("?"), Bytes::from_static(b"warm"), LONG).await.is_err() {
            sleep(Duration::from_millis(5)).await;
        }
    }
}

/// What is given up on, by the number of its key.
async fn old_write(cache: &RedisCache, n: usize, there: Version) -> Result<()> {
    let (name, old) = (key(&n.to_string()), Bytes::from_static(b"OLD"));
    let matching = SetOptions::new(LONG).with_condition(Condition::Match(there));
    match n % 4 {
        0 | 1 => cache.set(&name, old, LONG).await.map(|_| ()),
        2 => cache.set_with(&name, old, matching).await.map(|_| ()),
        _ => cache.remove(&name).await.map(|_| ()),
    }
}

fn is_in_doubt(result: &Result<()>) -> bool {
    result.as_ref().is_err_and(|error| error.kind() == ErrorKind::OutcomeUnknown)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn late_writes_are_never_executed_over_what_is_newer() {
    let pair = pair().await;
    for round in 0..rounds(8, 1_000) {
        let mut there = Vec::new();
        for n in 0..PAIRS {
            there.push(stored(&pair.other, &n.to_string(), "before").await);
        }
        pair.warm_up().await;
        pair.proxy.black_hole_way(Direction::ToServer);
        let given_up = join_all((0..PAIRS).map(|n| old_write(&pair.cut_off, n, there[n]))).await;
        assert!(given_up.iter().all(Result::is_err), "round {round}: {given_up:?}");
        // Nobody knows whether what was sent has arrived; a server that is asked nothing more is another matter.
        assert!(round > 0 || given_up.iter().any(is_in_doubt), "{given_up:?}");
        for n in 0..PAIRS {
            if n % 3 == 0 {
                assert_eq!(pair.other.remove(&key(&n.to_string())).await.unwrap(), RemoveOutcome::Removed, "{n}");
            } else {
                stored(&pair.other, &n.to_string(), "NEW").await;
            }
        }
        pair.heal().await;
        for n in 0..PAIRS {
            let found = pair.other.get(&key(&n.to_string())).await.unwrap().map(|entry| entry.value);
            let expected = (n % 3 != 0).then_some(Bytes::from_static(b"NEW"));
            assert_eq!(found, expected, "round {round}, key {n}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn late_copies_of_an_acknowledged_write_are_never_executed_over_what_is_newer() {
    let pair = pair().await;
    let acknowledged = AtomicUsize::new(0);
    for round in 0..rounds(8, 1_000) {
        pair.warm_up().await;
        pair.proxy.black_hole_way(Direction::ToServer);
        let write = async |n: usize| {
            let name = key(&n.to_string());
            let version = pair.cut_off.set(&name, Bytes::from_static(b"OLD"), LONG).await.ok();
            if let Some(version) = version {
                acknowledged.fetch_add(1, Ordering::Relaxed);
                let entry = pair.other.get(&name).await.unwrap().expect("what was acknowledged");
                assert_eq!(entry.version, version, "round {round}, key {n}");
            }
            if n.is_multiple_of(2) {
                let _ = pair.other.remove(&name).await.unwrap();
            } else {
                stored(&pair.other, &n.to_string(), "NEW").await;
            }
        };
        // The network is back before they give up: some are repeated, and some of the first ones come late.
        let heal = async {
            sleep(Duration::from_millis(100 + 13 * (round as u64 % 10))).await;
            pair.heal().await;
        };
        tokio::join!(join_all((0..PAIRS).map(write)), heal);
        sleep(Duration::from_millis(20)).await;
        for n in 0..PAIRS {
            let found = pair.other.get(&key(&n.to_string())).await.unwrap().map(|entry| entry.value);
            let expected = (!n.is_multiple_of(2)).then_some(Bytes::from_static(b"NEW"));
            assert_eq!(found, expected, "round {round}, key {n}");
        }
    }
    assert!(acknowledged.into_inner() > 0, "none was acknowledged after all");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_whose_answer_was_lost_has_one_version_however_often_it_is_repeated() {
    let pair = pair().await;
    for round in 0..rounds(5, 500) {
        let mut there = Vec::new();
        for n in 0..PAIRS {
            there.push(stored(&pair.other, &n.to_string(), "before").await);
        }
        pair.warm_up().await;
        pair.proxy.black_hole_way(Direction::ToClient);
        let writes = join_all((0..PAIRS).map(|n| old_write(&pair.cut_off, n, there[n])));
        // Meanwhile somebody sees them, and whoever sees one sees the same until something newer is written.
        let watch = async {
            let (mut seen, begun) = (vec![None; PAIRS], std::time::Instant::now());
            while begun.elapsed() < Duration::from_millis(700) {
                for (n, seen) in seen.iter_mut().enumerate() {
                    let found = pair.other.get(&key(&n.to_string())).await.unwrap();
                    let version = found.filter(|entry| entry.value == "OLD").map(|entry| entry.version);
                    assert!(seen.is_none() || *seen == version, "round {round}, key {n}: a second version");
                    *seen = version;
                }
                sleep(Duration::from_millis(5)).await;
            }
            seen
        };
        let (given_up, seen) = tokio::join!(writes, watch);
        assert!(given_up.iter().all(Result::is_err), "{given_up:?}");
        pair.heal().await;
        for (n, seen) in seen.into_iter().enumerate() {
            let found = pair.other.get(&key(&n.to_string())).await.unwrap();
            let version = found.filter(|entry| entry.value == "OLD").map(|entry| entry.version);
            assert_eq!(version, seen, "round {round}, key {n}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_repeated_is_answered_as_the_first_time() {
    let pair = pair().await;
    for round in 0..rounds(6, 300) {
        let there = stored(&pair.other, "match", "before").await;
        stored(&pair.other, "removed", "before").await;
        let _ = pair.other.remove(&key("absent")).await.unwrap();
        // The first try is executed and its answer is lost with the connection.
        pair.warm_up().await;
        pair.proxy.black_hole_way(Direction::ToClient);
        let value = || Bytes::from_static(b"OLD");
        let set = async |name: &str, condition| {
            let options = SetOptions::new(LONG).with_condition(condition);
            pair.cut_off.set_with(&key(name), value(), options).await
        };
        let (cut, names) = (&pair.cut_off, ["always", "match", "absent"]);
        let removal = key("removed");
        let calls = async {
            // The first is sent at once; the others may wait for the answers to others, which do not come.
            tokio::join!(
                cut.remove(&removal),
                set("always", Condition::Always),
                set("match", Condition::Match(there)),
                set("absent", Condition::Absent),
            )
        };
        let back = async {
            sleep(Duration::from_millis(120)).await;
            // In this order, or the answers that were held back would arrive.
            pair.proxy.reset_connections();
            pair.proxy.heal();
        };
        let ((removed, always, matching, absent), ()) = tokio::join!(calls, back);
        for (name, outcome) in names.into_iter().zip([always, matching, absent]) {
            let entry = pair.other.get(&key(name)).await.unwrap();
            match outcome {
                Ok(outcome) => assert_eq!(outcome.stored(), entry.map(|entry| entry.version), "round {round}, {name}"),
                Err(error) => assert_eq!(error.kind(), ErrorKind::OutcomeUnknown, "round {round}, {name}"),
            }
        }
        match removed {
            Ok(outcome) => {
                assert_eq!(outcome, RemoveOutcome::Removed, "round {round}");
                assert!(pair.other.get(&removal).await.unwrap().is_none());
            }
            Err(error) => assert_eq!(error.kind(), ErrorKind::OutcomeUnknown, "round {round}"),
        }
        pair.heal().await;
    }
}

/// Whether the first try can still be executed is known from the server long before its time is over, which here is 20 s.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_set_after_a_cut_is_repeated_at_once() {
    let server = RedisServer::shared().await;
    let proxy = FaultProxy::start(server.address());
    let mut url = ServiceUrl::parse("URL", &format!("{}?timeout=20s&deadline=40s", proxy.url(&server.url()))).unwrap();
    let client = RedisClient::open(RedisConfig::from_url(&mut url).unwrap()).await.unwrap();
    let (cache, mut known) = (RedisCache::new(client, &namespace(), "main", SchemaId(1)).unwrap(), 0);
    let in_doubt = |error: statehouse_core::Error| assert_eq!(error.kind(), ErrorKind::OutcomeUnknown, "{error:?}");
    for round in 0..rounds(5, 300) {
        // Of two shared connections one may still be that which was cut in the round before.
        while cache.set(&key("a"), Bytes::from_static(b"before"), LONG).await.is_err() {}
        // What was written in the moments before is taken for somebody else's.
        sleep(Duration::from_millis(100)).await;
        proxy.reset_connections();
        let begun = std::time::Instant::now();
        match cache.set(&key("a"), Bytes::from_static(b"after"), LONG).await {
            Ok(version) => {
                let entry = cache.get(&key("a")).await.unwrap().expect("what was acknowledged");
                assert_eq!((entry.version, &*entry.value), (version, b"after".as_slice()), "round {round}");
                known += 1;
            }
            Err(error) => in_doubt(error),
        }
        sleep(Duration::from_millis(100)).await;
        proxy.reset_connections();
        match cache.remove(&key("a")).await {
            Ok(outcome) => {
                assert_eq!(outcome, RemoveOutcome::Removed, "round {round}");
                known += 1;
            }
            Err(error) => in_doubt(error),
        }
        assert!(begun.elapsed() < PATIENCE, "round {round}: {:?}", begun.elapsed());
    }
    assert!(known > 0, "none was acknowledged");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_that_is_repeated_does_not_take_away_what_came_in_between() {
    let (pair, mut overtaken) = (pair().await, 0);
    for round in 0..rounds(6, 500) {
        for n in 0..PAIRS {
            stored(&pair.other, &n.to_string(), "before").await;
        }
        pair.warm_up().await;
        pair.proxy.black_hole_way(Direction::ToClient);
        let writes = join_all(
            (0..PAIRS).map(async |n| pair.cut_off.set(&key(&n.to_string()), Bytes::from_static(b"OLD"), LONG).await),
        );
        let between = async {
            let (mut done, begun) = (Vec::new(), std::time::Instant::now());
            // Some may wait for the answers to others, and are not sent before there are any.
            while done.len() < PAIRS && begun.elapsed() < Duration::from_millis(100) {
                for n in (0..PAIRS).filter(|n| !done.contains(n)).collect::<Vec<_>>() {
                    let name = key(&n.to_string());
                    if pair.other.get(&name).await.unwrap().is_some_and(|entry| entry.value == "OLD") {
                        if n.is_multiple_of(2) {
                            let _ = pair.other.remove(&name).await.unwrap();
                        } else {
                            stored(&pair.other, &n.to_string(), "NEW").await;
                        }
                        done.push(n);
                    }
                }
            }
            pair.proxy.heal();
            pair.proxy.reset_connections();
            done
        };
        let (outcomes, done) = tokio::join!(writes, between);
        overtaken += done.len();
        for n in done {
            let outcome = &outcomes[n];
            let found = pair.other.get(&key(&n.to_string())).await.unwrap().map(|entry| entry.value);
            let expected = (!n.is_multiple_of(2)).then_some(Bytes::from_static(b"NEW"));
            assert_eq!(found, expected, "round {round}, key {n}, {outcome:?}");
        }
        pair.heal().await;
    }
    assert!(overtaken > 0, "none was executed before its answer was lost");
}

/// Sets keys that are absent over connections whose answers are lost, and lets `undo` come before each is repeated. What is
/// `left` at the key then, or nothing, does not tell the repetition that the first try was executed.
async fn undone(
    time_to_live: Duration,
    undo: impl AsyncFn(&InRedis, &RedisCache, &CacheKey),
    left: Option<&'static str>,
) {
    let (server, subject) = (RedisServer::shared().await, single().await);
    let proxy = FaultProxy::start(server.address());
    let patient = format!("{}{PATIENT}&connections=1", proxy.url(&server.url()));
    let behind = InRedis { url: patient, namespace: subject.namespace.clone(), name: "main" };
    let (cut_off, other) = (behind.cache("main").await, subject.cache("main").await);
    let (enough, mut done) = (rounds(3, 100), 0);
    for round in 0..10 * enough {
        let name = key(&round.to_string());
        // The one connection knows the server's clock from now on, so that the next set is sent at once.
        while cut_off.set(&key("warm"), Bytes::from_static(b"up"), LONG).await.is_err() {
            sleep(Duration::from_millis(20)).await;
        }
        proxy.black_hole_way(Direction::ToClient);
        let silent = std::time::Instant::now();
        let mut set = std::pin::pin!(cut_off.set(&name, Bytes::from_static(b"OLD"), time_to_live));
        let between = async {
            while other.get(&name).await.unwrap().is_none() {
                sleep(Duration::from_millis(2)).await;
            }
            undo(&subject, &other, &name).await;
            proxy.reset_connections();
            proxy.heal();
        };
        tokio::select! {
            outcome = &mut set => {
                let silent = silent.elapsed();
                assert!(silent > AWAY, "round {round}: it ended before it was executed, {outcome:?}");
                // This machine stood still for so long that the server seemed to be away: this round shows nothing.
                proxy.heal();
                continue;
            }
            () = between => {}
        }
        let outcome = set.await;
        let found = other.get(&name).await.unwrap().map(|entry| entry.value);
        assert_eq!(found, left.map(Bytes::from), "round {round}, {outcome:?}");
        assert_eq!(outcome.unwrap_err().kind(), ErrorKind::OutcomeUnknown, "round {round}");
        done += 1;
        if done == enough {
            return;
        }
    }
    panic!("{done} of {enough} sets were executed in time");
}

async fn is_gone(cache: &RedisCache, name: &CacheKey) {
    while cache.get(name).await.unwrap().is_some() {
        sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_set_that_is_repeated_does_not_bring_back_what_was_removed_and_reserved_since() {
    let undo = async |_: &InRedis, other: &RedisCache, name: &CacheKey| {
        assert_eq!(other.remove(name).await.unwrap(), RemoveOutcome::Removed);
        // The lease takes the place of the mark, and its load fails.
        let reserved = other.reserve_with(name, ReserveOptions::new(LONG)).await.unwrap();
        let Reservation::Leased(lease) = reserved else { panic!("{reserved:?}") };
        let given_back = other.remove_with(name, RemoveOptions::default().with_lease(lease)).await.unwrap();
        assert_eq!(given_back, RemoveOutcome::Removed);
    };
    undone(LONG, undo, None).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_set_that_is_repeated_does_not_bring_back_what_was_removed_and_set_for_a_moment_since() {
    let undo = async |_: &InRedis, other: &RedisCache, name: &CacheKey| {
        assert_eq!(other.remove(name).await.unwrap(), RemoveOutcome::Removed);
        other.set(name, Bytes::from_static(b"NEW"), Duration::from_millis(1)).await.unwrap();
        is_gone(other, name).await;
    };
    undone(LONG, undo, None).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_set_that_is_repeated_does_not_live_twice() {
    let undo = async |_: &InRedis, other: &RedisCache, name: &CacheKey| is_gone(other, name).await;
    undone(Duration::from_millis(300), undo, None).await;
}

/// The mark of a removal does not live for ever.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_removed_longer_ago_than_its_mark_is_not_set_by_a_repetition() {
    let undo = async |subject: &InRedis, other: &RedisCache, name: &CacheKey| {
        assert_eq!(other.remove(name).await.unwrap(), RemoveOutcome::Removed);
        let server = RedisServer::shared().await;
        let place = place(subject, name.as_str(), 1);
        assert_eq!(raw(server, &[b"DEL", place.as_bytes()]).await, Reply::Integer(1), "the mark");
    };
    undone(LONG, undo, None).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_set_that_is_repeated_does_not_take_the_place_of_what_was_set_since() {
    let undo = async |_: &InRedis, other: &RedisCache, name: &CacheKey| {
        stored(other, name.as_str(), "NEW").await;
    };
    undone(LONG, undo, Some("NEW")).await;
}
