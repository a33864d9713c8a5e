//! The contract on every backend, and sessions through HTTP.

mod conformance;
mod key;
