//! Marks of locks, and scripts that look at them.

use std::sync::LazyLock;

use statehouse_core::Fence;

use crate::request::{REFUSE_LATE, RedisScript, ScriptCall};

/// The lines of a script whose calls are [fenced](ScriptCall::fence), to stand behind [`REFUSE_LATE`]: it does nothing where
/// somebody else has acquired the lock since, which is [`Fenced`](statehouse_core::ErrorKind::Fenced), and raises the lock's
/// mark where that is lower. The check and what follows are one step on the server.
///
/// A mark is a key of its own without a time to live. It holds the greatest token that was seen, in 20 decimal digits with
/// zeros in front; anything else under the key is as good as lost, and is replaced.
///
/// ```
/// use statehouse_core::{Fence, Key, Version};
/// use statehouse_redis::{REFUSE_LATE, REFUSE_STALE, RedisScript};
///
/// let set = RedisScript::new([REFUSE_LATE, REFUSE_STALE, "return redis.call('SET', KEYS[1], ARGV[1])"].concat());
/// let fence = Fence::new(Key::new("lock/export")?, Version::new(7));
/// let call = set.key("{exports}:last").arg("today").fence(b"{exports}:mark", &fence).deadline();
/// # let _ = call;
/// # Ok::<(), statehouse_core::Error>(())
/// ```
pub const REFUSE_STALE: &str = concat!("local only_deletes = false\n", include_str!("refuse_stale.lua"));

/// The same for a script that stores next to nothing itself: on a server whose memory is full ([`noeviction`](crate::EvictionPolicy)), it
/// raises the mark all the same, and what follows may write there too. So whoever has acquired a lock can delete, and
/// [`raise`], while nothing else is stored.
///
/// ```
/// use statehouse_redis::{REFUSE_LATE, REFUSE_STALE_TO_DELETE, RedisScript};
///
/// let source = [REFUSE_LATE, REFUSE_STALE_TO_DELETE, "return redis.call('DEL', KEYS[1])"].concat();
/// let delete = RedisScript::new(source);
/// # let _ = delete;
/// ```
pub const REFUSE_STALE_TO_DELETE: &str = concat!("local only_deletes = true\n", include_str!("refuse_stale.lua"));

static RAISE: LazyLock<RedisScript> =
    LazyLock::new(|| RedisScript::new([REFUSE_LATE, REFUSE_STALE_TO_DELETE, "return 1"].concat()));

/// The call that raises a mark to the token of a fence and answers 1. It may be repeated.
///
/// ```
/// use statehouse_core::{Fence, Key, Version};
///
/// let fence = Fence::new(Key::new("lock/export")?, Version::new(7));
/// let call = statehouse_redis::raise(b"{exports}:mark", &fence);
/// # let _ = call;
/// # Ok::<(), statehouse_core::Error>(())
/// ```
#[must_use]
pub fn raise(mark: &[u8], fence: &Fence) -> ScriptCall<'static> {
    RAISE.key(mark).token(fence).deadline()
}

impl ScriptCall<'_> {
    /// Says under which fence the script may run, and where its mark is, as the last of `KEYS` and of `ARGV` but for the
    /// [deadline](Self::deadline): nothing may be added after this. The mark must be in the slot of the other keys, and the
    /// script must begin with [`REFUSE_STALE`] or [`REFUSE_STALE_TO_DELETE`].
    #[must_use]
    pub fn fence(self, mark: &[u8], fence: &Fence) -> Self {
        self.key(mark).token(fence)
    }

    fn token(self, fence: &Fence) -> Self {
        self.arg(format!("{:020}", fence.token().get()))
    }
}
