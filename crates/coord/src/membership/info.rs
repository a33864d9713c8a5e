use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};

/// What a member tells the others of itself: given to [`Membership::join`](crate::Membership::join), and changed by
/// [`Joined::update`](crate::Joined::update). All of it together has up to 16 KiB.
///
/// ```
/// use statehouse_coord::{MemberInfo, MemberState};
///
/// let info = MemberInfo::new("clinic 1.4.0")
///     .with_formats("notes", 1..=2)
///     .with_fingerprint("feed", "sha256:4a7d1e")
///     .with_address("10.0.0.7:8080")
///     .with_state(MemberState::Ready); // nothing to be done before it answers
/// assert_eq!(info.formats["notes"], 1..=2);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct MemberInfo {
    /// Which program it is, with its version.
    pub build: String,
    /// Which formats it can read and write, of each kind by its name: the oldest to the newest. See
    /// [`Epoch`](crate::Epoch).
    pub formats: BTreeMap<String, RangeInclusive<u32>>,
    /// What should be the same for all members, such as the digest of a configuration, by its name. No secrets: they are
    /// shown where they differ.
    pub fingerprints: BTreeMap<String, String>,
    /// How far it is.
    pub state: MemberState,
    /// Of what it depends on: whether it reached it when it looked last.
    pub reaches: BTreeMap<String, bool>,
    /// What it has lost and cannot do without.
    pub lost: Vec<String>,
    /// Why it does not answer requests, if it does not.
    pub reasons: Vec<String>,
    /// Where it can be reached, for whoever wants to tell.
    pub address: Option<String>,
}

impl MemberInfo {
    /// A member that runs this program, and says no more.
    #[must_use]
    pub fn new(build: impl Into<String>) -> Self {
        Self { build: build.into(), ..Self::default() }
    }

    /// It can read and write these formats of this kind.
    #[must_use]
    pub fn with_formats(mut self, kind: impl Into<String>, formats: RangeInclusive<u32>) -> Self {
        self.formats.insert(kind.into(), formats);
        self
    }

    /// Something that should be the same for all.
    #[must_use]
    pub fn with_fingerprint(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.fingerprints.insert(name.into(), value.into());
        self
    }

    /// How far it is.
    #[must_use]
    pub const fn with_state(mut self, state: MemberState) -> Self {
        self.state = state;
        self
    }

    /// Where it can be reached.
    #[must_use]
    pub fn with_address(mut self, address: impl Into<String>) -> Self {
        self.address = Some(address.into());
        self
    }

    /// Whether it can read and write this format of this kind. Who says nothing of a kind is from before it.
    #[must_use]
    pub fn knows(&self, kind: &str, format: u32) -> bool {
        self.formats.get(kind).is_some_and(|formats| formats.contains(&format))
    }
}

/// How far a member is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "u8", into = "u8")]
#[non_exhaustive]
pub enum MemberState {
    /// It has work to do before it answers requests.
    #[default]
    Starting,
    /// It answers requests.
    Ready,
    /// It does not, and may again.
    Unready,
    /// It ends.
    Stopping,
}

impl MemberState {
    /// In a word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Ready => "ready",
            Self::Unready => "unready",
            Self::Stopping => "stopping",
        }
    }
}

impl std::fmt::Display for MemberState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

impl From<MemberState> for u8 {
    fn from(state: MemberState) -> Self {
        match state {
            MemberState::Starting => 0,
            MemberState::Ready => 1,
            MemberState::Unready => 2,
            MemberState::Stopping => 3,
        }
    }
}

/// What a later version says that is not known here is not ready.
impl From<u8> for MemberState {
    fn from(number: u8) -> Self {
        match number {
            0 => Self::Starting,
            1 => Self::Ready,
            3 => Self::Stopping,
            _ => Self::Unready,
        }
    }
}
