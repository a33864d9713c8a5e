//! A file store with one contract in memory, on disk and on S3.
