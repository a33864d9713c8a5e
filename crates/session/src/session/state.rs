use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use statehouse_core::{Error, ErrorKind, Result, Retry};

use super::messages::CSRF;
use super::stay::Stay;
use super::work::{Committing, Pending, Work};
use crate::config::LoginPolicy;
use crate::cookie::Place;
use crate::record::{Attribute, AttributeName, Attributes, Principal, Snapshot, entry_size};
use crate::token::Token;

/// What a request knows and wants of its session.
#[derive(Default)]
pub(super) struct State {
    pub(super) base: Base,
    /// What the next commit does.
    pub(super) work: Work,
    /// What a commit that has begun does, until it is known to be done.
    pub(super) committing: Option<Arc<Committing>>,
    pub(super) cookie: Option<CookieChange>,
    /// Whether the request brought a fallback cookie, and no response has removed it yet.
    pub(super) has_fallback: bool,
    pub(super) outage: Option<Outage>,
    /// Why the last load failed, and when.
    pub(super) failed_load: Option<(Instant, Error)>,
    /// Messages that were taken out of the stored session for somebody who has stopped waiting for them.
    pub(super) taken: Vec<Attribute>,
    /// Whom this request has logged in.
    pub(super) logged_in: Option<Principal>,
    /// Whether the response has been sent, or its client has gone: nobody would save a change.
    pub(super) closed: bool,
    /// Whether the session was read or written, so that the response is for this browser alone.
    pub(super) used: bool,
    /// What the attributes take up, as far as it has been added up.
    pub(super) weight: Option<Weight>,
}

/// What the store said.
#[derive(Clone, Default)]
pub(super) enum Base {
    /// It was not asked yet.
    #[default]
    Unloaded,
    /// There is no session.
    Absent,
    /// The request's token was replaced a moment ago: the browser has, or is about to get, a newer cookie.
    Superseded,
    /// The request's token was replaced a moment before the request arrived: the browser has not got the newer cookie, or
    /// it had not when it sent the request.
    Replaced,
    /// The session ended while this request was under way: the browser may have a newer cookie.
    Gone,
    /// The session was deleted a moment before this request arrived. The browser still has its cookie, or it had when it
    /// sent the request.
    Deleted,
    /// The store could not be reached, for this reason, and the configuration says to go on.
    Degraded(Error),
    Held(Held),
}

#[derive(Clone)]
pub(super) struct Held {
    pub(super) token: Token,
    pub(super) snapshot: Snapshot,
    /// The cookie that the browser has the token in.
    pub(super) place: Place,
}

/// What the response tells the browser.
pub(super) enum CookieChange {
    /// With how long to keep it when it is closed.
    Set(Token, Place, Option<Duration>),
    Remove,
    /// The cookie itself may be a newer one already.
    RemoveFallback,
}

/// What attributes take up together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Weight {
    pub(super) bytes: u64,
    pub(super) count: usize,
}

impl Weight {
    fn add(&mut self, name: &AttributeName, value: &Attribute) {
        self.bytes += entry_size(name, value);
        self.count += 1;
    }

    fn subtract(&mut self, name: &AttributeName, value: &Attribute) {
        self.bytes = self.bytes.saturating_sub(entry_size(name, value));
        self.count = self.count.saturating_sub(1);
    }
}

/// That the store could not be reached or refused its work, and when to try again.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Outage {
    /// None where that will not help: somebody must first change what this program may do.
    pub(crate) retry_after: Option<Duration>,
}

impl Outage {
    /// What a store's error says about the store, as opposed to the call or the session.
    pub(crate) fn of(error: &Error) -> Option<Self> {
        match error.kind() {
            ErrorKind::AlreadyExists
            | ErrorKind::Conflict
            | ErrorKind::Corrupt
            | ErrorKind::InvalidInput
            | ErrorKind::NotFound
            | ErrorKind::TooLarge
            | ErrorKind::Unsupported => None,
            _ => Some(Self { retry_after: Self::retry_after(error) }),
        }
    }

    /// When a browser may come again: not where somebody must first change what this program may do.
    pub(crate) fn retry_after(error: &Error) -> Option<Duration> {
        match error.retry() {
            Retry::After(wait) => Some(wait),
            // Not to be repeated by whoever asked the store. A request that comes again reads what came of it.
            Retry::Never if error.kind() != ErrorKind::OutcomeUnknown => None,
            _ => Some(Duration::from_secs(1)),
        }
    }
}

impl Base {
    /// Where the token of a session goes that is begun here for somebody who does not log in: the browser may have a newer
    /// cookie, which must stay.
    pub(super) const fn place_of_new(&self) -> Place {
        match self {
            Self::Replaced | Self::Deleted => Place::Fallback,
            _ => Place::Cookie,
        }
    }
}

