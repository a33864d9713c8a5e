//! How many round trips the verbs take, and what loads that fail leave behind.

use tokio::time::sleep;

use super::*;

/// How many requests `call` sends, told of one on which nothing else is asked.
async fn requests(proxy: &FaultProxy, call: impl AsyncFnOnce()) -> u64 {
    let before = proxy.counts();
    call().await;
    let after = proxy.counts();
    // What the connector does by itself: it asks for the time, and whether connections are alive.
    ["EVALSHA", "EVAL", "GET", "MGET"].map(|name| after.command(name) - before.command(name)).iter().sum()
}

#[tokio::test]
async fn an_idle_set_takes_one_round_trip_an_invalidation_one_and_a_cold_load_two() {
    let server = RedisServer::shared().await;
    let (proxy, namespace) = (FaultProxy::start(server.address()), namespace());
    // A try that is given up is one more request, and a store that is slow is not asked.
    let mut url = ServiceUrl::parse("URL", &format!("{}{PATIENT}", proxy.url(&server.url()))).unwrap();
    let client = RedisClient::open(RedisConfig::from_url(&mut url).unwrap()).await.unwrap();
    let cache = Caches::redis(client, &namespace).cache("main").time_to_live(LONG).slow_after(PATIENCE);
    let cache: TypedCache<u32> = cache.open().unwrap();
    let load = || async { Ok::<_, io::Error>(7) };
    // So that the server has the scripts.
    cache.set("warm", 1).await.unwrap();
    cache.invalidate("warm").await.unwrap();
    cache.get_or_load("warm", load).await.unwrap();
    for n in 0..20 {
        // What is known of the generations is too old by now.
        sleep(Duration::from_millis(30)).await;
        let (set, cold) = (format!("set {n}"), format!("cold {n}"));
        let sent = requests(&proxy, async || assert!(cache.set(&set, 1).await.is_ok())).await;
        assert_eq!(sent, 1, "an idle set");
        sleep(Duration::from_millis(30)).await;
        let sent = requests(&proxy, async || assert_eq!(cache.get(&set).await.unwrap().as_deref(), Some(&1))).await;
        assert_eq!(sent, 1, "an idle get");
        let sent = requests(&proxy, async || cache.invalidate(&set).await.unwrap()).await;
        assert_eq!(sent, 1, "an invalidation");
        sleep(Duration::from_millis(30)).await;
        let sent = requests(&proxy, async || assert_eq!(*cache.get_or_load(&cold, load).await.unwrap(), 7)).await;
        assert_eq!(sent, 2, "a cold load");
        let sent = requests(&proxy, async || assert_eq!(*cache.get_or_load(&cold, load).await.unwrap(), 7)).await;
        assert_eq!(sent, 1, "a hit");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn loads_that_fail_leave_nothing_behind_and_push_no_entry_out() {
    const ENTRIES: usize = 300;
    let server = RedisServer::builder().max_memory(8 << 20, "allkeys-lru").start().await;
    let subject = InRedis::new(server.url());
    let caches = Caches::redis(subject.client().await, &subject.namespace);
    let cache: TypedCache<Vec<u8>> = caches.cache("main").time_to_live(LONG).open().unwrap();
    for n in 0..ENTRIES {
        cache.set(format!("entry {n}"), vec![7; 5_000]).await.unwrap();
    }
    let Reply::Integer(before) = raw(&server, &[b"DBSIZE"]).await else { panic!("no size") };
    for batch in 0..50 {
        let failing = (0..200).map(|n| {
            let load = || async { Err::<Vec<u8>, _>(io::Error::other("there is none")) };
            cache.get_or_load(format!("none {batch} {n}"), load).into_future()
        });
        for outcome in futures_util::future::join_all(failing).await {
            assert_eq!(outcome.unwrap_err().kind(), ErrorKind::LoadFailed);
        }
    }
    let begun = std::time::Instant::now();
    loop {
        let Reply::Integer(now) = raw(&server, &[b"DBSIZE"]).await else { panic!("no size") };
        // A generation for each group may be new.
        if now <= before + 32 {
            break;
        }
        assert!(begun.elapsed() < Duration::from_secs(8), "{} leases are left of 10,000 failed loads", now - before);
        sleep(Duration::from_millis(20)).await;
    }
    for n in 0..ENTRIES {
        assert!(cache.get(format!("entry {n}")).await.unwrap().is_some(), "entry {n} was pushed out");
    }
}

/// Whatever a process knows of the generations, a clear in another is no request for each key.
#[tokio::test]
async fn a_read_of_many_behind_a_clear_takes_one_more_round_trip() {
    const KEYS: usize = 64;
    let (server, subject) = (RedisServer::shared().await, single().await);
    let proxy = FaultProxy::start(server.address());
    let url = format!("{}{PATIENT}", proxy.url(&server.url()));
    let reader = InRedis { url, namespace: subject.namespace.clone(), name: "main" }.cache("main").await;
    let writer = subject.cache("main").await;
    let names: Vec<_> = (0..KEYS).map(|n| n.to_string()).collect();
    let keys: Vec<_> = names.iter().map(|name| key(name)).collect();
    let stored = async || {
        for key in &keys {
            writer.set(key, Bytes::from_static(b"value"), LONG).await.unwrap();
        }
        let mut generations = Vec::new();
        for name in &names {
            let place = generation_of(&subject, name);
            let generation = raw(server, &[b"GET", place.as_bytes()]).await;
            generations.push((place, generation.text().unwrap().to_owned()));
        }
        generations
    };
    let put = async |generations: &[(String, String)]| {
        let pairs = generations.iter().flat_map(|(place, value)| [place.as_bytes(), value.as_bytes()]);
        let command: Vec<_> = [&b"MSET"[..]].into_iter().chain(pairs).collect();
        raw(server, &command).await;
    };
    let before = stored().await;
    writer.clear().await.unwrap();
    let now = stored().await;
    let begun = std::time::Instant::now();
    loop {
        // The reader learns what was before the clear, and has known it for a moment when all are there.
        sleep(Duration::from_millis(30)).await;
        put(&before).await;
        reader.get_many(&keys).await.unwrap();
        put(&now).await;
        let mut found = Vec::new();
        let sent = requests(&proxy, async || found = reader.get_many(&keys).await.unwrap()).await;
        assert!(found.iter().all(Option::is_some) && sent <= 2, "{sent} requests");
        if sent == 2 {
            break;
        }
        assert!(begun.elapsed() < Duration::from_secs(60), "this machine takes longer than a generation is known for");
    }
}
