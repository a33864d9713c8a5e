//! A disk without space: nobody is told that something unexpected happened, nobody stays logged in who has logged out, and all is
//! well when there is space again.

use reqwest::{Method, Response, StatusCode};
use statehouse_testkit::SmallDisk;

use crate::client::Client;
use crate::clinic;

/// Not a test of its own: runs where a small file system is mounted, which the other test sees to.
#[tokio::test]
async fn the_clinic_on_the_small_disk() {
    let Some(disk) = SmallDisk::here() else { return };
    let clinic = clinic::start(&disk.path().join("clinic")).await;
    let (ada, grace) =
        (Client::logged_in(clinic.address(), "ada").await, Client::logged_in(clinic.address(), "grace").await);
    let cookie = grace.cookie();
    disk.fill("filler");
    // The database writes into space that it has already until that is used up, too.
    let long = "long ".repeat(3_000);
    until_full(StatusCode::SEE_OTHER, async |number| note(&ada, number, &long).await).await;
    until_full(StatusCode::NO_CONTENT, async |number| ada.keep_draft(1 + number % 300, "short").await.unwrap()).await;
    let left = grace.post("/logout", &[]).await.unwrap();
    assert_eq!(left.status(), StatusCode::SEE_OTHER, "{}", left.text().await.unwrap());
    let me = Client::new(clinic.address()).request(Method::GET, "/api/me").header("cookie", cookie);
    assert_eq!(me.send().await.unwrap().status(), StatusCode::UNAUTHORIZED);
    assert_eq!(ada.get("/api/me").await.unwrap().status(), StatusCode::OK);

    std::fs::remove_file(disk.path().join("filler")).unwrap();
    assert_eq!(note(&ada, 5_000, &long).await.status(), StatusCode::SEE_OTHER);
    let grace = Client::logged_in(clinic.address(), "grace").await;
    let sessions = grace.get("/sessions").await.unwrap().text().await.unwrap();
    assert_eq!(sessions.matches("name=\"session\"").count(), 1, "the one that ended is not listed");
    let log = clinic.log().unwrap();
    assert!(!log.contains("a request failed") && log.contains("out of reach"), "{log}");
}

async fn note(client: &Client, number: u32, text: &str) -> Response {
    client.post("/patients/41/notes", &[("id", &format!("{number:032x}")), ("text", text)]).await.unwrap()
}

async fn until_full(saved: StatusCode, write: impl AsyncFn(u32) -> Response) {
    for number in 0..2_000 {
        let answer = write(number).await;
        if answer.status() != saved {
            assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
            assert_eq!(answer.headers()["retry-after"], "10");
            assert!(answer.text().await.unwrap().contains("no room left"));
            return;
        }
    }
    panic!("the disk is not full");
}

#[test]
fn a_full_disk_is_told_and_a_log_out_is_one() {
    SmallDisk::run(64, "full_disk::the_clinic_on_the_small_disk");
}
