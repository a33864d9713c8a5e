//! Each page that there is, in the states in which somebody may meet it, with scripts and without.

use std::fmt::Display;
use std::time::Duration;

use crate::browser::Visitor;
use crate::client::{Client, PASSWORD, builder};
use crate::clinic;
use crate::webdriver::{Driver, ENTER};

/// The routes that give a page, and an address of each.
const PAGES: [(&str, &str, &str); 7] = [
    ("/", "/", "dashboard"),
    ("/login", "/login", "login"),
    ("/patients", "/patients", "patients"),
    ("/patients/{id}", "/patients/37", "chart"),
    ("/problem-sets/{name}", "/problem-sets/common", "problem-set"),
    ("/sessions", "/sessions", "sessions"),
    ("/operator", "/operator", "operator"),
];

async fn visitor<'a>(driver: &Driver, pictures: &'a str) -> Visitor<'a> {
    visitor_of(clinic::shared().await.address(), driver, pictures).await
}

async fn visitor_of<'a>(clinic: impl Display, driver: &Driver, pictures: &'a str) -> Visitor<'a> {
    Visitor { profile: driver.profile(1280, 900).await, base: format!("http://{clinic}"), pictures }
}

impl Visitor<'_> {
    /// Looks at the page as it is, wide and on a phone.
    async fn look_at_both(&self, name: &str) {
        self.look_at(name).await;
        self.resize(390, 844).await;
        assert_eq!(self.eval("document.documentElement.scrollWidth <= innerWidth").await, true, "{name} fits");
        self.look_at(&format!("{name}-phone")).await;
        self.resize(1280, 900).await;
    }

    /// The same where no scripts run: those that look are let run, which are none of the page's.
    async fn look_without_scripts(&self, name: &str) {
        self.run_scripts(true).await;
        self.look_at_both(name).await;
        self.run_scripts(false).await;
    }

    /// Types into a field, and sends its form.
    async fn send(&self, field: &str, keys: &str) {
        self.eval(&format!("document.querySelector('{field}').value = ''")).await;
        self.keys(field, &format!("{keys}{ENTER}")).await;
    }

    async fn until_it_says(&self, place: &str, words: &str) {
        self.until(&format!("document.querySelector('{place}')?.textContent.includes('{words}')")).await;
    }

    /// Lets what is sent to this path be refused in these words.
    async fn refuse(&self, path: &str, words: &str) {
        self.run(&format!(
            "window.reached = window.fetch; \
             const refusal = () => new Response(JSON.stringify({{ error: '{words}' }}), {{ status: 503 }}); \
             window.fetch = (url, ...rest) => new URL(url, location).pathname.startsWith('{path}') \
               ? Promise.resolve(refusal()) : window.reached(url, ...rest)"
        ))
        .await;
    }

    /// Logs in again in the dialog that has come up.
    async fn log_in_in_place(&self) {
        self.until("document.querySelector('dialog[open]')").await;
        self.until_focus("#again-password").await;
        self.keys("#again-password", &format!("{PASSWORD}{ENTER}")).await;
    }
}

#[test]
fn every_page_is_looked_at() {
    let routes = include_str!("../../src/web/mod.rs").lines().filter_map(|line| line.trim().strip_prefix(".route(\""));
    let gives_a_page =
        |handler: &str| handler.starts_with("get(") && (handler.contains("page)") || handler.contains("form)"));
    let pages = routes.filter_map(|route| route.split_once("\", ")).filter(|(_, handler)| gives_a_page(handler));
    let mut pages: Vec<_> = pages.map(|(path, _)| path).collect();
    let mut known = PAGES.map(|(route, ..)| route);
    pages.sort_unstable();
    known.sort_unstable();
    assert_eq!(pages, known);
}

#[tokio::test]
async fn every_page_can_be_read_by_everybody_wide_and_narrow_in_light_and_dark() {
    let driver = Driver::start().await;
    let visitor = visitor(&driver, "pages").await;
    visitor.open("/login").await;
    visitor.look_at_both("login").await;
    visitor.log_in("ada").await;
    for (_, path, name) in PAGES.iter().filter(|(route, ..)| *route != "/login") {
        visitor.open(path).await;
        let here = visitor.eval("location.pathname").await;
        assert_eq!(here, *path, "nobody is sent elsewhere");
        visitor.look_at_both(name).await;
    }
    for (path, words, name) in [
        ("/nothing", "There is no such page.", "not-found"),
        ("/patients/99999", "There is no such patient.", "no-such-patient"),
        ("/patients?q=zz", "Nobody is called that.", "nobody"),
        ("/problem-sets/Ward", "There is no such", "no-such-set"),
    ] {
        visitor.open(path).await;
        visitor.until_it_says("main", words).await;
        visitor.look_at_both(name).await;
    }
    visitor.log_in("grace").await;
    visitor.open("/operator").await;
    visitor.until_it_says("main", "This page is for operators.").await;
    visitor.look_at_both("not-allowed").await;
    visitor.profile.close().await;
}

