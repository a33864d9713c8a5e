//! A cache with one contract in memory and in Redis.
