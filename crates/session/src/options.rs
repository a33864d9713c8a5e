//! What one call of a store may be told besides what it does.

use std::time::Duration;

use statehouse_core::Fence;

use crate::record::SaveId;

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
