//! `statehouse run-once` beside an application.

use std::sync::Arc;

use statehouse::coord::{Coordination, Ran, Revision, Run};
use statehouse::{Config, Error, Services};
use statehouse_testkit::RedisServer;
use tokio::sync::Notify;

use crate::{namespace, run};

/// An application, and what an operator has to say to look into the same place.
struct Application {
    server: RedisServer,
    namespace: String,
    services: Services,
}

impl Application {
    async fn start() -> Self {
        let server = RedisServer::builder().password("hunter2").arg("--appendonly", "yes").start().await;
        let namespace = namespace();
        let config = Config::in_memory().with_namespace(&namespace).with_coordination(server.url());
        Self { server, namespace, services: Services::open(config).await.unwrap() }
    }

    fn coord(&self) -> Coordination {
        self.services.coordination().with_label("replica 1")
    }

    async fn operator(&self, arguments: &str) -> crate::Ran {
        let url = self.server.url();
        let environment = [("STATEHOUSE_COORDINATION_URL", url.as_str()), ("STATEHOUSE_NAMESPACE", &self.namespace)];
        let ran = run(arguments, &environment).await;
        assert!(!ran.all().contains("hunter2"), "{}", ran.all());
        ran
    }
}

fn april() -> Revision {
    Revision::new(202_604, "sha256:4a7d1e")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_run_is_shown_and_run_again_after_a_reset() {
    let application = Application::start().await;
    application.operator("run-once list").await.says(0, &["nothing was run once in this namespace"]);
    application.operator("run-once show seeds").await.says(1, &["statehouse: \"seeds\" was never begun"]);
    application.operator("run-once reset seeds --yes").await.says(1, &["\"seeds\" was never begun"]);

    let fails = async |run: Run| {
        run.save("batch 2", 2, 5).await?;
        Err::<(), _>(Error::invalid_input("line 7 of the feed"))
    };
    application.coord().run_once("terminology", april()).attempts(1).run(fails).await.unwrap_err();
    let done = async |_: Run| Ok::<_, Error>(());
    let ran = application.coord().run_once("seeds", Revision::new(1, "d")).run(done).await.unwrap();
    assert_eq!(ran, Ran::Now { attempt: 1 });

    let list = application.operator("run-once list").await;
    list.says(0, &["seeds: done, revision 1 \"d\", attempt 1 by \"replica 1\", record "]);
    let failed = "terminology: failed, revision 202604 \"sha256:4a7d1e\", attempt 1 by \"replica 1\", 2 of 5 done, checkpoint \
                  of 7 bytes, record ";
    list.says(0, &[failed, ", because \"line 7 of the feed\""]);
    assert_eq!(list.out.lines().count(), 2, "{}", list.out);
    let json = application.operator("run-once list --json").await.json();
    assert_eq!((&json["runs"][0]["name"], &json["runs"][0]["status"]["phase"]), (&"seeds".into(), &"Done".into()));
    let shown = application.operator("run-once show terminology --json").await.json();
    assert_eq!((&shown["checkpoint"], &shown["held_by"]), (&7.into(), &serde_json::Value::Null));
    assert_eq!((&shown["status"]["attempt"], &shown["status"]["total"]), (&1.into(), &5.into()));
    assert!(shown["version"].as_u64().is_some_and(|version| version > 0));

    let asked = application.operator("run-once reset terminology").await;
    asked.says(2, &[failed, "nothing was done: say --yes"]);
    application.operator("run-once show terminology").await.says(0, &["checkpoint of 7 bytes"]);
    let reset = application.operator("run-once reset terminology --yes --json").await;
    reset.says(0, &[]);
    assert_eq!((&reset.json()["reset"], &reset.json()["name"]), (&true.into(), &"terminology".into()));
    let body = async |run: Run| {
        assert!(run.checkpoint().is_none(), "it begins anew");
        Ok::<_, Error>(())
    };
    let ran = application.coord().run_once("terminology", april()).run(body).await.unwrap();
    assert_eq!(ran, Ran::Now { attempt: 1 });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reset_is_refused_while_a_replica_runs_it_and_made_when_that_has_ended() {
    let application = Application::start().await;
    let (begun, end) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let replica = application.coord().run_once("terminology", april());
    let (is_begun, may_end) = (Arc::clone(&begun), Arc::clone(&end));
    let running = tokio::spawn(async move {
        let body = async |run: Run| {
            run.progress(1, 5).await?;
            is_begun.notify_one();
            may_end.notified().await;
            Ok::<_, Error>(())
        };
        replica.run(body).await
    });
    begun.notified().await;
    application
        .operator("run-once show terminology")
        .await
        .says(0, &["terminology: run by \"replica 1\"", "1 of 5 done"]);
    let refused = application.operator("run-once reset terminology --yes").await;
    refused.says(1, &["statehouse: ", "\"replica 1\" runs \"terminology\"", "let it finish, or end it"]);
    let json = application.operator("run-once reset terminology --yes --json").await;
    json.says(1, &[]);
    assert_eq!(json.json()["error"]["kind"], "conflict");

    let waiting = application.operator("run-once reset terminology --yes --wait 300");
    let ended = async {
        tokio::time::sleep(std::time::Duration::from_millis(300)).await;
        end.notify_one();
        running.await.unwrap().unwrap()
    };
    let (reset, ran) = tokio::join!(waiting, ended);
    assert_eq!(ran, Ran::Now { attempt: 1 });
    reset.says(0, &["terminology: reset"]);
    application.operator("run-once list").await.says(0, &["nothing was run once"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_is_away_is_no_empty_list() {
    let closed = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("redis://:hunter2@{}", closed.local_addr().unwrap());
    drop(closed);
    let ran = run("run-once list", &[("STATEHOUSE_COORDINATION_URL", &url)]).await;
    ran.says(1, &["STATEHOUSE_COORDINATION_URL"]);
    assert!(ran.out.is_empty() && !ran.err.contains("hunter2"), "{}", ran.all());
}
