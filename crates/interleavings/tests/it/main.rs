//! Each model in many orders of its threads: `cargo xtask check orders`.

use statehouse_interleavings::{breaker, explore, flights, gathering, kept, link, spares};

#[test]
fn orders_of_a_breaker_let_one_probe_pass_at_a_time() {
    explore(breaker::one_probe_at_a_time);
}

#[test]
fn orders_of_a_breaker_keep_its_glance_true() {
    explore(breaker::a_glance_agrees_with_what_it_knows);
}

#[test]
fn orders_of_a_budget_pay_for_each_retry_once() {
    explore(breaker::a_retry_is_paid_for_once);
}

#[test]
fn orders_of_a_trouble_tell_of_it_once() {
    explore(breaker::a_trouble_begins_and_ends_once);
}

#[test]
fn orders_of_flights_let_one_load_and_tell_all() {
    explore(flights::one_loads_and_all_learn_of_it);
}

#[test]
fn orders_of_flights_answer_nobody_with_what_was_before() {
    explore(flights::nobody_is_answered_with_what_was_before);
}

#[test]
fn orders_of_gathered_commands_give_each_its_own_answer() {
    explore(gathering::each_has_its_own_answer_or_is_told);
}

#[test]
fn orders_of_kept_invalidations_lose_none() {
    explore(kept::what_is_owed_is_seen_at_a_glance);
}

#[test]
fn orders_of_a_link_replace_it_once_and_close_what_was() {
    explore(link::one_replaces_it_and_what_was_replaced_is_closed);
}

#[test]
fn orders_of_spares_keep_none_of_what_was_replaced() {
    explore(spares::none_is_of_a_connection_that_was_replaced);
}