/// A log-in and a search leave their pages; what goes wrong does not.
#[tokio::test]
async fn a_log_in_and_a_search_for_patients_are_refused_lost_and_slow_in_their_place() {
    let driver = Driver::start().await;
    let visitor = visitor(&driver, "arrival").await;
    visitor.open("/login?next=/patients").await;
    visitor.keys("#login", "staff060").await;
    visitor.send("#password", "wrong").await;
    visitor.until_it_says("#password-error", "another one").await;
    visitor.look_at_both("login-refused").await;
    visitor.until_it_stands("password", ("login", "staff060")).await;
    visitor.cut_off().await;
    visitor.send("#password", PASSWORD).await;
    visitor.until_it_says("form.log-in [data-error=\"\"]:not([hidden])", "cannot be reached").await;
    visitor.look_at_both("login-lost").await;
    visitor.until_it_stands("password", ("password", PASSWORD)).await;
    visitor.delay(Duration::ZERO).await;
    visitor.keys("#password", ENTER).await;
    visitor.until("location.pathname === '/patients'").await;

    for path in ["/", "/patients"] {
        visitor.open(path).await;
        visitor.cut_off().await;
        visitor.send("#q", "an").await;
        visitor.until_it_says("#q-error", "cannot be reached").await;
        visitor.until_it_stands("q", ("q", "an")).await;
        visitor.delay(Duration::from_millis(4_000)).await;
        visitor.keys("#q", ENTER).await;
        visitor.until_it_says("form[role=search] [role=status]", "Searching").await;
        visitor.until_it_says("form[role=search] [role=status]", "Still searching").await;
        visitor.look_at("patients-slow").await;
        visitor.until_it_stands("q", ("q", "an")).await;
        visitor.delay(Duration::ZERO).await;
        visitor.until("location.search === '?q=an' && document.querySelectorAll('.list a').length > 5").await;
        visitor.until_it_stands("q", ("q", "an")).await;
    }
    visitor.end_the_session().await;
    visitor.send("#q", "be").await;
    visitor.log_in_in_place().await;
    visitor.until("location.search === '?q=be'").await;
    visitor.profile.close().await;
}

#[tokio::test]
async fn what_a_problem_set_does_not_take_is_said_beside_its_field_and_nothing_typed_is_lost() {
    a_problem_set(clinic::shared().await.address(), "problem-set").await;
}

pub(crate) async fn a_problem_set(clinic: impl Display, pictures: &str) {
    let driver = Driver::start().await;
    let visitor = visitor_of(clinic, &driver, pictures).await;
    visitor.log_in("staff061").await;
    visitor.open("/problem-sets/ward-61").await;
    visitor.until_it_says("main", "No codes yet.").await;
    visitor.send("#codes", "I10 Q99.99").await;
    visitor.until_it_says("#codes-error", "no diagnosis with the code Q99.99").await;
    visitor.look_at_both("refused").await;
    visitor.until_it_stands("codes", ("codes", "I10 Q99.99")).await;
    visitor.cut_off().await;
    visitor.send("#codes", "I10").await;
    visitor.until_it_says("#codes-error", "cannot be reached").await;
    visitor.until_it_stands("codes", ("codes", "I10")).await;
    visitor.delay(Duration::ZERO).await;
    visitor.keys("#codes", ENTER).await;
    visitor.until_it_says("[data-said]", "The codes are in the set.").await;
    visitor.until_it_says(".code", "I10").await;
    visitor.until_it_stands("codes", ("codes", "")).await;
    visitor.look_at_both("added").await;

    visitor.refuse("/problem-sets/", "The diagnoses are still being loaded: 49 %.").await;
    visitor.send("#codes", "E11.9").await;
    visitor.until_it_says("#codes-error", "still being loaded: 49 %").await;
    visitor.until_it_stands("codes", ("codes", "E11.9")).await;
    visitor.run("window.fetch = window.reached").await;
    visitor.end_the_session().await;
    visitor.keys("#codes", ENTER).await;
    visitor.log_in_in_place().await;
    visitor.until("[...document.querySelectorAll('.code')].some((code) => code.textContent === 'E11.9')").await;
    visitor.profile.close().await;
}

