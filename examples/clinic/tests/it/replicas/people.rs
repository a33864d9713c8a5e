use super::{fleet, servers};
use crate::{bad_input, browser, pages};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_day_at_the_clinic_in_a_browser() {
    let servers = servers().await;
    let (_fleet, balancer) = fleet(&servers).await;
    browser::a_day_at_the_clinic(balancer.address(), "replicas").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_input_is_refused_clearly_and_nothing_is_stored() {
    let servers = servers().await;
    let (_fleet, balancer) = fleet(&servers).await;
    bad_input::all(balancer.address()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_problem_set_does_not_take_is_said_in_its_place_by_any_replica() {
    let servers = servers().await;
    let (_fleet, balancer) = fleet(&servers).await;
    pages::a_problem_set(balancer.address(), "replicas/problem-set").await;
}
