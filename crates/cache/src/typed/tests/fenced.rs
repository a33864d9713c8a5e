//! Sets under a lock, of typed values.

use statehouse_core::conformance::fenced::holder;
use statehouse_core::{Capabilities, Guarded as _};

use super::*;
use crate::capability::FENCED;

on_both_tiers! {
    #[tokio::test]
    async fn a_typed_set_is_refused_to_a_former_holder(caches: Caches) {
        let cache = open::<u32>(&caches);
        let (first, second) = (holder("rates", 5), holder("rates", 9));
        let version = cache.set("a", 1).fenced(&first).await.unwrap();
        cache.raise(&second, MINUTE).await.unwrap();
        assert_eq!(cache.set("a", 2).fenced(&first).await.unwrap_err().kind(), ErrorKind::Fenced);
        let late = cache.set("a", 2).if_version(version).fenced(&first).await.unwrap_err();
        assert_eq!((late.kind(), late.operation(), late.key()), (ErrorKind::Fenced, Some("cache.set"), Some("test:a")));
        assert_eq!(cache.get("a").await.unwrap().as_deref(), Some(&1));
        assert!(cache.set("a", 3).fenced(&second).if_version(version).await.unwrap().stored().is_some());
        let lower = cache.raise(&first, MINUTE).await.unwrap_err();
        assert_eq!((lower.kind(), lower.operation()), (ErrorKind::Fenced, Some("cache.raise")));
        // A load is under its own lease, and whoever sets without a fence is asked for none.
        cache.set("b", 4).await.unwrap();
        assert_eq!(*cache.get_or_load("c", async || Ok::<_, io::Error>(5)).await.unwrap(), 5);
    }
}

/// A backend of somebody else's, which knows nothing of fences.
#[derive(Debug)]
struct Older(MemoryCache);

#[async_trait::async_trait]
impl Cache for Older {
    async fn get_with(&self, key: &CacheKey, options: crate::GetOptions) -> Result<Option<crate::Entry>, Error> {
        self.0.get_with(key, options).await
    }

    async fn get_many_with(
        &self,
        keys: &[CacheKey],
        options: crate::GetOptions,
    ) -> Result<Vec<Option<crate::Entry>>, Error> {
        self.0.get_many_with(keys, options).await
    }

    async fn set_with(
        &self,
        key: &CacheKey,
        value: bytes::Bytes,
        mut options: SetOptions,
    ) -> Result<SetOutcome, Error> {
        options.fence = None;
        self.0.set_with(key, value, options).await
    }

    async fn remove_with(&self, key: &CacheKey, options: crate::RemoveOptions) -> Result<crate::RemoveOutcome, Error> {
        self.0.remove_with(key, options).await
    }

    async fn touch_with(&self, key: &CacheKey, options: crate::TouchOptions) -> Result<TouchOutcome, Error> {
        self.0.touch_with(key, options).await
    }

    async fn reserve_with(&self, key: &CacheKey, options: crate::ReserveOptions) -> Result<crate::Reservation, Error> {
        self.0.reserve_with(key, options).await
    }

    async fn clear_with(&self, options: crate::ClearOptions) -> Result<(), Error> {
        self.0.clear_with(options).await
    }

    fn capabilities(&self) -> Capabilities {
        self.0.capabilities().without(FENCED)
    }

    async fn health(&self) -> statehouse_core::Health {
        self.0.health().await
    }
}

#[tokio::test]
async fn a_typed_set_does_not_rely_on_a_backend_that_knows_no_fences() {
    let caches = Caches::backend(|_, _: SchemaId| Ok(Arc::new(Older(MemoryCache::default()))));
    let (cache, fence) = (open::<u32>(&caches), holder("rates", 5));
    assert_eq!(cache.set("a", 1).fenced(&fence).await.unwrap_err().kind(), ErrorKind::Unsupported);
    assert_eq!(cache.raise(&fence, MINUTE).await.unwrap_err().kind(), ErrorKind::Unsupported);
    assert_eq!(cache.get("a").await.unwrap(), None);
}
