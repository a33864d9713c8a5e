//! What a request wants changed, and what that comes to on a given session.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use statehouse_core::{Error, ErrorKind, Result};

use super::messages::{self, CSRF};
use super::stay::Stay;
use crate::config::{LoginPolicy, SessionConfig};
use crate::record::{Attribute, AttributeName, Attributes, Delta, Principal, SaveId, entry_size};
use crate::token::Token;

/// The changes of one request, until a commit has made them.
#[derive(Clone, Default)]
pub(super) struct Work {
    pub(super) delta: Delta,
    /// How the values of `delta` came about that depend on what is stored.
    pub(super) updates: BTreeMap<AttributeName, Update>,
    pub(super) flashes: Vec<Attribute>,
    pub(super) pending: Option<Pending>,
}

/// The work of a commit that has begun, until it is known to be done.
///
/// Once begun it stays as it is, with the id of the change and the token that it draws, so that a repetition whose first
/// try was applied is known for it: by the store, and by the browser that gets the token.
pub(super) struct Committing {
    pub(super) work: Work,
    pub(super) id: SaveId,
    token: OnceLock<Token>,
    tried: AtomicBool,
    uncertain: AtomicBool,
}

impl Committing {
    pub(super) const fn new(work: Work, id: SaveId) -> Self {
        Self { work, id, token: OnceLock::new(), tried: AtomicBool::new(false), uncertain: AtomicBool::new(false) }
    }

    /// Whether one of its tries, of which the last failed like this, may have been applied.
    pub(super) fn may_be_done(&self, error: &Error) -> bool {
        if error.kind() == ErrorKind::OutcomeUnknown {
            self.uncertain.store(true, Ordering::Relaxed);
        }
        self.uncertain.load(Ordering::Relaxed)
    }

    /// Whether it has been tried before.
    pub(super) fn begin(&self) -> bool {
        self.tried.swap(true, Ordering::Relaxed)
    }

    /// The token that `draw` gives the first time.
    pub(super) fn token(&self, draw: impl FnOnce() -> Result<Token>) -> Result<Token> {
        if let Some(token) = self.token.get() {
            return Ok(token.clone());
        }
        let drawn = draw()?;
        Ok(self.token.get_or_init(|| drawn).clone())
    }
}

/// One step of an update: the new value from the one before.
pub(super) type Step = Arc<dyn Fn(Option<&Attribute>) -> Result<Attribute> + Send + Sync>;

/// An attribute that is changed depending on what it was.
#[derive(Clone)]
pub(super) struct Update {
    /// The stored value that the steps were run on.
    over: Option<Attribute>,
    steps: Vec<Step>,
}

/// A change of the token that the next commit makes.
#[derive(Clone)]
pub(super) enum Pending {
    /// `wipe`: the request has logged in somebody else before.
    Login {
        principal: Principal,
        /// The principal's as of when the login began; 0 where the store keeps none.
        epoch: u64,
        stay: Stay,
        wipe: bool,
    },
    Rotate,
    Renew {
        grace: Duration,
    },
}

impl Pending {
    /// A login cannot be undone by a rotation that comes later: it is one.
    fn then(self, later: Self) -> Self {
        match later {
            Self::Login { .. } => later,
            Self::Rotate | Self::Renew { .. } if matches!(self, Self::Login { .. }) => self,
            Self::Renew { .. } => self,
            Self::Rotate => later,
        }
    }
}

/// What a session holds when changes are made to it.
#[derive(Clone, Copy)]
pub(super) struct Stored<'a> {
    pub(super) attributes: &'a Attributes,
    pub(super) principal: Option<&'a Principal>,
}

/// How large a session may be.
#[derive(Clone, Copy)]
pub(super) struct Limits {
    pub(super) bytes: u64,
    pub(super) count: usize,
}

impl Limits {
    pub(super) const fn of(config: &SessionConfig) -> Self {
        Self { bytes: config.max_session, count: config.max_attributes }
    }
}

impl Work {
    pub(super) fn is_empty(&self) -> bool {
        self.delta.is_empty() && self.flashes.is_empty() && self.pending.is_none()
    }

    /// Whether nobody has asked for any of it.
    pub(super) fn only_renews(&self) -> bool {
        self.delta.is_empty() && self.flashes.is_empty() && matches!(self.pending, Some(Pending::Renew { .. }))
    }

