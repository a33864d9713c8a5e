//! Requests that are answered once, for tower services.

mod answer;
mod body;
mod claim;
mod config;
mod format;
mod ledger;
mod service;
mod told;

use std::sync::Arc;
use std::time::Duration;

use http::HeaderName;
use http::request::Parts;
#[cfg(doc)]
use statehouse_core::ErrorKind;
use statehouse_core::Result;
use tower_layer::Layer;

pub use self::body::IdempotencyBody;
use self::config::Config;
pub use self::service::IdempotencyService;
use crate::api::CoordStore;
use crate::away::is_away;
use crate::hashed::{REQUESTS, can_expire, hashed_key};
use crate::options::PutOptions;

/// The most bytes of a response that are kept.
const MAX_RESPONSE: usize = 900 << 10;

/// Answers a request once, however often a client sends it because it did not hear the answer: made by
/// [`Coordination::idempotency`](crate::Coordination::idempotency).
///
/// The client gives each request a key of its own in the header `Idempotency-Key`
/// ([draft-ietf-httpapi-idempotency-key-header](https://datatracker.ietf.org/doc/draft-ietf-httpapi-idempotency-key-header/)),
/// and sends the same key with every repetition.
///
/// # Behavior
/// - It looks at POST and PATCH with the header, of a **principal** that the application names. One principal's keys are nothing
///   to another's. Where there is none, no header (unless it is [required](Self::required)), or another method, the request
///   is passed on untouched.
/// - The first request under a key is **passed on**; while it is under way, others get 409 with `Retry-After`. Once its body is there, it goes on
///   when its client hangs up. Its response is kept before it is given, and told to all who come later: status, body,
///   the [chosen headers](Self::headers), and `Idempotency-Replayed: true`.
/// - **Another request** under the key, by method, path with query, or body, gets 422. The path is the whole one, of which axum's `nest` has
///   taken a part away, with the feature `axum`; where another router does such a thing, the [target](Self::target) has to be said.
/// - Responses of the kind that a repetition is meant for are not kept: 5xx, 408, 425, 429. Then, or if the handler panics, the key is free at once.
/// - A **stop** of a program that serves with an [`UnderWay`](statehouse_core::UnderWay) in each request, as the facade's
///   does, waits for it, whether or not its client does.
/// - If a **process dies**, the key is free after the [lease](Self::lease). So long a handler has, too: then it is dropped, and the
///   answer is 503. What it had done by then may be done again: what must not be belongs in one transaction.
/// - Where the store is away, the answer is 503: nothing is passed on of which nobody knows whether it was answered. If it goes away
///   while the request is under way, the answer is given, and kept as soon as the store is back, if that is before the lease is over.
/// - **Bounds**: a request of more than [1 MiB](Self::max_request) gets 413. Of a response of more than
///   [256 KiB](Self::max_response), and of one whose body breaks off, the first client gets what there is, and later ones a 409 that says so. A key has up to 255 bytes, else
///   400. Trailers are not kept.
/// - **All that is kept is bounded**: so many bytes of responses of one principal ([8 MiB](Self::max_kept)) and of all
///   ([32 MiB](Self::max_kept_of_all)). For one more the oldest are let go of, and whoever repeats those gets the 409; nothing is done twice.
///   Each process counts, for each layer, what it has kept itself, and anew once it has been started, so that there may be so much of each. And where a
///   store has no room for a response, it keeps that the request was answered, if it has room for that. In memory all of this has half of the
///   store, so that nobody keeps locks, runs and schedules from going on. How many requests somebody sends is for a
///   [`RateLimitLayer`](crate::RateLimitLayer) in front: that one was answered takes some 300 bytes as long as it is known.
///
/// Errors of the layer are `application/problem+json`. What is stored under a key tells neither it nor the principal, but holds the response. Records
/// must leave the store when their time is over ([`SERVER_TIME`](crate::capability::SERVER_TIME) or [`SWEEPS`](crate::capability::SWEEPS)), as those
/// in memory, in Redis and in files do.
///
/// **In files** an answer is told for its time at least, and by a replica that has not seen it before for as long once more, until it is
/// [swept](crate::FilesCoordStore#sweeps). The key of a process that died is free after the lease from when somebody came with it again. On S3 a
/// request costs two reads and two writes, and one read when it is told again.
///
/// It belongs inside of what knows the user and of a `SessionLayer`, whose cookies are no part of what is kept. Once its client has gone
/// nobody commits the session for a handler: it commits what it has changed itself, before it answers; and a change that is refused because
/// the client has gone is answered 503, so that the key is free and the repetition, which has a client, makes it.
///
/// ```
/// use std::convert::Infallible;
/// use std::sync::Arc;
/// use bytes::Bytes;
/// use http::{Request, Response};
/// use http_body_util::Full;
/// use statehouse_coord::{Coordination, IdempotencyBody, MemoryCoordStore};
/// use tower::{Layer, ServiceExt, service_fn};
///
/// #[derive(Clone)]
/// struct User(String); // what authenticates puts it into the extensions
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let coord = Coordination::new(Arc::new(MemoryCoordStore::new()));
/// let once = coord
///     .idempotency("orders", |request| Some(request.extensions.get::<User>()?.0.clone()))
///     .required() // 400 without a key
///     .max_request(64 << 10)
///     .max_response(16 << 10)
///     .max_kept(1 << 20) // of each user
///     .max_kept_of_all(16 << 20);
/// let orders = once.layer(service_fn(|_: Request<IdempotencyBody<Full<Bytes>>>| async {
///     Ok::<_, Infallible>(Response::new(Full::new(Bytes::from("order 7"))))
/// }));
/// let order = || {
///     let request = Request::post("/orders").header("idempotency-key", "8e03978e").extension(User("ada".to_owned()));
///     request.body(Full::new(Bytes::from("2 apples")))
/// };
/// let first = orders.clone().oneshot(order()?).await?;
/// assert!(!first.headers().contains_key("idempotency-replayed"));
/// let again = orders.oneshot(order()?).await?;
/// assert_eq!(again.headers()["idempotency-replayed"], "true");
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
#[must_use = "a layer does nothing until it is put around a service"]
pub struct IdempotencyLayer {
    config: Config,
}

