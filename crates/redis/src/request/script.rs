use std::fmt;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};

use redis::{Arg, Cmd, ToRedisArgs};

use crate::connection::flow::length;

/// A Lua script that runs atomically on the server.
///
/// It is sent by its hash; a server that does not know it (after a restart, a failover, on another node of a cluster)
/// is sent the source, in the same operation. Scripts take the time from `redis.call('TIME')`, never from an argument.
///
/// ```
/// use statehouse_redis::RedisScript;
///
/// let take = RedisScript::new("return redis.call('GETDEL', KEYS[1])");
/// assert_eq!(take.hash().len(), 40);
/// ```
#[derive(Clone)]
pub struct RedisScript {
    source: String,
    hash: String,
}

impl RedisScript {
    /// Takes the source. Nothing is sent yet.
    #[must_use]
    pub fn new(source: impl Into<String>) -> Self {
        let source = source.into();
        Self { hash: redis::Script::new(&source).get_hash().to_owned(), source }
    }

    /// The SHA-1 of the source in hexadecimal, by which the server knows it.
    #[must_use]
    pub fn hash(&self) -> &str {
        &self.hash
    }

    /// Begins a call with its first key, which decides the server in a cluster. Further keys must be in the same slot.
    #[must_use]
    pub fn key(&self, key: impl ToRedisArgs) -> ScriptCall<'_> {
        let (keys, arguments) = (Cmd::with_capacity(2, 128), Cmd::with_capacity(8, 256));
        ScriptCall { script: self, keys, arguments, stamped: false }.key(key)
    }
}

impl fmt::Debug for RedisScript {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("RedisScript").field(&self.hash).finish()
    }
}

/// The first lines of a script whose calls have a [`deadline`](ScriptCall::deadline): it does nothing where that has
/// passed. For what follows, the local `now` is the server's time in microseconds since 1970.
///
/// ```
/// use statehouse_redis::{REFUSE_LATE, RedisScript};
///
/// let set = RedisScript::new(format!("{REFUSE_LATE} return redis.call('SET', KEYS[1], ARGV[1])"));
/// let call = set.key("greeting").arg("hello").deadline();
/// # let _ = call;
/// ```
pub const REFUSE_LATE: &str = include_str!("../refuse_late.lua");

/// A static script of these files, whose calls have a [`deadline`](ScriptCall::deadline): [`REFUSE_LATE`] stands before them,
/// and behind that what is named before the files, such as [`ENVELOPE_STAMP`].
#[doc(hidden)]
#[macro_export]
macro_rules! script {
    ($($before:ident,)* $($file:literal),+) => {
        ::std::sync::LazyLock::new(|| {
            $crate::RedisScript::new([$crate::REFUSE_LATE, $($before,)* $(include_str!($file)),+].concat())
        })
    };
}

/// What a script needs that stores a [`statehouse_core::Envelope`] with the server's version and time, to stand behind
/// [`REFUSE_LATE`]: `number(bytes, at)` reads a number of eight bytes, `sealed(version, created, soft, hard)` gives the
/// stamp with its checksum, of times in microseconds since 1970, and `is_sealed(head)` tells whether an envelope whose stamp is
/// undamaged begins with these bytes.
///
/// ```
/// use statehouse_redis::{ENVELOPE_STAMP, REFUSE_LATE, RedisScript};
///
/// let stored = "redis.call('SET', KEYS[1], string.sub(ARGV[1], 1, 16) .. sealed(now, now, 0, 0) .. string.sub(ARGV[1], 53))";
/// let store = RedisScript::new([REFUSE_LATE, ENVELOPE_STAMP, stored].concat());
/// # let _ = store;
/// ```
pub const ENVELOPE_STAMP: &str = include_str!("../envelope_stamp.lua");

