//! The README's first program. It listens where its last argument says.

// The same from here on.
use std::time::Duration;

use axum::{Form, Router, http::StatusCode, response::Redirect, routing::post};
use statehouse::coord::Revision;
use statehouse::search::Document;
use statehouse::{Config, Services, Session, SessionLayer};

#[derive(Document)]
struct Concept {
    #[document(id)]
    code: String,
    #[document(text)]
    title: String,
    #[document(keyword)]
    chapter: String,
}

#[allow(unused_variables, reason = "they show what a call gives")]
#[tokio::main]
pub(crate) async fn main() -> Result<(), Box<dyn std::error::Error>> {
    // Embedded: memory and ./data. STATEHOUSE_CACHE_URL=redis://… and the like make it shared; nothing below changes.
    let services = Services::open(Config::from_env()?).await?;

    // A static HashMap, shared by every replica
    let rates = services.cache::<f64>("rates").time_to_live(Duration::from_secs(600)).open()?;
    let rate = rates.get_or_load("EUR/USD", || bank::fetch("EUR/USD")).await?;
    rates.invalidate("EUR/USD").await?;

    // What one replica does for all, and state that must not vanish
    let coord = services.coordination();
    let ran = coord.run_once("rates", Revision::new(3, "sha256:4a7d1e")).run(async |_| bank::migrate().await).await?;
    let starts = coord.state::<u64>("starts").update("all", |before| before.unwrap_or(0) + 1).await?;

    // A directory on disk
    let scans = services.files("scans")?;
    let stored = scans.put("p42/chest.dcm", "DICM…").content_type("application/dicom").if_absent().await?; // or a conflict
    let part = scans.get("p42/chest.dcm").range(..4096).bytes().await?;

    // A Lucene folder on every machine
    let concepts = services.search::<Concept>("concepts").open().await?;
    let concept = Concept { code: "I21".into(), title: "Acute heart attack".into(), chapter: "IX".into() };
    concepts.upsert(concept).wait_until_visible().await?;
    let page = concepts
        .query(Concept::title().matches("hart atack").fuzzy())
        .filter(Concept::chapter().is("IX"))
        .highlight(Concept::title())
        .top(20)
        .await?;

    // The container's sessions. Their cookie wants HTTPS; for http://localhost see CookieConfig::insecure_localhost()
    let app = Router::new().route("/login", post(login)).layer(SessionLayer::new(services.sessions()));
    // Probes at /live, /started and /ready. At SIGTERM: unready, then what is under way is answered, then stored
    let listener = tokio::net::TcpListener::bind(std::env::args().next_back().unwrap_or_default()).await?;
    Ok(services.operations().serve(listener, app).await?)
}

async fn login(session: Session, Form(form): Form<Login>) -> Result<Redirect, StatusCode> {
    let failed = |_| StatusCode::SERVICE_UNAVAILABLE;
    session.login(form.name.as_str()).await.map_err(failed)?; // new token, same session; the old one is dead
    session.insert("theme", "dark").map_err(failed)?;
    Ok(Redirect::to("/"))
}

#[derive(serde::Deserialize)]
struct Login {
    name: String,
}

/// What the application has already.
mod bank {
    pub(crate) async fn fetch(_: &str) -> std::io::Result<f64> {
        std::future::ready(Ok(1.08)).await
    }
    pub(crate) async fn migrate() -> std::io::Result<()> {
        std::future::ready(Ok(())).await
    }
}