/// Nothing is typed there; the focus and the words say how it went.
#[tokio::test]
async fn sessions_and_diagnoses_that_somebody_else_has_ended_are_said_in_their_place() {
    let driver = Driver::start().await;
    let visitor = visitor(&driver, "elsewhere").await;
    let elsewhere = Client::logged_in(clinic::shared().await.address(), "staff062").await;
    visitor.log_in("staff062").await;
    visitor.open("/sessions").await;
    let end = "li:not(:has(.badge)) form[action='/sessions/end'] button";
    visitor.cut_off().await;
    visitor.click(end).await;
    visitor.until_it_says("li:not(:has(.badge)) [data-error]", "cannot be reached").await;
    visitor.look_at_both("sessions-lost").await;
    visitor.delay(Duration::ZERO).await;
    elsewhere.post("/logout", &[]).await.unwrap();
    visitor.click(end).await;
    visitor.until_it_says("li:not(:has(.badge)) [data-error]", "has ended already").await;
    let _another = Client::logged_in(clinic::shared().await.address(), "staff062").await;
    visitor.open("/sessions").await;
    visitor.click("form[action='/sessions/end-others'] button").await;
    visitor.until_it_says("[data-said]", "All your other sessions have ended.").await;
    visitor.until_focus("[data-said]").await;
    visitor.look_at_both("sessions-ended").await;

    elsewhere.log_in("staff062", PASSWORD).await.unwrap();
    elsewhere.post("/patients/38/diagnoses", &[("concept", "A48.1")]).await.unwrap();
    visitor.open("/patients/38").await;
    visitor.keys("#note", "Half a note").await;
    let chart = elsewhere.json("/api/patients/38").await.unwrap();
    let added = chart["diagnoses"].as_array().unwrap().iter().find(|found| found["code"] == "A48.1").unwrap();
    let resolve = format!("/patients/38/diagnoses/{}/resolve", added["id"].as_str().unwrap());
    elsewhere.post(&resolve, &[]).await.unwrap();
    visitor.click("button[aria-label='Resolve A48.1']").await;
    visitor.until_it_says(&format!("form[action=\"{resolve}\"] [data-error]"), "already").await;
    visitor.look_at_both("resolved-already").await;
    visitor.until_focus("[aria-label='Resolve A48.1']").await;
    assert_eq!(visitor.eval("document.querySelector('#note').value").await, "Half a note");
    visitor.profile.close().await;
}

/// By keys alone, and the focus is always where the work goes on.
#[tokio::test]
async fn a_document_is_removed_and_restored_in_its_place_with_scripts_and_without() {
    let driver = Driver::start().await;
    let visitor = visitor(&driver, "removed").await;
    let elsewhere = Client::logged_in(clinic::shared().await.address(), "staff064").await;
    visitor.log_in("staff064").await;
    for (patient, scripts) in [(65, true), (66, false)] {
        elsewhere.attach(patient, "letter.txt", "text/plain", b"Dear".to_vec()).await.unwrap();
        visitor.run_scripts(scripts).await;
        let look = async |name: &str| match scripts {
            true => visitor.look_at_both(name).await,
            false => visitor.look_without_scripts(&format!("{name}-no-scripts")).await,
        };
        visitor.open(&format!("/patients/{patient}")).await;
        visitor.keys("button[aria-label='Remove letter.txt']", ENTER).await;
        visitor.until_it_says("[data-said]", "letter.txt was removed.").await;
        visitor.until("document.activeElement.textContent === 'Undo'").await;
        look("removed").await;
        visitor.keys("[data-said] button", ENTER).await;
        visitor.until_it_says("[data-said]", "letter.txt is back").await;
        visitor.until("document.activeElement.matches('[data-said]')").await;
        visitor.click("button[aria-label='Remove letter.txt']").await;
        visitor.until_it_says("[data-said]", "letter.txt was removed.").await;
        visitor.click("#removed-documents summary").await;
        visitor.until_it_says("#removed-documents[open] li", "by ").await;
        look("removed-list").await;
        let chart = elsewhere.json(&format!("/api/patients/{patient}")).await.unwrap();
        let id = chart["documents"][0]["id"].as_str().unwrap();
        elsewhere.post(&format!("/patients/{patient}/documents/{id}/restore"), &[]).await.unwrap();
        visitor.click("#removed-documents li button").await;
        let place = if scripts { "#removed-documents [data-error]" } else { "main > [role=alert]" };
        visitor.until_it_says(place, "restored it already").await;
        look("restored-already").await;
    }
    visitor.profile.close().await;
}