impl State {
    /// How long a failed load speaks for the next: a handler that asks five times waits for the store once.
    const FAILED_FOR: Duration = Duration::from_secs(1);

    pub(super) fn has_work(&self) -> bool {
        !self.work.is_empty() || self.committing.is_some()
    }

    /// The work of a commit that has begun.
    fn begun(&self) -> Option<&Work> {
        self.committing.as_ref().map(|committing| &committing.work)
    }

    pub(super) fn is_unloaded(&self) -> bool {
        matches!(self.base, Base::Unloaded)
    }

    /// Nobody has shown them: they wait for the next page.
    pub(super) fn put_back_taken(&mut self) {
        let taken = std::mem::take(&mut self.taken);
        self.work.flashes.splice(0..0, taken);
    }

    pub(super) fn set_base(&mut self, base: Base) {
        self.base = base;
        self.weight = None;
    }

    pub(super) fn recent_failure(&self) -> Option<Error> {
        let (at, error) = self.failed_load.as_ref()?;
        (at.elapsed() < Self::FAILED_FOR).then(|| error.clone())
    }

    pub(super) fn refuse_degraded(&self, operation: &'static str) -> Result<()> {
        let Base::Degraded(why) = &self.base else { return Ok(()) };
        let error = Error::new(ErrorKind::Unavailable, "the session store cannot be reached").with_operation(operation);
        Err(error.with_retry(why.retry()).with_source(why.clone()))
    }

    /// Whether the fallback cookie that the request brought is of no use any more. Says so once.
    pub(super) fn drops_fallback(&mut self) -> bool {
        let useless = match (&self.cookie, &self.base) {
            (Some(CookieChange::Set(_, place, _)), _) => *place == Place::Cookie,
            (Some(CookieChange::Remove | CookieChange::RemoveFallback), _) => true,
            (None, Base::Held(held)) => held.place == Place::Cookie,
            (None, _) => false,
        };
        useless && std::mem::take(&mut self.has_fallback)
    }

    pub(super) const fn held(&self) -> Option<&Held> {
        match &self.base {
            Base::Held(held) => Some(held),
            _ => None,
        }
    }

    fn stored_principal(&self) -> Option<&Principal> {
        self.held()?.snapshot.record().principal()
    }

    /// The attributes as loaded, without this request's changes, unless its login removes them.
    pub(super) fn loaded_attributes(&self, policy: LoginPolicy) -> &Attributes {
        static NONE: Attributes = Attributes::new();
        let before = self.stored_principal();
        let mut works = self.begun().into_iter().chain([&self.work]);
        let loaded = self.held().filter(|_| !works.any(|work| work.removes(before, policy)));
        loaded.map_or(&NONE, |held| held.snapshot.record().attributes())
    }

    /// The attribute with this request's changes.
    pub(super) fn attribute(&self, name: &AttributeName, policy: LoginPolicy) -> Option<&Attribute> {
        match self.work.overrides(name) {
            true => self.work.delta.set.get(name),
            false => self.attribute_below(name, policy),
        }
    }

    /// The attribute without the changes that no commit has begun to make.
    pub(super) fn attribute_below(&self, name: &AttributeName, policy: LoginPolicy) -> Option<&Attribute> {
        match self.begun_below(policy) {
            Some(work) if work.overrides(name) => work.delta.set.get(name),
            _ => {
                let found = self.loaded_attributes(policy).get(name)?;
                (!self.has_ended(found)).then_some(found)
            }
        }
    }

    /// The work of a commit that has begun, unless a login since removes what that sets.
    fn begun_below(&self, policy: LoginPolicy) -> Option<&Work> {
        let begun = self.begun()?;
        let principal = begun.principal().or_else(|| self.stored_principal());
        (!self.work.removes(principal, policy)).then_some(begun)
    }

    /// Whether an attribute that was loaded has ended since.
    fn has_ended(&self, loaded: &Attribute) -> bool {
        self.held().is_some_and(|held| held.snapshot.has_ended(loaded))
    }

    /// The token of this session's forms, unless this request replaces it.
    pub(super) fn csrf(&self, policy: LoginPolicy) -> Option<&Attribute> {
        let name = AttributeName::reserved(CSRF);
        let (work, begun) = (&self.work, self.begun());
        match (work.replaces_csrf(), begun.is_some_and(Work::replaces_csrf)) {
            (false, true) if !work.overrides(&name) => begun?.delta.set.get(&name),
            (true, _) | (false, true) => work.delta.set.get(&name),
            (false, false) => self.attribute(&name, policy),
        }
    }

    /// Whether the one that is stored is replaced, or removed, by the next commit.
    pub(super) fn replaces_csrf(&self) -> bool {
        let mut works = self.begun().into_iter().chain([&self.work]);
        works.any(|work| work.replaces_csrf() || work.delta.clear)
    }

