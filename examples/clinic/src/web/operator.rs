//! The operator's page: every service, how it is, and what it can do.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use maud::{Markup, html};
use serde_json::{Value, json};
use statehouse::coord::RunStatus;
use statehouse::{Capabilities, Health, HealthStatus};

use super::page::{Here, moment};
use super::visit::OperatorVisit;
use crate::app::App;
use crate::build;
use crate::error::Result;
use crate::reports::Report;

pub(crate) async fn page(State(app): State<Arc<App>>, OperatorVisit(visit): OperatorVisit) -> Result<Markup> {
    let services = app.health().await;
    let (loaded, reports) = (app.loading_status().await, app.reports.latest().await);
    let content = html! {
        header {
            h1 { "Operator" }
            p.quiet {
                "Replica " code { (super::replica()) } " · build " code { (build::id()) } " · up for "
                (seconds(app.started.elapsed()))
            }
        }
        section.card {
            h2 id="services" { "Services" }
            div.scroll role="region" aria-labelledby="services" tabindex="0" {
                table {
                    thead {
                        tr {
                            th scope="col" { "Service" } th scope="col" { "State" } th scope="col" { "Backend" }
                            th.number scope="col" { "Latency" } th scope="col" { "Can" }
                        }
                    }
                    tbody {
                        @for (name, health, capabilities) in &services { (row(name, health, capabilities)) }
                    }
                }
            }
        }
        section.card {
            h2 { "Caches, as read by this replica" }
            table {
                thead {
                    tr {
                        th scope="col" { "Cache" } th.number scope="col" { "Hits" } th.number scope="col" { "Misses" }
                    }
                }
                tbody {
                    @for reads in app.reads() {
                        @let (hits, misses) = reads.hits_and_misses();
                        tr { th scope="row" { (reads.cache()) } td.number { (hits) } td.number { (misses) } }
                    }
                }
            }
        }
        section.card {
            h2 { "Terminology" }
            p { "ICD-10-CM " (app.concepts.edition().name()) ": " (app.concepts.state()) }
            @if let Ok(Some(loaded)) = loaded { p.quiet { (by(&loaded)) } }
        }
        (reported(&reports))
    };
    Ok(visit.page("Operator", Here::Operator, &content))
}

/// The latest reports, as far as they can be read.
fn reported(reports: &statehouse::Result<VecDeque<Report>>) -> Markup {
    html! {
        section.card {
            h2 { "Reports" }
            @match reports {
                Ok(reports) => {
                    @if reports.is_empty() { p.quiet { "None is made yet." } }
                    ul.list {
                        @for report in reports.iter().rev().take(7) {
                            li {
                                span.grow { (moment(i64::try_from(report.planned).unwrap_or(i64::MAX))) }
                                span.quiet { (report.active) " active diagnoses, counted by replica " code { (report.by) } }
                            }
                        }
                    }
                }
                Err(_) => p.error { "They cannot be read at the moment." },
            }
        }
    }
}

/// For scripts: who runs what.
pub(crate) async fn json(State(app): State<Arc<App>>, _: OperatorVisit) -> Result<Json<Value>> {
    let loaded = app.loading_status().await?.map(|loaded| {
        let (phase, error) = (format!("{:?}", loaded.phase), loaded.error.is_some());
        json!({
            "by": loaded.holder, "attempt": loaded.attempt, "revision": loaded.revision.number(), "phase": phase,
            "done": loaded.done, "total": loaded.total, "has_failed": error,
        })
    });
    let held = app.coord.locks().await?;
    let locks = held
        .locks
        .into_iter()
        .map(|lock| json!({ "what": lock.kind.as_str(), "name": lock.name, "holder": lock.holder }));
    // None where replicas know nothing of each other.
    let fleet = app.services.fleet().await.ok();
    Ok(Json(json!({
        "terminology": loaded, "reports": app.reports.latest().await?, "resyncs": app.problem_sets.resyncs(),
        "members": fleet.map(|fleet| fleet.replicas), "locks": locks.collect::<Vec<_>>(),
        "unreadable_locks": held.skipped,
    })))
}

fn by(loaded: &RunStatus) -> String {
    format!("Loaded by replica {}, attempt {}.", loaded.holder, loaded.attempt)
}

fn row(name: &str, health: &Health, capabilities: &Capabilities) -> Markup {
    let (class, state) = match health.status {
        HealthStatus::Up => ("badge", "up"),
        HealthStatus::Degraded => ("badge down", "degraded"),
        _ => ("badge down", "down"),
    };
    html! {
        tr {
            th scope="row" { (name) }
            td {
                span class=(class) { (state) }
                @if let Some(error) = &health.error { br; small { (error.to_string()) } }
            }
            td { code { (health.backend) } }
            td.number { (format!("{:.1?}", health.latency)) }
            td { small {
                @if capabilities.iter().next().is_none() { "–" }
                @for (index, capability) in capabilities.iter().enumerate() {
                @if index > 0 { ", " }
                span title=(capability.meaning()) { (capability.name()) }
            } } }
        }
    }
}

fn seconds(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        ..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        _ => format!("{} h", seconds / 3_600),
    }
}
