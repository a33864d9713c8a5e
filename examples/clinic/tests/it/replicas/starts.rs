use std::path::Path;

use clinic_fleet::Fleet;
use statehouse_testkit::Program;

use super::{servers, until};
use crate::client::Client;
use crate::clinic;

fn logs<'a>(replicas: impl IntoIterator<Item = &'a Program>) -> Vec<String> {
    replicas.into_iter().map(|replica| replica.log().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_that_start_at_once_load_the_terminology_once() {
    let servers = servers().await;
    let fleet = Fleet::start(Path::new(clinic::PATH), &servers, 3).await.unwrap_or_else(|error| panic!("{error}"));
    until("all have it", || logs(fleet.replicas()).iter().all(|log| log.contains("terminology is ready"))).await;
    let logs = logs(fleet.replicas());
    let loads: usize = logs.iter().map(|log| log.matches("46498 of 46498 concepts").count()).sum();
    assert_eq!(loads, 1, "{logs:?}");
    assert!(logs.iter().all(|log| !log.contains("ERROR")), "{logs:?}");
    let begun = logs.iter().filter(|log| log.contains("concepts after")).count();
    assert_eq!(begun, 1, "the others wait quietly: {logs:?}");
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
    let others: Vec<_> =
        fleet.replicas().iter().enumerate().filter(|(index, _)| *index != loader).map(|(_, other)| other).collect();
    until("another one finishes", || {
        logs(others.iter().copied()).iter().all(|log| log.contains("terminology is ready"))
    })
    .await;
    let logs = logs(others.iter().copied());
    assert!(logs.iter().all(|log| !log.contains("ERROR")), "{logs:?}");
    for other in others {
        let client = Client::logged_in(other.address(), "ada").await;
        assert_eq!(client.concepts("Z99.89", "").await.unwrap()["total"], 1);
    }
}
