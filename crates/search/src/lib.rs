//! A search index with the same hits in tantivy and in OpenSearch.
