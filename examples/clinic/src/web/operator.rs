//! The operator's page: every service, how it is, and what it can do.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use maud::{Markup, html};
use statehouse::{Capabilities, Health, HealthStatus};

use super::page::Here;
use super::visit::OperatorVisit;
use crate::app::App;
use crate::build;
use crate::error::Result;

pub(crate) async fn page(State(app): State<Arc<App>>, OperatorVisit(visit): OperatorVisit) -> Result<Markup> {
    let services = app.health().await;
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
        }
    };
    Ok(visit.page("Operator", Here::Operator, &content))
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
