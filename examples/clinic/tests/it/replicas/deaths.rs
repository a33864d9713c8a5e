use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use clinic_fleet::Balancer;
use reqwest::StatusCode;
use statehouse_core::conformance::rounds;

use super::{assert_kept, fleet, servers, until};
use crate::client::Client;
use crate::load::{Mishap, work, work_while};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_is_killed_under_load_and_nothing_acknowledged_is_lost() {
    let servers = servers().await;
    let (fleet, balancer) = fleet(&servers).await;
    warm_up(&balancer).await;
    let people = rounds(12, 100).try_into().unwrap();
    let working = tokio::spawn(work(balancer.address(), people, Duration::from_secs(30)));
    tokio::time::sleep(Duration::from_secs(10)).await;
    fleet.replicas()[1].kill();
    tokio::time::sleep(Duration::from_secs(10)).await;
    let answered = balancer.states()[1].answered;
    fleet.replicas()[1].restart().await;
    let report = working.await.unwrap();
    assert_kept(&report);
    let states = balancer.states();
    assert_eq!((states[0].failed, states[2].failed), (0, 0), "the others lost nothing: {states:?}");
    // Whether others could answer them is up to what was under way there.
    assert!(states[1].passed_on + states[1].failed > 0, "nothing was under way at the killed replica: {states:?}");
    assert!(states[1].answered > answered, "it takes part again: {states:?}");
    // Many people at once may be asked to come a little later.
    let failed: Vec<_> = report.mishaps.iter().filter(|mishap| !mishap.is_asked_to_wait()).collect();
    let lost = |mishap: &Mishap| mishap.status == Some(StatusCode::BAD_GATEWAY) && !mishap.step.is_idempotent();
    let others: Vec<_> = failed.iter().filter(|mishap| !lost(mishap)).collect();
    assert!(others.is_empty(), "only what must not be repeated and was under way there may fail: {others:?}");
    assert_eq!(failed.len() as u64, states[1].failed, "{failed:?}");
}

/// A node that has just started takes seconds for a search: many people at once would measure that.
async fn warm_up(balancer: &Balancer) {
    let client = Client::logged_in(balancer.address(), "ada").await;
    for _ in 0..60 {
        let searches = (0..4).map(|_| client.get("/api/concepts?q=diab%20mel"));
        futures_util::future::join_all(searches).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_are_restarted_one_by_one_and_no_request_fails() {
    let servers = servers().await;
    let (fleet, balancer) = fleet(&servers).await;
    let over = Arc::new(AtomicBool::new(false));
    let goes_on = Arc::clone(&over);
    let working = tokio::spawn(work_while(balancer.address(), 10, move || !goes_on.load(Ordering::Relaxed)));
    tokio::time::sleep(Duration::from_secs(2)).await;
    for (index, replica) in fleet.replicas().iter().enumerate() {
        let status = replica.terminate(Duration::from_secs(60)).await.unwrap();
        assert!(status.success(), "{status}: {}", replica.log().unwrap());
        replica.restart().await;
        until("it is ready again", || balancer.states()[index].ready).await;
    }
    tokio::time::sleep(Duration::from_secs(2)).await;
    over.store(true, Ordering::Relaxed);
    let report = working.await.unwrap();
    assert_kept(&report);
    // Whoever a stop has cut off has another answer, or none.
    let failed: Vec<_> = report.mishaps.iter().filter(|mishap| !mishap.is_asked_to_wait()).collect();
    assert!(failed.is_empty(), "{failed:?}");
}
