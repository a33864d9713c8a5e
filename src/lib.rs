//! statehouse.
