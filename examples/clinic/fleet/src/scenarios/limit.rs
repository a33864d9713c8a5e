//! One limit for all replicas.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use hyper::StatusCode;

use super::row::{Bound, Figure, number};
use super::stage::Stage;
use crate::Failure;
use crate::visitor::Visitor;

/// How many scripts of one member of staff ask at the same time, each of another replica than its neighbour.
const SCRIPTS: usize = 9;
/// After so long what could be taken at once is taken.
const WARM_UP: Duration = Duration::from_secs(3);

/// In which it is counted what is allowed.
#[derive(Clone, Copy)]
pub(super) struct Windows {
    count: u32,
    each: Duration,
    /// By how much of the limit it may be more or less than that.
    slack: f64,
    /// How many times the limit must be asked for.
    offered: f64,
}

impl Windows {
    pub(super) const fn of(stage: &Stage<'_>) -> Self {
        if stage.full {
            Self { count: 6, each: Duration::from_secs(10), slack: 0.05, offered: 3.0 }
        } else {
            // A machine that is busy with other tests asks less often, and holds up answers at the edge of a window.
            Self { count: 1, each: Duration::from_secs(20), slack: 0.25, offered: 1.2 }
        }
    }
}

struct Asked {
    after: Duration,
    allowed: bool,
    /// Whether the answer said all that it should.
    told: bool,
}

pub(super) async fn limited(stage: &Stage<'_>) -> Result<Vec<Figure>, Failure> {
    let rate = if stage.full { 100 } else { 10 };
    let fleet = stage.fleet(3, &[("CLINIC_API_RATE", if stage.full { "100" } else { "10" })]).await?;
    allowed(&fleet.addresses(), rate, Windows::of(stage)).await
}

/// What three replicas allow that are asked as often as they answer.
pub(super) async fn allowed(addresses: &[SocketAddr], rate: u32, windows: Windows) -> Result<Vec<Figure>, Failure> {
    let mut scripts = Vec::new();
    for script in 0..SCRIPTS {
        scripts.push(Visitor::log_in(&addresses[script % 3..=script % 3], 0).await?);
    }
    let (start, time) = (Instant::now(), WARM_UP + windows.each * windows.count);
    let asking: Vec<_> = scripts.into_iter().map(|script| tokio::spawn(ask(script, start, time))).collect();
    let mut asked = Vec::new();
    for script in asking {
        asked.extend(script.await??);
    }
    let (mut least, mut most) = (f64::INFINITY, 0.0_f64);
    for window in 0..windows.count {
        let from = WARM_UP + windows.each * window;
        let within = asked.iter().filter(|asked| (from..from + windows.each).contains(&asked.after) && asked.allowed);
        let allowed = number(within.count()) / windows.each.as_secs_f64();
        (least, most) = (least.min(allowed), most.max(allowed));
    }
    let offered = number(asked.len()) / time.as_secs_f64();
    let limit = f64::from(rate);
    Ok(vec![
        Figure::new("requests a second offered", offered, Bound::AtLeast(limit * windows.offered)),
        Figure::new(
            "allowed a second, in the window with the fewest",
            least,
            Bound::AtLeast(limit * (1.0 - windows.slack)),
        ),
        Figure::new(
            "allowed a second, in the window with the most",
            most,
            Bound::AtMost(limit * (1.0 + windows.slack)),
        ),
        Figure::is("answers without what tells of the limit", asked.iter().filter(|asked| !asked.told).count(), 0),
    ])
}

async fn ask(mut script: Visitor, start: Instant, time: Duration) -> Result<Vec<Asked>, Failure> {
    let mut all = Vec::new();
    while start.elapsed() < time {
        let answer = script.get("/api/me").await?;
        let refused = answer.status == StatusCode::TOO_MANY_REQUESTS;
        if !refused && answer.status != StatusCode::OK {
            return Err(format!("/api/me was answered {}", answer.status).into());
        }
        let has = |name: &str| answer.headers.contains_key(name);
        let told = has("ratelimit") && has("ratelimit-policy") && has("retry-after") == refused;
        all.push(Asked { after: start.elapsed(), allowed: !refused, told });
    }
    Ok(all)
}
