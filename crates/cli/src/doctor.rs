//! `statehouse doctor`.

use serde::Serialize;
use statehouse::{Diagnosis, Service, ServiceDescription, Severity};

use crate::environment::{named_by_environment, open};
use crate::outcome::{Failure, Outcome};

/// Examines the services of these names, or those that the environment names.
pub(crate) async fn examine(names: &[String]) -> Result<Outcome, Failure> {
    let services = open().await?;
    let known = services.describe().services;
    let chosen = if names.is_empty() { named_by_environment(&known) } else { named(names, &known)? };
    let diagnosis = services.diagnose(&chosen).await;
    // What was opened is closed; it was told already whether it works.
    let _ = services.shutdown().await;
    let is_good = diagnosis.is_good();
    let text = format!("{diagnosis}\n{}", summary(&diagnosis, chosen.is_empty()));
    Ok(Outcome::of(text, &Report { good: is_good, diagnosis: &diagnosis })?.wrong_unless(is_good))
}

#[derive(Serialize)]
struct Report<'d> {
    good: bool,
    #[serde(flatten)]
    diagnosis: &'d Diagnosis,
}

fn named(names: &[String], known: &[ServiceDescription]) -> Result<Vec<Service>, Failure> {
    let of = |name: &String| {
        let found = known.iter().map(|one| one.service).find(|service| service.as_str() == name);
        let all = || known.iter().map(|one| one.service.as_str()).collect::<Vec<_>>().join(", ");
        found.ok_or_else(|| Failure::unread(format!("there is no service {name:?}; there are {}", all())))
    };
    names.iter().map(of).collect()
}

fn summary(diagnosis: &Diagnosis, is_nothing: bool) -> String {
    if is_nothing {
        return "the environment names no service, so that all are in this process and below ./data".to_owned();
    }
    let of = |severity| diagnosis.all_findings().filter(|finding| finding.severity == severity).count();
    let counted = |count: usize, one: &str| match count {
        0 => format!("no {one}s"),
        1 => format!("1 {one}"),
        more => format!("{more} {one}s"),
    };
    format!("{}, {}", counted(of(Severity::Problem), "problem"), counted(of(Severity::Note), "note"))
}