/// A call of a [`RedisScript`] with its keys and arguments. Like `Cmd`, it prints neither.
///
/// # What comes too late
/// A request whose answer does not come may still be on its way: in a network that drops packets it is delivered when
/// that heals, though its caller was told long ago that it had failed. A script whose call has a
/// [`deadline`](Self::deadline) is told until when it may run and refuses to do so later, so that:
/// - Once [`run`](Self::run) returns, nothing of the call is executed any more, whatever it returned. Where a try was lost
///   before its time was over, because its connection broke, `run` returns when it is, or as soon as the server says that
///   it has closed that connection (`CLIENT LIST ID`, where the user may ask that).
/// - It fails with [`OutcomeUnknown`](statehouse_core::ErrorKind::OutcomeUnknown) if any of its tries may have been
///   executed, be it `Idempotent` or not. With every other error nothing was executed; so also with
///   [`Timeout`](statehouse_core::ErrorKind::Timeout), if the server got each try too late.
/// - A call that is dropped before it returns may be executed until the try under way would have been given up: within the
///   `timeout` of the configuration, or of [`RedisClient::with_deadline`](crate::RedisClient::with_deadline).
///
/// The time is one of the server's clock, which the connector reads every seven seconds, and never later than the moment at which
/// the try is given up. It may be earlier by what reading the clock took, and by a five-hundredth of the time that is left.
/// If the server's clock is set back by an hour, what was lost within the ten seconds before may run for an hour.
///
/// ```
/// use statehouse_redis::{REFUSE_LATE, RedisScript};
///
/// // Whoever stores the id of a call knows it again when it is repeated.
/// let source = "if redis.call('HSETNX', KEYS[1], ARGV[2], '') == 1 then redis.call('INCRBY', KEYS[2], ARGV[1]) end";
/// let once = RedisScript::new(format!("{REFUSE_LATE} {source}"));
/// let call = once.key("{visits}:calls").key("{visits}:count").arg(3).id().deadline();
/// assert!(!format!("{call:?}").contains("visits"), "nothing of it is printed");
/// ```
#[derive(Clone)]
pub struct ScriptCall<'a> {
    script: &'a RedisScript,
    // Commands hold what they are given in one piece each.
    keys: Cmd,
    arguments: Cmd,
    stamped: bool,
}

impl ScriptCall<'_> {
    /// Adds a key: the next of `KEYS`.
    #[must_use]
    pub fn key(mut self, key: impl ToRedisArgs) -> Self {
        self.keys.arg(key);
        self
    }

    /// Adds an argument: the next of `ARGV`.
    #[must_use]
    pub fn arg(mut self, argument: impl ToRedisArgs) -> Self {
        self.arguments.arg(argument);
        self
    }

    /// Adds an argument that no other call has: the next of `ARGV` is 8 random bytes. They stay the same when the call is
    /// repeated, by the connector or by running it again, so that a script that stores them knows what it has done already.
    #[must_use]
    pub fn id(self) -> Self {
        self.arg(&unique().to_le_bytes())
    }

    /// Says with every try until when the script may run, as the *last* of `ARGV`, whatever is added after this: a time by
    /// the server's clock, in microseconds since 1970. The script must refuse to run later, as [`REFUSE_LATE`] does, with an
    /// error whose first word is `LATE`; it is then sent again, as long as there is time. See [above](Self#what-comes-too-late).
    #[must_use]
    pub const fn deadline(mut self) -> Self {
        self.stamped = true;
        self
    }

    /// Whether the latest time at which it may run is to be added to [`by_hash`](Self::by_hash).
    pub(crate) const fn is_stamped(&self) -> bool {
        self.stamped
    }

    pub(crate) fn first_key(&self) -> Option<&[u8]> {
        self.keys.args_iter().next().map(|key| bytes(&key))
    }

    /// How many bytes its keys and arguments have.
    pub(crate) fn size(&self) -> usize {
        length(&self.keys) + length(&self.arguments)
    }

    pub(crate) fn by_hash(&self) -> Cmd {
        self.command("EVALSHA", &self.script.hash)
    }

    pub(crate) fn by_source(&self) -> Cmd {
        self.command("EVAL", &self.script.source)
    }

    fn command(&self, name: &str, script: &str) -> Cmd {
        // What is all known is not grown into.
        let size = self.size() + script.len() + 32;
        let (keys, arguments) = (self.keys.args_iter(), self.arguments.args_iter());
        // The deadline is still to come.
        let mut command = Cmd::with_capacity(4 + keys.len() + arguments.len(), size);
        command.arg(name).arg(script).arg(keys.len());
        for part in keys.chain(arguments) {
            command.arg(bytes(&part));
        }
        command
    }
}

fn bytes<'a>(part: &Arg<&'a [u8]>) -> &'a [u8] {
    if let Arg::Simple(bytes) = part { bytes } else { &[] }
}

/// A number that no other call has: a hash of a counter, by a key that is random in each process.
fn unique() -> u64 {
    static KEY: LazyLock<RandomState> = LazyLock::new(RandomState::new);
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    KEY.hash_one(COUNTER.fetch_add(1, Ordering::Relaxed))
}

impl fmt::Debug for ScriptCall<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScriptCall").field("script", &self.script.hash).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_counts_its_keys_and_keeps_bytes() {
        let script = RedisScript::new("return 1");
        let call = script.key("a").key(&[0xff_u8, 0x00]).arg(5).arg("");
        let packed = call.by_hash().get_packed_command();
        let expected = [
            b"*7\r\n$7\r\nEVALSHA\r\n$40\r\ne0e1f9fabfc9d4800c877a703b823ac0578ff8db\r\n$1\r\n2\r\n$1\r\na\r\n"
                .as_slice(),
            b"$2\r\n\xff\x00\r\n$1\r\n5\r\n$0\r\n\r\n",
        ]
        .concat();
        assert_eq!(packed, expected);
        assert!(!format!("{call:?}").contains("key"));
    }
}
