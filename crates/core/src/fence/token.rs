use crate::capability::FENCED;
use crate::{Error, ErrorKind, Key, Result, Version};

/// What a fenced write carries: which lock it is made under, and the token of its holder.
///
/// A store that can be guarded keeps a **mark** for each lock: the greatest token that it has seen. A write whose token is
/// below it is of a former holder, and is refused as [`ErrorKind::Fenced`]; one whose token is above raises it. So a process
/// that was stopped for longer than its lease, and goes on without knowing, does no harm.
///
/// Whoever has the lock hands it out ([`AsFence`]); it is made here by whoever has tokens from elsewhere, which must be greater
/// for each holder than for all before.
///
/// ```
/// use statehouse_core::fence::Marks;
/// use statehouse_core::{ErrorKind, Fence, Key, Version};
///
/// let (marks, lock) = (Marks::default(), Key::new("lock/export")?);
/// let (first, second) = (Fence::new(lock.clone(), Version::new(7)), Fence::new(lock, Version::new(9)));
/// assert!(marks.hold(Some(&first)).is_ok());
/// marks.raise(&second)?; // somebody else has the lock
/// assert_eq!(marks.hold(Some(&first)).unwrap_err().kind(), ErrorKind::Fenced);
/// # Ok::<(), statehouse_core::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fence {
    mark: Key,
    token: Version,
}

impl Fence {
    /// The fence of the holder that has this token, of the lock whose mark has this name.
    #[must_use]
    pub const fn new(mark: Key, token: Version) -> Self {
        Self { mark, token }
    }

    /// The name of the lock's mark.
    #[must_use]
    pub const fn mark(&self) -> &Key {
        &self.mark
    }

    /// The token: greater than those of all who had the lock before.
    #[must_use]
    pub const fn token(&self) -> Version {
        self.token
    }

    /// The same for a part of a store, whose marks are apart from those of other parts.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] if the names together are no [`Key`].
    pub fn within(&self, part: &str) -> Result<Self> {
        Ok(Self { mark: Key::new(format!("{part}/{}", self.mark))?, token: self.token })
    }

    /// Refuses the write if the mark stands higher. For authors of backends.
    ///
    /// # Errors
    /// [`ErrorKind::Fenced`], as said.
    pub fn check(&self, mark: Version) -> Result<()> {
        if mark <= self.token { Ok(()) } else { Err(Self::refused()) }
    }

    /// The error of a fenced write, and of raising a mark, where no marks are kept. For authors of backends: a fence is never
    /// ignored.
    #[must_use]
    pub fn unsupported() -> Error {
        let message = format!("this backend lacks {FENCED:?} ({})", FENCED.meaning());
        Error::new(ErrorKind::Unsupported, message)
    }

    /// The error of a write that is refused. For authors of backends.
    #[must_use]
    pub fn refused() -> Error {
        let message = "somebody else has acquired the lock since, and nothing was changed";
        Error::new(ErrorKind::Fenced, message)
    }
}

/// What a fence can be had of: a guard of a lock, and a [`Fence`] itself.
pub trait AsFence {
    /// The fence.
    fn as_fence(&self) -> &Fence;
}

impl AsFence for Fence {
    fn as_fence(&self) -> &Fence {
        self
    }
}
