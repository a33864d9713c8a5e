//! The clocks of hosts have no say.

use std::time::{Duration, Instant};

use statehouse_testkit::clock_off;
use tokio::time::sleep;

use super::limit;
use super::mistakes::named_within;
use super::row::Figure;
use super::stage::Stage;
use super::ticks::{Ticks, now};
use crate::Failure;
use crate::visitor::Visitor;

pub(super) async fn off(stage: &Stage<'_>) -> Result<Vec<Figure>, Failure> {
    // A server of S3 refuses whoever is off by a quarter of an hour.
    let off = if stage.full { 14 * 60 } else { 5 * 60 };
    let folders = [tempfile::tempdir()?, tempfile::tempdir()?];
    let own = vec![Vec::new(), clock_off(off, folders[0].path())?, clock_off(-off, folders[1].path())?];
    let fleet = stage.fleet_of(own, &[("CLINIC_API_RATE", "10"), ("CLINIC_REPORT_EVERY", "4")]).await?;
    let (replicas, addresses, begun) = (fleet.replicas(), fleet.addresses(), Instant::now());
    let mut figures = Vec::new();
    for (replica, words, figure) in [
        (&replicas[1], "s ahead of the store's", "seconds until it was named that a clock is ahead"),
        (&replicas[2], "s behind the store's", "seconds until it was named that a clock is behind"),
    ] {
        figures.push(Figure::new(figure, named_within(replica, words, begun).await?, stage.at_most(10.0, 30.0)));
    }
    let from = now();
    let mut known = 0;
    for (at, address) in addresses.iter().enumerate() {
        let mut person = Visitor::log_in(&[*address], at).await?;
        for other in &addresses {
            known += usize::from(person.json_at(*other, "/api/me").await.is_ok());
        }
    }
    figures.push(Figure::is("replicas at which those who logged in elsewhere are known", known, 9));
    figures.extend(limit::allowed(&addresses, 10, limit::Windows::of(stage)).await?);
    sleep(stage.seconds(8, 120)).await;
    let to = now();
    sleep(Duration::from_secs(4)).await;
    figures.extend(Ticks::of(replicas, from, to, 4_000).figures(stage, 0));
    Ok(figures)
}
