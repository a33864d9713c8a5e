//! The four services in one process, in memory. `cargo run --example quickstart --features search-tantivy`
#![allow(clippy::print_stdout, reason = "an example shows what it does")]

use std::time::Duration;

use statehouse::search::Document;
use statehouse::session::{SessionConfig, Sessions};
use statehouse::{Config, Services};

#[derive(Document)]
struct Concept {
    #[document(id)]
    code: String,
    #[document(text)]
    title: String,
    #[document(keyword)]
    chapter: String,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    // `Config::from_env()` reads the URLs that make the same code work on Redis, S3 and OpenSearch.
    let services = Services::open(Config::in_memory()).await?;

    let rates = services.cache::<f64>("rates").time_to_live(Duration::from_secs(600)).open()?;
    let rate = rates.get_or_load("EUR/USD", || async { Ok::<_, std::io::Error>(1.08) }).await?;
    println!("cache:    EUR/USD is {rate}");

    let scans = services.files("scans")?;
    scans.put("p42/chest.dcm", "DICM…").content_type("application/dicom").await?;
    println!("files:    {} bytes of chest.dcm", scans.head("p42/chest.dcm").await?.len);

    let concepts = services.search::<Concept>("concepts").open().await?;
    let concept = |code: &str, title: &str| Concept { code: code.into(), title: title.into(), chapter: "IX".into() };
    concepts
        .upsert_all([concept("I21", "Acute heart attack"), concept("I50", "Heart failure")])
        .wait_until_visible()
        .await?;
    let query = concepts.query(Concept::title().matches("hart atack").fuzzy()).filter(Concept::chapter().is("IX"));
    for hit in query.highlight(Concept::title()).top(3).await?.hits {
        let title = hit.highlight(Concept::title()).iter().map(|text| text.to_html("*", "*")).collect::<String>();
        println!("search:   {} {title}", hit.document.code);
    }

    // With axum, `SessionLayer` does this for every request and `Session` is an extractor.
    let sessions = Sessions::new(services.sessions(), SessionConfig::default());
    let session = sessions.open(&Default::default());
    session.login("u42").await?;
    session.insert("theme", "dark")?;
    session.commit().await?;
    println!("sessions: {:?} prefers {:?}", session.principal().await?, session.get::<String>("theme").await?);

    Ok(services.shutdown().await?)
}
