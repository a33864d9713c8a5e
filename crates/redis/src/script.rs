use std::fmt;

use redis::{Cmd, FromRedisValue, ToRedisArgs};
use statehouse_core::Result;

use crate::client::{Idempotence, RedisClient};
use crate::request::Request;

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
        ScriptCall { script: self, keys: Vec::new(), arguments: Vec::new() }.key(key)
    }
}

impl fmt::Debug for RedisScript {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("RedisScript").field(&self.hash).finish()
    }
}

/// A call of a [`RedisScript`] with its keys and arguments. Like `Cmd`, it prints neither.
#[derive(Clone)]
pub struct ScriptCall<'a> {
    script: &'a RedisScript,
    keys: Vec<Vec<u8>>,
    arguments: Vec<Vec<u8>>,
}

impl ScriptCall<'_> {
    /// Adds a key: the next of `KEYS`.
    #[must_use]
    pub fn key(mut self, key: impl ToRedisArgs) -> Self {
        key.write_redis_args(&mut self.keys);
        self
    }

    /// Adds an argument: the next of `ARGV`.
    #[must_use]
    pub fn arg(mut self, argument: impl ToRedisArgs) -> Self {
        argument.write_redis_args(&mut self.arguments);
        self
    }

    /// Runs it.
    ///
    /// # Errors
    /// As [`RedisClient::query`].
    pub async fn run<T: FromRedisValue>(&self, client: &RedisClient, idempotence: Idempotence) -> Result<T> {
        client.convert(client.execute(&Request::Script(self), idempotence).await?)
    }

    pub(crate) fn first_key(&self) -> Option<&[u8]> {
        self.keys.first().map(Vec::as_slice)
    }

    pub(crate) fn by_hash(&self) -> Cmd {
        self.command("EVALSHA", &self.script.hash)
    }

    pub(crate) fn by_source(&self) -> Cmd {
        self.command("EVAL", &self.script.source)
    }

    fn command(&self, name: &str, script: &str) -> Cmd {
        // What is all known is not grown into.
        let all = self.keys.iter().chain(&self.arguments);
        let size = all.map(Vec::len).sum::<usize>() + script.len() + 32;
        let mut command = Cmd::with_capacity(3 + self.keys.len() + self.arguments.len(), size);
        command.arg(name).arg(script).arg(self.keys.len()).arg(&self.keys).arg(&self.arguments);
        command
    }
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
