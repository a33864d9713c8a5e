use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use statehouse_core::{Result, hex};

use super::info::MemberInfo;
use crate::record::WriteId;

/// Which incarnation of a process it is: 16 random bytes, drawn when it joins, so that a process that is started again is
/// another member. `Display` is their hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MemberId([u8; 16]);

impl MemberId {
    pub(super) fn generate() -> Result<Self> {
        Ok(Self(*WriteId::generate()?.as_bytes()))
    }

    /// An id from its bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Display for MemberId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(&self.0))
    }
}

impl fmt::Debug for MemberId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MemberId({self})")
    }
}

/// A member, as the store has it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Member {
    /// Which.
    pub id: MemberId,
    /// What it is called: see [`Coordination::with_label`](crate::Coordination::with_label).
    pub label: Arc<str>,
    /// What it said of itself.
    pub info: Arc<MemberInfo>,
    /// A moment of this process's clock after which it said so; unknown where a store tells no time and it was seen
    /// only once.
    pub heard: Option<Instant>,
    /// After how long it counts as gone unless it says something.
    pub expires_in: Duration,
}

impl Member {
    /// A member, for tests of what is decided by members.
    #[must_use]
    pub fn new(id: MemberId, label: impl AsRef<str>, info: MemberInfo) -> Self {
        let (label, info) = (label.as_ref().into(), Arc::new(info));
        Self { id, label, info, heard: None, expires_in: Duration::MAX }
    }

    /// Sets since when it has said so.
    ///
    /// ```
    /// use std::time::Instant;
    /// use statehouse_coord::{Member, MemberId, MemberInfo};
    ///
    /// let info = MemberInfo::new("clinic 1.4.0");
    /// let heard = Member::new(MemberId::from_bytes([7; 16]), "host 4711", info).with_heard(Instant::now());
    /// assert!(heard.heard.is_some());
    /// ```
    #[must_use]
    pub const fn with_heard(mut self, heard: Instant) -> Self {
        self.heard = Some(heard);
        self
    }
}
