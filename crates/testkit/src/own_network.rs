//! A network of its own for one test: addresses that only certain hosts have.

use std::process::Command;

use crate::ends::output_within;
use crate::small_disk::TEST_WITHIN;

const MARK: &str = "STATEHOUSE_TEST_OWN_NETWORK";

/// The network that a test runs in: a loopback device with more addresses than it usually has, and nothing else.
///
/// Two tests belong together. One makes the network and runs the other in it, in a process of its own; the other is that
/// test, and nothing anywhere else:
///
/// ```no_run
/// use statehouse_testkit::OwnNetwork;
///
/// // #[test]
/// fn a_host_of_a_cloud_has_a_role() {
///     OwnNetwork::run(&["169.254.169.254"], "roles::on_a_host_of_a_cloud", &[("CASE", "good")]);
/// }
///
/// // #[test]
/// fn on_a_host_of_a_cloud() {
///     if !OwnNetwork::is_here() {
///         return;
///     }
///     // … listens at 169.254.169.254 …
/// }
/// ```
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct OwnNetwork;

impl OwnNetwork {
    /// Runs a test of this test program, by its full name as `--exact` takes it, where this host has these addresses, and
    /// with these variables in its environment. The network goes with the process.
    ///
    /// # Panics
    /// If the test fails, did not run or does not end, and without `unshare` (of util-linux) and `ip` (of iproute2).
    pub fn run(addresses: &[&str], test: &str, environment: &[(&str, &str)]) {
        let script = "ip link set lo up && for address in $1; do ip address add \"$address/32\" dev lo || exit 1; done \
                      && exec \"$2\" --exact \"$3\"";
        let mut run = Command::new("unshare");
        run.args(["--map-root-user", "--net", "sh", "-c", script, "sh", &addresses.join(" ")])
            .arg(std::env::current_exe().expect("the path of this program"))
            .arg(test)
            .env(MARK, "1")
            .envs(environment.iter().copied());
        let output = output_within(&mut run, TEST_WITHIN).unwrap_or_else(|error| panic!("{test}: {error}"));
        let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && text.contains("1 passed"), "{test} {environment:?}: {text}");
    }

    /// Whether this is the process that [`run`](Self::run) started.
    #[must_use]
    pub fn is_here() -> bool {
        std::env::var_os(MARK).is_some()
    }
}
