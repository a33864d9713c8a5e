//! The store against real servers, killed processes and full disks.

#[cfg(target_os = "linux")]
mod full_disk;
mod killed;
mod s3;
