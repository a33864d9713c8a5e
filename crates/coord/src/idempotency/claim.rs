//! Which request under a key is passed on, and what becomes of it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use http::{Response, StatusCode};
use http_body::Body;
use statehouse_core::policy::Backoff;
use statehouse_core::{Condition, ErrorKind, Result, Retry, Version};
use tokio::time::{Instant, sleep};

use super::answer::{AGAIN, Refusal};
use super::body::{Fit, IdempotencyBody};
use super::config::{Asked, Config};
use super::format::{Fingerprint, Kept, Known, State};
use super::ledger::{Entry, Owner};
use crate::api::CoordStoreExt as _;
use crate::away::is_away;
use crate::hashed::can_expire;
use crate::key::CoordKey;
use crate::options::PutOptions;
use crate::outcome::PutOutcome;
use crate::record::{Record, WriteId};
use crate::settled::put_settled;
use crate::term::{Moment, Term};

/// The pauses before a store that is away is asked again.
const PAUSES: [Duration; 2] = [Duration::from_millis(100), Duration::from_secs(2)];

/// How many answers are let go of at once.
const AT_ONCE: usize = 32;

/// A request that is passed on: nobody else's under its key is, until its term is over.
#[derive(Clone, Debug)]
pub(super) struct Claim {
    config: Arc<Config>,
    key: CoordKey,
    owner: Owner,
    fingerprint: Fingerprint,
    version: Version,
    /// Counted from before the store was asked, so that its own is never over earlier.
    term: Term,
}

/// What is known of a request.
pub(super) enum Claimed {
    Now(Claim),
    Kept(Kept),
    Refused(Refusal),
}

impl Claim {
    /// Claims the key, or tells what is there.
    pub(super) async fn make(config: Arc<Config>, asked: Asked, fingerprint: Fingerprint) -> Claimed {
        let told = Arc::clone(&config.told);
        match Self::try_make(config, asked, fingerprint).await {
            Ok(claimed) => claimed,
            Err(error) if is_away(&error) => {
                tracing::debug!(name: "coord.request_refused", %error, "a request with an Idempotency-Key is refused: its store is away");
                Claimed::Refused(Refusal::Away)
            }
            Err(error) => {
                told.misconfigured(&error);
                Claimed::Refused(Refusal::Misconfigured)
            }
        }
    }

    async fn try_make(config: Arc<Config>, Asked { key, owner }: Asked, fingerprint: Fingerprint) -> Result<Claimed> {
        can_expire(&*config.store).await?;
        let (term, id) = (Term::new(Moment::now(), config.lease), WriteId::generate()?);
        let options = PutOptions::default().with_condition(Condition::Absent).with_time_to_live(config.lease);
        let running = Known { fingerprint, state: State::Running }.encode().unwrap_or_default();
        match put_settled(&*config.store, &key, &running, id, options).await {
            Ok(PutOutcome::Stored(version)) => {
                Ok(Claimed::Now(Self { config, key, owner, fingerprint, version, term }))
            }
            Ok(PutOutcome::Conflict(Some(record))) => Ok(known(&record, &fingerprint)?),
            Ok(PutOutcome::Conflict(None)) => Ok(Claimed::Refused(Refusal::UnderWay)),
            Err(error) => {
                if error.kind() == ErrorKind::OutcomeUnknown {
                    drop(tokio::spawn(free_in_doubt(config, key, id, term)));
                }
                Err(error)
            }
        }
    }

    /// Has it answered, and keeps the answer before it is given.
    pub(super) async fn run<B: Body<Data = Bytes>, E>(
        self,
        call: impl Future<Output = Result<Response<B>, E>>,
    ) -> Result<Response<IdempotencyBody<B>>, E> {
        let answering = async {
            let (parts, body) = call.await?.into_parts();
            let (body, fit) = IdempotencyBody::read(body, self.config.max_response).await;
            Ok((Response::from_parts(parts, body), fit))
        };
        let answered = tokio::select! {
            biased;
            // By now the key is free, or will be: the store's own lease is over later where the wall clock was set forward.
            () = self.term.over() => return Ok(self.too_late()),
            answered = answering => answered,
        };
        match answered {
            Err(error) => {
                self.free().await;
                Err(error)
            }
            Ok((response, fit)) => {
                // One that is answered well and breaks off was carried out all the same.
                if is_to_be_tried_again(response.status()) {
                    self.free().await;
                } else {
                    let state = self.state_of(&response, fit);
                    self.keep(state).await;
                }
                Ok(response)
            }
        }
    }

    fn too_late<B: Body<Data = Bytes>>(&self) -> Response<IdempotencyBody<B>> {
        let left = self.term.deadline().saturating_duration_since(Instant::now());
        Refusal::TookTooLong.response_for(left.max(AGAIN))
    }

    fn state_of<B>(&self, response: &Response<B>, fit: Fit) -> State {
        match fit {
            Fit::Whole(body) => {
                let headers = self.config.kept(response.headers());
                State::Kept(Kept { status: response.status(), headers, body })
            }
            _ => State::Unkept,
        }
    }

