//! Each server is started, used, paused, killed and started again, and nothing of it stays behind.

mod leftovers;
mod network;
mod opensearch;
mod postgres;
mod program;
mod proxy;
mod redis;
mod redis_groups;
mod s3;
mod speaker;
