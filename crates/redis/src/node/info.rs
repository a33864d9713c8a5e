//! What an answer to `INFO` says.

use statehouse_core::Retry;

use crate::error::LATER;

/// What a server does when `maxmemory` is reached: whether keys that must not vanish are safe on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EvictionPolicy {
    /// Writes fail and nothing is evicted (`noeviction`), or there is no `maxmemory`.
    Never,
    /// Keys with a time to live are evicted (`volatile-*`).
    WithTimeToLive,
    /// Any key is evicted (`allkeys-*`).
    Any,
    /// The server does not tell: this user may ask neither `CONFIG GET` nor `INFO`, as on some managed services.
    Unknown,
}

impl EvictionPolicy {
    pub(crate) const fn danger(self) -> u8 {
        match self {
            Self::Never => 0,
            Self::WithTimeToLive => 1,
            Self::Unknown => 2,
            Self::Any => 3,
        }
    }

    pub(crate) fn of(policy: &str, limit: u64) -> Self {
        match policy {
            _ if limit == 0 => Self::Never,
            "noeviction" => Self::Never,
            volatile if volatile.starts_with("volatile-") => Self::WithTimeToLive,
            any if any.starts_with("allkeys-") => Self::Any,
            _ => Self::Unknown,
        }
    }
}

/// What of that which a server has acknowledged is there again after it was stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Persistence {
    /// All, up to what `appendfsync` allows: by default the last second (`appendonly yes`).
    AppendOnlyFile,
    /// What was there at the last snapshot (`save`).
    Snapshots,
    /// Nothing.
    Nothing,
    /// It is told to keep something, and the last attempt to write it failed: its disk is full, slow or gone.
    Failing,
    /// The server does not tell: this user may ask neither `INFO` nor `CONFIG GET`, as on some managed services.
    Unknown,
}

impl Persistence {
    pub(crate) const fn danger(self) -> u8 {
        match self {
            Self::AppendOnlyFile => 0,
            Self::Snapshots => 1,
            Self::Unknown => 2,
            Self::Nothing => 3,
            Self::Failing => 4,
        }
    }

    /// From an answer to `INFO persistence`, and from the setting `save` where that could be had.
    pub(crate) fn of(info: &str, save: Option<&str>) -> Self {
        let fails = |name| field(info, name).is_some_and(|status| status != "ok");
        match field(info, "aof_enabled") {
            Some("1") if fails("aof_last_write_status") => Self::Failing,
            Some("1") => Self::AppendOnlyFile,
            Some("0") => match save {
                None => Self::Unknown,
                Some("") => Self::Nothing,
                Some(_) if fails("rdb_last_bgsave_status") => Self::Failing,
                Some(_) => Self::Snapshots,
            },
            _ => Self::Unknown,
        }
    }
}

/// Why writes are refused, and when it may be otherwise. A disk that cannot be written to is most often a full one.
pub(crate) type Refusal = (&'static str, Retry);

/// Why a server refuses writes though it is no replica and has room, if it is told to: from its answers to `INFO replication`
/// and `INFO persistence`, and from those of its settings that it tells.
pub(crate) fn refusal(info: &str, setting: impl Fn(&str) -> Option<String>) -> Option<Refusal> {
    let ill = |name| field(info, name).is_some_and(|status| status != "ok");
    // It says how many are well only where it needs some.
    let good = field(info, "min_slaves_good_slaves").and_then(|good| good.parse::<u64>().ok());
    let needed = setting("min-replicas-to-write").and_then(|needed| needed.parse().ok()).unwrap_or(1);
    if good.is_some_and(|good| good < needed) {
        return Some(("too few of its replicas are well (min-replicas-to-write)", LATER));
    }
    if field(info, "aof_enabled") == Some("1") && ill("aof_last_write_status") {
        return Some(("it cannot write its append-only file", Retry::FULL));
    }
    let stops = setting("stop-writes-on-bgsave-error").is_some_and(|stops| stops == "yes");
    let saves = setting("save").is_some_and(|save| !save.is_empty());
    (stops && saves && ill("rdb_last_bgsave_status"))
        .then_some(("it could not save its last snapshot (stop-writes-on-bgsave-error)", Retry::FULL))
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

    pub(crate) fn of(info: &str) -> Option<Self> {
        let limit: u64 = field(info, "maxmemory")?.parse().ok()?;
        let number = |name| field(info, name).and_then(|text| text.parse::<u64>().ok()).unwrap_or(0);
        let policy = EvictionPolicy::of(field(info, "maxmemory_policy")?, limit);
        Some(Self { policy, used: number("used_memory").saturating_sub(number("mem_not_counted_for_evict")), limit })
    }
}

/// The value after `name:` in an answer to `INFO`.
pub(crate) fn field<'a>(info: &'a str, name: &str) -> Option<&'a str> {
    info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
}

