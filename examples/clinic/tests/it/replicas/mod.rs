//! Three replicas on real servers behind a load balancer. Everything here runs with `cargo xtask test replicas`.

mod answers;
mod deaths;
mod documents;
mod outages;
mod people;
mod scenarios;

use std::path::Path;
use std::time::{Duration, Instant};

use clinic_fleet::{Balancer, Fleet, Servers};
use tokio::sync::{Mutex, MutexGuard, OnceCell};

use crate::clinic;
use crate::load::Report;

/// The servers of all tests here, for one test at a time: each breaks what the others need.
async fn servers() -> MutexGuard<'static, Servers> {
    static SERVERS: OnceCell<Mutex<Servers>> = OnceCell::const_new();
    let start = async || Mutex::new(Servers::start().await.unwrap_or_else(|error| panic!("{error}")));
    SERVERS.get_or_init(start).await.lock().await
}

/// Three replicas that are ready, with a database of their own. The terminology is loaded for the first of them.
async fn fleet(servers: &Servers) -> (Fleet, Balancer) {
    // Caches and sessions tell of another database.
    servers.redis.command(&["FLUSHALL"]).await.unwrap();
    let fleet = Fleet::start_in("replicas", Path::new(clinic::PATH), servers, 3).await;
    let fleet = fleet.unwrap_or_else(|error| panic!("{error}"));
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
    assert!(!report.done.is_empty());
}
