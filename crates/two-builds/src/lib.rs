//! One application of which two builds run side by side, as during each deploy. The binaries `old` and `new` differ in the
//! definitions of their types and in nothing else: this is what they share.
//!
//! `old write PLACE` stores a value of each type in a cache and in a session of the place, and prints the session's cookie;
//! `new read PLACE COOKIE` reads them twice and prints what it found. The place is a Redis URL with a namespace behind `#`,
//! or a folder, which has sessions only. What they do with files is in [`files`], what with documents in [`documents`].
#![allow(clippy::print_stdout, reason = "this is what a command-line program does")]

pub mod documents;
pub mod files;

use std::env;
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use http::header::{COOKIE, HeaderMap, SET_COOKIE};
use serde::Serialize;
use serde::de::DeserializeOwned;
use statehouse_cache::{Caches, VerifyCodec};
use statehouse_core::{Error, Namespace, Result, ServiceUrl};
use statehouse_redis::{RedisClient, RedisConfig};
use statehouse_session::{
    LocalSessionStore, RedisSessionStore, Session, SessionConfig, SessionStore, Sessions, UnreadablePolicy,
};

/// A type of which each build has its own definition.
pub trait Versioned: Serialize + DeserializeOwned + Debug + Send + Sync + 'static {
    /// What changed from one build to the other.
    const CHANGE: &'static str;
    /// The value that this build stores.
    fn value() -> Self;
    /// The value in words that both builds have in common.
    fn said(&self) -> String;
}

/// What a build was asked to do.
pub struct Program {
    writes: bool,
    caches: Option<Caches>,
    session: Session,
    strict: Session,
}

impl Program {
    /// Reads the arguments and opens what they name.
    ///
    /// # Errors
    /// If they are not understood, and those of the stores.
    pub async fn open() -> Result<Self> {
        let arguments: Vec<String> = env::args().skip(1).collect();
        let [verb, place, cookie @ ..] = &arguments[..] else {
            return Err(Error::invalid_input("expected: (write|read) PLACE [COOKIE]"));
        };
        let mut headers = HeaderMap::new();
        for cookie in cookie {
            headers.insert(COOKIE, cookie.parse().map_err(|_| Error::invalid_input("the cookie is no header"))?);
        }
        let (store, caches): (Box<dyn SessionStore>, _) = match place.split_once('#') {
            Some((url, namespace)) => {
                let namespace = Namespace::new(namespace)?;
                let redis = RedisClient::open(RedisConfig::from_url(&mut ServiceUrl::parse("PLACE", url)?)?).await?;
                let store = RedisSessionStore::new(redis.clone(), &namespace)?;
                (Box::new(store), Some(Caches::redis(redis, &namespace)))
            }
            None => (Box::new(LocalSessionStore::open(place).await?), None),
        };
        let store: Arc<dyn SessionStore> = store.into();
        let strict = SessionConfig::builder().on_unreadable_attribute(UnreadablePolicy::Fail).build()?;
        Ok(Self {
            writes: verb == "write",
            caches,
            session: Sessions::new(Arc::clone(&store), SessionConfig::default()).open(&headers),
            strict: Sessions::new(store, strict).open(&headers),
        })
    }

    /// Stores the value of a type, or reads it.
    ///
    /// # Errors
    /// Those of the stores. What another build has stored is never one.
    pub async fn meet<T: Versioned>(&self) -> Result<()> {
        if self.writes {
            self.session.insert(T::CHANGE, &T::value())?;
            return match &self.caches {
                Some(caches) => caches_of::<T>(caches)?.set("key", T::value()).await.map(drop),
                None => Ok(()),
            };
        }
        for _ in 0..2 {
            if let Some(caches) = &self.caches {
                let found = caches_of::<T>(caches)?.get("key").await?;
                println!("cache, {}: {}", T::CHANGE, found.map_or_else(|| "a miss".to_owned(), |value| value.said()));
            }
            let found = self.session.get::<T>(T::CHANGE).await?;
            println!("session, {}: {}", T::CHANGE, found.map_or_else(|| "absent".to_owned(), |value| value.said()));
            let found = match self.strict.get::<T>(T::CHANGE).await {
                Ok(found) => found.map_or_else(|| "absent".to_owned(), |value| value.said()),
                Err(error) => format!("{:?}, {}", error.kind(), error.message()),
            };
            println!("strict session, {}: {found}", T::CHANGE);
        }
        Ok(())
    }

    /// Ends the request.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn end(&self) -> Result<()> {
        self.session.commit().await?;
        let mut response = HeaderMap::new();
        self.session.write_cookie(&mut response);
        if let Some(cookie) = response.get(SET_COOKIE).and_then(|cookie| cookie.to_str().ok()) {
            println!("{}", cookie.split(';').next().unwrap_or_default());
        }
        Ok(())
    }
}

impl Debug for Program {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Program").field("writes", &self.writes).finish_non_exhaustive()
    }
}

fn caches_of<T: Versioned>(caches: &Caches) -> Result<statehouse_cache::TypedCache<T>> {
    let cache = caches.cache(T::CHANGE).time_to_live(Duration::from_secs(60));
    cache.verify_codec(VerifyCodec::Always).open()
}

/// The main function of a build: meets the types and the documents of its own.
#[macro_export]
macro_rules! build {
    ($($type:ident),*; $($document:ident),*) => {
        #[tokio::main]
        async fn main() -> Result<(), statehouse_core::Error> {
            if $crate::files::run().await? {
                return Ok(());
            }
            if let Some(documents) = $crate::documents::Documents::open().await? {
                $(documents.meet::<documents::$document>().await?;)*
                return Ok(());
            }
            let program = $crate::Program::open().await?;
            $(program.meet::<$type>().await?;)*
            program.end().await
        }
    };
}
