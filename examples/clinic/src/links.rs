//! Links that let whoever has one download one document for a while, without a log-in.

use std::time::Duration;

use statehouse::coord::SharedState;
use statehouse::files::{Disposition, FileServer, Files, SignedUrls};
use statehouse::{KeyRing, Result, Secret};

use crate::db::Document;
use crate::id::new_id;

/// How long a link is good for.
pub(crate) const GOOD_FOR: Duration = Duration::from_secs(10 * 60);
/// Where links lead.
pub(crate) const AT: &str = "/links";
/// Where the key is that replicas without a setting share.
const SHARED: &str = "key";

#[derive(Clone, Debug)]
pub(crate) struct Links {
    documents: Files,
    given: Option<KeyRing>,
    made: SharedState<String>,
}

impl Links {
    pub(crate) const fn new(documents: Files, given: Option<KeyRing>, made: SharedState<String>) -> Self {
        Self { documents, given, made }
    }

    /// A link to a document, which a browser shows or saves.
    pub(crate) async fn sign(&self, document: &Document, how: Disposition) -> Result<String> {
        let urls = self.urls().await?;
        urls.get(&document.id).valid_for(GOOD_FOR).file_name(&document.name).disposition(how).url()
    }

    /// What answers the links that any replica has signed.
    pub(crate) async fn server(&self) -> Result<FileServer> {
        self.urls().await.map(FileServer::signed)
    }

    async fn urls(&self) -> Result<SignedUrls> {
        Ok(SignedUrls::new(self.documents.clone(), self.keys().await?, AT).with_purpose("documents"))
    }

    /// Those that are set, or else the one that whoever needed it first has made for all. It is asked for each time: a replica that
    /// remembered it would refuse the others' links once what they share was lost and made anew.
    async fn keys(&self) -> Result<KeyRing> {
        if let Some(keys) = &self.given {
            return Ok(keys.clone());
        }
        let made = match self.made.get(SHARED).await? {
            Some(made) => made,
            None => {
                let fresh = new_id() + &new_id();
                self.made.update(SHARED, |made| made.unwrap_or_else(|| fresh.clone())).await?
            }
        };
        KeyRing::new("shared", Secret::new(made.value))
    }
}

#[cfg(test)]
mod tests {
    use statehouse::coord::{Coordination, MemoryCoordStore};
    use statehouse::{Config, Services};

    use super::*;

    fn ids(keys: &KeyRing) -> Vec<(String, String)> {
        keys.ids().map(|id| (id.to_owned(), keys.secret(id).unwrap().expose().to_owned())).collect()
    }

    #[tokio::test]
    async fn replicas_make_one_key_for_all_unless_one_is_set() {
        let services = Services::open(Config::in_memory()).await.unwrap();
        let coord = Coordination::new(std::sync::Arc::new(MemoryCoordStore::new()));
        let replica = |given| Links::new(services.files("documents").unwrap(), given, coord.state("links"));
        let (one, other) = (replica(None), replica(None));
        let (first, second) = tokio::join!(one.keys(), other.keys());
        let made = ids(&first.unwrap());
        assert_eq!(made, ids(&second.unwrap()));
        assert_eq!(made, ids(&replica(None).keys().await.unwrap()), "one that starts later");
        assert_eq!((made[0].0.as_str(), made[0].1.len()), ("shared", 64));
        let given = KeyRing::new("2026", Secret::new("k".repeat(32))).unwrap();
        assert_eq!(ids(&replica(Some(given.clone())).keys().await.unwrap()), ids(&given));
    }
}