    pub(super) fn set(&mut self, name: AttributeName, value: Attribute) {
        self.updates.remove(&name);
        self.change(|delta| delta.with_set(name, value));
    }

    pub(super) fn remove(&mut self, name: AttributeName) {
        self.updates.remove(&name);
        self.change(|delta| delta.with_removed(name));
    }

    pub(super) fn clear(&mut self) {
        self.discard_attributes();
        self.delta.clear = true;
    }

    /// Sets what a step made of the value that stands here. `over` is what is stored below this work.
    pub(super) fn update(&mut self, name: AttributeName, over: Option<Attribute>, step: Step, value: Attribute) {
        let depends = self.updates.contains_key(&name) || !self.overrides(&name);
        self.change(|delta| delta.with_set(name.clone(), value));
        if depends {
            self.updates.entry(name).or_insert(Update { over, steps: Vec::new() }).steps.push(step);
        }
    }

    fn change(&mut self, change: impl FnOnce(Delta) -> Delta) {
        self.delta = change(std::mem::take(&mut self.delta));
    }

    /// Whether this work alone says what the attribute is.
    pub(super) fn overrides(&self, name: &AttributeName) -> bool {
        self.delta.clear || self.delta.set.contains_key(name) || self.delta.remove.contains(name)
    }

    /// Leaves what is no attribute: who logs in, and the token.
    pub(super) fn discard_attributes(&mut self) {
        *self = Self { pending: self.pending.take(), ..Self::default() };
    }

    /// Whether the token of the session's forms is replaced with its own.
    pub(super) fn replaces_csrf(&self) -> bool {
        matches!(self.pending, Some(Pending::Login { .. } | Pending::Rotate))
    }

    /// What a form was shown before is not for whoever the session is then.
    pub(super) fn forget_csrf(&mut self) {
        self.delta.set.remove(&AttributeName::reserved(CSRF));
    }

    /// Leaves out what depends on stored values: they are those of somebody else.
    pub(super) fn discard_updates(&mut self) {
        for name in std::mem::take(&mut self.updates).into_keys() {
            self.delta.set.remove(&name);
        }
    }

    /// Whether the attributes of the session that this principal has are removed by a login.
    pub(super) fn removes(&self, before: Option<&Principal>, policy: LoginPolicy) -> bool {
        let Some(Pending::Login { principal, wipe, .. }) = &self.pending else { return false };
        *wipe || before.map_or(policy == LoginPolicy::Clear, |before| before != principal)
    }

    /// Whom it logs in.
    pub(super) fn principal(&self) -> Option<&Principal> {
        match &self.pending {
            Some(Pending::Login { principal, .. }) => Some(principal),
            _ => None,
        }
    }

    /// Whether it says what an attribute is, whatever another request has made of it.
    pub(super) fn overwrites(&self) -> bool {
        let Delta { set, remove, clear } = &self.delta;
        let plain = |name: &AttributeName| !self.updates.contains_key(name) && !messages::is_flash(name);
        *clear || set.keys().chain(remove).any(plain)
    }

    /// This work followed by later work.
    pub(super) fn then(mut self, mut later: Self) -> Self {
        if later.replaces_csrf() {
            self.forget_csrf();
        }
        if later.delta.clear {
            self.discard_attributes();
        }
        let updates = std::mem::take(&mut later.updates);
        for name in later.delta.set.keys().chain(&later.delta.remove).filter(|name| !updates.contains_key(*name)) {
            self.updates.remove(name);
        }
        for (name, update) in updates {
            if let Some(earlier) = self.updates.get_mut(&name) {
                earlier.steps.extend(update.steps);
            } else if !self.overrides(&name) {
                self.updates.insert(name, update);
            }
        }
        self.delta = self.delta.then(later.delta);
        self.flashes.append(&mut later.flashes);
        self.pending = match (self.pending.take(), later.pending) {
            (Some(earlier), Some(later)) => Some(earlier.then(later)),
            (earlier, later) => later.or(earlier),
        };
        self
    }

