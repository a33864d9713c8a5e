//! The scenarios in their short form, and with `STATEHOUSE_SOAK` in full.

use std::path::Path;

use clinic_fleet::Scenario;
use statehouse_core::conformance::rounds;

use super::servers;
use crate::clinic;

#[expect(clippy::print_stdout, reason = "a soak keeps the figures")]
async fn holds(id: &str) {
    let servers = servers().await;
    let scenario = Scenario::named(id).unwrap_or_else(|| panic!("there is no {id}"));
    let row = scenario.run(Path::new(clinic::PATH), &servers, rounds(0, 1) == 1).await;
    println!("figure: {}", row.json());
    assert!(row.passed(), "{row}");
}

macro_rules! scenarios {
    ($($name:ident $id:literal;)*) => {
        $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $name() {
            holds($id).await;
        })*

        #[test]
        fn every_scenario_is_run() {
            let all: Vec<_> = Scenario::ALL.iter().map(|scenario| scenario.id).collect();
            assert_eq!(all, [$($id),*]);
        }
    };
}

scenarios! {
    s1_replicas_start_at_once "S1";
    s1f_two_share_a_folder "S1F";
    s2_a_successor_goes_on "S2";
    s3_replicas_are_killed "S3";
    s4_replicas_are_restarted_one_by_one "S4";
    s5_leaders_are_stopped "S5";
    s6_a_redis_that_is_slow "S6";
    s7_one_is_cut_off "S7";
    s9_an_opensearch_that_dies "S9";
    s12_the_holder_is_stopped "S12";
    s13_clocks_that_are_off "S13";
    s14_planned_times "S14";
    s15_one_limit "S15";
    s16_one_table "S16";
    s17_one_request "S17";
    s18_a_redis_that_forgets "S18";
    s19_settings_that_disagree "S19";
    s20_a_network_that_is_split "S20";
    s21_in_turns "S21";
    s22_more_and_fewer "S22";
}
