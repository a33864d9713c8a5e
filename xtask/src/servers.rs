//! The servers that a whole test run shares.

use statehouse_testkit::{
    AzureServer, OpenSearchNode, PostgresServer, RedisCluster, RedisSentinel, RedisServer, S3Server, StartError,
};

use crate::Result;

/// One of each; those that the environment names already are left to it.
#[derive(Debug)]
pub(crate) struct Servers {
    redis: Option<RedisServer>,
    sentinel: Option<RedisSentinel>,
    cluster: Option<RedisCluster>,
    s3: Option<S3Server>,
    azure: Option<AzureServer>,
    opensearch: Option<OpenSearchNode>,
    postgres: Option<PostgresServer>,
}

/// The variables that the testkit reads.
pub(crate) const VARIABLES: [&str; 7] = [
    "STATEHOUSE_TEST_REDIS_URL",
    "STATEHOUSE_TEST_REDIS_SENTINEL_URL",
    "STATEHOUSE_TEST_REDIS_CLUSTER_URL",
    "STATEHOUSE_TEST_S3_URL",
    "STATEHOUSE_TEST_AZURE_URL",
    "STATEHOUSE_TEST_OPENSEARCH_URL",
    "STATEHOUSE_TEST_POSTGRES_URL",
];

impl Servers {
    /// Starts them side by side.
    pub(crate) fn start() -> Result<Self> {
        let runtime = tokio::runtime::Runtime::new().map_err(|error| error.to_string())?;
        runtime.block_on(Self::try_start()).map_err(|error| error.to_string())
    }

    async fn try_start() -> std::result::Result<Self, StartError> {
        let [redis, sentinel, cluster, s3, azure, opensearch, postgres] = VARIABLES;
        let (redis, sentinel, cluster, s3, azure, opensearch, postgres) = tokio::try_join!(
            unless_given(redis, RedisServer::builder().try_start()),
            unless_given(sentinel, RedisSentinel::try_start(RedisServer::builder())),
            unless_given(cluster, RedisCluster::try_start(RedisServer::builder())),
            unless_given(s3, S3Server::builder().try_start()),
            unless_given(azure, AzureServer::try_start()),
            unless_given(opensearch, OpenSearchNode::try_start()),
            unless_given(postgres, PostgresServer::try_start()),
        )?;
        Ok(Self { redis, sentinel, cluster, s3, azure, opensearch, postgres })
    }

    /// The variables that name those that were started.
    pub(crate) fn variables(&self) -> Vec<(&'static str, String)> {
        let urls = [
            self.redis.as_ref().map(RedisServer::url),
            self.sentinel.as_ref().map(RedisSentinel::url),
            self.cluster.as_ref().map(RedisCluster::url),
            self.s3.as_ref().map(S3Server::url),
            self.azure.as_ref().map(AzureServer::url),
            self.opensearch.as_ref().map(OpenSearchNode::url),
            self.postgres.as_ref().map(|server| server.url().to_owned()),
        ];
        VARIABLES.into_iter().zip(urls).filter_map(|(name, url)| Some((name, url?))).collect()
    }
}

async fn unless_given<S>(
    variable: &str,
    start: impl Future<Output = std::result::Result<S, StartError>>,
) -> std::result::Result<Option<S>, StartError> {
    match std::env::var_os(variable) {
        Some(url) if !url.is_empty() => Ok(None),
        _ => start.await.map(Some),
    }
}
