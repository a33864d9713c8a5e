//! The generations of an index on a server, to which many processes write.
//!
//! [`set`] says where it is told which there are; [`both`] writes to two of them, [`activate`] makes the other one live. The
//! whole is told in the documentation of [`OpenSearchIndex`](super::OpenSearchIndex).

mod activate;
mod begin;
mod both;
mod compare;
mod copy;
mod ending;
mod filler;
#[cfg(test)]
mod fuzz;
mod ground;
mod repair;
mod rows;
mod scan;
pub(super) mod set;
mod view;

pub(super) use self::both::{Both, Written, is_applied, is_in_doubt};
pub(super) use self::filler::Filler;
pub(super) use self::ground::{Ground, Home, SLOW};
pub(super) use self::rows::{Rows, not_filled};
pub(super) use self::view::{Serving, View};
