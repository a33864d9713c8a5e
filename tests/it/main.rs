//! The facade as applications use it: opening, misconfiguration, health, and what is shared by name.

mod misconfiguration;
mod opening;
mod readme;
mod services;
mod serving;

use statehouse_testkit::{OpenSearchNode, S3Server};

/// The server's bucket as a file store's URL, with this secret key.
fn s3_url(server: &S3Server, secret_key: &str, bucket: &str) -> String {
    let (access_key, endpoint, region) = (server.access_key(), server.endpoint(), server.region());
    format!("s3://{access_key}:{secret_key}@{bucket}?endpoint={endpoint}&region={region}&allow_http=true")
}

fn opensearch_url(node: &OpenSearchNode) -> String {
    format!("opensearch+http://{}", node.address())
}
