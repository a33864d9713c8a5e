//! Files over HTTP: the same on every backend, to the byte.

mod curl;
mod deadline;
mod kit;
mod presigned;
mod reads;
mod signed;
mod stored;
mod told;
mod uploads;
