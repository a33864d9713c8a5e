//! `statehouse doctor --fleet`: what replicas say of themselves.

use statehouse::coord::{MemberInfo, MemberState};
use statehouse::{Config, Services};
use statehouse_testkit::RedisServer;

use crate::{namespace, run};

/// The services of a replica, which joins by itself.
async fn services(redis: &RedisServer, namespace: &str) -> Services {
    let config = Config::in_memory().with_namespace(namespace).with_coordination(redis.url());
    Services::open(config).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_replica_is_a_line_and_what_differs_is_named_with_who_has_what() {
    let redis = RedisServer::builder().arg("--appendonly", "yes").start().await;
    let namespace = namespace();
    let url = redis.url();
    let environment = [("STATEHOUSE_NAMESPACE", namespace.as_str()), ("STATEHOUSE_COORDINATION_URL", url.as_str())];
    run("doctor --fleet", &environment).await.says(1, &["0 replicas", "problem: nobody is there"]);

    let services = services(&redis, &namespace).await;
    let replica = async |label: &str, feed: &str| {
        let info = MemberInfo::new("clinic 2").with_fingerprint("feed", feed).with_state(MemberState::Ready);
        services.coordination().with_label(label).membership().join(info).await.unwrap()
    };
    let (one, _two) = (replica("one", "2026-04").await, replica("two", "2026-04").await);
    let well = run("doctor --fleet", &environment).await;
    well.says(0, &["2 replicas", "one: ready, clinic 2, settings ", "two: ready"]);
    assert!(!well.all().contains("problem"), "{}", well.all());

    let three = replica("three", "2026-03").await;
    let lost = |info: &mut MemberInfo| {
        info.state = MemberState::Unready;
        info.reasons = vec!["database: down: refused".to_owned()];
    };
    one.update(lost).unwrap();
    while !one.is_told() {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    let differs = r#"problem: feed is not the same for all: "2026-03" at three; "2026-04" at one, two"#;
    let ran = run("doctor --fleet", &environment).await;
    ran.says(1, &["one: unready", "  database: down: refused", differs]);
    let json = run("doctor --fleet --json", &environment).await.json();
    assert_eq!(json["good"], false);
    assert_eq!(json["replicas"][0]["label"], "one");
    assert_eq!(json["replicas"][0]["state"], "unready");
    assert_eq!(json["differences"][0]["values"]["2026-03"][0], "three");
    three.leave().await;
}

/// Nothing is shared, so that nobody can be known.
#[tokio::test]
async fn where_replicas_cannot_know_of_each_other_that_is_said() {
    let ran = run("doctor --fleet", &[("STATEHOUSE_CACHE_URL", "memory:")]).await;
    ran.says(1, &["STATEHOUSE_COORDINATION_URL", "neither is shared"]);
}
