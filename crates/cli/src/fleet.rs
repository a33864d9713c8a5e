//! `statehouse doctor --fleet`.

use serde::Serialize;
use statehouse::FleetReport;

use crate::environment::open;
use crate::outcome::{Failure, Outcome};

/// Says what the replicas have said of themselves.
pub(crate) async fn examine() -> Result<Outcome, Failure> {
    let services = open().await?;
    let fleet = services.fleet().await;
    // What was opened is closed; it was told already whether it works.
    let _ = services.shutdown().await;
    let fleet = fleet?;
    let is_good = fleet.is_good();
    Ok(Outcome::of(fleet.to_string(), &Report { good: is_good, fleet: &fleet })?.wrong_unless(is_good))
}

#[derive(Serialize)]
struct Report<'f> {
    good: bool,
    #[serde(flatten)]
    fleet: &'f FleetReport,
}
