use std::time::{Duration, Instant};

use statehouse_core::ErrorKind;
use statehouse_redis::redis::{cmd, pipe};
use statehouse_redis::{Idempotence, RedisClient, RedisScript};
use statehouse_testkit::{RedisCluster, RedisServer, Reply};

use crate::load::Load;
use crate::{generously, keys, open, until};

const YES: Idempotence = Idempotence::Idempotent;
const NO: Idempotence = Idempotence::NotIdempotent;

async fn set(client: &RedisClient, key: &str) -> bool {
    client.query::<()>(cmd("SET").arg(key).arg("v"), YES).await.is_ok()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_of_all_slots_are_found_and_batches_span_servers() {
    let client = open(&RedisCluster::shared().await.url()).await.unwrap();
    let keys = keys();
    let sets: Vec<_> = (0..500).map(|n| cmd("SET").arg(keys.key(n.to_string())).arg(n).clone()).collect();
    assert!(client.query_many::<()>(&sets, YES).await.into_iter().all(|set| set.is_ok()));
    let all: Vec<_> = (0..501).map(|n: i32| keys.key(n.to_string())).collect();
    let found = client.get_many(&all).await.unwrap();
    let expected: Vec<_> = (0..500).map(|n: i32| Some(n.to_string().into_bytes())).chain([None]).collect();
    assert_eq!(found, expected);

    let move_to =
        RedisScript::new("redis.call('SET', KEYS[2], redis.call('GET', KEYS[1])) return redis.call('DEL', KEYS[1])");
    for n in 0..50 {
        let (from, to) = (keys.tagged(n.to_string(), "from"), keys.tagged(n.to_string(), "to"));
        client.pipeline::<()>(pipe().atomic().cmd("SET").arg(&from).arg(n), YES).await.unwrap();
        assert_eq!(move_to.key(from).key(&to).run::<i64>(&client, NO).await.unwrap(), 1);
        let (value, ttl): (i64, i64) =
            client.pipeline(pipe().cmd("GET").arg(&to).cmd("TTL").arg(&to), YES).await.unwrap();
        assert_eq!((value, ttl), (n, -1));
    }
    let error = client.query::<()>(cmd("DEL").arg(keys.key("1")).arg(keys.key("2")), YES).await.unwrap_err();
    assert!(error.to_string().contains("different slots"), "{error}");

    let two = pipe().cmd("GET").arg(keys.key("1")).cmd("GET").arg(keys.key("2")).clone();
    let error = client.pipeline::<(String, String)>(&two, YES).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error:?}");

    let health = client.health().await;
    assert!(health.is_up() && health.backend.ends_with("3 masters"), "{health:?}");
    client.eviction_policy().await.unwrap();
    let mut alone = client.exclusive(Some(&keys.key("7"))).await.unwrap();
    let seven: i64 = alone.query(cmd("GET").arg(keys.key("7")), Duration::from_secs(1)).await.unwrap();
    assert_eq!(seven, 7);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_primary_is_replaced_without_a_restart() {
    let cluster = RedisCluster::start_with(RedisServer::builder().password("pw")).await;
    let client = open(&cluster.url()).await.unwrap();
    let load = Load::start(&client);
    tokio::time::sleep(Duration::from_millis(300)).await;
    let old = cluster.primary_of("k").await.unwrap().unwrap();
    let begun = Instant::now();
    old.kill();
    let other = async || matches!(cluster.primary_of("k").await, Ok(Some(now)) if now.address() != old.address());
    let election = until(Duration::from_secs(30), other).await;
    let after = until(Duration::from_secs(30), async || set(&client, "k").await).await;
    let tally = load.end("cluster, primary killed").await;
    println!(
        "cluster, primary killed: elected after {election:?}, written again {after:?} after that, {:?} in all",
        begun.elapsed()
    );
    assert!(after < generously(Duration::from_secs(3)));
    assert!(tally.slowest < generously(Duration::from_millis(3500)), "the deadline is 3 s: {:?}", tally.slowest);
}

/// Whoever is configured need not be there any more: the others were learnt.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_is_followed_when_all_nodes_that_were_configured_are_gone() {
    let cluster = RedisCluster::start().await;
    let seed = cluster.primary_of("k").await.unwrap().unwrap();
    let client = open(&format!("redis+cluster://{}", seed.address())).await.unwrap();
    assert!(set(&client, "k").await);
    seed.kill();
    let other = async || matches!(cluster.primary_of("k").await, Ok(Some(now)) if now.address() != seed.address());
    let election = until(Duration::from_secs(30), other).await;
    let after = until(Duration::from_secs(30), async || set(&client, "k").await).await;
    println!("cluster, seed gone: elected after {election:?}, written again {after:?} after that");
    let new = cluster.primary_of("k").await.unwrap().unwrap();
    // What is left of the slots moves on once more, to where nobody was ever configured.
    for key in ["k", "a", "b", "c", "d"] {
        assert!(
            until(Duration::from_secs(30), async || set(&client, key).await).await < generously(Duration::from_secs(3))
        );
    }
    assert_ne!(new.address(), seed.address());
    assert!(client.health().await.backend.ends_with("3 masters"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_planned_failover_loses_and_repeats_nothing() {
    let cluster = RedisCluster::start().await;
    let client = open(&format!("{}?deadline=20s", cluster.url())).await.unwrap();
    let load = Load::start(&client);
    for _ in 0..2 {
        tokio::time::sleep(Duration::from_millis(500)).await;
        let old = cluster.primary_of("k").await.unwrap().unwrap();
        let order = async || {
            let replica = replica_of(&cluster, old).await;
            replica.command(&["CLUSTER", "FAILOVER"]).await.unwrap().text() == Some("OK")
        };
        until(Duration::from_secs(30), order).await;
        let other = async || matches!(cluster.primary_of("k").await, Ok(Some(now)) if now.address() != old.address());
        let election = until(Duration::from_secs(30), other).await;
        let after = until(Duration::from_secs(30), async || set(&client, "k").await).await;
        println!("cluster, planned failover: done after {election:?}, written again {after:?} after that");
        assert!(after < generously(Duration::from_secs(2)));
    }
    let tally = load.end("cluster, planned failover").await;
    tally.assert_exact(&client).await;
    assert_eq!(tally.failed, 0, "redirections are followed");
}

/// The address of the primary, once the nodes agree on it.
async fn owner_of(cluster: &RedisCluster, key: &str) -> String {
    let mut found = None;
    let look = async || {
        found = cluster.primary_of(key).await.unwrap().map(|owner| owner.address().to_owned());
        found.is_some()
    };
    until(Duration::from_secs(30), look).await;
    found.unwrap()
}

/// No node takes over by itself from one that this machine has kept waiting.
async fn calm(cluster: &RedisCluster) {
    for node in cluster.nodes() {
        let answer = node.command(&["CONFIG", "SET", "cluster-node-timeout", "5000"]).await.unwrap();
        assert_eq!(answer.text(), Some("OK"));
    }
}

/// By and by all nodes are replaced by others, at addresses that nobody was configured with; nothing is asked meanwhile.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_whose_nodes_have_all_been_replaced_is_followed() {
    let mut cluster = RedisCluster::start().await;
    let first: Vec<_> = cluster.nodes().iter().map(|node| node.address().to_owned()).collect();
    calm(&cluster).await;
    let client = open(&cluster.url()).await.unwrap();
    let keys: Vec<_> = (0..30).map(|n| format!("k{n}")).collect();
    for key in &keys {
        assert!(set(&client, key).await);
    }
    for key in &keys {
        // One that was replaced may have taken over again.
        while first.contains(&owner_of(&cluster, key).await) {
            cluster.replace_primary_of(key).await;
            calm(&cluster).await;
        }
    }
    let knows = |place: &String| format!("{client:?}").contains(place.rsplit_once(':').unwrap().1);
    let all_known = async || {
        let mut owners = Vec::new();
        for key in &keys {
            owners.push(owner_of(&cluster, key).await);
        }
        owners.iter().all(|owner| !first.contains(owner) && knows(owner))
    };
    until(Duration::from_secs(60), all_known).await;
    for node in cluster.nodes().iter().filter(|node| first.iter().any(|address| address == node.address())) {
        node.kill();
    }
    // Those that are left still agree on the slots, and the client knows them alone.
    for key in &keys {
        until(Duration::from_secs(30), async || set(&client, key).await).await;
        let value: Option<String> = client.query(cmd("GET").arg(key), YES).await.unwrap();
        assert_eq!(value.as_deref(), Some("v"), "{key}");
    }
}

/// Nobody whom the client was told of or has spoken to is left: their replicas are, by order of an operator.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_that_take_over_from_all_primaries_at_once_are_found() {
    let cluster = RedisCluster::start().await;
    let keys: Vec<_> = (0..30).map(|n| format!("k{n}")).collect();
    let mut primaries: Vec<&RedisServer> = Vec::new();
    for key in &keys {
        let owner = cluster.primary_of(key).await.unwrap().unwrap();
        if primaries.iter().all(|known| known.address() != owner.address()) {
            primaries.push(owner);
        }
    }
    let seeds: Vec<_> = primaries.iter().map(|node| node.address()).collect();
    let url = format!("redis+cluster://{}", seeds.join(","));
    let client = open(&url).await.unwrap();
    for key in &keys {
        assert!(set(&client, key).await);
    }
    // A replica is named once something has been written, and the others have heard of it.
    for node in &primaries {
        until(Duration::from_secs(30), async || names_replicas(node).await).await;
    }
    let client = open(&url).await.unwrap();
    primaries.iter().for_each(|node| node.kill());
    for node in cluster.nodes().iter().filter(|node| !seeds.contains(&node.address())) {
        let is_master = async || {
            let _ = node.command(&["CLUSTER", "FAILOVER", "TAKEOVER"]).await;
            let info = node.command(&["INFO", "replication"]).await.unwrap();
            info.text().is_some_and(|info| info.contains("role:master"))
        };
        until(Duration::from_secs(30), is_master).await;
    }
    for key in &keys {
        until(Duration::from_secs(30), async || set(&client, key).await).await;
    }
}

/// Whether it names a replica of each range of slots.
async fn names_replicas(node: &RedisServer) -> bool {
    let ranges = node.command(&["CLUSTER", "SLOTS"]).await.unwrap();
    let Reply::Array(ranges) = ranges else { panic!("{ranges:?}") };
    ranges.iter().all(|range| matches!(range, Reply::Array(parts) if parts.len() > 3))
}

async fn replica_of<'a>(cluster: &'a RedisCluster, primary: &RedisServer) -> &'a RedisServer {
    let port = primary.address().rsplit_once(':').unwrap().1;
    let mut found = None;
    let look = async || {
        for node in cluster.nodes() {
            let info = node.command(&["INFO", "replication"]).await.unwrap();
            let info = info.text().unwrap();
            if info.contains("role:slave") && info.contains(&format!("master_port:{port}\r")) {
                found = Some(node);
            }
        }
        found.is_some()
    };
    // One that was the primary until a moment ago may not follow yet.
    until(Duration::from_secs(30), look).await;
    found.unwrap()
}

