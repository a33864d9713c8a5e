//! The cache that applications use: values of one type under a name. Its verbs, from `get` to `clear`, are in `verbs.rs`.

mod builder;
mod cache;
mod call;
mod core;
mod familiar;
mod flights;
mod held;
mod kept;
mod load;
mod set;
mod tier;
mod verbs;
mod versioned;

pub use builder::CacheBuilder;
pub use cache::{Outage, TypedCache};
pub use load::{GetOrLoad, LoadFuture};
pub use set::{Set, SetIf};
pub use tier::{CacheValue, VerifyCodec};
pub use versioned::Versioned;

#[cfg(test)]
mod tests;
