//! An OpenSearch that dies while it is written to.

use std::time::{Duration, Instant};

use hyper::StatusCode;
use tokio::time::sleep;

use super::preload::{ALL, loader, reaches};
use super::row::{Bound, Figure};
use super::stage::{Stage, count, ready};
use crate::Failure;
use crate::visitor::Visitor;

pub(super) async fn dies(stage: &Stage<'_>) -> Result<Vec<Figure>, Failure> {
    let fleet = stage.empty_fleet(2).await?;
    let replicas = fleet.replicas();
    let mut person = Visitor::log_in_as(&fleet.addresses(), "ada", 0).await?;
    let first = loader(replicas, &[]).await?;
    reaches(&replicas[first], ALL / 4).await?;

    let opensearch = &stage.servers.opensearch;
    opensearch.kill();
    let (killed, mut clear, mut unclear, mut dead) = (Instant::now(), 0, Vec::new(), 0);
    while killed.elapsed() < stage.seconds(10, 60) {
        let answer = person.get("/api/concepts?q=Z99.89").await?;
        match (answer.status, answer.headers.contains_key("retry-after")) {
            (StatusCode::SERVICE_UNAVAILABLE, true) => clear += 1,
            (other, _) => unclear.push(other.to_string()),
        }
        for replica in replicas {
            dead += usize::from(replica.request("GET", "/live", &[], b"").await?.status != 200);
        }
        sleep(Duration::from_millis(500)).await;
    }
    opensearch.restart().await;
    let back = Instant::now();
    for replica in replicas {
        // It has counted: no concept is missing, and none is there twice.
        ready(replica).await?;
    }
    let found = person.json("/api/concepts?q=Z99.89").await?["total"] == 1;
    let status = person.json("/api/operator").await?;
    Ok(vec![
        Figure::at_least("searches answered 503, with when to come again", clear, 5),
        Figure::is("searches answered otherwise", unclear.len(), 0).because(&unclear),
        Figure::is("answers that a replica is not live", dead, 0),
        Figure::new(
            "seconds from its return until all concepts were there",
            back.elapsed().as_secs_f64(),
            Bound::AtMost(120.0),
        ),
        Figure::at_least("times that all was loaded", count(replicas, &format!("{ALL} of {ALL} concepts")), 1),
        Figure::is("searches that find the last concept", usize::from(found), 1),
        Figure::is("records that it is done", usize::from(status["terminology"]["phase"] == "Done"), 1),
    ])
}
