//! Documents that one replica removes, restores or gives a link to, and the others know of it.

use clinic_fleet::Fleet;
use reqwest::StatusCode;

use super::{fleet, servers};
use crate::client::Client;
use crate::documents::{attached, link};

async fn statuses(fleet: &Fleet, path: &str) -> Vec<StatusCode> {
    let answers = fleet.addresses().into_iter().map(async |at| Client::new(at).get(path).await.unwrap().status());
    futures_util::future::join_all(answers).await
}

#[tokio::test]
async fn a_link_of_one_replica_opens_at_every_other_until_any_removes_its_document() {
    let servers = servers().await;
    let (fleet, _balancer) = fleet(&servers).await;
    let mut staff = Vec::new();
    for at in fleet.addresses() {
        staff.push(Client::logged_in(at, "ada").await);
    }
    let id = attached(&staff[0], 71, "letter.pdf").await;
    for client in &staff {
        let link = link(client, 71, &id).await;
        assert_eq!(statuses(&fleet, &link).await, [StatusCode::OK; 3]);
    }
    let link = link(&staff[0], 71, &id).await;
    for (at, action, expected) in [(1, "remove", StatusCode::NOT_FOUND), (2, "restore", StatusCode::OK)] {
        let changed = staff[at].submit(&format!("/patients/71/documents/{id}/{action}"), &[]).await;
        assert_eq!(changed.status(), StatusCode::SEE_OTHER, "{action}");
        assert_eq!(statuses(&fleet, &link).await, [expected; 3], "{action}");
    }
}
