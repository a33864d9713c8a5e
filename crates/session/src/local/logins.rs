//! Which sessions of a folder are whose, and in which order logins and revocations are.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::principals::Principals;
use crate::token::SessionKey;

/// Which sessions are whose, and the order of logins and revocations.
#[derive(Debug, Default)]
pub(super) struct Logins {
    /// Held for as long as a login takes, or until a revocation has begun: of two one is first. Taken before the lock of a session.
    order: Mutex<()>,
    /// Held for no longer than it takes to look something up.
    index: Mutex<Principals>,
    /// What the disk did not give when the folder was opened: the index may lack it. Held as that is.
    unread: Mutex<BTreeSet<SessionKey>>,
}

impl Logins {
    /// The lock guards files and no memory, so poison means nothing.
    pub(super) fn lock(&self) -> MutexGuard<'_, ()> {
        self.order.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Nothing that runs under the lock leaves the index half changed.
    pub(super) fn index(&self) -> MutexGuard<'_, Principals> {
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The same.
    pub(super) fn unread(&self) -> MutexGuard<'_, BTreeSet<SessionKey>> {
        self.unread.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
