use crate::client::PASSWORD;
use crate::clinic;
use crate::webdriver::{DOWN, Driver, ENTER, Profile};

async fn log_in(profile: &Profile, base: &str, login: &str) {
    profile.open(&format!("{base}/login")).await;
    profile.keys("#login", login).await;
    profile.keys("#password", &format!("{PASSWORD}{ENTER}")).await;
    profile.until("document.querySelector('.chapters')").await;
}

/// A photo as a phone makes one, only smaller: the picture of this test's own page.
async fn photo(profile: &Profile, name: &str) -> String {
    profile.picture(name).await;
    format!("{}/screenshots/{name}.png", env!("CARGO_TARGET_TMPDIR"))
}

#[tokio::test]
async fn a_day_at_the_clinic_with_the_keyboard_a_photo_and_a_second_browser() {
    let clinic = clinic::shared().await;
    let base = format!("http://{}", clinic.address());
    let driver = Driver::start().await;
    let first = driver.profile(1280, 900).await;
    first.open(&format!("{base}/patients/31")).await;
    assert!(first.eval("location.pathname").await == "/login", "asked to log in");
    first.picture("login").await;
    log_in(&first, &base, "ada").await;
    first.picture("dashboard").await;

    first.open(&format!("{base}/patients/31")).await;
    first.keys("body", "/").await;
    assert_eq!(first.eval("document.activeElement.id").await, "concept", "the keyboard reaches the picker");
    first.keys("#concept", "diab").await;
    first.until("document.querySelectorAll('#options [role=option]').length > 5").await;
    first.until("document.querySelector('#options mark')").await;
    first.picture("picker").await;
    first.keys("#concept", DOWN).await;
    let code = first.eval("document.querySelector('[aria-selected=true] code').textContent").await;
    first.keys("#concept", ENTER).await;
    let chosen = first.eval("document.querySelector('#concept').value").await;
    assert!(chosen.as_str().unwrap().starts_with(code.as_str().unwrap()), "{chosen} {code}");
    first.keys("#concept", ENTER).await;
    first
        .until(&format!("[...document.querySelectorAll('.code')].some((found) => found.textContent === {code})"))
        .await;

    first.keys("#note", "Sleeps well, ").await;
    first.until("document.querySelector('.note-form [role=status]').textContent === 'Draft kept.'").await;
    let path = photo(&first, "photo").await;
    first.keys("#file", &path).await;
    first.click("form.upload button").await;
    first.until("document.querySelector('img.thumb')?.naturalWidth > 0").await;
    let draft = first.eval("document.querySelector('#note').value").await;
    assert_eq!(draft, "Sleeps well, ", "the draft outlives the page");
    first.eval("window.scrollTo(0, 0)").await;
    first.picture("chart").await;
    first.go_dark().await;
    first.picture("chart-dark").await;
    first.open(&format!("{base}/operator")).await;
    first.picture("operator").await;

    let second = driver.profile(390, 844).await;
    log_in(&second, &base, "ada").await;
    let fits = "document.documentElement.scrollWidth <= innerWidth";
    assert_eq!(second.eval(fits).await, true, "the dashboard fits a phone");
    second.picture("dashboard-phone").await;
    second.open(&format!("{base}/patients/31")).await;
    assert_eq!(second.eval(fits).await, true, "the chart fits a phone");
    second.open(&format!("{base}/sessions")).await;
    second.picture("sessions-phone").await;
    second.click("form[action='/sessions/end-others'] button").await;
    second.until("document.querySelectorAll('form[action=\"/sessions/end\"]').length === 1").await;

    assert_eq!(first.complaints().await, Vec::<String>::new());
    assert_eq!(second.complaints().await, Vec::<String>::new());
    first.open(&format!("{base}/patients/31")).await;
    assert!(first.eval("location.pathname").await == "/login", "the ended session must log in again");
    first.close().await;
    second.close().await;
}
