//! Each server is started, used, paused, killed and started again, and nothing of it stays behind.

mod leftovers;
mod proxy;
mod redis;
