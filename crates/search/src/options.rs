//! How a call is made, whatever it asks. That of a bulk stands beside its operations.

use std::time::Duration;

macro_rules! options {
    ($($(#[$about:meta])* $name:ident)*) => {$(
        $(#[$about])*
        #[derive(Clone, Debug, Default, PartialEq, Eq)]
        #[non_exhaustive]
        pub struct $name {
            /// How long this call may take; the backend's own limit if none.
            pub deadline: Option<Duration>,
        }

        impl $name {
            /// Sets the deadline.
            #[must_use]
            pub const fn with_deadline(mut self, deadline: Duration) -> Self {
                self.deadline = Some(deadline);
                self
            }
        }
    )*};
}

options! {
    /// How a document is read.
    GetOptions
    /// How a search or a count is run.
    SearchOptions
    /// How a refresh is made.
    RefreshOptions
    /// How an index is merged. A merge takes as long as it takes to write the index once, so without a deadline there is no
    /// limit to it.
    MergeOptions
}
