use std::sync::Arc;

use statehouse_search::{Schema, SearchIndex};

use super::Scratch;

async fn open(schema: Schema) -> Arc<dyn SearchIndex> {
    let scratch = Scratch::new().await;
    Arc::new(scratch.open(schema).await.unwrap())
}

statehouse_search::search_conformance!(open);