/// What a server calls itself in its answer to `INFO server`: a Valkey says too which Redis it is compatible with.
pub(crate) fn release(info: &str) -> Option<String> {
    let of = |name: &str, number: &str| field(info, number).map(|number| format!("{name} {number}"));
    of("Valkey", "valkey_version").or_else(|| of("Redis", "redis_version"))
}

pub(crate) fn version(text: &str) -> Option<(u32, u32)> {
    let mut numbers = text.split('.').map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

#[cfg(test)]
mod fuzz;
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
    fn a_server_is_called_what_it_calls_itself() {
        assert_eq!(release("# Server\r\nredis_version:7.2.4\r\n").as_deref(), Some("Redis 7.2.4"));
        let valkey = "redis_version:7.2.4\r\nserver_name:valkey\r\nvalkey_version:8.1.0\r\n";
        assert_eq!(release(valkey).as_deref(), Some("Valkey 8.1.0"));
        assert_eq!(release(""), None);
    }

    #[test]
    fn persistence_is_read_from_what_a_server_says() {
        let info = |on: &str, aof: &str, rdb: &str| {
            format!(
                "# Persistence\r\naof_enabled:{on}\r\naof_last_write_status:{aof}\r\nrdb_last_bgsave_status:{rdb}\r\n"
            )
        };
        assert_eq!(Persistence::of(&info("1", "ok", "err"), Some("")), Persistence::AppendOnlyFile);
        assert_eq!(Persistence::of(&info("1", "err", "ok"), None), Persistence::Failing);
        assert_eq!(Persistence::of(&info("0", "ok", "ok"), Some("3600 1")), Persistence::Snapshots);
        assert_eq!(Persistence::of(&info("0", "ok", "err"), Some("3600 1")), Persistence::Failing);
        assert_eq!(Persistence::of(&info("0", "ok", "err"), Some("")), Persistence::Nothing);
        assert_eq!(Persistence::of(&info("0", "ok", "ok"), None), Persistence::Unknown);
        assert_eq!(Persistence::of("", Some("3600 1")), Persistence::Unknown);
    }

    #[test]
    fn why_writes_are_refused_is_read_from_what_a_server_says() {
        let of = |info: &str, settings: &[(&str, &str)]| {
            let setting =
                |name: &str| settings.iter().find(|(known, _)| *known == name).map(|(_, set)| (*set).to_owned());
            refusal(info, setting)
        };
        let needs = |number| [("min-replicas-to-write", number)];
        assert!(of("min_slaves_good_slaves:0\r\n", &[]).is_some_and(|(why, _)| why.contains("replicas")));
        assert!(of("min_slaves_good_slaves:1\r\n", &needs("2")).is_some());
        assert_eq!(of("min_slaves_good_slaves:2\r\n", &needs("2")), None);
        assert_eq!(of("role:master\r\nconnected_slaves:0\r\n", &needs("0")), None);
        assert!(of("aof_enabled:1\r\naof_last_write_status:err\r\n", &[]).is_some());
        assert_eq!(of("aof_enabled:0\r\naof_last_write_status:err\r\n", &[]), None);
        let (failed, save) = ("rdb_last_bgsave_status:err\r\n", ("save", "3600 1"));
        assert!(of(failed, &[save, ("stop-writes-on-bgsave-error", "yes")]).is_some());
        for told in [&[save, ("stop-writes-on-bgsave-error", "no")][..], &[("save", ""), save][..1], &[save], &[]] {
            assert_eq!(of(failed, told), None, "{told:?}");
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
