//! The store against real servers, killed processes and full disks.

mod as_object_store;
mod as_object_store_steps;
mod azure;
mod azure_names;
mod broken;
#[cfg(target_os = "linux")]
mod full_disk;
mod gone;
mod killed;
mod local_busy;
mod mirror;
#[cfg(unix)]
mod mirror_killed;
mod network;
#[cfg(target_os = "linux")]
mod private;
#[cfg(target_os = "linux")]
mod read_only;
mod s3;
mod s3_answers;
mod s3_copies;
mod s3_environment;
mod s3_fenced;
mod s3_leftovers;
mod s3_lost;
mod s3_pauses;
mod s3_preconditions;
mod s3_roles;
mod s3_unchanged;
mod s3_wrong;
mod staged;
mod steps;
mod streams;
mod stub;
mod told;
mod web;
