use std::path::Path;
use std::time::{Duration, Instant};

use clinic_fleet::{Balancer, Fleet, Servers};
use reqwest::StatusCode;
use tokio::sync::{Mutex, MutexGuard, OnceCell};

use crate::client::Client;
use crate::clinic;
use crate::load::{Mishap, Report, work};

/// The servers of all tests here, for one test at a time: each breaks what the others need.
async fn servers() -> MutexGuard<'static, Servers> {
    static SERVERS: OnceCell<Mutex<Servers>> = OnceCell::const_new();
    let start = async || Mutex::new(Servers::start().await.unwrap_or_else(|error| panic!("{error}")));
    SERVERS.get_or_init(start).await.lock().await
}

async fn fleet(servers: &Servers) -> (Fleet, Balancer) {
    let fleet = Fleet::start(Path::new(clinic::PATH), servers, 3).await.unwrap_or_else(|error| panic!("{error}"));
    let balancer = Balancer::start("127.0.0.1:0", &fleet.addresses()).await.unwrap();
    until("all replicas are ready", || balancer.states().iter().all(|state| state.ready)).await;
    (fleet, balancer)
}

async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(90);
    while !is_so() {
        assert!(Instant::now() < deadline, "never: {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn assert_kept(report: &Report) {
    assert_eq!(report.broken, Vec::<String>::new());
    assert!(report.done > 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_is_killed_under_load_and_nothing_acknowledged_is_lost() {
    let servers = servers().await;
    let (fleet, balancer) = fleet(&servers).await;
    let working = tokio::spawn(work(balancer.address(), 100, Duration::from_secs(30)));
    tokio::time::sleep(Duration::from_secs(10)).await;
    fleet.replicas()[1].kill();
    tokio::time::sleep(Duration::from_secs(10)).await;
    fleet.replicas()[1].restart().await;
    let report = working.await.unwrap();
    assert_kept(&report);
    let states = balancer.states();
    assert_eq!((states[0].failed, states[2].failed), (0, 0), "the others lost nothing: {states:?}");
    let others: Vec<_> =
        report.mishaps.iter().filter(|mishap| mishap.status != Some(StatusCode::BAD_GATEWAY)).collect();
    assert!(others.is_empty(), "only what was under way on the killed replica may fail: {others:?}");
    assert_eq!(report.mishaps.len() as u64, states[1].failed, "{:?}", report.mishaps);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn servers_go_away_and_come_back_under_load() {
    let servers = servers().await;
    let (_fleet, balancer) = fleet(&servers).await;
    let (address, time) = (balancer.address(), Duration::from_secs(3 * 12 + 2));
    let working = tokio::spawn(work(address, 12, time));
    tokio::time::sleep(Duration::from_secs(4)).await;
    let mut well_again = Vec::new();
    for server in 0..3 {
        match server {
            0 => servers.redis.kill(),
            1 => servers.s3.kill(),
            _ => servers.opensearch.kill(),
        }
        tokio::time::sleep(Duration::from_secs(5)).await;
        match server {
            0 => servers.redis.restart().await,
            1 => servers.s3.restart().await,
            _ => servers.opensearch.restart().await,
        }
        let back = Instant::now();
        tokio::time::sleep(Duration::from_secs(6)).await;
        well_again.push((back + Duration::from_secs(3), Instant::now()));
    }
    let report = working.await.unwrap();
    assert_kept(&report);
    let unclear: Vec<&Mishap> = report
        .mishaps
        .iter()
        .filter(|mishap| mishap.status != Some(StatusCode::SERVICE_UNAVAILABLE) || !mishap.retry_after)
        .filter(|mishap| mishap.what != "log in")
        .collect();
    assert!(unclear.is_empty(), "an outage is a 503 with Retry-After, never a 401: {unclear:?}");
    for (from, to) in well_again {
        let late: Vec<_> = report.mishaps.iter().filter(|mishap| from < mishap.at && mishap.at < to).collect();
        assert!(late.is_empty(), "not well 3 s after it came back: {late:?}");
    }
    assert!(!report.mishaps.is_empty(), "the outages were noticed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_are_restarted_one_by_one_and_no_request_fails() {
    let servers = servers().await;
    let (fleet, balancer) = fleet(&servers).await;
    let working = tokio::spawn(work(balancer.address(), 20, Duration::from_secs(25)));
    tokio::time::sleep(Duration::from_secs(2)).await;
    for (index, replica) in fleet.replicas().iter().enumerate() {
        let status = replica.terminate(Duration::from_secs(15)).await.unwrap();
        assert!(status.success(), "{status}: {}", replica.log().unwrap());
        replica.restart().await;
        until("it is ready again", || balancer.states()[index].ready).await;
    }
    let report = working.await.unwrap();
    assert_kept(&report);
    assert!(report.mishaps.is_empty(), "{:?}", report.mishaps);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_that_start_at_once_load_the_terminology_once() {
    let servers = servers().await;
    let (fleet, _balancer) = fleet(&servers).await;
    let logs: Vec<_> = fleet.replicas().iter().map(|replica| replica.log().unwrap()).collect();
    let loads: usize = logs.iter().map(|log| log.matches("46498 of 46498 concepts").count()).sum();
    assert_eq!(loads, 1, "{logs:?}");
    assert!(logs.iter().all(|log| !log.contains("ERROR")), "{logs:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_dies_while_it_loads_is_replaced_by_another() {
    let servers = servers().await;
    let clinic = Path::new(clinic::PATH);
    let fleet = Fleet::start(clinic, &servers, 3).await.unwrap_or_else(|error| panic!("{error}"));
    let loader = || fleet.replicas().iter().position(|replica| replica.log().unwrap().contains("concepts after"));
    until("one of them loads", || loader().is_some()).await;
    let loader = loader().unwrap();
    fleet.replicas()[loader].kill();
    assert!(!fleet.replicas()[loader].log().unwrap().contains("46498 of 46498"), "it was killed in the middle");
    let others: Vec<_> = fleet.replicas().iter().enumerate().filter(|(index, _)| *index != loader).collect();
    until("another one finishes", || {
        others.iter().all(|(_, other)| other.log().unwrap().contains("terminology is ready"))
    })
    .await;
    for (_, other) in others {
        let client = Client::logged_in(other.address(), "ada").await;
        assert_eq!(client.concepts("Z99.89", "").await.unwrap()["total"], 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_replica_and_the_embedded_clinic_give_the_same_answers() {
    let servers = servers().await;
    let (fleet, _balancer) = fleet(&servers).await;
    let embedded = Client::logged_in(clinic::shared().await.address(), "ada").await;
    let mut replicas = Vec::new();
    for replica in fleet.replicas() {
        replicas.push(Client::logged_in(replica.address(), "ada").await);
    }
    let mut found = 0;
    for (typed, chapter) in searches() {
        let expected = embedded.concepts(&typed, chapter).await.unwrap();
        found += usize::from(expected["total"] != 0);
        for replica in &replicas {
            let answer = replica.concepts(&typed, chapter).await.unwrap();
            for part in ["total", "chapters"] {
                assert_eq!(answer[part], expected[part], "{part} of {typed:?} in {chapter:?}");
            }
            let (hits, expected) = (answer["hits"].as_array().unwrap(), expected["hits"].as_array().unwrap());
            for (place, (hit, expected)) in hits.iter().zip(expected).enumerate() {
                assert_eq!(hit, expected, "hit {place} of {typed:?} in {chapter:?}");
            }
            assert_eq!(hits.len(), expected.len());
        }
    }
    assert!(found > 90, "about half of the searches find something: {found}");
}

/// 200 searches: whole words, beginnings, words in another order, typos; some within a chapter.
fn searches() -> Vec<(String, &'static str)> {
    let titles = [
        "Type 2 diabetes mellitus without complications",
        "Essential primary hypertension",
        "Acute upper respiratory infection",
        "Gastro-esophageal reflux disease with esophagitis",
        "Unilateral primary osteoarthritis right knee",
        "Malignant neoplasm of prostate",
        "Chronic kidney disease stage 3",
        "Fracture of lower end of radius",
        "Major depressive disorder single episode",
        "Iron deficiency anemia unspecified",
    ];
    let chapters = ["", "4", "9", "10", "13", "19"];
    let mut searches = Vec::new();
    for number in 0..200 {
        let words: Vec<_> = titles[number % titles.len()].split(' ').filter(|word| word.len() > 3).collect();
        let word = words[number / 10 % words.len()];
        let other = words[(number / 10 + 1) % words.len()];
        let typed = match number % 4 {
            0 => word[..2 + number % 3].to_owned(),
            1 => format!("{other} {}", &word[..3]),
            2 => format!("{}{} {other}", &word[..2], &word[3..]),
            _ => format!("{word} {} ", other.to_uppercase()),
        };
        searches.push((typed, chapters[number / 20 % chapters.len()]));
    }
    searches
}
