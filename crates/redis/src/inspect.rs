//! What a server says about itself.

use redis::{Cmd, Pipeline, Value, cmd, from_redis_value};
use tokio::time::Instant;

use crate::health::EvictionPolicy;
use crate::node::Node;
use crate::pending::{Failure, Sent};

/// What a server says about itself in one round trip. What it does not tell, because it is of another kind or the user
/// may not ask, is left open: that alone is no reason to complain.
#[derive(Debug, Default)]
pub(crate) struct Facts {
    pub(crate) is_replica: bool,
    pub(crate) memory: Option<Memory>,
}

/// Bytes in use, and what happens when they reach the limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Memory {
    pub(crate) policy: EvictionPolicy,
    pub(crate) used: u64,
    /// Zero is no limit.
    pub(crate) limit: u64,
}

impl Memory {
    /// Whether writes are refused, or will be in a moment: within three hundredths of the limit, since what is in use
    /// goes up and down with what clients send.
    pub(crate) fn is_full(&self) -> bool {
        self.policy == EvictionPolicy::Never && self.limit > 0 && self.used >= self.limit - self.limit / 100 * 3
    }

    fn of(info: &str) -> Option<Self> {
        let limit: u64 = field(info, "maxmemory")?.parse().ok()?;
        let number = |name| field(info, name).and_then(|text| text.parse::<u64>().ok()).unwrap_or(0);
        let policy = EvictionPolicy::of(field(info, "maxmemory_policy")?, limit);
        Some(Self { policy, used: number("used_memory").saturating_sub(number("mem_not_counted_for_evict")), limit })
    }
}

impl Node {
    /// Asks whether it is there, what it is and how full it is.
    pub(crate) async fn inspect(&self, until: Instant) -> Result<Facts, Failure> {
        let mut questions = Pipeline::with_capacity(3);
        questions.cmd("PING").cmd("ROLE").cmd("INFO").arg("memory");
        let mut answers = self.send_each(&questions, until).await?.into_iter();
        let mut next = || told(answers.next().unwrap_or(Value::Nil).extract_error().map_err(Failure::answered));
        next()?;
        let role = next()?;
        let info = next()?.and_then(|info| from_redis_value::<String>(info).ok()).unwrap_or_default();
        Ok(Facts { is_replica: role.is_some_and(|role| is_replica(&role)), memory: Memory::of(&info) })
    }

    /// Major and minor number of the Redis that it is, or says that it is compatible with.
    pub(crate) async fn version(&self, until: Instant) -> Result<Option<(u32, u32)>, Failure> {
        let info = self.ask(cmd("INFO").arg("server"), until).await?;
        let info: String = info.and_then(|info| from_redis_value(info).ok()).unwrap_or_default();
        Ok(field(&info, "redis_version").and_then(version))
    }

    /// The answer, or `None` if the server refuses to answer.
    pub(crate) async fn ask(&self, question: &Cmd, until: Instant) -> Result<Option<Value>, Failure> {
        match self.send(question, until).await {
            Ok(answer) => Ok(Some(answer)),
            Err(failure) if failure.sent == Sent::Answered => Ok(None),
            Err(failure) => Err(failure),
        }
    }
}

/// That this user may not ask, or that there is no such question, says nothing about the server.
fn told(answer: Result<Value, Failure>) -> Result<Option<Value>, Failure> {
    match answer {
        Ok(answer) => Ok(Some(answer)),
        Err(failure) if matches!(failure.code(), Some("NOPERM" | "ERR")) => Ok(None),
        Err(failure) => Err(failure),
    }
}

fn is_replica(role: &Value) -> bool {
    let Value::Array(parts) = role else { return false };
    matches!(parts.first(), Some(Value::BulkString(role)) if role == b"slave")
}

/// The value after `name:` in an answer to `INFO`.
pub(crate) fn field<'a>(info: &'a str, name: &str) -> Option<&'a str> {
    info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
}

fn version(text: &str) -> Option<(u32, u32)> {
    let mut numbers = text.split('.').map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_and_nonsense_is_none() {
        assert_eq!(version("6.0.16"), Some((6, 0)));
        assert_eq!(version("7.2.4"), Some((7, 2)));
        assert_eq!(version("255.255.255"), Some((255, 255)));
        for text in ["", "7", "x.y", "7.x", "unstable", "99999999999.1"] {
            assert_eq!(version(text), None, "{text}");
        }
    }

    #[test]
    fn memory_is_full_where_nothing_may_be_evicted_and_the_limit_is_near() {
        let info = |used: &str, limit: &str, policy: &str| {
            let text = format!("# Memory\r\nused_memory:{used}\r\nused_memory_human:1M\r\nmaxmemory:{limit}\r\n");
            Memory::of(&format!("{text}maxmemory_policy:{policy}\r\nmem_not_counted_for_evict:10\r\n")).unwrap()
        };
        assert!(info("1010", "1000", "noeviction").is_full());
        assert!(info("985", "1000", "noeviction").is_full());
        assert!(!info("950", "1000", "noeviction").is_full());
        assert!(!info("2000", "1000", "allkeys-lru").is_full(), "it makes room");
        assert!(!info("2000", "0", "noeviction").is_full(), "no limit");
        assert_eq!(Memory::of(""), None);
        assert_eq!(Memory::of("maxmemory:many\r\nmaxmemory_policy:noeviction"), None);
    }
}
