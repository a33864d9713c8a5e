//! `cargo xtask scenarios`: what replicas do together, end to end.

use std::fs;
use std::path::PathBuf;

use clinic_fleet::Scenario;
use serde_json::json;

use crate::run::{cargo, loudly};
use crate::{Result, USAGE, install, sabotage, workspace};

/// How the entries of a `sabotage.toml` begin that a scenario must notice.
const BROKEN: &str = "scenario_";

#[derive(Default)]
struct Options<'a> {
    wanted: Vec<&'static Scenario>,
    json: Option<&'a str>,
    quick: bool,
    sabotage: bool,
}

/// `[S…] [--quick] [--json FILE] [--sabotage]`.
pub(crate) fn scenarios(args: &[&str]) -> Result {
    let Options { wanted, json, quick, sabotage } = options(args)?;
    fs::write(page(), clinic_fleet::scenarios_page()).map_err(|error| format!("{}: {error}", page().display()))?;
    if sabotage {
        return sabotage::run(&filter(&wanted));
    }
    install::ensure(&install::SERVERS)?;
    loudly(&mut cargo(["build", "--package", "clinic", "--features", "replicas"]))?;
    let clinic = workspace::target().join("debug/clinic");
    let runtime = tokio::runtime::Runtime::new().map_err(|error| error.to_string())?;
    let all: Vec<_> = if wanted.is_empty() { Scenario::ALL.iter().collect() } else { wanted };
    let running = clinic_fleet::scenarios(&clinic, &all, !quick, |row| println!("{row}"));
    let rows = runtime.block_on(running).map_err(|error| error.to_string())?;
    json.map_or(Ok(()), |file| write(file, &rows))?;
    let failed: Vec<_> = rows.iter().filter(|row| !row.passed()).map(|row| row.id).collect();
    if failed.is_empty() { Ok(()) } else { Err(format!("failed: {}", failed.join(", "))) }
}

fn write(file: &str, rows: &[clinic_fleet::Row]) -> Result {
    let rows: Vec<_> = rows.iter().map(clinic_fleet::Row::json).collect();
    fs::write(file, format!("{:#}\n", json!(rows))).map_err(|error| format!("{file}: {error}"))
}

/// All entries, or those of one scenario.
fn filter(wanted: &[&Scenario]) -> String {
    match wanted {
        [one] => format!("{BROKEN}{}_", one.id.to_lowercase()),
        _ => BROKEN.to_owned(),
    }
}

fn page() -> PathBuf {
    workspace::root().join("docs/scenarios.md")
}

fn options<'a>(args: &[&'a str]) -> Result<Options<'a>> {
    let mut options = Options::default();
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        match *arg {
            "--quick" => options.quick = true,
            "--sabotage" => options.sabotage = true,
            "--json" => options.json = Some(args.next().ok_or("--json needs a file")?),
            id => match Scenario::named(id) {
                Some(scenario) => options.wanted.push(scenario),
                None => return Err(format!("there is no scenario {id}\n\n{USAGE}")),
            },
        }
    }
    Ok(options)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scenarios_are_chosen_by_their_ids_and_mistakes_are_named() {
        let read = options(&["s2", "S4", "--quick", "--json", "x.json"]).unwrap();
        assert_eq!(read.wanted.iter().map(|scenario| scenario.id).collect::<Vec<_>>(), ["S2", "S4"]);
        assert!(read.quick && !read.sabotage && read.json == Some("x.json"));
        assert_eq!((filter(&read.wanted[..1]), filter(&read.wanted)), ("scenario_s2_".into(), "scenario_".into()));
        for (args, named) in [(&["S0"][..], "S0"), (&["--json"], "--json"), (&["--fast"], "--fast")] {
            assert!(options(args).err().unwrap().contains(named));
        }
    }

    #[test]
    fn the_page_tells_of_the_scenarios_that_there_are() {
        assert_eq!(fs::read_to_string(page()).unwrap(), clinic_fleet::scenarios_page(), "run `cargo xtask scenarios`");
    }
}
