//! What a replica costs that does nothing: it is a member, and looks at the others.

use std::time::Duration;

use statehouse_coord::{Coordination, MemberInfo};
use statehouse_core::{Namespace, ServiceUrl};
use statehouse_testkit::{FaultProxy, S3Server};

use crate::cache::Outcome;
use crate::coord::{durable, replica};
use crate::harness::Harness;

/// What is asked for when it begins is not counted.
const SETTLED: Duration = Duration::from_secs(10);

pub(crate) async fn run(harness: &mut Harness) -> Outcome {
    // One heartbeat of a member on S3, or several.
    let time = Duration::from_secs(if harness.is_quick() { 60 } else { 240 });
    let (redis, s3) = tokio::try_join!(on_redis(time), on_s3(time))?;
    harness.limited("coord", "idle replica, Redis", "commands/s", redis, 1.0);
    harness.limited("coord", "idle replica, S3", "requests/10 s", s3 * 10.0, 1.0);
    Ok(())
}

/// Commands a second.
async fn on_redis(time: Duration) -> Result<f64, Box<dyn std::error::Error>> {
    let server = durable().await;
    let proxy = FaultProxy::start(server.address());
    let coord = replica(&proxy.url(&server.url()), "bench.idle").await?;
    idle(&coord, &proxy, time).await
}

/// Requests a second.
async fn on_s3(time: Duration) -> Result<f64, Box<dyn std::error::Error>> {
    let server = S3Server::start().await;
    let proxy = FaultProxy::start(server.address());
    let (key, secret, bucket) = (server.access_key(), server.secret_key(), server.bucket());
    let (endpoint, region) = (proxy.url(&server.endpoint()), server.region());
    let url = format!("s3://{key}:{secret}@{bucket}?endpoint={endpoint}&region={region}&allow_http=true");
    let namespace = Namespace::new("bench.idle")?;
    let store = statehouse_coord::open(ServiceUrl::parse("bench", &url)?, &namespace).await?;
    idle(&Coordination::new(store), &proxy, time).await
}

async fn idle(coord: &Coordination, proxy: &FaultProxy, time: Duration) -> Result<f64, Box<dyn std::error::Error>> {
    let membership = coord.membership();
    let joined = membership.join(MemberInfo::new("bench 1")).await?;
    let mut watch = membership.watch();
    let watching = tokio::spawn(async move { while watch.next().await.is_ok() {} });
    tokio::time::sleep(SETTLED).await;
    let before = proxy.counts().commands();
    tokio::time::sleep(time).await;
    let sent = proxy.counts().commands() - before;
    watching.abort();
    joined.leave().await;
    Ok(sent as f64 / time.as_secs_f64())
}
