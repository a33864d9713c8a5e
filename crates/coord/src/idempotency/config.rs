use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_TYPE, ETAG, LOCATION};
use http::request::Parts;
use http::{HeaderMap, HeaderName, Method};
use statehouse_core::Result;

use super::answer::Refusal;
use super::format::Fingerprint;
use super::ledger::{Bounds, Ledger, Owner};
use super::told::Told;
use crate::api::CoordStore;
use crate::hashed::{REQUESTS, digest, hashed_key, long_digest};
use crate::key::CoordKey;

type Principal = dyn Fn(&Parts) -> Option<String> + Send + Sync;
type Target = dyn Fn(&Parts) -> String + Send + Sync;

/// The longest key.
const MAX_KEY: usize = 255;
const HEADER: &str = "idempotency-key";

/// The settings of a layer.
#[derive(Clone)]
pub(super) struct Config {
    pub(super) store: Arc<dyn CoordStore>,
    pub(super) name: String,
    principal: Arc<Principal>,
    pub(super) target: Arc<Target>,
    pub(super) time_to_live: Duration,
    pub(super) lease: Duration,
    pub(super) max_request: usize,
    pub(super) max_response: usize,
    pub(super) headers: Vec<HeaderName>,
    pub(super) is_required: bool,
    pub(super) bounds: Bounds,
    pub(super) ledger: Arc<Ledger>,
    pub(super) told: Arc<Told>,
}

/// Which record is of a request, and whose request it is.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub(super) key: CoordKey,
    pub(super) owner: Owner,
}

impl Config {
    pub(super) fn new(store: Arc<dyn CoordStore>, name: &str, principal: Arc<Principal>) -> Self {
        Self {
            store,
            name: name.to_owned(),
            principal,
            target: Arc::new(target),
            time_to_live: Duration::from_secs(24 * 3600),
            lease: Duration::from_secs(60),
            max_request: 1 << 20,
            max_response: 256 << 10,
            headers: vec![CONTENT_TYPE, CONTENT_LANGUAGE, ETAG, LOCATION],
            is_required: false,
            bounds: Bounds { each: 8 << 20, all: 32 << 20 },
            ledger: Arc::default(),
            told: Arc::default(),
        }
    }

    /// The record of this request, if it is one to look at.
    pub(super) fn key_of(&self, parts: &Parts) -> Result<Option<Asked>, Refusal> {
        if !matches!(parts.method, Method::POST | Method::PATCH) {
            return Ok(None);
        }
        let mut given = parts.headers.get_all(HEADER).iter();
        let key = match (given.next(), given.next()) {
            (None, _) if self.is_required => return Err(Refusal::NoKey),
            (None, _) => return Ok(None),
            (Some(key), None) if (1..=MAX_KEY).contains(&key.len()) => key,
            _ => return Err(Refusal::BadKey),
        };
        let Some(principal) = (self.principal)(parts) else { return Ok(None) };
        let key = hashed_key(REQUESTS, &self.name, &[principal.as_bytes(), key.as_bytes()]);
        let owner = digest(&[principal.as_bytes()]);
        key.map(|key| Some(Asked { key, owner })).map_err(|error| {
            self.told.misconfigured(&error);
            Refusal::Misconfigured
        })
    }

    /// Those headers that are told again.
    pub(super) fn kept(&self, headers: &HeaderMap) -> HeaderMap {
        // Without it the body is not what its type says.
        let is_kept = |name| self.headers.contains(name) || name == CONTENT_ENCODING;
        let kept = headers.iter().filter(|(name, _)| is_kept(*name));
        kept.map(|(name, value)| (name.clone(), value.clone())).collect()
    }

    /// Which request it is.
    pub(super) async fn fingerprint(&self, parts: &Parts, body: &Bytes) -> Fingerprint {
        let (method, target) = (parts.method.clone(), (self.target)(parts));
        long_digest(&[method.as_str().as_bytes(), target.as_bytes()], body).await
    }
}

/// The path with the query as it came, of which axum's `nest` has taken a part away.
fn target(parts: &Parts) -> String {
    #[cfg(feature = "axum")]
    let uri = parts.extensions.get::<axum::extract::OriginalUri>().map_or(&parts.uri, |original| &original.0);
    #[cfg(not(feature = "axum"))]
    let uri = &parts.uri;
    uri.path_and_query().map_or_else(String::new, ToString::to_string)
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config").field("name", &self.name).field("store", &self.store).finish_non_exhaustive()
    }
}