#[tokio::test]
async fn a_link_to_a_document_is_given_on_the_chart_with_scripts_and_without() {
    let driver = Driver::start().await;
    let visitor = visitor(&driver, "link").await;
    let elsewhere = Client::logged_in(clinic::shared().await.address(), "staff065").await;
    elsewhere.attach(70, "letter.txt", "text/plain", b"Dear".to_vec()).await.unwrap();
    visitor.log_in("staff065").await;
    for scripts in [true, false] {
        visitor.run_scripts(scripts).await;
        visitor.open("/patients/70").await;
        visitor.keys("a[aria-label='Link for 10 minutes to letter.txt']", ENTER).await;
        visitor.until_it_says("[data-said]", "Whoever has this link can download letter.txt").await;
        visitor.until("document.activeElement.matches('[data-said] a[href^=\"/links/\"]')").await;
        match scripts {
            true => visitor.look_at_both("given").await,
            false => visitor.look_without_scripts("given-no-scripts").await,
        }
        let address = visitor.eval("document.activeElement.href").await;
        let letter =
            builder().build().unwrap().get(address.as_str().unwrap()).send().await.unwrap().text().await.unwrap();
        assert_eq!(letter, "Dear", "to whoever has its address");
    }
    visitor.profile.close().await;
}

/// A browser that runs none of this site's scripts, or could not get them.
#[tokio::test]
async fn without_scripts_nothing_typed_is_lost_either() {
    let driver = Driver::start().await;
    let visitor = visitor(&driver, "no-scripts").await;
    visitor.run_scripts(false).await;
    visitor.open("/login?next=/patients/39").await;
    visitor.keys("#login", "staff063").await;
    visitor.send("#password", "wrong").await;
    visitor.until_it_says("#password-error", "another one").await;
    visitor.until_it_stands("password", ("login", "staff063")).await;
    visitor.send("#password", PASSWORD).await;
    visitor.until("location.pathname === '/patients/39'").await;
    assert_eq!(visitor.eval("document.querySelector('form.upload button').disabled").await, true);
    visitor.look_without_scripts("chart").await;
    visitor.send("#concept", "Q99.99").await;
    visitor.until_it_says("#concept-error", "There is no diagnosis with this code").await;
    visitor.until_it_stands("concept", ("concept", "Q99.99")).await;
    visitor.look_without_scripts("chart-refused").await;
    visitor.keys("#note", "   ").await;
    visitor.click(".note-form button").await;
    visitor.until_it_says("#note-error", "The note is empty").await;
    visitor.until_focus("#note").await;
    visitor.open("/problem-sets/ward-63").await;
    visitor.send("#codes", "I10 Q99.99").await;
    visitor.until_it_says("#codes-error", "no diagnosis with the code Q99.99").await;
    visitor.until_it_stands("codes", ("codes", "I10 Q99.99")).await;
    visitor.send("#codes", "I10").await;
    visitor.until_it_says("[data-said]", "The codes are in the set.").await;
    visitor.look_without_scripts("added").await;
    visitor.open("/").await;
    visitor.send("#q", "zz").await;
    visitor.until_it_says("main", "Nobody is called that.").await;
    visitor.until_it_stands("q", ("q", "zz")).await;

    for (page, field, typed, done) in [
        ("/patients/39", "#note", "Half a note", "The note is saved."),
        ("/problem-sets/ward-63", "#codes", "E11.9", "The codes are in the set."),
    ] {
        visitor.open(page).await;
        let elsewhere = Client::logged_in(clinic::shared().await.address(), "staff063").await;
        elsewhere.post("/sessions/end-others", &[]).await.unwrap();
        visitor.keys(field, typed).await;
        visitor.click(&format!("form:has({field}) button")).await;
        visitor.until_it_says("[role=alert]", "Your session has ended").await;
        visitor.look_without_scripts("log-in-waits").await;
        visitor.keys("#login", "staff063").await;
        visitor.send("#password", PASSWORD).await;
        visitor.until_it_says("h1", "You are logged in again").await;
        visitor
            .until(&format!("document.querySelector('form[action^=\"{page}\"]').outerHTML.includes('{typed}')"))
            .await;
        visitor.until("document.activeElement.textContent === 'Save it now'").await;
        visitor.look_without_scripts("logged-in-again").await;
        visitor.click("main button").await;
        visitor.until_it_says("[data-said]", done).await;
    }
    visitor.profile.close().await;
}