    /// Before the answer is given; and where the store is away then, behind it.
    async fn keep(self, state: State) {
        let fits = |bytes: &Bytes| bytes.len() <= Record::MAX_VALUE;
        let is_kept = matches!(state, State::Kept(_));
        let whole = Known { fingerprint: self.fingerprint, state }.encode().filter(fits).filter(|_| is_kept);
        let id = match WriteId::generate() {
            Ok(id) => id,
            Err(error) => return self.config.told.kept(Err(error)),
        };
        match self.keep_now(whole.as_ref(), id).await {
            Err(error) if is_away(&error) => drop(tokio::spawn(self.keep_later(whole, id))),
            kept => self.config.told.kept(kept),
        }
    }

    /// Until the key is free: who repeats the request by then is told what it came to.
    async fn keep_later(self, whole: Option<Bytes>, id: WriteId) {
        let mut backoff = Backoff::new(PAUSES[0], PAUSES[1]);
        loop {
            sleep(backoff.pause()).await;
            match self.keep_now(whole.as_ref(), id).await {
                Err(error) if is_away(&error) && !self.term.is_over() => {}
                kept => return self.config.told.kept(kept),
            }
        }
    }

    /// False if it came too late.
    async fn keep_now(&self, whole: Option<&Bytes>, id: WriteId) -> Result<bool> {
        let unkept = async || Ok(self.put(&unkept(self.fingerprint), WriteId::generate()?).await?.is_some());
        let Some(whole) = whole else { return unkept().await };
        match self.put(whole, id).await {
            Ok(Some(version)) => {
                self.account(version, whole.len()).await;
                Ok(true)
            }
            Ok(None) => Ok(false),
            Err(error) if error.retry() != Retry::FULL && error.kind() != ErrorKind::TooLarge => Err(error),
            // That it was answered may still have room.
            Err(_) => unkept().await,
        }
    }

    /// Replaces the claim. None if somebody else has it by now.
    async fn put(&self, value: &Bytes, id: WriteId) -> Result<Option<Version>> {
        let options = PutOptions::default().with_condition(Condition::Match(self.version));
        let options = options.with_time_to_live(self.config.time_to_live);
        Ok(match put_settled(&*self.config.store, &self.key, value, id, options).await? {
            PutOutcome::Stored(version) => Some(version),
            // A try before, of which no answer came.
            PutOutcome::Conflict(Some(record)) if record.id == id => Some(record.version),
            PutOutcome::Conflict(_) => None,
        })
    }

    /// Lets go of the oldest answers where there are too many. What cannot be replaced expires.
    async fn account(&self, version: Version, length: usize) {
        let expires = Instant::now() + self.config.time_to_live;
        let entry = Entry::new(self.owner, self.key.clone(), self.fingerprint, (version, length), expires);
        for over in self.config.ledger.add(entry, self.config.bounds).chunks(AT_ONCE) {
            // The answer waits meanwhile: what a store does not take that is away stays until it expires.
            if !join_all(over.iter().map(|entry| self.let_go(entry))).await.iter().all(|goes_on| *goes_on) {
                return;
            }
        }
    }

    /// False if the store is away.
    async fn let_go(&self, entry: &Entry) -> bool {
        let left = entry.expires.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
        let options = PutOptions::default().with_condition(Condition::Match(entry.version)).with_time_to_live(left);
        let replaced = self.config.store.put_with(&entry.key, unkept(entry.fingerprint), options).await;
        let Err(error) = replaced else { return true };
        tracing::debug!(name: "coord.answer_kept_on", %error, "an answer beyond what is kept stays until it expires");
        !matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::Timeout)
    }

    /// Lets the same request be made again. If that fails, the lease does so.
    pub(super) async fn free(&self) {
        match self.config.store.remove(&self.key, self.version).await {
            Ok(_) => {}
            Err(error) => tracing::debug!(name: "coord.key_not_released", %error, "a key is free only after its lease"),
        }
    }
}

/// Frees a key that may have been claimed by a request whose sender was told that it was not. If it never succeeds, the lease does so.
async fn free_in_doubt(config: Arc<Config>, key: CoordKey, id: WriteId, term: Term) {
    let mut backoff = Backoff::new(PAUSES[0], PAUSES[1]);
    while !term.is_over() {
        sleep(backoff.pause()).await;
        match config.store.get(&key).await {
            Ok(Some(record)) if record.id == id => {
                if config.store.remove(&key, record.version).await.is_ok() {
                    return;
                }
            }
            Ok(_) => return,
            Err(_) => {}
        }
    }
}

/// What says that it was answered, and no more.
fn unkept(fingerprint: Fingerprint) -> Bytes {
    Known { fingerprint, state: State::Unkept }.encode().unwrap_or_default()
}

fn known(record: &Record, fingerprint: &Fingerprint) -> Result<Claimed> {
    let known = Known::decode(&record.value)?;
    if known.fingerprint != *fingerprint {
        return Ok(Claimed::Refused(Refusal::AnotherRequest));
    }
    Ok(match known.state {
        State::Running => Claimed::Refused(Refusal::UnderWay),
        State::Unkept => Claimed::Refused(Refusal::Unkept),
        State::Kept(kept) => Claimed::Kept(kept),
    })
}

fn is_to_be_tried_again(status: StatusCode) -> bool {
    let for_now = [StatusCode::REQUEST_TIMEOUT, StatusCode::TOO_EARLY, StatusCode::TOO_MANY_REQUESTS];
    status.is_server_error() || for_now.contains(&status)
}
