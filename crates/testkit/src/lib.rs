//! Starts the real servers that statehouse is tested against.
