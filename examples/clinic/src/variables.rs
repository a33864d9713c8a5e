//! Whether the variables of the environment that are called like ours are ours.

use std::ffi::OsString;

use statehouse::core::{is_service_link, nearest};

use crate::settings::HELP;

const PREFIX: &str = "CLINIC_";

/// Refuses a variable that begins with `CLINIC_` and is no setting, so that a misspelt one is not taken for the default; and a
/// value that is no text or has something around it that nobody sees. What Kubernetes sets for a service called `clinic` is left
/// alone.
pub(crate) fn check(variables: impl IntoIterator<Item = (OsString, OsString)>) -> Result<(), String> {
    for (name, value) in variables {
        let Some(name) = name.to_str().filter(|name| name.starts_with(PREFIX)) else { continue };
        let value = value.to_str().ok_or_else(|| format!("{name} is not UTF-8"))?;
        if !known().any(|known| known == name) {
            if is_service_link(name, value) {
                continue;
            }
            return Err(unknown(name));
        }
        if value != value.trim() {
            let what = "begins or ends with a blank or a line break, as what is read from a file often does";
            return Err(format!("{name} {what}; remove it"));
        }
    }
    Ok(())
}

/// The settings that the help names.
pub(crate) fn known() -> impl Iterator<Item = &'static str> {
    let words = HELP.split(|letter: char| letter.is_whitespace() || letter == ',');
    words.filter(|word| word.starts_with(PREFIX))
}

fn unknown(name: &str) -> String {
    // What all have in common would make each near to each.
    let meant = nearest(name.trim_start_matches(PREFIX), known().map(|known| known.trim_start_matches(PREFIX)));
    let meant = meant.map(|meant| format!("did you mean {PREFIX}{meant}? ")).unwrap_or_default();
    format!("{name} is not a setting; {meant}accepted: {}", known().collect::<Vec<_>>().join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(name: &str, value: &str) -> Result<(), String> {
        check([(name.into(), value.into()), ("PATH".into(), "/bin\n".into())])
    }

    #[test]
    fn a_misspelt_variable_is_refused_and_the_one_that_was_meant_is_named() {
        for (name, meant) in [
            ("CLINIC_LITSEN", "did you mean CLINIC_LISTEN?"),
            ("CLINIC_HTPPS", "did you mean CLINIC_HTTPS?"),
            ("CLINIC_METRICS", "did you mean CLINIC_METRICS_TOKEN?"),
            ("CLINIC_", "accepted: CLINIC_LISTEN, "),
            ("CLINIC_PORT", "accepted: CLINIC_LISTEN, "),
        ] {
            let error = checked(name, "8080").unwrap_err();
            assert!(error.starts_with(name) && error.contains(meant), "{error}");
        }
        for (name, value) in [
            ("CLINIC_HTTPS", "true"),
            ("CLINIC_DATA", ""),
            ("CLINICAL", "x"),
            ("CLINIC_PORT", "tcp://10.0.0.1:80"),
            ("CLINIC_SERVICE_HOST", "10.0.0.1"),
        ] {
            checked(name, value).unwrap();
        }
    }

    #[test]
    fn what_nobody_sees_around_a_value_is_named_and_the_value_is_not() {
        for value in ["postgres://u:hunter2@h/clinic\n", " hunter2"] {
            let error = checked("CLINIC_DATABASE", value).unwrap_err();
            assert!(error.contains("CLINIC_DATABASE") && error.contains("line break") && !error.contains("hunter"));
        }
    }
}
