#[cfg(feature = "tantivy")]
mod drawn;
#[cfg(feature = "tantivy")]
pub(super) mod requests;
