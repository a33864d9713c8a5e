//! Timeouts, and what is renewed before they come.

use futures_util::future::join_all;

use super::*;

#[tokio::test]
async fn reads_slide_the_idle_timeout_and_nothing_slides_the_absolute_one() {
    let app = App::new(|config| config.idle_timeout(20 * MINUTE).absolute_timeout(100 * MINUTE));
    let cookie = app.post("/login/u42", "").await.unwrap();
    for _ in 0..5 {
        app.clock.advance(18 * MINUTE);
        assert_eq!(app.get("/who", &cookie).await, ("u42".to_owned(), None));
        settle().await;
    }
    app.clock.advance(9 * MINUTE);
    assert_eq!(app.get("/who", &cookie).await.0, "u42");
    settle().await;
    app.clock.advance(MINUTE);
    assert_eq!(app.get("/who", &cookie).await.0, "nobody");
}

#[tokio::test]
async fn a_session_that_is_not_used_for_the_idle_timeout_is_over() {
    let app = App::new(|config| config.idle_timeout(20 * MINUTE));
    let cookie = app.post("/login/u42", "").await.unwrap();
    app.clock.advance(20 * MINUTE);
    assert_eq!(app.get("/who", &cookie).await.0, "nobody");
}

/// Lets the touches run that were left to the background.
async fn settle() {
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_renewal_among_fifty_parallel_requests_logs_nobody_out() {
    let app = App::new(|config| config.renew_every(10 * MINUTE, MINUTE));
    let cookie = app.post("/login/u42", "").await.unwrap();
    app.clock.advance(11 * MINUTE);
    let requests = (0..50).map(|number| {
        let (path, app, cookie) = (format!("/put/a{number}/x"), &app, &cookie);
        async move { if number % 2 == 0 { app.post(&path, cookie).await } else { app.get("/who", cookie).await.1 } }
    });
    let renewed: Vec<_> = join_all(requests).await.into_iter().flatten().collect();
    assert_eq!(renewed.len(), 1, "one of them renews");
    for alive in [&cookie, &renewed[0]] {
        assert_eq!(app.get("/who", alive).await.0, "u42");
    }
    for number in (0..50).step_by(2) {
        assert_eq!(app.get(&format!("/read/a{number}"), &renewed[0]).await.0, "x");
    }
    // From the first use of the new token on, which is told in the background.
    settle().await;
    app.clock.advance(MINUTE + Duration::from_secs(1));
    assert_eq!(app.get("/who", &cookie).await.0, "nobody", "its grace is over");
    assert_eq!(app.get("/who", &renewed[0]).await.0, "u42");
}

/// Only one token before the newest is known.
#[tokio::test]
async fn a_renewal_does_not_cut_the_grace_of_the_one_before_short() {
    let app = App::new(|config| config.renew_every(MINUTE / 60, MINUTE / 2));
    let first = app.post("/login/u42", "").await.unwrap();
    let mut newest = first.clone();
    for second in 1..=29 {
        app.clock.advance(MINUTE / 60);
        let (who, cookie) = app.get("/who", &newest).await;
        assert_eq!(who, "u42");
        newest = cookie.unwrap_or(newest);
        settle().await;
        assert_eq!(app.get("/who", &first).await.0, "u42", "after {second} s");
    }
    app.clock.advance(MINUTE);
    let renewed = app.get("/who", &newest).await.1;
    assert!(renewed.is_some_and(|renewed| renewed != newest), "it goes on to be renewed");
}

#[tokio::test]
async fn a_login_is_fresh_for_a_while() {
    let app = App::new(|config| config);
    let status = async |cookie: &str| app.send("GET", "/fresh", &[cookie]).await.status();
    assert_eq!(status("").await, StatusCode::UNAUTHORIZED);
    let anonymous = app.post("/put/a/1", "").await.unwrap();
    assert_eq!(status(&anonymous).await, StatusCode::UNAUTHORIZED);
    app.clock.advance(10 * MINUTE);
    let cookie = app.post("/login/u42", &anonymous).await.unwrap();
    app.clock.advance(4 * MINUTE);
    assert_eq!(status(&cookie).await, StatusCode::OK);
    app.clock.advance(2 * MINUTE);
    assert_eq!(status(&cookie).await, StatusCode::UNAUTHORIZED);
}

/// It seemed that the browser had not got it.
#[tokio::test]
async fn a_renewal_that_is_made_once_more_leaves_a_token_that_has_come_into_use_meanwhile() {
    let (entered, go_on) = (Arc::new(tokio::sync::Notify::new()), Arc::new(tokio::sync::Notify::new()));
    let routes = gated_routes(Arc::clone(&entered), Arc::clone(&go_on));
    let app = App::with_routes(routes, |config| config.renew_every(10 * MINUTE, MINUTE));
    let before = app.post("/login/u42", "").await.unwrap();
    app.clock.advance(11 * MINUTE);
    let renewed = app.get("/who", &before).await.1.expect("it is due");
    app.clock.advance(2 * MINUTE);
    let used = async {
        entered.notified().await;
        assert_eq!(app.get("/who", &renewed).await.0, "u42");
        let verifier = token(&before).verifier_hash();
        while app.store.load(&token(&renewed).key()).await.unwrap().found().unwrap().record().is_unconfirmed(&verifier)
        {
            tokio::task::yield_now().await;
        }
        go_on.notify_one();
    };
    let cookies = [before.as_str()];
    let (slow, ()) = tokio::join!(app.send("POST", "/slow", &cookies), used);
    assert_eq!((slow.status(), set_cookie(&slow)), (StatusCode::OK, None));
    assert_eq!(app.get("/who", &renewed).await.0, "u42");
    assert_eq!(app.get("/read/theme", &renewed).await.0, "planted");
}
