//! Files in Azure Blob Storage: what is said otherwise there than to S3.

pub(super) mod blob_name;
pub(super) mod blobs;
pub(super) mod codes;
mod config;
pub(super) mod connection;
pub(super) mod listed;
pub(super) mod names;
mod page;
mod presign;
pub(super) mod sas;

/// What errors call the service.
pub(super) const KIND: &str = "Azure";

pub use config::{AzureConfig, AzureCredentials};
