//! Replicas that know of each other: who leaves the requests to the others, and what is named that should be the same.

use std::time::{Duration, Instant};

use axum::Router;
use serde_json::Value;
use statehouse::coord::{MemberInfo, Raised};
use statehouse::{Config, Operations, Service, Services};
use statehouse_testkit::{FaultProxy, RedisServer};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::sleep;

/// Within this the machine, however busy, has done what is expected at once.
const SOON: Duration = Duration::from_secs(60);

/// Longer than a loss, its being told to the others, and two looks at them.
const SETTLED: Duration = Duration::from_secs(12);

struct Replica {
    address: String,
    services: Services,
    stop: oneshot::Sender<()>,
    serving: JoinHandle<std::io::Result<()>>,
}

impl Replica {
    async fn serve(config: Config, settings: impl FnOnce(Operations) -> Operations) -> Self {
        let services = Services::open(config).await.unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (stop, stopped) = oneshot::channel();
        let operations = settings(services.operations().delay(Duration::ZERO));
        let until = async move { stopped.await.unwrap_or_default() };
        let serving = tokio::spawn(operations.serve_until(listener, Router::new(), until));
        Self { address, services, stop, serving }
    }

    async fn ready(&self) -> (u16, Value) {
        let request = "GET /ready HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";
        let answer = loop {
            // It connects to its stores before it answers.
            match crate::exchange(&self.address, request).await {
                Ok(answer) if !answer.is_empty() => break answer,
                _ => sleep(Duration::from_millis(50)).await,
            }
        };
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.split(' ').nth(1).unwrap().parse().unwrap(), serde_json::from_str(body).unwrap())
    }

    /// Asks until the answer is such.
    async fn until(&self, what: &str, is_so: impl Fn(u16, &Value) -> bool) -> Value {
        let begun = Instant::now();
        loop {
            let (status, answer) = self.ready().await;
            if is_so(status, &answer) {
                return answer;
            }
            assert!(begun.elapsed() < SOON, "{what}: {status} {answer}");
            sleep(Duration::from_millis(100)).await;
        }
    }

    async fn sees(&self, members: usize) -> Value {
        self.until("members", |_, answer| answer["fleet"]["members"] == members).await
    }

    async fn end(self) {
        self.stop.send(()).unwrap();
        self.serving.await.unwrap().unwrap();
    }
}

/// A text of the answer that has these words.
fn says(answer: &Value, list: &str, words: &str) -> bool {
    let texts = if list == "differences" { &answer["fleet"][list] } else { &answer[list] };
    texts.as_array().is_some_and(|texts| texts.iter().any(|text| text.as_str().unwrap().contains(words)))
}

/// Three replicas that cannot do without their sessions, each with a way of its own to these and to where they coordinate.
struct Fleet {
    sessions: RedisServer,
    /// Kept for as long as the replicas.
    _coordination: RedisServer,
    to_sessions: Vec<FaultProxy>,
    to_others: Vec<FaultProxy>,
    replicas: Vec<Replica>,
}

impl Fleet {
    async fn start() -> Self {
        let coordination = RedisServer::builder().arg("--appendonly", "yes").start().await;
        let sessions = RedisServer::start().await;
        let mut fleet =
            Self { sessions, _coordination: coordination, to_sessions: vec![], to_others: vec![], replicas: vec![] };
        for _ in 0..3 {
            let to_sessions = FaultProxy::start(fleet.sessions.address());
            let to_others = FaultProxy::start(fleet._coordination.address());
            let config = Config::in_memory()
                .with_namespace("fleet")
                .with_sessions(to_sessions.url(&fleet.sessions.url()))
                .with_coordination(to_others.url(&fleet._coordination.url()));
            let hard = |operations: Operations| operations.hard(Service::Sessions);
            fleet.replicas.push(Replica::serve(config, hard).await);
            fleet.to_sessions.push(to_sessions);
            fleet.to_others.push(to_others);
        }
        for replica in &fleet.replicas {
            replica.sees(3).await;
            replica.until("ready", |status, _| status == 200).await;
        }
        fleet
    }

