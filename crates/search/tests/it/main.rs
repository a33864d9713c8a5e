//! The backends against real servers.

#[cfg(any(feature = "opensearch", feature = "tantivy"))]
mod changed;
#[cfg(feature = "tantivy")]
mod embedded;
#[cfg(any(feature = "opensearch", feature = "tantivy"))]
mod mass_indexer;
#[cfg(feature = "opensearch")]
mod network;
#[cfg(feature = "opensearch")]
mod opensearch;
#[cfg(all(feature = "opensearch", feature = "tantivy"))]
mod parity;
#[cfg(any(feature = "opensearch", feature = "tantivy"))]
mod random;
#[cfg(all(feature = "opensearch", feature = "tantivy"))]
mod under_load;

/// Shows a table that belongs to a test's result, whether or not the test passes.
#[cfg(all(feature = "opensearch", feature = "tantivy"))]
#[expect(clippy::print_stdout, reason = "the table is what the test is read for")]
fn report(table: &str) {
    println!("{table}");
}
