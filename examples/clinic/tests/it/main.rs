//! The clinic as its users meet it: one process, or replicas on real servers, over HTTP and in a browser.

mod bad_input;
mod client;
mod clinic;
mod documents;
mod embedded;
mod everyday;
#[cfg(target_os = "linux")]
mod full_disk;
mod logging_in;
mod refusals;
mod together;

mod browser;
#[cfg_attr(not(feature = "replicas"), expect(dead_code, reason = "one clinic alone has no outages to look into"))]
mod load;
mod pages;
#[cfg(feature = "replicas")]
mod replicas;
#[cfg(feature = "replicas")]
mod staged;
mod webdriver;
