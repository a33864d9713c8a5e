//! What the scripts on an entry answer.

use statehouse_redis::redis::{FromRedisValue, ParsingError, Value, from_redis_value};

/// The scripts' first answer; see `lua/head.lua`.
pub(super) const DONE: u8 = 1;
pub(super) const CONFLICT: u8 = 2;
pub(super) const HIT: u8 = 3;
pub(super) const HELD: u8 = 4;
pub(super) const ENDED: u8 = 5;
pub(super) const DOUBT: u8 = 6;

/// A script's answer as it comes: its status, a version, and the generation of the group. Of one that was done under the
/// generation that the call had named, as most are, the version alone: that is the least to make and to read.
pub(super) struct Told {
    pub(super) status: u8,
    pub(super) version: u64,
    pub(super) generation: Option<u64>,
}

impl FromRedisValue for Told {
    fn from_redis_value(value: Value) -> Result<Self, ParsingError> {
        if let Value::Int(_) = value {
            return Ok(Self { status: DONE, version: from_redis_value(value)?, generation: None });
        }
        let (status, version, generation) = from_redis_value(value)?;
        Ok(Self { status, version, generation: Some(generation) })
    }
}

/// As [`Told`], with what was found instead.
pub(super) struct ToldOf(pub(super) Told, pub(super) Option<Vec<u8>>);

impl FromRedisValue for ToldOf {
    fn from_redis_value(value: Value) -> Result<Self, ParsingError> {
        if let Value::Int(_) = value {
            return Ok(Self(from_redis_value(value)?, None));
        }
        let (status, version, generation, record) = from_redis_value(value)?;
        Ok(Self(Told { status, version, generation: Some(generation) }, record))
    }
}
