//! Whether what was loaded has ended with the other sessions of its principal.

use super::principals::Epochs;
use crate::outcome::{Loaded, REMEMBERED};
use crate::record::Principal;

/// Who is logged in to it.
pub(super) fn owner_of(loaded: &Loaded) -> Option<Principal> {
    match loaded {
        Loaded::Found(session) => session.record().principal().cloned(),
        Loaded::Deleted { .. } | Loaded::Absent => None,
    }
}

/// What was loaded, in these epochs of its principal.
pub(super) fn judge(loaded: Loaded, epochs: Epochs) -> Loaded {
    let Loaded::Found(session) = &loaded else { return loaded };
    match epochs.ended(session.record()).map(|ended| session.now().since(ended)) {
        None => loaded,
        // An epoch may be ahead of the clock: then it has begun just now.
        Some(ago) if ago < REMEMBERED => Loaded::Deleted { ago },
        Some(_) => Loaded::Absent,
    }
}
