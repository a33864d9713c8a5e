//! A replica becomes the primary, and its clock is a quarter of an hour behind.

use std::time::{Duration, Instant};

use axum::http::StatusCode;
use statehouse_core::ServiceUrl;
use statehouse_redis::{RedisClient, RedisConfig};
use statehouse_testkit::RedisSuccession;

use crate::random_namespace;
use crate::redis::{App, until_up};

const BEHIND: Duration = Duration::from_secs(15 * 60);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sessions_go_on_and_who_was_logged_out_stays_so_behind_a_primary_whose_clock_is_behind() {
    let succession = RedisSuccession::behind(BEHIND).await;
    let mut url = ServiceUrl::parse("STATEHOUSE_SESSIONS_URL", &succession.url()).unwrap();
    let redis = RedisClient::open(RedisConfig::from_url(&mut url).unwrap()).await.unwrap();
    let app = App::over(redis, &random_namespace(), |config| config);
    let (kept, ended) = (app.login().await, app.login().await);
    for _ in 0..2 {
        assert_eq!(app.send("POST", "/push", &kept).await.status(), StatusCode::OK);
    }
    assert_eq!(app.send("POST", "/logout", &ended).await.status(), StatusCode::OK);

    succession.happens().await;
    let begun = Instant::now();
    until_up(&app).await;

    assert_eq!(app.who(&kept).await, "u42", "after {:?}", begun.elapsed());
    assert_eq!(app.who(&ended).await, "nobody");
    assert_eq!(app.pushed(&kept).await, "2");
    // Each change is on top of the last, and is not taken for one that came too late.
    for _ in 0..3 {
        assert_eq!(app.send("POST", "/push", &kept).await.status(), StatusCode::OK);
    }
    assert_eq!(app.pushed(&kept).await, "5");
    assert_eq!(app.send("POST", "/logout", &kept).await.status(), StatusCode::OK);
    assert_eq!(app.who(&kept).await, "nobody");
    let again = app.login().await;
    assert_eq!((app.who(&again).await.as_str(), app.who(&ended).await.as_str()), ("u42", "nobody"));
}
