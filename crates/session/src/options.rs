//! What one call of a store may be told besides what it does.

use std::time::Duration;

use statehouse_core::Fence;

use crate::record::{Persistence, SaveId};

statehouse_core::deadline_options! {
    /// Options of a load.
    ///
    /// How they are used stands in the example of [`SessionStore`](crate::SessionStore#example).
    LoadOptions
    /// Options of a touch.
    ///
    /// How they are used stands in the example of [`SessionStore`](crate::SessionStore#example).
    TouchOptions
    /// Options of asking for a principal's epoch.
    ///
    /// How they are used stands in the example of [`SessionStore`](crate::SessionStore#example).
    EpochOptions
    /// Options of a list.
    ///
    /// How they are used stands in the example of [`SessionStore`](crate::SessionStore#example).
    ListOptions
    /// Options of a revocation.
    ///
    /// How they are used stands in the example of [`SessionStore`](crate::SessionStore#example).
    RevokeOptions
}

/// What a login is told besides who logs in: see [`Session::login_with`](crate::Session::login_with).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct LoginOptions {
    /// For how long they stay logged in.
    pub persistence: Persistence,
    /// How long somebody who is remembered stays logged in at most, however much they use the session, from this login on; if none,
    /// for as long as the [configuration](crate::SessionConfigBuilder::max_remembered) allows. Of whoever is not remembered it says nothing:
    /// the timeouts of the configuration hold.
    pub absolute_timeout: Option<Duration>,
    /// The epoch in which the login [began](crate::Session::begin_login); if none, it begins now.
    pub epoch: Option<u64>,
}

impl LoginOptions {
    /// With this for how long they stay logged in.
    #[must_use]
    pub const fn with_persistence(mut self, persistence: Persistence) -> Self {
        self.persistence = persistence;
        self
    }

    /// With an end of what is remembered, however much the session is used.
    #[must_use]
    pub const fn with_absolute_timeout(mut self, timeout: Duration) -> Self {
        self.absolute_timeout = Some(timeout);
        self
    }

    /// With the epoch in which the login began, before the password was checked.
    #[must_use]
    pub const fn with_epoch(mut self, epoch: u64) -> Self {
        self.epoch = Some(epoch);
        self
    }
}

/// Options of a delete.
///
/// How they are used stands in the example of [`SessionStore`](crate::SessionStore#example).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeleteOptions {
    /// Under which lock it is deleted; none if that makes no difference.
    pub fence: Option<Fence>,
    /// How long this call may take; the backend's own limit if none.
    pub deadline: Option<Duration>,
}

impl DeleteOptions {
    statehouse_core::with_fence!();
    statehouse_core::with_deadline!();
}

/// Options of a create.
///
/// How it is used stands in the example of [`SessionStore`](crate::SessionStore#example).
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct CreateOptions {
    /// Which create it is; another than all before if none.
    pub id: Option<SaveId>,
    /// How long this call may take; the backend's own limit if none.
    pub deadline: Option<Duration>,
}

impl CreateOptions {
    statehouse_core::with_deadline!();

    /// With the id of the create: one that is repeated because its answer was lost is answered as the first try was.
    #[must_use]
    pub const fn with_id(mut self, id: SaveId) -> Self {
        self.id = Some(id);
        self
    }

    /// Its id, whether somebody named it or not.
    pub(crate) fn id(&self) -> statehouse_core::Result<SaveId> {
        self.id.map_or_else(SaveId::generate, Ok)
    }
}

/// Options of a save and of a rotation.
///
/// How it is used stands in the example of [`SessionStore`](crate::SessionStore#example).
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct SaveOptions {
    /// Which change it is; another than all before if none.
    pub id: Option<SaveId>,
    /// Whether it may have been made already: its outcome is unknown.
    pub repeats: bool,
    /// Under which lock it is made; none if that makes no difference.
    pub fence: Option<Fence>,
    /// How long this call may take; the backend's own limit if none.
    pub deadline: Option<Duration>,
    /// Whether all other sessions of the principal end by it, for which room is found in any case.
    #[cfg_attr(not(feature = "redis"), expect(dead_code, reason = "the other stores end them in the same step"))]
    pub(crate) ends_others: bool,
}

impl SaveOptions {
    statehouse_core::with_deadline!();
    statehouse_core::with_fence!();

    /// With the id of the change.
    #[must_use]
    pub const fn with_id(mut self, id: SaveId) -> Self {
        self.id = Some(id);
        self
    }

    /// The change of this id once more, because nobody knows whether it was made.
    #[must_use]
    pub const fn repeating(mut self, id: SaveId) -> Self {
        self.id = Some(id);
        self.repeats = true;
        self
    }

    /// The same, and with an id in any case.
    pub(crate) fn identified(self) -> statehouse_core::Result<(Self, SaveId)> {
        let id = self.id.map_or_else(SaveId::generate, Ok)?;
        Ok((Self { id: Some(id), ..self }, id))
    }
}
