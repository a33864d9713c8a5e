//! Scanned documents in a directory, by default a temporary one: run it twice and see that the second run finds what the first stored.
//!
//! `cargo run -p statehouse-filestore --example documents -- /tmp/documents`
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use futures_util::TryStreamExt;
use statehouse_core::{Namespace, ServiceUrl};
use statehouse_filestore::PutOutcome;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let elsewhere = || std::env::temp_dir().join("statehouse-documents").display().to_string();
    let directory = std::env::args().nth(1).unwrap_or_else(elsewhere);
    // `s3://bucket/prefix` in its place makes the documents shared; nothing below changes.
    let url = ServiceUrl::parse("the example's directory", &format!("file:{directory}"))?;
    let documents = statehouse_filestore::open(url, &Namespace::new("clinic.documents")?).await?;

    let letter = documents.put("p42/letter.txt", "Dear colleague, …").content_type("text/plain");
    match letter.metadata("author", "Dr. Zoë").if_absent().await? {
        PutOutcome::Stored(stored) => println!("stored {} bytes", stored.len),
        PutOutcome::Conflict => println!("the letter is there already"),
    }

    let mut all = std::pin::pin!(documents.list("").stream());
    while let Some(entry) = all.try_next().await? {
        let name = documents.name(&entry.key).unwrap_or_default();
        let meta = documents.head(name).await?;
        println!("{name}: {} bytes of {}", meta.len, meta.content_type.as_deref().unwrap_or("unknown type"));
    }
    Ok(())
}