    async fn statuses(&self) -> Vec<u16> {
        let mut statuses = Vec::new();
        for replica in &self.replicas {
            statuses.push(replica.ready().await.0);
        }
        statuses
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_three_replicas_the_one_that_is_cut_off_leaves_the_requests_to_the_others() {
    let fleet = Fleet::start().await;
    fleet.to_sessions[1].cut();
    let out = fleet.replicas[1].until("out", |status, _| status == 503).await;
    assert!(says(&out, "reasons", "sessions: down for"), "{out}");
    // It goes once one has said so; when they say it is theirs.
    let both = "2 of 2 other replicas reach it";
    fleet.replicas[1].until("both", |status, answer| status == 503 && says(answer, "reasons", both)).await;
    assert_eq!(fleet.statuses().await, [200, 503, 200]);
    fleet.to_sessions[1].heal();
    fleet.replicas[1].until("back", |status, _| status == 200).await;
    // Of two that are cut off at once, at most one goes: half of them stay.
    fleet.to_sessions[0].cut();
    fleet.to_sessions[2].cut();
    let begun = Instant::now();
    while fleet.statuses().await.iter().all(|status| *status == 200) {
        assert!(begun.elapsed() < SOON, "one of them goes");
        sleep(Duration::from_millis(100)).await;
    }
    let begun = Instant::now();
    while begun.elapsed() < SETTLED {
        let out = fleet.statuses().await.into_iter().filter(|status| *status == 503).count();
        assert_eq!(out, 1, "half of them are out, and not more");
        sleep(Duration::from_millis(200)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_no_replica_reaches_takes_none_of_them_out() {
    let fleet = Fleet::start().await;
    fleet.sessions.kill();
    for replica in &fleet.replicas {
        replica.until("told", |_, answer| says(answer, "degraded", "sessions: down for")).await;
    }
    let begun = Instant::now();
    while begun.elapsed() < SETTLED {
        assert_eq!(fleet.statuses().await, [200; 3]);
        sleep(Duration::from_millis(200)).await;
    }
    let (_, answer) = fleet.replicas[0].ready().await;
    assert!(says(&answer, "degraded", "it stays ready: no other replica reaches it"), "{answer}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_knows_nothing_of_the_others_stays() {
    let fleet = Fleet::start().await;
    fleet.to_others[0].cut();
    let cut_off = &fleet.replicas[0];
    cut_off.until("unknown", |_, answer| answer["fleet"]["members"].is_null()).await;
    fleet.to_sessions[0].cut();
    cut_off.until("told", |_, answer| says(answer, "degraded", "the other replicas are not known")).await;
    let begun = Instant::now();
    while begun.elapsed() < SETTLED {
        assert_eq!(cut_off.ready().await.0, 200);
        sleep(Duration::from_millis(200)).await;
    }
    // Once it knows of them again, it goes.
    fleet.to_others[0].heal();
    cut_off.until("out", |status, _| status == 503).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_should_be_the_same_and_is_not_is_named_and_who_stops_is_gone_at_once() {
    let redis = RedisServer::builder().arg("--appendonly", "yes").start().await;
    let folder = tempfile::tempdir().unwrap();
    let config = || Config::in_memory().with_namespace("clinic").with_sessions(redis.url());
    let replica = async |config: Config, build: &str, feed: &str| {
        let info = MemberInfo::new(build).with_fingerprint("feed", feed);
        let settings = |operations: Operations| operations.hard(Service::Sessions).soft(Service::Files).member(info);
        Replica::serve(config, settings).await
    };
    // Coordination is shared by none of them: they find each other in the Redis of the sessions.
    let one = replica(config(), "clinic 2", "2026-04").await;
    let alone = one.sees(1).await;
    assert!(alone["fleet"]["differences"].is_null(), "{alone}");
    let other = replica(config().with_files(format!("file:{}", folder.path().display())), "clinic 1", "2026-03").await;
    let named = one.until("named", |_, answer| says(answer, "differences", "feed")).await;
    for words in [
        r#"build: this replica has "clinic 2", and of 1 others 1 have "clinic 1""#,
        r#"feed: this replica has "2026-04", and of 1 others 1 have "2026-03""#,
        r#"files.place: this replica has "memory of its own", and of 1 others 1 have "local disk of its own""#,
        "files: each replica has its own (memory), and there are 2 of them",
    ] {
        assert!(says(&named, "differences", words), "{words}: {named}");
    }
    assert!(!says(&named, "differences", "sessions") && !says(&named, "differences", "clock"), "{named}");
    let third = other.until("named", |_, answer| says(answer, "differences", "clinic 2")).await;
    assert_eq!(third["fleet"]["members"], 2);
    other.end().await;
    let members = one.services.coordination().membership().members().await.unwrap();
    assert_eq!(members.len(), 1, "it has left before it has ended");
    one.sees(1).await;
    one.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_bucket_by_two_names_is_one_and_another_place_in_it_is_named() {
    let server = statehouse_testkit::S3Server::shared().await;
    let redis = RedisServer::builder().arg("--appendonly", "yes").start().await;
    let direct = crate::s3_url(server, server.secret_key(), server.bucket());
    let proxy = FaultProxy::start(server.endpoint().trim_start_matches("http://").to_owned());
    let alias = direct.replace(&server.endpoint(), &format!("http://{}", proxy.address()));
    let elsewhere = direct.replacen(&format!("@{}", server.bucket()), &format!("@{}/elsewhere", server.bucket()), 1);
    assert!(alias != direct && elsewhere != direct);
    let namespace = format!("fleet{}", std::process::id());
    let replica = async |files: &str| {
        let config = Config::in_memory().with_namespace(&namespace).with_files(files).with_coordination(redis.url());
        Replica::serve(config, |operations| operations.soft(Service::Files)).await
    };
    let (one, other) = (replica(&direct).await, replica(&alias).await);
    one.sees(2).await;
    let both = other.sees(2).await;
    assert!(both["fleet"]["differences"].is_null(), "they are in one place: {both}");
    let third = replica(&elsewhere).await;
    let named = third.until("named", |_, answer| says(answer, "differences", "files.place")).await;
    assert!(says(&named, "differences", "/elsewhere at "), "{named}");
    let named = one.until("named", |_, answer| says(answer, "differences", "/elsewhere at ")).await;
    assert!(says(&named, "differences", "of 2 others 1 have"), "{named}");
    assert!(!named.to_string().contains(server.secret_key()));
    for replica in [one, other, third] {
        replica.end().await;
    }
    let silent =
        Replica::serve(Config::in_memory().with_coordination(redis.url()), Operations::without_membership).await;
    assert!(silent.ready().await.1["fleet"].is_null());
    silent.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_of_the_same_program_in_another_namespace_is_named() {
    let redis = RedisServer::builder().arg("--appendonly", "yes").start().await;
    let replica = async |namespace: &str, build: &str| {
        let config = Config::in_memory().with_namespace(namespace).with_coordination(redis.url());
        let info = MemberInfo::new(build);
        Replica::serve(config, |operations| operations.member(info)).await
    };
    let (one, shop) = (replica("clinic", "clinic 2").await, replica("shop", "shop 1").await);
    one.sees(1).await;
    shop.sees(1).await;
    let begun = Instant::now();
    let misled = replica("clinic-a", "clinic 1").await;
    let words = r#"namespace: this replica has "clinic-a", and 1 of clinic on the same server have "clinic""#;
    let named = misled.until("named", |_, answer| says(answer, "differences", words)).await;
    assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", begun.elapsed());
    assert!(!says(&named, "differences", "shop"), "another program has a namespace of its own: {named}");
    let seen = one.services.fleet().await.unwrap();
    assert_eq!(seen.elsewhere.into_iter().collect::<Vec<_>>(), [("clinic-a".to_owned(), 1)]);
    assert_eq!(seen.replicas.iter().map(|replica| replica.build.as_str()).collect::<Vec<_>>(), ["clinic 2"]);
    for replica in [misled, one, shop] {
        replica.end().await;
    }
}

/// The directory of namespaces is written by all who may write to the server, and read by some who may not read every namespace.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_namespace_that_cannot_be_looked_into_keeps_nobody_from_the_others() {
    let redis = RedisServer::builder().arg("--appendonly", "yes").start().await;
    for rights in ["~clinic:*", "~shop:*", "~statehouse-namespaces:*"] {
        redis.command(&["ACL", "SETUSER", "reader", "on", ">secret", "+@all", rights]).await.unwrap();
    }
    let config = |namespace: &str, url: String| Config::in_memory().with_namespace(namespace).with_coordination(url);
    let open = async |namespace: &str| Services::open(config(namespace, redis.url())).await.unwrap();
    let said = async |namespace: &str, info: MemberInfo| {
        let services = open(namespace).await;
        let joined = services.coordination().membership().join(info).await.unwrap();
        (services, joined)
    };
    let entry = |namespace: &str| MemberInfo::new("clinic").with_fingerprint("namespace", namespace);
    let mut all = Vec::new();
    for namespace in ["no namespace!", "secret", "shop"] {
        all.push(said("statehouse-namespaces", entry(namespace)).await);
    }
    for namespace in ["clinic", "secret", "shop"] {
        all.push(said(namespace, MemberInfo::new("clinic 2")).await);
    }
    let reader = redis.url().replace("redis://", "redis://reader:secret@");
    let fleet = Services::open(config("clinic", reader.clone())).await.unwrap().fleet().await.unwrap();
    assert_eq!(fleet.elsewhere.iter().collect::<Vec<_>>(), [(&"shop".to_owned(), &1)], "{fleet}");
    assert_eq!(fleet.unknown.keys().collect::<Vec<_>>(), ["no namespace!", "secret"], "{fleet}");
    assert!(fleet.to_string().contains("unknown: whether replicas have the namespace \"secret\""), "{fleet}");

    // And one that may not read the directory either.
    redis.command(&["ACL", "SETUSER", "reader", "resetkeys", "~clinic:*"]).await.unwrap();
    let fleet = Services::open(config("clinic", reader)).await.unwrap().fleet().await.unwrap();
    assert!(fleet.elsewhere.is_empty() && fleet.unknown.contains_key(""), "{fleet}");
    for (_, joined) in all {
        joined.leave().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn why_a_replica_is_not_ready_is_told_to_who_asks_for_the_fleet() {
    let fleet = Fleet::start().await;
    fleet.to_sessions[1].cut();
    fleet.replicas[1].until("out", |status, _| status == 503).await;
    let begun = Instant::now();
    loop {
        let report = fleet.replicas[0].services.fleet().await.unwrap();
        let reasons: Vec<_> = report.replicas.iter().flat_map(|replica| &replica.reasons).collect();
        if let [reason] = reasons[..] {
            assert!(reason.starts_with("sessions: down: "), "{reason}");
            assert!(!report.is_good());
            break;
        }
        assert!(begun.elapsed() < SOON, "{report}");
        sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_build_that_is_behind_is_kept_out_and_says_why() {
    let redis = RedisServer::builder().arg("--appendonly", "yes").start().await;
    let replica = async |build: &str, newest: u32| {
        let config = Config::in_memory().with_namespace("clinic").with_coordination(redis.url());
        let info = MemberInfo::new(build).with_formats("notes", 1..=newest);
        Replica::serve(config, |operations| operations.member(info)).await
    };
    let new = replica("clinic 2", 2).await;
    new.sees(1).await;
    let epoch = new.services.coordination().membership().epoch("notes", 1..=2);
    assert_eq!(epoch.raise().await.unwrap(), Raised::Now);
    let old = replica("clinic 1", 1).await;
    let out = old.until("out", |status, _| status == 503).await;
    assert!(says(&out, "reasons", "notes"), "{out}");
    assert_eq!(new.ready().await.0, 200);
    for replica in [old, new] {
        replica.end().await;
    }
}
