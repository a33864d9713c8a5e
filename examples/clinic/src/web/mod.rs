//! Pages, forms and the few addresses that answer JSON.

mod assets;
mod chart;
mod concepts;
mod conditions;
mod content_type;
mod csrf;
mod dashboard;
mod device;
mod documents;
mod errors;
mod form;
mod gate;
mod health;
mod limit;
mod links;
mod login;
mod operator;
mod page;
mod patients;
mod peer;
mod problem_sets;
mod removal;
mod sessions;
mod visit;

use std::sync::{Arc, OnceLock};

use axum::extract::Request;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::{Next, from_fn, from_fn_with_state, map_response};
use axum::response::Response;
use axum::routing::{get, post, put};
use axum::{Json, Router};
use serde_json::Value;

use crate::app::App;
use crate::metrics;

/// What every answer needs to know of this process.
#[derive(Clone, Debug)]
pub(crate) struct Site {
    /// The name of this replica in pages and headers.
    pub(crate) replica: String,
    /// Whether people come over HTTPS.
    pub(crate) https: bool,
    /// Whether a load balancer that is trusted says whom a request comes from.
    pub(crate) forwarded: bool,
    /// What whoever reads the metrics from another machine shows.
    pub(crate) metrics_token: Option<String>,
}

static SITE: OnceLock<Site> = OnceLock::new();

pub(crate) fn site() -> &'static Site {
    const PLAIN: Site = Site { replica: String::new(), https: false, forwarded: false, metrics_token: None };
    SITE.get_or_init(|| Site { replica: "clinic".to_owned(), ..PLAIN })
}

pub(crate) fn replica() -> &'static str {
    &site().replica
}

/// The whole application.
pub(crate) fn router(app: &Arc<App>, site: Site) -> Router {
    let _first = SITE.set(site);
    let with_session = Router::new()
        .route("/", get(dashboard::page))
        .route("/login", get(login::form).post(login::log_in))
        .route("/logout", post(login::log_out))
        .route("/patients", get(patients::page))
        .route("/patients/{id}", get(chart::page))
        .route("/patients/{id}/diagnoses", post(chart::add_diagnosis))
        .route("/patients/{id}/diagnoses/{diagnosis}/resolve", post(chart::resolve_diagnosis))
        .route("/patients/{id}/diagnoses/{diagnosis}/reopen", post(chart::reopen_diagnosis))
        .route("/patients/{id}/diagnoses/{diagnosis}/take-back", post(chart::take_back_diagnosis))
        .route("/patients/{id}/draft", put(chart::keep_draft))
        .route("/patients/{id}/notes", post(chart::add_note))
        .route("/patients/{id}/documents", documents::attach_once(app))
        .route("/patients/{id}/documents/{document}/remove", post(removal::remove))
        .route("/patients/{id}/documents/{document}/restore", post(removal::restore))
        .route("/documents/{id}", get(documents::download))
        .route("/problem-sets/{name}", get(problem_sets::page).post(problem_sets::extend))
        .route("/sessions", get(sessions::page))
        .route("/sessions/end", post(sessions::end))
        .route("/sessions/end-others", post(sessions::end_others))
        .route("/operator", get(operator::page))
        .route("/api/me", get(me))
        .route("/api/operator", get(operator::json))
        .route("/api/problem-sets/{name}", get(problem_sets::json))
        .route("/api/concepts", get(concepts::search))
        .route("/api/patients/{id}", get(chart::json))
        .layer(from_fn(refuse_nul))
        .layer(csrf::layer())
        .layer(from_fn(csrf::explain))
        .layer(from_fn_with_state(Arc::clone(app), limit::limit))
        .layer(map_response(keep_no_page))
        .layer(app.session_layer())
        .layer(from_fn(form::read));
    // Whoever has a link has no session, and needs none.
    let links = Router::new().route("/links/{id}", get(links::open)).layer(map_response(links::guard));
    Router::new()
        .merge(with_session)
        .merge(links)
        .route("/assets/{name}", get(assets::asset))
        .route("/metrics", get(health::for_prometheus))
        .fallback(async || StatusCode::NOT_FOUND)
        .layer(from_fn(metrics::measure))
        .layer(from_fn(errors::render))
        .layer(from_fn(guard))
        .with_state(Arc::clone(app))
}

/// Who is logged in, for scripts.
async fn me(visit: visit::Visit) -> Json<Value> {
    Json(visit::me(&visit.staff, &visit.csrf))
}

/// PostgreSQL keeps no NUL in a text, and no address of this site has one.
async fn refuse_nul(request: Request, next: Next) -> Result<Response, StatusCode> {
    let has_nul = request.uri().path().contains("%00");
    if has_nul { Err(StatusCode::NOT_FOUND) } else { Ok(next.run(request).await) }
}

/// What belongs to somebody stays on no disk and in no cache on the way, unless the answer says otherwise.
async fn keep_no_page(mut response: Response) -> Response {
    response.headers_mut().entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

/// What every answer tells the browser: run and load only what comes from here.
async fn guard(request: Request, next: Next) -> Response {
    const HEADERS: [(HeaderName, &str); 4] = [
        (
            header::CONTENT_SECURITY_POLICY,
            "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
             form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
        ),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "same-origin"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    ];
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    for (name, value) in HEADERS {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
    if site().https {
        headers.insert(header::STRICT_TRANSPORT_SECURITY, HeaderValue::from_static("max-age=31536000"));
    }
    if let Ok(replica) = HeaderValue::from_str(replica()) {
        headers.insert("x-replica", replica);
    }
    response
}
