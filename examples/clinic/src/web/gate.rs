//! The token of the log-in form. There is no session before a log-in, and asking for the form makes none: a cookie has
//! the same token as the form, which another site's page can neither read nor set.

use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;

use super::csrf::{is_cross_site, same};
use super::site;
use crate::error::{AppError, Result};
use crate::id::{is_id, new_id};

/// A token, and whether the browser has it already.
pub(super) struct Gate {
    token: String,
    is_new: bool,
}

impl Gate {
    /// That of the request's cookie, or a new one.
    pub(super) fn of(headers: &HeaderMap) -> Self {
        match in_cookie(headers) {
            Some(token) => Self { token: token.to_owned(), is_new: false },
            None => Self { token: new_id(), is_new: true },
        }
    }

    pub(super) fn token(&self) -> &str {
        &self.token
    }

    /// Whether a form with this token came from the page that this site showed to this browser.
    pub(super) fn check(headers: &HeaderMap, shown: &str) -> Result<()> {
        let refuse = |code, words: &str| Err(AppError { code, ..AppError::new(StatusCode::FORBIDDEN, words) });
        if is_cross_site(headers) {
            tracing::warn!(target: "clinic::security", "a log-in from another site's page was refused");
            return refuse(None, "This log-in came from another site. Log in here.");
        }
        match in_cookie(headers) {
            Some(token) if same(token, shown) => Ok(()),
            Some(_) => refuse(Some("stale"), "The page was out of date. Log in now."),
            None if site().https => refuse(
                Some("cookie"),
                "Your browser did not bring back this clinic's cookie, which travels over HTTPS only. Open the clinic \
                 at its https:// address. Whoever runs it without HTTPS on purpose sets CLINIC_HTTPS=false.",
            ),
            None => refuse(
                Some("cookie"),
                "Your browser did not bring back this clinic's cookie. Allow cookies for this site, and log in again.",
            ),
        }
    }

    /// Leaves the cookie with an answer that has the form.
    pub(super) fn keep(&self, mut response: Response) -> Response {
        if self.is_new {
            append(&mut response, &format!("{}={}{}", name(), self.token, attributes()));
        }
        response
    }

    /// Takes the cookie away from a browser that is logged in.
    pub(super) fn open(mut response: Response) -> Response {
        append(&mut response, &format!("{}={}; Max-Age=0", name(), attributes()));
        response
    }
}

fn append(response: &mut Response, cookie: &str) {
    if let Ok(cookie) = HeaderValue::from_str(cookie) {
        response.headers_mut().append(header::SET_COOKIE, cookie);
    }
}

fn name() -> &'static str {
    if site().https { "__Host-login" } else { "login" }
}

fn attributes() -> &'static str {
    if site().https { "; Path=/; HttpOnly; SameSite=Strict; Secure" } else { "; Path=/; HttpOnly; SameSite=Strict" }
}

fn in_cookie(headers: &HeaderMap) -> Option<&str> {
    let all = headers.get_all(header::COOKIE).iter().filter_map(|header| header.to_str().ok());
    let mut pairs = all.flat_map(|header| header.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(known, value)| *known == name() && is_id(value)).map(|(_, value)| value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_form_that_this_browser_was_shown_logs_in() {
        let token = new_id();
        let cookie = |text: &str| HeaderMap::from_iter([(header::COOKIE, text.parse().unwrap())]);
        let right = cookie(&format!("id=1; login={token}"));
        assert!(Gate::check(&right, &token).is_ok());
        assert!(!Gate::of(&right).is_new && Gate::of(&right).token == token);
        assert_eq!(Gate::check(&right, &new_id()).unwrap_err().code, Some("stale"));
        for headers in [cookie("login="), cookie(&format!("xlogin={token}")), HeaderMap::new()] {
            assert_eq!(Gate::check(&headers, &token).unwrap_err().code, Some("cookie"));
            assert!(Gate::of(&headers).is_new);
        }
        let mut elsewhere = right;
        elsewhere.insert("sec-fetch-site", HeaderValue::from_static("cross-site"));
        assert_eq!(Gate::check(&elsewhere, &token).unwrap_err().status, StatusCode::FORBIDDEN);
    }
}
