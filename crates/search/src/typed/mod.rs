//! What applications use: an index of a type of theirs, and handles for its fields. Its verbs, from `upsert` to `refresh`, are in
//! `index.rs`; how a search, a write and all hits go on is in `search.rs`, `write.rs` and `hits.rs`.

mod document;
mod fields;
mod found;
mod hits;
mod index;
mod search;
mod write;

pub use document::{Document, FieldValue, FieldValues, Millis, Unversioned};
pub use fields::{CollapseField, KeywordField, TextField, ValueField, ValueRanges};
pub use found::Found;
pub use hits::DocumentHits;
pub use index::Index;
pub use search::{Page, Search};
pub use write::Write;

#[cfg(test)]
mod tests;