impl IdempotencyLayer {
    pub(crate) fn new(
        store: Arc<dyn CoordStore>,
        name: &str,
        principal: impl Fn(&Parts) -> Option<String> + Send + Sync + 'static,
    ) -> Self {
        Self { config: Config::new(store, name, Arc::new(principal)) }
    }

    /// The same layer, if it can answer at all: what each request under a key would be told, with 500 and a line in the log, is told
    /// when the program starts.
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # use statehouse_coord::{Coordination, MemoryCoordStore};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> statehouse_core::Result<()> {
    /// let coord = Coordination::new(Arc::new(MemoryCoordStore::new()));
    /// let once = coord.idempotency("orders", |_| Some("everybody".to_owned())).checked().await?;
    /// # let _ = once;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] for the name; [`ErrorKind::Unsupported`] for a store where records stay for good, or that may
    /// forget them. That it is away is none.
    pub async fn checked(self) -> Result<Self> {
        hashed_key(REQUESTS, &self.config.name, &[])?;
        match can_expire(&*self.config.store).await {
            Err(error) if !is_away(&error) => Err(error),
            _ => Ok(self),
        }
    }

    /// How long a response is told again: a day at first; at least a millisecond and at most 366 days.
    pub fn time_to_live(mut self, time_to_live: Duration) -> Self {
        self.config.time_to_live = time_to_live.clamp(Duration::from_millis(1), PutOptions::MAX_TIME_TO_LIVE);
        self
    }

    /// How long a handler has, and for how long a key is taken by a process that died: a minute at first; at least 100 ms and at
    /// most a day.
    pub fn lease(mut self, lease: Duration) -> Self {
        self.config.lease = lease.clamp(Duration::from_millis(100), Duration::from_secs(24 * 3600));
        self
    }

    /// The most bytes of a request's body, which is held in memory in one piece, whatever frames it comes in: 1 MiB at first. For a moment, while it
    /// grows, it takes up to twice as much.
    pub fn max_request(mut self, bytes: usize) -> Self {
        self.config.max_request = bytes;
        self
    }

    /// The most bytes of a response's body that are kept: 256 KiB at first, and 900 KiB at most.
    pub fn max_response(mut self, bytes: usize) -> Self {
        self.config.max_response = bytes.min(MAX_RESPONSE);
        self
    }

    /// The most bytes of one principal's responses that are kept at a time, about 512 of overhead for each included: 8 MiB at first. For more, the oldest
    /// are let go of.
    pub fn max_kept(mut self, bytes: usize) -> Self {
        self.config.bounds.each = bytes;
        self
    }

    /// The most bytes of responses that are kept at a time, whosever they are: 32 MiB at first. For more, the oldest are let go of.
    pub fn max_kept_of_all(mut self, bytes: usize) -> Self {
        self.config.bounds.all = bytes;
        self
    }

    /// The headers of a response that are told again: `Content-Type`, `Content-Language`, `ETag` and `Location` at first, and
    /// `Content-Encoding` in any case, without which the body could not be read.
    pub fn headers(mut self, headers: impl IntoIterator<Item = HeaderName>) -> Self {
        self.config.headers = headers.into_iter().collect();
        self
    }

    /// Says what a request's path with its query was when it came. At first it is what its URI says, and with the feature `axum` its
    /// [`OriginalUri`](https://docs.rs/axum/0.8/axum/extract/struct.OriginalUri.html) where there is one: another router that takes a
    /// part of the path away keeps the whole elsewhere, and without it `/live/charge` and `/test/charge` were one request.
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # use statehouse_coord::{Coordination, MemoryCoordStore};
    /// #[derive(Clone)]
    /// struct Whole(http::Uri); // what the router puts into the extensions
    ///
    /// # let coord = Coordination::new(Arc::new(MemoryCoordStore::new()));
    /// let once = coord.idempotency("orders", |_| Some("everybody".to_owned())).target(|request| {
    ///     let uri = request.extensions.get::<Whole>().map_or(&request.uri, |whole| &whole.0);
    ///     uri.to_string()
    /// });
    /// # let _ = once;
    /// ```
    pub fn target(mut self, target: impl Fn(&Parts) -> String + Send + Sync + 'static) -> Self {
        self.config.target = Arc::new(target);
        self
    }

    /// Refuses POST and PATCH without a key, with 400.
    pub fn required(mut self) -> Self {
        self.config.is_required = true;
        self
    }
}

impl<S> Layer<S> for IdempotencyLayer {
    type Service = IdempotencyService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        IdempotencyService::new(inner, Arc::new(self.config.clone()))
    }
}
