//! Which of the names that are accepted somebody may have meant who wrote another one.

/// The accepted name that is nearest to what was given, if one is near: one letter that is wrong, missing, too many, or in its
/// neighbour's place, in a name of up to four; two in one of up to eight; three in a longer one. Upper and lower case are
/// the same, as are `-` and `_`. A name that goes on behind the given one with another word is near too. Of several the first.
///
/// ```
/// use statehouse_core::nearest;
///
/// assert_eq!(nearest("tiemout", ["retries", "timeout"]), Some("timeout"));
/// assert_eq!(nearest("opensearch", ["memory", "opensearch+https"]), Some("opensearch+https"));
/// assert_eq!(nearest("gopher", ["memory", "redis", "s3"]), None);
/// ```
pub fn nearest<'a>(given: &str, accepted: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let letters = plain(given);
    // Nothing is near to what is longer than any name, and comparing takes time by both lengths.
    if letters.is_empty() || letters.len() > 64 {
        return None;
    }
    let near = |name: &&'a str| {
        let other = plain(name);
        let most = match letters.len().max(other.len()) {
            0..=4 => 1,
            5..=8 => 2,
            _ => 3,
        };
        let goes_on =
            other.strip_prefix(&letters[..]).and_then(|rest| rest.first()).is_some_and(|c| !c.is_alphanumeric());
        let distance = if goes_on { most } else { distance(&letters, &other) };
        (distance <= most).then_some(distance)
    };
    let found = accepted.into_iter().filter_map(|name| near(&name).map(|distance| (distance, name)));
    found.min_by_key(|(distance, _)| *distance).map(|(_, name)| name)
}

/// The question for an error that goes on behind it with what is accepted: nothing if nothing is near.
pub(crate) fn did_you_mean(nearest: Option<&str>) -> String {
    nearest.map(|name| format!("did you mean {name:?}? ")).unwrap_or_default()
}

fn plain(name: &str) -> Vec<char> {
    name.chars().map(|c| if c == '-' { '_' } else { c.to_ascii_lowercase() }).collect()
}

/// How many letters are changed, put in, left out, or swapped with their neighbour: the optimal string alignment, by rows of
/// its table.
fn distance(one: &[char], other: &[char]) -> usize {
    let mut before: Vec<usize> = Vec::new();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (i, a) in one.iter().enumerate() {
        let mut next = vec![i + 1];
        for (j, b) in other.iter().enumerate() {
            let mut least = (row[j] + usize::from(a != b)).min(row[j + 1] + 1).min(next[j] + 1);
            if i > 0 && j > 0 && *a == other[j - 1] && one[i - 1] == *b {
                least = least.min(before[j - 1] + 1);
            }
            next.push(least);
        }
        before = std::mem::replace(&mut row, next);
    }
    row[other.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_distance_counts_what_a_typist_does() {
        for (one, other, expected) in [
            ("", "", 0),
            ("", "abc", 3),
            ("redis", "redis", 0),
            ("redsi", "redis", 1),
            ("rdis", "redis", 1),
            ("reddis", "redis", 1),
            ("radis", "redis", 1),
            ("cash", "cache", 2),
            ("memory", "tantivy", 6),
        ] {
            let letters = |text: &str| text.chars().collect::<Vec<_>>();
            assert_eq!(distance(&letters(one), &letters(other)), expected, "{one} {other}");
            assert_eq!(distance(&letters(other), &letters(one)), expected, "{other} {one}");
        }
    }

    #[test]
    fn what_is_near_is_named_and_nothing_else() {
        let names = ["memory", "file", "s3", "redis", "rediss", "redis+sentinel", "max_sessions", "read_timeout"];
        for (given, expected) in [
            ("memroy", Some("memory")),
            ("Memory", Some("memory")),
            ("fiel", Some("file")),
            ("s4", Some("s3")),
            ("redsi", Some("redis")),
            ("redisss", Some("rediss")),
            ("redis+sentinal", Some("redis+sentinel")),
            ("max-session", Some("max_sessions")),
            ("max", Some("max_sessions")),
            ("readTimeout", Some("read_timeout")),
            ("gopher", None),
            ("http", None),
            ("x", None),
            ("", None),
            ("no_such_parameter", None),
        ] {
            assert_eq!(nearest(given, names), expected, "{given}");
        }
        assert_eq!(nearest(&"s".repeat(100_000), names), None);
    }
}