/// While one primary hangs, the slots of the others are served as ever.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_primary_that_hangs_holds_nothing_else_up() {
    let cluster = RedisCluster::start().await;
    let client = open(&cluster.url()).await.unwrap();
    let hanging = cluster.primary_of("k").await.unwrap().unwrap();
    let mut elsewhere = Vec::new();
    for n in 0..30 {
        let key = format!("other{n}");
        if cluster.primary_of(&key).await.unwrap().unwrap().address() != hanging.address() {
            elsewhere.push(key);
        }
    }
    hanging.pause();
    let stuck = tokio::spawn({
        let client = client.clone();
        async move { client.query::<()>(cmd("SET").arg("k").arg("v"), YES).await }
    });
    let (begun, mut slowest) = (Instant::now(), Duration::ZERO);
    while begun.elapsed() < Duration::from_millis(900) {
        for key in &elsewhere {
            let begun = Instant::now();
            assert!(set(&client, key).await);
            slowest = slowest.max(begun.elapsed());
        }
    }
    println!("cluster, one primary paused: slowest operation on the others {slowest:?}");
    assert!(slowest < generously(Duration::from_millis(500)), "{slowest:?}");
    let outcome = stuck.await.unwrap();
    println!("cluster, one primary paused: its own operation answered {:?}", outcome.map_err(|error| error.kind()));
    let after = until(Duration::from_secs(30), async || set(&client, "k").await).await;
    println!("cluster, one primary paused: its slots are written again after {after:?} more");
    hanging.resume();
}

