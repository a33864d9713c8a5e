//! The diagnosis picker's search.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Query, State};
use serde::Deserialize;

use super::visit::Visit;
use crate::app::App;
use crate::error::{AppError, Result};
use crate::terminology::Found;

/// The longest text that is searched for, in bytes.
const MAX_TYPED: usize = 200;

#[derive(Deserialize)]
pub(crate) struct Search {
    #[serde(default)]
    q: String,
    #[serde(default)]
    chapter: String,
}

pub(crate) async fn search(
    State(app): State<Arc<App>>,
    _: Visit,
    Query(Search { q, chapter }): Query<Search>,
) -> Result<Json<Found>> {
    if q.len() > MAX_TYPED {
        return Err(AppError::bad_request("Type fewer words."));
    }
    let chapter = Some(chapter).filter(|chapter| !chapter.is_empty());
    Ok(Json(app.concepts.search(&q, chapter.as_deref()).await?))
}
