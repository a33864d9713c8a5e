//! The style, the scripts and the icon, built into the program.

use axum::extract::Path;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::conditions;
use crate::error::{AppError, Result};

macro_rules! assets {
    ($($name:literal => $content_type:literal),* $(,)?) => {
        const ASSETS: &[(&str, &str, &str)] =
            &[$(($name, $content_type, include_str!(concat!("../../assets/", $name)))),*];
    };
}
assets! {
    "app.js" => "text/javascript; charset=utf-8",
    "clinic.css" => "text/css; charset=utf-8",
    "draft.js" => "text/javascript; charset=utf-8",
    "find.js" => "text/javascript; charset=utf-8",
    "forms.js" => "text/javascript; charset=utf-8",
    "http.js" => "text/javascript; charset=utf-8",
    "icon.svg" => "image/svg+xml",
    "login.js" => "text/javascript; charset=utf-8",
    "picker.js" => "text/javascript; charset=utf-8",
    "session.js" => "text/javascript; charset=utf-8",
    "time.js" => "text/javascript; charset=utf-8",
    "upload.js" => "text/javascript; charset=utf-8",
}

/// Browsers ask again each time, and are told in a few bytes that nothing changed: so replicas of two versions can
/// serve one page.
pub(crate) async fn asset(Path(name): Path<String>, headers: HeaderMap) -> Result<Response> {
    let found = ASSETS.iter().find(|(known, ..)| *known == name);
    let &(_, content_type, content) = found.ok_or_else(|| AppError::not_found("file"))?;
    let etag = format!("\"{:08x}\"", checksum(content));
    let answer = [
        (header::CONTENT_TYPE, content_type.to_owned()),
        (header::CACHE_CONTROL, "no-cache".to_owned()),
        (header::ETAG, etag.clone()),
    ];
    if conditions::has_it(&headers, &etag) {
        return Ok((StatusCode::NOT_MODIFIED, answer).into_response());
    }
    Ok((answer, content).into_response())
}

/// FNV-1a: tells two versions of a file apart, and protects nothing.
fn checksum(text: &str) -> u32 {
    text.bytes().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}
