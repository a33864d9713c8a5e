use std::time::Duration;

use statehouse_testkit::{OpenSearchCluster, OpenSearchNode};
use tokio::time::timeout;

use crate::leftovers::processes_with;

async fn index(node: &OpenSearchNode, name: &str) {
    let answer = node.request("PUT", &format!("/{name}/_doc/1?refresh=true"), r#"{"title":"heart"}"#).await.unwrap();
    assert_eq!(answer.status, 201, "{}", answer.text());
}

async fn hits(node: &OpenSearchNode, name: &str) -> String {
    let answer = node.request("GET", &format!("/{name}/_search?q=title:heart&filter_path=hits.total.value"), "").await;
    answer.unwrap().text()
}

const ONE: &str = r#"{"hits":{"total":{"value":1}}}"#;

#[tokio::test]
async fn it_is_paused_killed_and_started_again_with_its_documents() {
    let node = OpenSearchNode::start().await;
    index(&node, "testkit").await;
    assert_eq!(hits(&node, "testkit").await, ONE);
    node.pause();
    assert!(timeout(Duration::from_millis(500), hits(&node, "testkit")).await.is_err());
    node.resume();
    assert_eq!(hits(&node, "testkit").await, ONE);
    let url = node.url();
    node.kill();
    assert!(node.request("GET", "/", "").await.is_err());
    node.restart().await;
    assert_eq!((hits(&node, "testkit").await.as_str(), node.url()), (ONE, url));
    let settings = node.request("GET", "/_nodes/_local/settings?filter_path=nodes.*.settings.path.data", "").await;
    let settings = settings.unwrap().text();
    let folder = settings.split('"').find_map(|text| text.strip_suffix("/data")).expect("no data folder");
    assert_eq!(processes_with(folder).len(), 2, "the server and its watchdog");
    drop(node);
    assert_eq!(processes_with(folder), [""; 0]);
    assert!(!std::path::Path::new(folder).exists());
}

#[tokio::test]
async fn the_shared_node_analyses_text() {
    let node = OpenSearchNode::shared().await;
    let body = r#"{"analyzer":"english","text":"Running hearts"}"#;
    let answer = node.request("POST", "/_analyze", body).await.unwrap();
    assert!(answer.text().contains(r#""token":"heart""#), "{}", answer.text());
}

#[tokio::test]
async fn a_cluster_of_three_serves_on_without_one() {
    let cluster = OpenSearchCluster::start().await;
    assert_eq!(cluster.url().matches("http://127.0.0.1:").count(), 3);
    let [one, two, three] = cluster.nodes() else { panic!("not three nodes") };
    index(one, "testkit").await;
    let green = "/_cluster/health/testkit?wait_for_status=green&timeout=30s";
    assert_eq!(two.request("GET", green, "").await.unwrap().status, 200);
    cluster.pause();
    for node in [one, two, three] {
        assert!(timeout(Duration::from_millis(300), hits(node, "testkit")).await.is_err());
    }
    cluster.resume();
    assert_eq!(hits(two, "testkit").await, ONE);
    two.kill();
    let two_left = "/_cluster/health?wait_for_nodes=2&timeout=60s";
    assert_eq!(three.request("GET", two_left, "").await.unwrap().status, 200);
    assert_eq!(hits(three, "testkit").await, ONE);
    two.restart().await;
    assert_eq!(hits(two, "testkit").await, ONE);
}
