//! `docs/scenarios.md`, written from what there is.

use super::Scenario;

/// What no scenario shows yet.
const LATER: [(&str, &str); 3] = [
    ("S8", "an S3 that is throttled, cut and in conflict; cuts and conflicts are tested in `crates/filestore/tests`"),
    ("S10", "a release that is exchanged while it is read: there are no releases"),
    (
        "S11",
        "two versions of the program side by side; caches and sessions are tested in `crates/two-builds`, documents are not",
    ),
];

/// What stands in `docs/scenarios.md`.
#[must_use]
pub fn scenarios_page() -> String {
    let mut page = String::from(
        "# Scenarios\n\n\
         What replicas do together, end to end: several processes of the clinic on real servers, which are killed, stopped and \
         cut off. Each scenario ends in figures, and passes if every figure keeps its bound. In the short form bounds of times and \
         rates are wider: it runs beside other tests.\n\n\
         ```sh\n\
         cargo xtask scenarios                    # all, with the numbers that they were written with\n\
         cargo xtask scenarios S2 S4 --quick      # these, in the short form that the tests run too\n\
         cargo xtask scenarios --json FILE        # the figures for programs: id, title, criterion, figures, passed\n\
         cargo xtask scenarios --sabotage         # breaks what each relies on: it must fail then\n\
         ```\n\n\
         This page is written by `cargo xtask scenarios`.\n\n\
         | | what happens | what must hold |\n| --- | --- | --- |\n",
    );
    for Scenario { id, title, criterion, .. } in Scenario::ALL {
        page.push_str(&format!("| {id} | {title} | {criterion} |\n"));
    }
    page.push_str("\n## Not shown yet\n\n| | what happens |\n| --- | --- |\n");
    for (id, what) in LATER {
        page.push_str(&format!("| {id} | {what} |\n"));
    }
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scenario_is_there_or_later() {
        for (id, _) in LATER {
            assert!(id.split(", ").all(|id| Scenario::named(id).is_none()), "{id}");
        }
        let mut ids: Vec<_> = Scenario::ALL.iter().map(|scenario| scenario.id).collect();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), Scenario::ALL.len());
    }
}
