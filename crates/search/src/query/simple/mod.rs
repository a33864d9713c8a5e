//! What a person types into a search box: the options, and what came of the text.

mod build;
mod options;
mod parse;
mod read;
mod warning;

#[cfg(test)]
mod fuzz;
#[cfg(test)]
mod tests;

pub use self::options::SimpleQueryString;
pub use self::warning::{ParsedQuery, QueryWarning, QueryWarningKind};
