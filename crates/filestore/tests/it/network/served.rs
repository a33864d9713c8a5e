//! The servers that the table is of.

use std::sync::Arc;
use std::time::{Duration, Instant};

use statehouse_filestore::{FileStore, ObjectFileStore, capability};
use statehouse_testkit::{AzureServer, FaultProxy, S3Server};

use super::SOON;
use super::verbs::{VERBS, Verb};
use crate::{azure, s3};

#[derive(Clone, Copy)]
pub(super) enum Served<'a> {
    S3(&'a S3Server),
    Azure(&'a AzureServer),
}

impl Served<'_> {
    pub(super) fn endpoint(self) -> String {
        match self {
            Self::S3(server) => server.endpoint(),
            Self::Azure(server) => server.endpoint(),
        }
    }

    pub(super) fn proxy(self) -> FaultProxy {
        match self {
            Self::S3(server) => FaultProxy::start(server.address()),
            Self::Azure(server) => FaultProxy::start(server.address()),
        }
    }

    /// Opened while nothing is wrong yet, which may take more than one try on a busy machine.
    pub(super) async fn open(self, endpoint: &str, silence: Duration) -> Arc<dyn FileStore> {
        let start = Instant::now();
        loop {
            let opened = match self {
                Self::S3(server) => {
                    let config = s3::config(server).with_endpoint(endpoint).with_part_size(5 << 20).with_retries(1);
                    ObjectFileStore::open_s3(config.with_timeouts(silence, silence)).await
                }
                Self::Azure(server) => {
                    let config = azure::config(server).with_endpoint(endpoint).with_part_size(5 << 20);
                    ObjectFileStore::open_azure(config.with_retries(1).with_timeouts(silence, silence)).await
                }
            };
            match opened {
                Ok(store) => return Arc::new(store),
                Err(error) => assert!(start.elapsed() < 4 * SOON, "{error:?}"),
            }
        }
    }
}

/// The verbs that a store can do. Those of stages are a capability, and without it `Unsupported`, which nothing breaks.
pub(super) fn verbs_of(store: &Arc<dyn FileStore>) -> Vec<&'static Verb> {
    let stages = store.capabilities().has(capability::STAGED);
    let (can, cannot): (Vec<_>, Vec<_>) = VERBS.iter().partition(|verb| stages || !verb.is_of_stages());
    for verb in cannot {
        println!("{}: ruled out, without stages", verb.name);
    }
    can
}
