use std::sync::Arc;

use crate::{Schema, SearchIndex, TantivyConfig};

mod memory {
    use super::*;

    async fn open(schema: Schema) -> Arc<dyn SearchIndex> {
        Arc::new(TantivyConfig::memory().open(schema).await.unwrap())
    }

    crate::search_conformance!(open);
}
