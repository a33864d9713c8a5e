//! Replicas whose settings disagree.

use std::ffi::OsString;
use std::time::{Duration, Instant};

use statehouse_testkit::Program;
use tokio::time::sleep;

use super::row::Figure;
use super::stage::{Stage, log, namespace};
use crate::Failure;

/// How long each may take to be named.
const WITHIN: f64 = 10.0;

pub(super) async fn named(stage: &Stage<'_>) -> Result<Vec<Figure>, Failure> {
    let fleet = stage.fleet(2, &[]).await?;
    let files = crate::s3_url(&stage.servers.s3).replacen('?', "/elsewhere?", 1);
    let mut figures = Vec::new();
    for (figure, name, value, words) in [
        ("seconds until another edition was named", "CLINIC_EDITION", "2026-04", "edition: this replica has"),
        (
            "seconds until a cache of its own was named",
            "STATEHOUSE_CACHE_URL",
            "memory:",
            "cache: each replica has its own (memory)",
        ),
        (
            "seconds until another place of files was named",
            "STATEHOUSE_FILES_URL",
            &files,
            "files.place: this replica has",
        ),
        (
            "seconds until another namespace was named",
            "STATEHOUSE_NAMESPACE",
            "clinic-misspelt",
            "namespace: this replica has",
        ),
    ] {
        let env = [("RUST_LOG", OsString::from("info")), (name, OsString::from(value))];
        let (folder, servers) = (fleet.data().join(name), stage.servers);
        let wrong = crate::replica(stage.clinic, servers, fleet.postgres(), namespace(), "c", folder, &env).await?;
        figures.push(Figure::new(
            figure,
            named_within(&wrong, words, Instant::now()).await?,
            stage.at_most(WITHIN, 30.0),
        ));
        figures.push(Figure::at_least("lines of its log that name it", log(&wrong).matches(words).count(), 1));
        wrong.kill();
    }
    Ok(figures)
}

/// After how many seconds these words stand in its `/ready`, whether it is ready or not.
pub(super) async fn named_within(replica: &Program, words: &str, begun: Instant) -> Result<f64, Failure> {
    let words = words.replace('"', "\\\"");
    while begun.elapsed() < Duration::from_secs(60) {
        let answer = replica.request("GET", "/ready", &[], b"").await?.text();
        if answer.contains(&words) {
            return Ok(begun.elapsed().as_secs_f64());
        }
        sleep(Duration::from_millis(100)).await;
    }
    Ok(f64::INFINITY)
}
