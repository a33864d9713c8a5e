//! Derive macros of statehouse.