    /// What the attributes take up with this request's changes. Added up once, and then kept up to date.
    pub(super) fn weight(&mut self, policy: LoginPolicy) -> Weight {
        if let Some(weight) = self.weight {
            return weight;
        }
        let mut weight = self.weight_of_loaded(policy);
        let committing = self.begun_below(policy).into_iter().flat_map(|work| &work.delta.set);
        for (name, value) in committing.filter(|(name, _)| !self.work.overrides(name)).chain(&self.work.delta.set) {
            weight.add(name, value);
        }
        *self.weight.insert(weight)
    }

    /// What those of the loaded attributes take up that this request changes nothing of. Each is looked at only where it has changes.
    fn weight_of_loaded(&self, policy: LoginPolicy) -> Weight {
        let works = || self.begun().into_iter().chain([&self.work]);
        let loaded = self.loaded_attributes(policy);
        if works().any(|work| work.delta.clear) || loaded.is_empty() {
            return Weight::default();
        }
        let age = self.held().map_or(Duration::ZERO, |held| held.snapshot.age());
        let (bytes, count) = loaded.live_size(age);
        let mut weight = Weight { bytes, count };
        let changed: BTreeSet<_> = works().flat_map(|work| work.delta.set.keys().chain(&work.delta.remove)).collect();
        for (name, value) in changed.into_iter().filter_map(|name| Some((name, loaded.get(name)?))) {
            if !value.ends.is_over(age) {
                weight.subtract(name, value);
            }
        }
        weight
    }

    /// What the attributes take up once this one has that value.
    pub(super) fn weight_with(&mut self, name: &AttributeName, value: &Attribute, policy: LoginPolicy) -> Weight {
        let mut weight = self.weight_without(name, policy);
        weight.add(name, value);
        weight
    }

    /// What they take up besides this one.
    fn weight_without(&mut self, name: &AttributeName, policy: LoginPolicy) -> Weight {
        if self.attribute(name, policy).is_none() && self.loaded_attributes(policy).contains_key(name) {
            // One that has ended may still be in the sum.
            self.weight = None;
        }
        let mut weight = self.weight(policy);
        if let Some(before) = self.attribute(name, policy) {
            weight.subtract(name, before);
        }
        weight
    }

    /// Keeps the sum up to date with a change of one attribute.
    pub(super) fn reweigh(&mut self, weight: Weight) {
        self.weight = Some(weight);
    }

    pub(super) fn remove(&mut self, name: AttributeName, policy: LoginPolicy) {
        let weight = self.weight_without(&name, policy);
        self.work.remove(name);
        self.weight = Some(weight);
    }

    /// Whether messages that were stored for the session are for nobody any more.
    pub(super) fn removes_messages(&self, policy: LoginPolicy) -> bool {
        let before = self.stored_principal();
        let mut works = self.begun().into_iter().chain([&self.work]);
        works.any(|work| work.delta.clear || work.removes(before, policy))
    }

    pub(super) fn clear(&mut self) {
        self.work.clear();
        self.taken.clear();
        self.weight = None;
    }

    pub(super) fn discard_attributes(&mut self) {
        self.work.discard_attributes();
        self.weight = None;
    }

    /// What was set for somebody whom this request has logged in before is not for the next.
    pub(super) fn log_in(&mut self, principal: Principal, epoch: u64, stay: Stay, policy: LoginPolicy) {
        let earlier = matches!(self.work.pending, Some(Pending::Login { wipe: true, .. }));
        let other = self.logged_in.as_ref().is_some_and(|before| *before != principal);
        if other {
            self.work.discard_attributes();
        }
        self.work.forget_csrf();
        self.work.pending = Some(Pending::Login { principal: principal.clone(), epoch, stay, wipe: earlier || other });
        if self.work.removes(self.stored_principal(), policy) {
            self.work.discard_updates();
            self.taken.clear();
        }
        self.logged_in = Some(principal);
        self.weight = None;
    }

    pub(super) fn principal(&self) -> Option<&Principal> {
        self.new_principal().or_else(|| self.stored_principal())
    }

    /// Whether this request logs somebody in, which no commit has done yet.
    pub(super) fn logs_in(&self) -> bool {
        self.new_principal().is_some()
    }

    fn new_principal(&self) -> Option<&Principal> {
        [Some(&self.work), self.begun()].into_iter().flatten().find_map(Work::principal)
    }

    pub(super) fn login_age(&self) -> Option<Duration> {
        if self.logs_in() {
            return Some(Duration::ZERO);
        }
        let snapshot = &self.held()?.snapshot;
        Some(snapshot.now().since(snapshot.record().authenticated()?))
    }
}
