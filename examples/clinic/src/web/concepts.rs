//! The diagnosis picker's search.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;

use super::form::Asked;
use super::visit::Visit;
use crate::app::App;
use crate::error::{AppError, Result};
use crate::terminology::Found;

/// The longest text that is searched for, in the units that a browser counts.
const MAX_TYPED: usize = 200;

pub(crate) async fn search(State(app): State<Arc<App>>, _: Visit, asked: Asked) -> Result<Json<Found>> {
    if asked.text("q").encode_utf16().count() > MAX_TYPED {
        return Err(AppError::bad_request(format!("Type at most {MAX_TYPED} letters.")).at("concept"));
    }
    let chapter = Some(asked.text("chapter")).filter(|chapter| !chapter.is_empty());
    Ok(Json(app.concepts.search(asked.text("q"), chapter).await?))
}
