//! A Redis that forgets.

use std::time::Instant;

use hyper::StatusCode;
use statehouse_testkit::RedisServer;

use super::mistakes::named_within;
use super::row::Figure;
use super::stage::{Stage, count, ready};
use crate::Failure;
use crate::visitor::Visitor;

const LOADED: &str = "46498 of 46498 concepts";

pub(super) async fn flushed(stage: &Stage<'_>) -> Result<Vec<Figure>, Failure> {
    let redis = RedisServer::builder().arg("--appendonly", "yes").try_start().await?;
    let (url, coordination) = (redis.url(), crate::s3_url(&stage.servers.s3));
    let env = [
        ("STATEHOUSE_CACHE_URL", url.as_str()),
        ("STATEHOUSE_SESSIONS_URL", &url),
        ("STATEHOUSE_COORDINATION_URL", &coordination),
    ];
    let fleet = stage.fleet(2, &env).await?;
    let (replicas, addresses) = (fleet.replicas(), fleet.addresses());
    let set = format!("flush-{}", std::process::id());
    let mut person = Visitor::log_in(&addresses, 0).await?;
    let mut revisions = vec![person.extend(&set, "I10").await?, person.extend(&set, "E11.9").await?];
    let loaded = count(replicas, LOADED);

    let _flushed = redis.command(&["FLUSHALL"]).await?;
    let answer = person.get("/api/me").await?.status;
    let is_asked_to_log_in = answer == StatusCode::UNAUTHORIZED || answer.is_redirection();
    let mut again = Visitor::log_in(&addresses, 0).await?;
    revisions.push(again.extend(&set, "J45.909").await?);
    replicas[0].restart().await;
    ready(&replicas[0]).await?;
    // The log goes on over a restart.
    let loaded_again = count(replicas, LOADED) - loaded;

    // Without a limit nothing is evicted, whatever the policy.
    let evicting = ["CONFIG", "SET", "maxmemory", "512mb", "maxmemory-policy", "allkeys-lru"];
    let _set = redis.command(&evicting).await?;
    let cause = named_within(&replicas[1], "maxmemory-policy", Instant::now()).await?;
    Ok(vec![
        Figure::is("answers that ask to log in again", usize::from(is_asked_to_log_in), 1)
            .because(&[answer.to_string()]),
        Figure::is("revisions of a set, in order", usize::from(revisions == [1, 2, 3]), 1),
        Figure::is("times that the terminology was loaded again", loaded_again, 0),
        Figure::new("seconds until the cause was named", cause, stage.at_most(10.0, 30.0)),
    ])
}
