//! How a replica stands among the others.

use std::collections::BTreeMap;

/// What is known of the others, and what follows from that.
#[cfg_attr(not(feature = "coord"), allow(dead_code, reason = "who knows of no others has none"))]
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Standing {
    /// How many there are, this one among them; none while that is not known.
    pub(crate) members: Option<usize>,
    /// For each dependency that is lost, whether this replica answers requests all the same.
    pub(crate) verdicts: BTreeMap<String, Verdict>,
    /// In what this replica differs from the others that should be the same.
    pub(crate) differences: Vec<String>,
    /// Why it must not go on.
    pub(crate) behind: Option<String>,
}

/// What a replica does that has lost what it cannot do without.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is not ready: the others answer.
    Out(String),
    /// It stays, and why.
    In(String),
}
