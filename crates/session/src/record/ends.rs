//! How long an attribute lives.

use std::time::Duration;

use statehouse_core::time::whole_micros;

/// When an attribute ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Ends {
    /// With its session.
    #[default]
    Never,
    /// So long after it is saved: what a change says.
    After(Duration),
    /// So long after the session was created: what is stored.
    At(Duration),
}

impl Ends {
    /// What is stored of it by a save at this age of the session.
    pub(super) fn saved(self, age: Duration) -> Self {
        match self {
            Self::After(lives) => Self::At(Duration::from_micros(whole_micros(age.saturating_add(lives)))),
            stored => stored,
        }
    }

    /// Whether it has ended at this age of the session.
    pub(crate) fn is_over(self, age: Duration) -> bool {
        matches!(self, Self::At(end) if end <= age)
    }
}
