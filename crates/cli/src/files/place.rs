//! Where files are, and which of them are meant.

use std::sync::Arc;

use statehouse::core::{Namespace, ServiceUrl};
use statehouse::files::{Depth, FileStore, Files, ListOptions, Start, open as open_url};
use statehouse::{Config, Services};

use crate::environment::open;
use crate::outcome::Failure;

/// A store, and the namespace of the environment in it.
pub(super) struct Store {
    store: Arc<dyn FileStore>,
    namespace: Namespace,
    services: Option<Services>,
}

impl Store {
    /// The one at this URL, or the one that the environment names.
    pub(super) async fn open(url: Option<&str>, argument: &str) -> Result<Self, Failure> {
        let Some(url) = url else {
            let services = open().await?;
            let (store, namespace) = (Arc::clone(services.file_store()), services.namespace().clone());
            return Ok(Self { store, namespace, services: Some(services) });
        };
        let config = Config::from_env().map_err(|error| Failure::setting(&error))?;
        let namespace = Namespace::new(config.namespace).map_err(|error| Failure::setting(&error))?;
        let url = ServiceUrl::parse(argument, url).map_err(|error| Failure::setting(&error))?;
        statehouse::files::check(&url, &namespace).map_err(|error| Failure::setting(&error))?;
        let store = Arc::clone(open_url(url, &namespace).await?.store());
        Ok(Self { store, namespace, services: None })
    }

    /// The names that the application has given to `Services::files` and that have files, in their order. The first page is
    /// asked for whatever is wanted: a store that is away says so then.
    pub(super) async fn names(&self) -> Result<Vec<String>, Failure> {
        let below = format!("{}.", self.namespace);
        let mut options = ListOptions::new(below.as_str()).with_depth(Depth::OneLevel);
        let mut names = Vec::new();
        loop {
            let page = self.store.list_with(options.clone()).await?;
            let listed = page.prefixes.iter().filter_map(|prefix| prefix.strip_prefix(&below)?.strip_suffix('/'));
            // With a dot it is a namespace below this one, which is another application's.
            names.extend(listed.filter(|name| self.namespace.child(name).is_ok()).map(ToOwned::to_owned));
            let Some(next) = page.next else { break };
            options = options.with_start(Start::Token(next));
        }
        // By themselves, and not with what stands behind them in a listing.
        names.sort();
        Ok(names)
    }

    pub(super) fn files(&self, name: &str) -> Result<Files, Failure> {
        Ok(Files::new(Arc::clone(&self.store), self.namespace.child(name)?))
    }

    pub(super) async fn close(self) -> Result<(), Failure> {
        match self.services {
            Some(services) => Ok(services.shutdown().await?),
            None => Ok(()),
        }
    }
}

/// Which files are meant: `NAME/TEXT`, where the text may be empty.
#[derive(Debug, Default)]
pub(super) struct Below {
    name: Option<String>,
    prefix: String,
    after: Option<(String, String)>,
}

impl Below {
    pub(super) fn of_words(asked: &crate::args::Below) -> Self {
        let split = |text: &str| {
            let (name, rest) = text.split_once('/').unwrap_or((text, ""));
            (name.to_owned(), rest.to_owned())
        };
        let (name, prefix) = asked.prefix.as_deref().map(split).unzip();
        let after = asked.after.as_deref().map(split);
        Self { name, prefix: prefix.unwrap_or_default(), after }
    }

    pub(super) fn prefix(&self) -> &str {
        &self.prefix
    }

    /// Those of these names that are meant.
    pub(super) fn of(&self, names: Vec<String>) -> impl Iterator<Item = String> {
        let is_meant = |name: &String| self.name.as_ref().is_none_or(|meant| meant == name);
        let is_behind = |name: &String| self.after.as_ref().is_none_or(|(after, _)| after <= name);
        names.into_iter().filter(move |name| is_meant(name) && is_behind(name))
    }

    /// Behind what to begin, of the files of this name.
    pub(super) fn after(&self, name: &str) -> Option<&str> {
        self.after.as_ref().filter(|(after, _)| after == name).map(|(_, rest)| rest.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_and_where_to_begin_are_of_a_name_and_of_the_files_in_it() {
        let names = || ["letters", "scans", "tmp"].map(ToOwned::to_owned).to_vec();
        let below = |prefix: Option<&str>, after: Option<&str>| {
            let asked = crate::args::Below { prefix: prefix.map(Into::into), after: after.map(Into::into) };
            Below::of_words(&asked)
        };
        let of = |below: &Below| below.of(names()).collect::<Vec<_>>();
        let all = below(None, None);
        assert_eq!((of(&all), all.prefix(), all.after("scans")), (names(), "", None));
        let some = below(Some("scans/p42/"), None);
        assert_eq!((of(&some), some.prefix()), (vec!["scans".to_owned()], "p42/"));
        assert_eq!(of(&below(Some("scans"), None)), ["scans"]);
        assert!(of(&below(Some("scan"), None)).is_empty());
        let behind = below(None, Some("scans/p42/a"));
        assert_eq!(of(&behind), ["scans", "tmp"]);
        assert_eq!((behind.after("scans"), behind.after("tmp")), (Some("p42/a"), None));
    }
}
