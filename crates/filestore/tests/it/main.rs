//! The store against real servers, killed processes and full disks.

#[cfg(target_os = "linux")]
mod full_disk;
mod killed;
#[cfg(target_os = "linux")]
mod private;
#[cfg(target_os = "linux")]
mod read_only;
mod s3;
