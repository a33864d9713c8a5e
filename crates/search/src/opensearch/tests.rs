#[cfg(feature = "tantivy")]
mod drawn;
mod fuzz;
#[cfg(feature = "tantivy")]
mod requests;
