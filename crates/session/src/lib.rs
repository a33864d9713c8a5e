//! Sessions with one contract in memory, on disk and in Redis.
