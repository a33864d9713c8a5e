//! How messages for the next page are kept among the attributes.

use crate::record::{Attribute, AttributeName, Attributes, Delta};

/// Each message is an attribute of its own, so that two requests can leave one at the same time. Names go on with the
/// number of the message that was left last, in 16 hexadecimal digits.
pub(super) const PREFIX: &str = "statehouse.flash.";
const DIGITS: usize = 16;

/// The attribute of the token that forms show.
pub(super) const CSRF: &str = "statehouse.csrf";

/// How many messages wait at most. The oldest gives way.
const WAITING: usize = 16;

pub(super) fn is_flash(name: &AttributeName) -> bool {
    name.as_str().starts_with(PREFIX)
}

/// Adds the messages to the changes of a session with these attributes, after those that wait in it.
pub(super) fn number(delta: &mut Delta, stored: &Attributes, flashes: &[Attribute]) {
    if flashes.is_empty() {
        return;
    }
    let kept = stored.keys().filter(|name| !delta.clear && !delta.remove.contains(*name));
    let mut waiting: Vec<_> = kept.chain(delta.set.keys()).filter(|name| is_flash(name)).cloned().collect();
    waiting.sort_unstable();
    waiting.dedup();
    let last = waiting.last().and_then(number_of).unwrap_or(0);
    let new = (1..).map(|count| name(last.saturating_add(count))).zip(flashes.iter().cloned());
    delta.set.extend(new.skip(flashes.len().saturating_sub(WAITING)));
    let excess = (waiting.len() + flashes.len().min(WAITING)).saturating_sub(WAITING);
    for name in waiting.into_iter().take(excess) {
        delta.set.remove(&name);
        delta.remove.insert(name);
    }
}

pub(super) fn name(number: u64) -> AttributeName {
    AttributeName::reserved(&format!("{PREFIX}{number:0width$x}", width = DIGITS))
}

fn number_of(name: &AttributeName) -> Option<u64> {
    let digits = name.as_str().strip_prefix(PREFIX)?.get(..DIGITS)?;
    u64::from_str_radix(digits, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flashes(count: usize) -> Vec<Attribute> {
        (0..count).map(|number| Attribute::encode(&number).unwrap()).collect()
    }

    #[test]
    fn numbers_go_on_after_the_last_one_also_of_names_with_a_time() {
        let earlier = format!("{PREFIX}{:016x}0001a5a5a5a5", 1_795_223_382_034_413_u64);
        let stored = Attributes::from_iter([(AttributeName::reserved(&earlier), flashes(1).remove(0))]);
        let mut delta = Delta::new();
        number(&mut delta, &stored, &flashes(2));
        let numbers: Vec<_> = delta.set.keys().filter_map(number_of).collect();
        assert_eq!(numbers, [1_795_223_382_034_414, 1_795_223_382_034_415]);
    }

    #[test]
    fn the_oldest_give_way() {
        let mut stored = Attributes::new();
        for round in 0..3 {
            let mut delta = Delta::new();
            number(&mut delta, &stored, &flashes(10));
            stored = delta.apply(&stored).unwrap();
            assert_eq!(stored.len(), 10.max(WAITING.min(10 * (round + 1))));
        }
        let mut delta = Delta::new();
        number(&mut delta, &stored, &flashes(100));
        stored = delta.apply(&stored).unwrap();
        let values: Vec<usize> = stored.values().map(|value| value.decode().unwrap()).collect();
        assert_eq!(values, (84..100).collect::<Vec<_>>());
    }
}
