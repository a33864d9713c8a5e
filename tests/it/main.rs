//! The facade as applications use it: opening, misconfiguration, health, and what is shared by name.

mod answered_once;
mod connections;
mod coordination;
mod describing;
mod fenced;
mod fleet;
mod growing;
mod misconfiguration;
mod opening;
mod probing;
mod program;
mod read_only;
mod readme;
mod services;
mod serving;
mod spans;
mod static_state;

use std::time::{Duration, Instant};

use statehouse::{Services, ServicesHealth};
use statehouse_testkit::{OpenSearchNode, S3Server};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// Waits until all that is used is up: on a busy machine a look, which takes a second at most, may find a service still
/// being opened.
async fn is_up(services: &Services) -> ServicesHealth {
    let start = Instant::now();
    loop {
        let health = services.health().await;
        if health.is_up() {
            return health;
        }
        assert!(start.elapsed() < Duration::from_secs(30), "{health:?}");
    }
}

/// What is answered to one request, on a connection of its own that ends with it.
async fn exchange(address: &str, request: &str) -> std::io::Result<String> {
    let mut stream = tokio::net::TcpStream::connect(address).await?;
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}

/// The server's bucket as a file store's URL, with this secret key.
fn s3_url(server: &S3Server, secret_key: &str, bucket: &str) -> String {
    let (access_key, endpoint, region) = (server.access_key(), server.endpoint(), server.region());
    format!("s3://{access_key}:{secret_key}@{bucket}?endpoint={endpoint}&region={region}&allow_http=true")
}

fn opensearch_url(node: &OpenSearchNode) -> String {
    format!("opensearch+http://{}", node.address())
}
