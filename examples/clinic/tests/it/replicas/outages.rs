use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use clinic_fleet::{Fleet, Servers};
use reqwest::{Method, Response, StatusCode};
use statehouse_testkit::{Program, RedisServer};

use super::{assert_kept, fleet, servers};
use crate::client::{Client, PASSWORD, token_in};
use crate::clinic;
use crate::load::{Mishap, Report, Step, work_while};

/// Well again, at the latest, so long after the server is.
const WELL_AFTER: Duration = Duration::from_secs(8);

/// When a server was away, and until when the next one is not.
struct Outage {
    killed: Instant,
    back: Instant,
    next: Instant,
}

impl Outage {
    fn has(&self, at: Instant) -> bool {
        self.killed < at && at < self.back + WELL_AFTER
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn servers_go_away_and_come_back_under_load() {
    let servers = servers().await;
    let (fleet, balancer) = fleet(&servers).await;
    let over = Arc::new(AtomicBool::new(false));
    let goes_on = Arc::clone(&over);
    let working = tokio::spawn(work_while(balancer.address(), 12, move || !goes_on.load(Ordering::Relaxed)));
    tokio::time::sleep(Duration::from_secs(4)).await;
    let mut outages = Vec::new();
    for server in ["redis", "s3", "opensearch"] {
        outages.push(kill_for_five_seconds(server, &servers, &fleet).await);
    }
    over.store(true, Ordering::Relaxed);
    let report = working.await.unwrap();
    assert_kept(&report);
    let unclear: Vec<&Mishap> = report.mishaps.iter().filter(|mishap| !mishap.is_asked_to_wait()).collect();
    assert!(unclear.is_empty(), "an outage is a 503 with Retry-After, never a 401: {unclear:?}");
    for outage in &outages {
        let (from, to) = (outage.back + WELL_AFTER, outage.next);
        let late: Vec<_> = report.mishaps.iter().filter(|mishap| from < mishap.at && mishap.at < to).collect();
        assert!(late.is_empty(), "not well {WELL_AFTER:?} after it came back: {late:?}");
    }
    let [redis, s3, opensearch] = &outages[..] else { panic!("three servers") };
    assert!(report.mishaps.iter().any(|mishap| redis.has(mishap.at)), "nobody is known without sessions");
    only_these_fail(&report, s3, &[Step::Attach, Step::Download]);
    only_these_fail(&report, opensearch, &[Step::Search, Step::Diagnose]);
}

async fn kill_for_five_seconds(server: &str, servers: &Servers, fleet: &Fleet) -> Outage {
    let person = Client::new(fleet.replicas()[0].address());
    let page = person.get("/login").await.unwrap().text().await.unwrap();
    person.set_csrf(token_in(&page));
    let member = Client::logged_in(fleet.replicas()[0].address(), "grace").await;
    let killed = Instant::now();
    match server {
        "redis" => {
            servers.redis.kill();
            nobody_can_log_in_and_all_else_goes_on(fleet, &person, &member).await;
        }
        "s3" => servers.s3.kill(),
        _ => servers.opensearch.kill(),
    }
    tokio::time::sleep((killed + Duration::from_secs(5)).saturating_duration_since(Instant::now())).await;
    match server {
        "redis" => servers.redis.restart().await,
        "s3" => servers.s3.restart().await,
        _ => servers.opensearch.restart().await,
    }
    let back = Instant::now();
    tokio::time::sleep(WELL_AFTER).await;
    let again = Instant::now() + Duration::from_secs(60);
    loop {
        let answer = person.post("/login", &[("login", "ada"), ("password", PASSWORD)]).await.unwrap();
        if answer.status() == StatusCode::SEE_OTHER {
            break;
        }
        // Others log in as well.
        assert_unavailable(&answer);
        assert!(Instant::now() < again, "the page from before the outage logs in after it");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    tokio::time::sleep(Duration::from_secs(3)).await;
    Outage { killed, back, next: Instant::now() }
}

/// While sessions are out of reach.
async fn nobody_can_log_in_and_all_else_goes_on(fleet: &Fleet, person: &Client, member: &Client) {
    assert_unavailable(&person.post("/login", &[("login", "ada"), ("password", PASSWORD)]).await.unwrap());
    assert_eq!(person.get("/login").await.unwrap().status(), StatusCode::OK, "asking for the form needs no session");
    assert_unavailable(&member.get("/api/me").await.unwrap());
    let page = member.request(Method::GET, "/").header("accept", "text/html").send().await.unwrap();
    assert_unavailable(&page);
    assert!(page.text().await.unwrap().contains("out of reach"), "in words");
    for replica in fleet.replicas() {
        let anybody = Client::new(replica.address());
        for path in ["/live", "/ready", "/metrics", "/assets/clinic.css"] {
            assert_eq!(anybody.get(path).await.unwrap().status(), StatusCode::OK, "{path}");
        }
    }
}

fn assert_unavailable(answer: &Response) {
    assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE, "{}", answer.url());
    assert!(answer.headers().contains_key("retry-after"), "{}", answer.url());
}

/// All else was done meanwhile, and without a mishap.
fn only_these_fail(report: &Report, outage: &Outage, steps: &[Step]) {
    let failed: Vec<_> = report.mishaps.iter().filter(|mishap| outage.has(mishap.at)).collect();
    assert!(failed.iter().all(|mishap| steps.contains(&mishap.step)), "only {steps:?} may fail: {failed:?}");
    for step in steps {
        assert!(failed.iter().any(|mishap| mishap.step == *step), "{step:?} was tried, and told that it must wait");
    }
    let all = [Step::Me, Step::Dashboard, Step::Search, Step::Draft, Step::Page, Step::Attach, Step::Download];
    for step in all.iter().filter(|step| !steps.contains(step)) {
        let count = report.done.iter().filter(|(at, done)| done == step && outage.has(*at)).count();
        assert!(count >= 3, "{step:?} went on: {count}");
    }
}

/// The cache has a server of its own, so only it goes away.
#[tokio::test]
async fn without_the_cache_counts_come_from_where_they_are_counted() {
    let (cache, others) = tokio::join!(RedisServer::start(), RedisServer::builder().arg("--appendonly", "yes").start());
    let data = tempfile::tempdir().unwrap();
    let clinic = clinic_with_cache(data.path(), &cache, &others).await;
    let client = Client::logged_in(clinic.address(), "ada").await;
    let before = client.active_diagnoses().await;
    let found = client.concepts("diab", "").await.unwrap();

    cache.kill();
    assert_eq!(client.active_diagnoses().await, before);
    let added = client.post("/patients/13/diagnoses", &[("concept", "A48.1")]).await.unwrap();
    assert_eq!(added.status(), StatusCode::SEE_OTHER);
    assert_eq!(client.active_diagnoses().await, before + 1, "counted, not remembered");
    assert_eq!(client.concepts("diab", "").await.unwrap(), found);

    cache.restart().await;
    tokio::time::sleep(WELL_AFTER).await;
    let added = client.post("/patients/13/diagnoses", &[("concept", "J10.1")]).await.unwrap();
    assert_eq!(added.status(), StatusCode::SEE_OTHER);
    assert_eq!(client.active_diagnoses().await, before + 2);
}

async fn clinic_with_cache(data: &Path, cache: &RedisServer, others: &RedisServer) -> Program {
    let program = clinic::builder(data).env("STATEHOUSE_CACHE_URL", cache.url());
    let program = program.env("STATEHOUSE_SESSIONS_URL", others.url()).env("STATEHOUSE_COORDINATION_URL", others.url());
    program.ready_at("/ready").start().await
}

/// A user of the server who lacks a right: whoever asks again is refused again.
#[tokio::test]
async fn a_server_that_refuses_its_work_is_logged_once_and_nobody_is_told_to_come_again() {
    let (redis, others) = tokio::join!(RedisServer::start(), RedisServer::builder().arg("--appendonly", "yes").start());
    let data = tempfile::tempdir().unwrap();
    let program = clinic::builder(data.path()).env("STATEHOUSE_SESSIONS_URL", redis.url());
    let program = program.env("STATEHOUSE_COORDINATION_URL", others.url());
    let clinic = program.ready_at("/ready").start().await;
    let client = Client::logged_in(clinic.address(), "ada").await;
    redis.command(&["ACL", "SETUSER", "default", "resetkeys"]).await.unwrap();
    for _ in 0..8 {
        for answer in [client.get("/api/me").await.unwrap(), client.browse(Method::GET, "/").send().await.unwrap()] {
            assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
            assert!(!answer.headers().contains_key("retry-after"));
            assert!(answer.text().await.unwrap().contains("refuses its work"), "in words");
        }
    }
    let log = clinic.log().unwrap();
    assert_eq!(log.matches("refuses its work").count(), 1, "{log}");
    assert!(!log.contains("a request failed"), "{log}");
    redis.command(&["ACL", "SETUSER", "default", "allkeys"]).await.unwrap();
    assert_eq!(client.get("/api/me").await.unwrap().status(), StatusCode::OK);
}
