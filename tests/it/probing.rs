//! What load balancers and orchestrators are told of a process.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use axum::Router;
use axum::routing::post;
use serde_json::Value;
use statehouse::coord::{CoordStore as _, Ran, Revision, Run};
use statehouse::files::FileStore as _;
use statehouse::session::SessionStore as _;
use statehouse::{Config, Dependency, Probes, Service, Services};
use statehouse_testkit::RedisServer;
use tokio::net::TcpListener;
use tokio::sync::Notify;

/// Within this the machine, however busy, has done what is expected at once.
const SOON: Duration = Duration::from_secs(60);

async fn ask(probes: &Probes, path: &str) -> (u16, Value) {
    let answer = probes.answer(path).await.expect("a probe");
    (answer.status().as_u16(), serde_json::from_str(answer.body()).unwrap())
}

/// Asks until the answer is this one, and gives what it says.
async fn until(probes: &Probes, path: &str, status: u16) -> Value {
    let start = Instant::now();
    loop {
        let (found, answer) = ask(probes, path).await;
        if found == status {
            return answer;
        }
        assert!(start.elapsed() < SOON, "{path}: {found} {answer}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn until_it_has_started_a_process_says_how_far_it_is() {
    let services = Services::open(Config::in_memory()).await.unwrap();
    let operations = services.operations();
    let (probes, loading, other) =
        (operations.probes(), operations.startup("terminology"), operations.startup("migration"));
    let (status, started) = ask(&probes, "/started").await;
    assert_eq!((status, &started["status"]), (503, &"starting".into()), "{started}");
    loading.progress(1_000, 46_498);
    other.failed("the database is away");
    let (status, started) = ask(&probes, "/started").await;
    assert_eq!(status, 503);
    let reasons = ["terminology: 1000 of 46498", "migration: tried again after the database is away"];
    assert_eq!(started["reasons"], serde_json::json!(reasons));
    let task = &started["startup"]["terminology"];
    assert_eq!((&task["state"], &task["done"], &task["total"]), (&"running".into(), &1_000.into(), &46_498.into()));
    let (status, ready) = ask(&probes, "/ready").await;
    assert_eq!((status, &ready["reasons"]), (503, &serde_json::json!(reasons)));
    assert_eq!(ask(&probes, "/live").await.0, 200);

    loading.finish();
    loading.progress(7, 46_498);
    drop(other);
    let (status, started) = ask(&probes, "/started").await;
    let abandoned = "migration: abandoned, nobody will finish it, after the database is away";
    assert_eq!((status, &started["reasons"][0]), (503, &abandoned.into()));
    operations.startup("migration").finish();
    assert_eq!(ask(&probes, "/started").await.1["startup"]["terminology"]["state"], "finished");
    assert_eq!((ask(&probes, "/started").await.0, ask(&probes, "/ready").await.0), (200, 200));
    operations.begin_drain();
    let (status, ready) = ask(&probes, "/ready").await;
    assert_eq!(status, 503);
    assert!(ready["reasons"][0].as_str().unwrap().starts_with("stopping for"), "{ready}");
    assert_eq!((ask(&probes, "/started").await.0, ask(&probes, "/live").await.0), (200, 200));
}

/// Waits until it is said at this path for a start that is not over.
async fn until_said(probes: &Probes, words: &str) {
    let start = Instant::now();
    loop {
        let (status, answer) = ask(probes, "/started").await;
        if answer["reasons"][0] == words {
            return assert_eq!(status, 503);
        }
        assert!(start.elapsed() < SOON, "{words}: {status} {answer}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_runs_once_is_followed_by_the_probes_of_every_replica() {
    let redis = RedisServer::builder().arg("--appendonly", "yes").start().await;
    let config = || Config::in_memory().with_coordination(redis.url());
    let (attempts, enough) = (Arc::new(AtomicU32::new(0)), Arc::new(Notify::new()));
    let mut replicas = Vec::new();
    for name in ["blue", "green"] {
        let services = Services::builder(config()).with_label(name).open().await.unwrap();
        let (probes, seeding) = (services.operations().probes(), services.operations().startup("seed"));
        let seed = services.coordination().run_once("seed", Revision::new(1, ""));
        let (attempts, enough) = (Arc::clone(&attempts), Arc::clone(&enough));
        let running = async move {
            let body = async |run: Run| {
                if attempts.fetch_add(1, Ordering::SeqCst) < 2 {
                    return Err(String::from("there are no rows yet"));
                }
                run.progress(3, 7).await.map_err(|error| error.to_string())?;
                enough.notified().await;
                Ok(())
            };
            seeding.run_once(seed, body).await
        };
        replicas.push((services, probes, tokio::spawn(running)));
    }
    for words in ["seed: tried again after there are no rows yet", "seed: 3 of 7"] {
        tokio::join!(until_said(&replicas[0].1, words), until_said(&replicas[1].1, words));
    }
    let holder = replicas[0].0.coordination().locks().await.unwrap().locks[0].holder.to_string();
    assert!(["blue", "green"].contains(&&*holder), "{holder}");
    enough.notify_one();
    let mut ran = Vec::new();
    for (services, probes, running) in replicas {
        until(&probes, "/started", 200).await;
        ran.push(running.await.unwrap().unwrap());
        services.shutdown().await.unwrap();
    }
    assert!(ran.contains(&Ran::Now { attempt: 3 }) && ran.contains(&Ran::AlreadyDone), "{ran:?}");
}

#[tokio::test]
async fn what_runs_once_and_fails_for_good_is_told_with_why() {
    let services = Services::open(Config::in_memory()).await.unwrap();
    let (probes, seeding) = (services.operations().probes(), services.operations().startup("seed"));
    let seed = services.coordination().run_once("seed", Revision::new(1, "")).attempts(1);
    let failed = seeding.run_once(seed, async |_: Run| Err::<(), _>("there are no rows")).await.unwrap_err();
    assert_eq!(failed.kind(), statehouse::ErrorKind::LoadFailed);
    let (status, started) = ask(&probes, "/started").await;
    let why = started["reasons"][0].as_str().unwrap();
    assert_eq!(status, 503);
    assert!(why.starts_with("seed: abandoned") && why.contains("there are no rows"), "{why}");
    assert!(started["startup"]["seed"]["error"].as_str().unwrap().contains("there are no rows"), "{started}");
}

/// On a real server that goes away and comes back.
#[tokio::test]
async fn a_lost_dependency_makes_unready_only_if_nothing_goes_without_it() {
    let redis = RedisServer::start().await;
    let config = || Config::in_memory().with_cache(redis.url()).with_sessions(redis.url());
    let (one, other) = (Services::open(config()).await.unwrap(), Services::open(config()).await.unwrap());
    let hard = one.operations().hard(Service::Sessions).probes();
    let _cache = other.cache::<u32>("numbers").time_to_live(Duration::from_secs(60)).open().unwrap();
    let soft = other.operations().soft(Service::Sessions).probes();
    for services in [&one, &other] {
        services.connect().await.unwrap();
    }
    until(&hard, "/ready", 200).await;
    until(&soft, "/ready", 200).await;

    redis.kill();
    let ready = until(&hard, "/ready", 503).await;
    let reason = ready["reasons"][0].as_str().unwrap();
    assert!(reason.starts_with("sessions: down for ") && reason.contains("Redis"), "{reason}");
    let sessions = &ready["dependencies"]["sessions"];
    assert_eq!((&sessions["need"], &sessions["status"]), (&"hard".into(), &"down".into()));
    assert!(sessions["for_seconds"].as_u64() >= Some(3), "one lost packet takes nobody out: {sessions}");
    assert_eq!(ask(&hard, "/live").await.0, 200);
    // Looked at for as long as it takes to be lost, with the second for which an answer speaks.
    let start = Instant::now();
    loop {
        let (status, ready) = ask(&soft, "/ready").await;
        let cache = &ready["dependencies"]["cache"];
        assert_eq!((status, &cache["need"]), (200, &"soft".into()), "{ready}");
        if cache["status"] == "down" && cache["for_seconds"].as_u64() >= Some(5) {
            break;
        }
        assert!(start.elapsed() < SOON, "it is told");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }

    redis.restart().await;
    let ready = until(&hard, "/ready", 200).await;
    assert_eq!(ready["dependencies"]["sessions"]["status"], "up");
}

/// Time is the test's own.
#[tokio::test(start_paused = true)]
async fn who_never_answers_keeps_no_probe_waiting() {
    let services = Services::open(Config::in_memory()).await.unwrap();
    let never = || Dependency::new("database", std::future::pending::<Result<(), std::io::Error>>);
    let (hard, soft) = (services.operations().hard(never()).probes(), services.operations().soft(never()).probes());
    let asked = tokio::time::Instant::now();
    let (status, ready) = ask(&hard, "/ready").await;
    assert_eq!((status, &ready["reasons"][0]), (503, &"database: has not answered yet".into()));
    assert_eq!(ask(&soft, "/ready").await.0, 200);
    let (waited, half) = (asked.elapsed(), Duration::from_millis(500));
    assert!(2 * half <= waited && waited < 3 * half, "half a second each: {waited:?}");
    tokio::time::sleep(Duration::from_secs(1)).await;
    let (status, ready) = ask(&hard, "/ready").await;
    assert_eq!(status, 503);
    assert!(ready["reasons"][0].as_str().unwrap().ends_with("no answer within a second"), "{ready}");
}

/// Whatever panics as it is asked is down, is asked again, and keeps nothing else from being looked at.
#[tokio::test]
async fn a_check_that_panics_is_of_one_dependency() {
    let services = Services::open(Config::in_memory()).await.unwrap();
    let (good, asked) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicBool::new(false)));
    let (is_good, again) = (Arc::clone(&good), Arc::clone(&asked));
    let panics = Dependency::new("queue", move || {
        assert!(again.swap(true, Ordering::SeqCst), "at the first time");
        async { Ok::<_, std::io::Error>(()) }
    });
    let last = Dependency::new("z", move || {
        let found = if is_good.load(Ordering::SeqCst) { Ok(()) } else { Err(std::io::Error::other("it is gone")) };
        async { found }
    });
    let probes = services.operations().soft(panics).hard(last).probes();
    let ready = until(&probes, "/ready", 200).await;
    assert_eq!(ready["dependencies"]["queue"]["status"], "down", "{ready}");
    good.store(false, Ordering::SeqCst);
    let ready = until(&probes, "/ready", 503).await;
    assert!(ready["reasons"][0].as_str().unwrap().contains("it is gone"), "{ready}");
    assert_eq!(ready["dependencies"]["queue"]["status"], "up", "it was asked again: {ready}");
}

#[tokio::test]
async fn a_served_application_is_asked_before_it_answers_itself() {
    let services = Services::open(Config::in_memory()).await.unwrap();
    let app = || Router::new().route("/ready", post(async || "mine").get(async || "mine"));
    for (operations, own) in [(services.operations(), "status"), (services.operations().without_probes(), "mine")] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let serving = tokio::spawn(operations.serve_until(listener, app(), std::future::pending()));
        let ask = async |method: &str| {
            let request = format!("{method} /ready HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
            let answer = crate::exchange(&address, &request).await.unwrap();
            assert!(answer.starts_with("HTTP/1.1 200"), "{method}: {answer}");
            answer.split_once("\r\n\r\n").unwrap().1.to_owned()
        };
        let read = ask("GET").await;
        assert!(read.contains(own), "{read}");
        assert_eq!(ask("POST").await, "mine", "only who reads asks a probe");
        assert_eq!(ask("HEAD").await, "");
        serving.abort();
    }
}

/// Whoever asks the store itself, and not all services, waits no longer: for servers that take connections and never answer.
#[tokio::test]
async fn health_of_what_is_handed_out_is_told_within_a_second() {
    let deaf = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let at = deaf.local_addr().unwrap();
    let (redis, times) = (format!("redis://{at}"), "connect_timeout=60s&timeout=60s");
    let files = format!("s3://key:secret@bucket?endpoint=http://{at}&allow_http=true&{times}");
    let config = Config::in_memory().with_sessions(redis.as_str()).with_coordination(redis.as_str());
    let services = Services::open(config.with_files(files)).await.unwrap();
    let (sessions, scans) = (services.sessions(), services.files("scans").unwrap());
    let coordination = services.coordination();
    let start = Instant::now();
    let asked = async { tokio::join!(sessions.health(), scans.store().health(), coordination.store().health()) };
    let (sessions, scans, coordination) = asked.await;
    assert!(start.elapsed() < Duration::from_secs(3), "{:?}", start.elapsed());
    for health in [sessions, scans, coordination] {
        assert!(!health.is_up() && health.error.is_some(), "{health:?}");
    }
}
