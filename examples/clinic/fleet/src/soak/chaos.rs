//! What is broken while people work, and mended again.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use statehouse_testkit::Program;
use tokio::net::TcpStream;
use tokio::time::sleep;

use crate::{Failure, Fleet, Servers};

const EVERY: Duration = Duration::from_secs(9);

/// How often a replica is started again that ends by itself.
const STARTS: u32 = 5;

/// Kills a replica, then a server, and so on in turn; each is started again. The first replica is left alone.
pub(crate) async fn break_things(servers: &Servers, fleet: &Fleet, say: &impl Fn(&str)) {
    let others = fleet.replicas().get(1..).unwrap_or_default();
    for turn in 0_usize.. {
        sleep(EVERY).await;
        let began = Instant::now();
        let what = match turn % 6 {
            1 => {
                servers.redis.restart().await;
                "Redis"
            }
            3 => {
                fleet.postgres().restart().await;
                "PostgreSQL"
            }
            4 => {
                servers.s3.restart().await;
                "S3"
            }
            5 => {
                servers.opensearch.restart().await;
                "OpenSearch"
            }
            _ => {
                start_again(&others[turn / 2 % others.len()], say).await;
                "a replica"
            }
        };
        say(&format!("  killed {what}; it answered again after {:.1?}", began.elapsed()));
    }
}

/// As whatever starts processes does: one that ends because a server that it needs was not up yet is started again.
async fn start_again(replica: &Program, say: &impl Fn(&str)) {
    for _ in 0..STARTS {
        let Err(error) = replica.try_restart().await else { return };
        say(&format!("  a replica ended as it started, and is started again: {error}"));
        sleep(Duration::from_secs(1)).await;
    }
    replica.restart().await;
}

/// Returns when all listen.
pub(crate) async fn mend(replicas: &[SocketAddr]) -> Result<(), Failure> {
    let until = Instant::now() + Duration::from_secs(60);
    for replica in replicas {
        while TcpStream::connect(replica).await.is_err() {
            if Instant::now() > until {
                return Err(format!("{replica} does not come back").into());
            }
            sleep(Duration::from_millis(100)).await;
        }
    }
    Ok(())
}