    /// The changes on a session that is stored like this. With `seen`, what this request saw of it is written over it.
    pub(super) fn on(&self, stored: Stored<'_>, seen: Option<&Attributes>, policy: LoginPolicy) -> Result<Delta> {
        let removes = self.removes(stored.principal, policy);
        let start = match seen {
            _ if removes => Delta::replace(Attributes::new()),
            Some(seen) => Delta::replace(seen.clone()),
            None => Delta::new(),
        };
        let mut delta = start.then(self.delta.clone());
        for (name, update) in &self.updates {
            let below = stored.attributes.get(name).filter(|_| !removes);
            // Run again only on another value than before.
            let made = self.delta.set.get(name).filter(|_| update.over.as_ref() == below);
            let value = made.map_or_else(|| update.run(below), |made| Ok(Some(made.clone())))?;
            delta.set.extend(value.map(|value| (name.clone(), value)));
        }
        let csrf = AttributeName::reserved(CSRF);
        if self.replaces_csrf() && !self.delta.set.contains_key(&csrf) {
            delta.set.remove(&csrf);
            if !delta.clear && stored.attributes.contains_key(&csrf) {
                delta.remove.insert(csrf);
            }
        }
        messages::number(&mut delta, stored.attributes, &self.flashes);
        // What says the same in another order stays as it is.
        let as_before = |(name, value): (&AttributeName, &Attribute)| {
            let before = stored.attributes.get(name).filter(|before| before.is_reordered(value))?;
            Some((name.clone(), Attribute { bytes: before.bytes.clone(), ..value.clone() }))
        };
        let unchanged: Vec<_> = delta.set.iter().filter_map(as_before).collect();
        delta.set.extend(unchanged);
        Ok(delta)
    }
}

impl Update {
    fn run(&self, stored: Option<&Attribute>) -> Result<Option<Attribute>> {
        self.steps.iter().try_fold(stored.cloned(), |value, step| step(value.as_ref()).map(Some))
    }
}

/// Takes out of the changes what makes the session larger than it may be, the largest first. A session that is too
/// large already, because a limit was lowered, may still shrink.
pub(super) fn fit(delta: &mut Delta, stored: &Attributes, limits: Limits) -> Vec<AttributeName> {
    let allowed = stored.size().max(limits.bytes);
    let allowed_count = stored.len().max(limits.count);
    let (mut bytes, mut count) = (delta.size_on(stored), delta.count_on(stored));
    if bytes <= allowed && count <= allowed_count {
        return Vec::new();
    }
    let before = |name: &AttributeName| stored.get(name).filter(|_| !delta.clear);
    let mut grown: Vec<_> = delta.set.iter().map(|(name, value)| (growth(name, value, before(name)), name)).collect();
    grown.sort_by_key(|(growth, _)| std::cmp::Reverse(*growth));
    let mut dropped = Vec::new();
    for (growth, name) in grown {
        let adds = before(name).is_none();
        if (bytes > allowed && growth > 0) || (count > allowed_count && adds) {
            bytes -= growth;
            count -= usize::from(adds);
            dropped.push(name.clone());
        }
    }
    for name in &dropped {
        delta.set.remove(name);
    }
    dropped
}

fn growth(name: &AttributeName, value: &Attribute, before: Option<&Attribute>) -> u64 {
    entry_size(name, value).saturating_sub(before.map_or(0, |before| entry_size(name, before)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_or_rotation_after_a_commit_that_failed_leaves_no_token_of_the_forms_before_it() {
        let csrf = || AttributeName::reserved(CSRF);
        let token = |value: &str| Attribute::encode(value).unwrap();
        let shown = |token: Option<&str>, pending| {
            let mut work = Work { pending, ..Work::default() };
            if let Some(value) = token {
                work.set(csrf(), Attribute::encode(value).unwrap());
            }
            work
        };
        let login = || {
            let principal = Principal::new("u42").unwrap();
            Pending::Login { principal, epoch: 0, stay: Stay::default(), wipe: false }
        };
        for pending in [login(), Pending::Rotate] {
            let both = shown(Some("before"), None).then(shown(None, Some(pending.clone())));
            assert_eq!(both.delta.set.get(&csrf()), None);
            let both = shown(Some("before"), None).then(shown(Some("after"), Some(pending)));
            assert_eq!(both.delta.set.get(&csrf()), Some(&token("after")));
        }
        let renewal = Some(Pending::Renew { grace: Duration::ZERO });
        let both = shown(Some("before"), None).then(shown(None, renewal));
        assert_eq!(both.delta.set.get(&csrf()), Some(&token("before")));
    }
}
