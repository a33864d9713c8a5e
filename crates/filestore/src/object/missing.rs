//! Why requests cannot be signed.

use std::error::Error as StdError;
use std::fmt;
use std::time::Duration;

use statehouse_core::{Unreached, causes};

/// How long after a failure nobody asks again, and everybody is told of that failure.
pub(super) const PAUSE: Duration = Duration::from_secs(1);

/// Why there are no credentials.
#[derive(Clone, Debug)]
pub(super) struct Missing {
    /// `http://host` of who was asked, if anybody was.
    pub(super) at: Option<String>,
    pub(super) why: Why,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Why {
    /// Nobody could be asked: the reason is a cause of the error.
    NotAsked,
    Unreached(Option<Unreached>),
    TimedOut,
    Failed(u16),
    Refused(u16),
    /// There was an answer, and no credentials in it.
    Unreadable,
}

impl Missing {
    pub(super) const NOT_ASKED: Self = Self { at: None, why: Why::NotAsked };

    /// What the error says on the way through `object_store`.
    pub(super) fn of(error: &(dyn StdError + 'static)) -> Self {
        causes(error).find_map(|cause| cause.downcast_ref::<Self>()).cloned().unwrap_or(Self::NOT_ASKED)
    }

    /// Whether it is the application's or the operator's to mend, and not a trouble that passes.
    pub(super) const fn is_lasting(&self) -> bool {
        matches!(self.why, Why::NotAsked | Why::Refused(_))
    }
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(at) = &self.at else {
            return f.write_str("none given, and none from the environment or the host");
        };
        write!(f, "none given, and those of the role are not to be had from {at}: ")?;
        match self.why {
            Why::NotAsked | Why::Unreached(None) => f.write_str("it cannot be reached"),
            Why::Unreached(Some(why)) => write!(f, "{why}"),
            Why::TimedOut => f.write_str("it did not answer in time"),
            Why::Failed(status) => write!(f, "it failed with {status}"),
            Why::Refused(status) => write!(f, "it refused with {status}"),
            Why::Unreadable => f.write_str("there are none in its answer"),
        }
    }
}

impl StdError for Missing {}
