//! The contract on every backend, and what becomes of it when a store or a process fails.

mod away;
mod beats;
mod bounds;
mod conformance;
mod doubt;
mod fencing;
mod full;
mod handles;
mod idempotency;
mod late;
mod lock;
mod membership;
mod network;
mod planted;
mod promoted;
mod replicas;
mod run_once;
mod schedule;
mod signals;
mod signals_conformance;
mod single_use;
mod state;
mod strangers;
mod transfer;
mod without;

use std::sync::Arc;

use statehouse_coord::{RedisCoordStore, WriteId};
use statehouse_core::{Namespace, ServiceUrl, hex};
use statehouse_filestore::FileStore;
use statehouse_testkit::{AzureServer, RedisServer, S3Server};

/// A namespace that no other test uses.
fn random_namespace() -> Namespace {
    let id = hex::encode(WriteId::generate().unwrap().as_bytes());
    Namespace::new(format!("test-{}", &id[..16])).unwrap()
}

async fn open_redis(url: &str, namespace: &Namespace) -> RedisCoordStore {
    let url = ServiceUrl::parse("STATEHOUSE_COORDINATION_URL", url).unwrap();
    RedisCoordStore::open(url, namespace).await.unwrap()
}

/// One that keeps what it was told.
async fn durable_redis() -> RedisServer {
    RedisServer::builder().arg("--appendonly", "yes").start().await
}

/// The server's bucket.
async fn open_files(server: &S3Server) -> Arc<dyn FileStore> {
    open_files_at(server, &server.endpoint(), "").await
}

async fn open_azure_files(server: &AzureServer) -> Arc<dyn FileStore> {
    let (account, key) = (server.account(), server.access_key().replace('=', "%3D").replace('+', "%2B"));
    let place = format!("endpoint={}&account={account}&access_key={key}&allow_http=true", server.endpoint());
    let url = ServiceUrl::parse("STATEHOUSE_FILES_URL", &format!("az://{}?{place}", server.container())).unwrap();
    Arc::clone(statehouse_filestore::open(url, &random_namespace()).await.unwrap().store())
}

/// The same as [`open_files`], elsewhere or with further parameters.
async fn open_files_at(server: &S3Server, endpoint: &str, more: &str) -> Arc<dyn FileStore> {
    let (access_key, secret_key, bucket) = (server.access_key(), server.secret_key(), server.bucket());
    let place = format!("endpoint={endpoint}&region={}&allow_http=true{more}", server.region());
    let url = format!("s3://{access_key}:{secret_key}@{bucket}?{place}");
    let url = ServiceUrl::parse("STATEHOUSE_FILES_URL", &url).unwrap();
    Arc::clone(statehouse_filestore::open(url, &random_namespace()).await.unwrap().store())
}
