//! The frame around every page.

use maud::{DOCTYPE, Markup, html};

use crate::db::{Role, Staff};
use crate::error::AppError;
use crate::time::{iso, readable};

/// Where in the bar at the top a page is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Here {
    Dashboard,
    Patients,
    Sessions,
    Operator,
    Nowhere,
}

/// A page in its frame.
pub(crate) struct Page<'a> {
    pub(crate) title: &'a str,
    pub(crate) here: Here,
    /// Who is logged in, and the token that their forms need.
    pub(crate) staff: Option<(&'a Staff, &'a str)>,
    pub(crate) replica: &'a str,
}

impl Page<'_> {
    pub(crate) fn render(&self, content: &Markup) -> Markup {
        html! {
            (DOCTYPE)
            html lang="en" {
                head {
                    meta charset="utf-8";
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    @if let Some((staff, csrf)) = self.staff {
                        meta name="csrf" content=(csrf);
                        meta name="login" content=(staff.login);
                    }
                    title { (self.title) " · Clinic" }
                    link rel="icon" type="image/svg+xml" href="/assets/icon.svg";
                    link rel="stylesheet" href="/assets/clinic.css";
                    script type="module" src="/assets/app.js" {}
                }
                body {
                    a.skip href="#main" { "Skip to the content" }
                    @if let Some((staff, csrf)) = self.staff { (self.bar(staff, csrf)) }
                    main id="main" { (content) }
                    footer { "Made-up people. Answered by replica " code { (self.replica) } "." }
                }
            }
        }
    }

    fn bar(&self, staff: &Staff, csrf: &str) -> Markup {
        let mut places = vec![
            (Here::Dashboard, "/", "Dashboard"),
            (Here::Patients, "/patients", "Patients"),
            (Here::Sessions, "/sessions", "My sessions"),
        ];
        if staff.role == Role::Operator {
            places.push((Here::Operator, "/operator", "Operator"));
        }
        html! {
            header.bar {
                div {
                    a.brand href="/" { (logo()) "Clinic" }
                    nav aria-label="Main" {
                        @for (place, href, name) in places {
                            a href=(href) aria-current=[(place == self.here).then_some("page")] { (name) }
                        }
                    }
                    form method="post" action="/logout" {
                        (csrf_field(csrf))
                        span.quiet { (staff.name) }
                        button.plain { "Log out" }
                    }
                }
            }
        }
    }
}

/// What is wrong with this field, beside it. The place is there before there is anything to say, for scripts.
pub(crate) fn error_beside(error: Option<&AppError>, field: &str) -> Markup {
    let words = error.filter(|error| error.field == Some(field)).map(|error| &*error.message);
    html! {
        p.field-error id={ (field) "-error" } data-error=(field) role=[words.map(|_| "alert")] hidden[words.is_none()] {
            (words.unwrap_or_default())
        }
    }
}

/// What went wrong with a form that has no field for it, in the place for that. A script fills it.
pub(crate) fn error_here() -> Markup {
    html! { p.field-error role="alert" data-error hidden {} }
}

/// The value of `aria-invalid`, if something is wrong with this field.
pub(crate) fn aria_error(error: Option<&AppError>, field: &str) -> Option<&'static str> {
    error.is_some_and(|error| error.field == Some(field)).then_some("true")
}

pub(crate) fn csrf_field(token: &str) -> Markup {
    html! { input type="hidden" name="csrf" value=(token); }
}

/// A point in time. The page's script shows it in the reader's time zone.
pub(crate) fn moment(millis: i64) -> Markup {
    html! { time datetime=(iso(millis)) { (readable(millis)) } }
}

/// A number of bytes, as people read it.
pub(crate) fn size(bytes: i64) -> String {
    match bytes {
        ..1_000 => format!("{bytes} bytes"),
        1_000..1_000_000 => format!("{} kB", bytes / 1_000),
        1_000_000..1_000_000_000 => format!("{}.{} MB", bytes / 1_000_000, bytes % 1_000_000 / 100_000),
        _ => format!("{}.{} GB", bytes / 1_000_000_000, bytes % 1_000_000_000 / 100_000_000),
    }
}

pub(crate) fn logo() -> Markup {
    html! {
        svg viewBox="0 0 32 32" aria-hidden="true" {
            path d="M9 2h14a7 7 0 0 1 7 7v14a7 7 0 0 1-7 7H9a7 7 0 0 1-7-7V9a7 7 0 0 1 7-7Zm4.5 6v5.5H8v5h5.5V24h5v-5.5H24v-5h-5.5V8Z" fill-rule="evenodd" {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_typed_is_escaped() {
        let staff = Staff { id: 1, login: "x".into(), name: "<script>alert(1)</script>".into(), role: Role::Clinician };
        let page = Page { title: "\"><b>", here: Here::Dashboard, staff: Some((&staff, "t\"")), replica: "r" };
        let html = page.render(&html! { p { ("<img src=x>") } }).into_string();
        assert!(!html.contains("<script>alert") && !html.contains("<img src=x>") && !html.contains("<b>"));
        assert!(html.contains("&lt;script&gt;") && html.contains("t&quot;"));
    }

    #[test]
    fn sizes_are_short() {
        assert_eq!(size(999), "999 bytes");
        assert_eq!(size(46_498), "46 kB");
        assert_eq!(size(1_250_000), "1.2 MB");
        assert_eq!(size(2_000_000_000), "2.0 GB");
    }
}