/// A shard is down, and nobody takes it over. A process that starts meanwhile serves what the others have.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_opened_while_a_shard_is_down_serves_the_others() {
    let partial = RedisServer::builder().arg("--cluster-require-full-coverage", "no");
    let cluster = RedisCluster::start_with(partial.arg("--cluster-replica-no-failover", "yes")).await;
    let down = cluster.primary_of("k").await.unwrap().unwrap();
    let mut elsewhere = Vec::new();
    for n in 0..30 {
        let key = format!("other{n}");
        if cluster.primary_of(&key).await.unwrap().unwrap().address() != down.address() {
            elsewhere.push(key);
        }
    }
    for how in ["killed", "paused"] {
        match how {
            "killed" => down.kill(),
            _ => down.pause(),
        }
        let begun = Instant::now();
        // The first seed is the one that is down.
        let others = cluster.url().replace(&format!("{},", down.address()), "");
        let seeds = others.replace("redis+cluster://", &format!("redis+cluster://{},", down.address()));
        for (last, url) in [(false, cluster.url()), (true, seeds)] {
            let client = open(&url).await.unwrap_or_else(|error| panic!("one shard {how}: {error:?}"));
            println!("cluster, one shard {how}: opened after {:?}", begun.elapsed());
            // Nothing is known yet of the one that is down: those whose turn it is there find it out.
            let asked = (0..10).map(|_| {
                let client = client.clone();
                tokio::spawn(async move {
                    client.exclusive(None).await?;
                    client.query::<()>(&cmd("PING"), YES).await
                })
            });
            for asked in asked.collect::<Vec<_>>() {
                asked.await.unwrap().unwrap();
            }
            for key in &elsewhere {
                until(Duration::from_secs(30), async || set(&client, key).await).await;
            }
            client.eviction_policy().await.unwrap();
            client.persistence().await.unwrap();
            let error = client.query::<()>(cmd("SET").arg("k").arg("v"), YES).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unavailable, "one shard {how}: {error:?}");
            assert!(!client.health().await.is_up());
            if last {
                match how {
                    "killed" => down.restart().await,
                    _ => down.resume(),
                }
                until(Duration::from_secs(30), async || set(&client, "k").await).await;
                until(Duration::from_secs(30), async || client.health().await.is_up()).await;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_that_was_down_is_found_again() {
    let cluster = RedisCluster::start().await;
    let client = open(&cluster.url()).await.unwrap();
    assert!(set(&client, "k").await);
    cluster.kill();
    let begun = Instant::now();
    let error = client.query::<()>(cmd("SET").arg("k").arg("v"), YES).await.unwrap_err();
    println!("cluster down: {error} after {:?}", begun.elapsed());
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
    assert!(begun.elapsed() < generously(Duration::from_millis(3500)));
    cluster.restart().await;
    let after = until(Duration::from_secs(30), async || set(&client, "k").await).await;
    println!("cluster down: written again {after:?} after the restart");
    assert!(after < generously(Duration::from_secs(2)));
}

/// Keys move to another primary while they are counted: `ASK`, `MOVED` and `TRYAGAIN` are all met.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slot_that_moves_loses_and_repeats_nothing() {
    let cluster = RedisCluster::start().await;
    let client = open(&format!("{}?timeout=20s&deadline=60s", cluster.url())).await.unwrap();
    let counting = tokio::spawn(count_in_one_slot(client.clone()));
    tokio::time::sleep(Duration::from_millis(200)).await;
    for _ in 0..3 {
        move_slot(&cluster, "{moving}").await;
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    client.query::<()>(cmd("SET").arg("{moving}stop").arg(1), YES).await.unwrap();
    let counted = counting.await.unwrap();
    assert!(counted > 100, "{counted}");
    for n in 0..8 {
        let pair = [format!("{{moving}}a{n}"), format!("{{moving}}b{n}")];
        let sums: Vec<u64> = client.query(cmd("MGET").arg(&pair), YES).await.unwrap();
        assert_eq!(sums[0], sums[1]);
    }
    let sum: u64 = client.query(cmd("GET").arg("{moving}sum"), YES).await.unwrap();
    println!("slot moved three times: {counted} scripts over two keys succeeded, {sum} were counted");
    assert_eq!(sum, counted);
}

/// Counts in two keys and a third by a script, until told to stop; no call may fail.
async fn count_in_one_slot(client: RedisClient) -> u64 {
    let both = RedisScript::new(
        "redis.call('INCR', KEYS[1]) redis.call('INCR', KEYS[2]) redis.call('INCR', KEYS[3])
         return redis.call('EXISTS', KEYS[4])",
    );
    for n in 0_u64.. {
        let call = both
            .key(format!("{{moving}}a{}", n % 8))
            .key(format!("{{moving}}b{}", n % 8))
            .key("{moving}sum")
            .key("{moving}stop");
        if call.run::<i64>(&client, NO).await.unwrap() == 1 {
            return n + 1;
        }
    }
    unreachable!("the loop has no end of its own")
}

/// Moves the slot of `key` to another primary, key by key, as `redis-cli --cluster reshard` does.
async fn move_slot(cluster: &RedisCluster, key: &str) {
    let from = cluster.primary_of(key).await.unwrap().unwrap();
    let mut to = None;
    for probe in 0..20 {
        let owner = cluster.primary_of(&format!("probe{probe}")).await.unwrap().unwrap();
        if owner.address() != from.address() {
            to = Some(owner);
        }
    }
    let to = to.unwrap();
    let slot = from.command(&["CLUSTER", "KEYSLOT", key]).await.unwrap().integer().unwrap().to_string();
    let id = async |node: &RedisServer| node.command(&["CLUSTER", "MYID"]).await.unwrap().text().unwrap().to_owned();
    let (from_id, to_id) = (id(from).await, id(to).await);
    to.command(&["CLUSTER", "SETSLOT", &slot, "IMPORTING", &from_id]).await.unwrap();
    from.command(&["CLUSTER", "SETSLOT", &slot, "MIGRATING", &to_id]).await.unwrap();
    let (host, port) = to.address().split_once(':').unwrap();
    loop {
        let reply = from.command(&["CLUSTER", "GETKEYSINSLOT", &slot, "1"]).await.unwrap();
        let Reply::Array(found) = reply else { panic!("{reply:?}") };
        let Some(moved) = found.first().and_then(|key| key.text()) else { break };
        from.command(&["MIGRATE", host, port, moved, "0", "1000"]).await.unwrap();
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    for node in [to, from] {
        node.command(&["CLUSTER", "SETSLOT", &slot, "NODE", &to_id]).await.unwrap();
    }
}

/// As of a group of Sentinel: what a client has begun in a runtime ends with that.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failover_in_a_cluster_is_followed_though_the_runtime_that_opened_the_client_has_ended() {
    let cluster = RedisCluster::start().await;
    let url = cluster.url();
    let opened = std::thread::spawn(move || {
        let other = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        other.block_on(open(&url)).unwrap()
    });
    let client = opened.join().unwrap();
    until(Duration::from_secs(30), async || set(&client, "k").await).await;
    cluster.primary_of("k").await.unwrap().unwrap().kill();
    until(Duration::from_secs(60), async || set(&client, "k").await).await;
}
