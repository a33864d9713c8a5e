//! One node.

use std::io;
use std::time::Duration;

use tokio::sync::OnceCell;

use super::config::NodeConfig;
use crate::http::{self, Response};
use crate::process::{Server, process_controls};
use crate::{StartError, tools};

/// A JVM on a loaded machine with few cores takes its time.
const READY_WITHIN: Duration = Duration::from_secs(300);

/// One OpenSearch node that is a cluster by itself.
#[derive(Debug)]
pub struct OpenSearchNode {
    address: String,
    process: Option<Server>,
}

impl OpenSearchNode {
    /// Starts a node of your own. It takes about ten seconds: tests that do not stop it use [`shared`](Self::shared).
    ///
    /// # Panics
    /// With a [`StartError`] if OpenSearch or a JVM for it is missing, or it does not start.
    pub async fn start() -> Self {
        Self::try_start().await.unwrap_or_else(|error| panic!("{error}"))
    }

    /// Starts a node of your own.
    ///
    /// # Errors
    /// If OpenSearch or a JVM for it is missing, or it does not start.
    pub async fn try_start() -> Result<Self, StartError> {
        let node = Self::spawn(NodeConfig::alone()?)?;
        node.wait_ready().await?;
        Ok(node)
    }

    /// The node that all tests of this process share: `STATEHOUSE_TEST_OPENSEARCH_URL`, else one started now.
    ///
    /// # Panics
    /// As [`start`](Self::start).
    pub async fn shared() -> &'static Self {
        static SHARED: OnceCell<OpenSearchNode> = OnceCell::const_new();
        let start = async || match tools::given("STATEHOUSE_TEST_OPENSEARCH_URL") {
            Some(url) => Self { address: crate::url::Authority::of(&url).hosts, process: None },
            None => Self::start().await,
        };
        SHARED.get_or_init(start).await
    }

    pub(super) fn spawn(config: NodeConfig) -> Result<Self, StartError> {
        let address = config.http.address().to_string();
        Ok(Self { address, process: Some(config.spawn()?) })
    }

    /// `http://127.0.0.1:port`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// `127.0.0.1:port`.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Sends one request around any proxy. `target` is the path with its query; a `body` is JSON or, for bulk requests,
    /// lines of JSON.
    ///
    /// # Errors
    /// If the node cannot be reached. An error status is an `Ok`.
    pub async fn request(&self, method: &str, target: &str, body: &str) -> io::Result<Response> {
        let kind = if target.contains("_bulk") { "application/x-ndjson" } else { "application/json" };
        let headers = [("content-type".to_owned(), kind.to_owned())];
        let headers = if body.is_empty() { &[][..] } else { &headers };
        http::request(&self.address, method, target, headers, body.as_bytes()).await
    }

    process_controls!();

    pub(super) async fn wait_ready(&self) -> Result<(), StartError> {
        self.wait_for("wait_for_status=yellow").await
    }

    /// Waits until the cluster's health, as this node sees it, is so.
    pub(super) async fn wait_for(&self, condition: &str) -> Result<(), StartError> {
        let target = format!("/_cluster/health?timeout=2s&{condition}");
        let healthy = || async {
            let answer = self.request("GET", &target, "").await?;
            if answer.status == 200 { Ok(()) } else { Err(io::Error::other(answer.text())) }
        };
        self.process().wait_until(READY_WITHIN, healthy).await
    }
}
