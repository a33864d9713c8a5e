use std::borrow::Cow;
use std::sync::Arc;

use crate::node::Node;

/// The server to send to, and whether to prefix `ASKING`: it has the slot, but does not own it yet.
#[derive(Clone, Debug)]
pub(crate) struct Target<'a> {
    /// Borrowed where there is only one: its reference count would be changed by all threads.
    pub(crate) node: Cow<'a, Arc<Node>>,
    pub(crate) asking: bool,
}

impl<'a> Target<'a> {
    /// The server that owns the slot.
    pub(crate) fn of(node: &'a Arc<Node>) -> Self {
        Self { node: Cow::Borrowed(node), asking: false }
    }
}
