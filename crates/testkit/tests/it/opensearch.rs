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

/// Where a node keeps all that is its own.
async fn folder(node: &OpenSearchNode) -> String {
    let target = "/_nodes/_local/settings?filter_path=nodes.*.settings.path.data";
    let settings = node.request("GET", target, "").await.unwrap().text();
    settings.split('"').find_map(|text| text.strip_suffix("/data")).expect("no data folder").to_owned()
}

const ONE: &str = r#"{"hits":{"total":{"value":1}}}"#;

#[tokio::test]
async fn the_shared_node_analyses_text() {
    let node = OpenSearchNode::shared().await;
    let body = r#"{"analyzer":"english","text":"Running hearts"}"#;
    let answer = node.request("POST", "/_analyze", body).await.unwrap();
    assert!(answer.text().contains(r#""token":"heart""#), "{}", answer.text());
}

#[tokio::test]
async fn a_cluster_of_three_serves_on_without_one_and_starts_it_again_with_its_documents() {
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
    let url = two.url();
    two.kill();
    assert!(two.request("GET", "/", "").await.is_err());
    let two_left = "/_cluster/health?wait_for_nodes=2&timeout=60s";
    assert_eq!(three.request("GET", two_left, "").await.unwrap().status, 200);
    assert_eq!(hits(three, "testkit").await, ONE);
    two.restart().await;
    assert_eq!((hits(two, "testkit").await.as_str(), two.url()), (ONE, url));
    let folders = [folder(one).await, folder(two).await, folder(three).await];
    for folder in &folders {
        assert_eq!(processes_with(folder).len(), 2, "the server and its watchdog");
    }
    drop(cluster);
    for folder in &folders {
        assert_eq!(processes_with(folder), [""; 0]);
        assert!(!std::path::Path::new(folder).exists());
    }
}
