//! Which bytes of a file a request asks for ([RFC 9110, 14.2](https://www.rfc-editor.org/rfc/rfc9110#section-14.2)).

use std::ops::Range;

use http::HeaderMap;
use http::header::RANGE;

use super::conditions::only;
use crate::options::ByteRange;

/// The ranges that a request asks for, if they are some that are looked at: in bytes, well-formed, and not more than so many. A
/// request for others gets the whole file, as the standard allows.
pub(super) fn asked(headers: &HeaderMap, most: usize) -> Option<Vec<ByteRange>> {
    let (unit, list) = only(headers, &RANGE)?.to_str().ok()?.split_once('=')?;
    if !unit.trim().eq_ignore_ascii_case("bytes") {
        return None;
    }
    let elements = list.split(',').map(str::trim).filter(|element| !element.is_empty());
    let ranges: Option<Vec<_>> = elements.take(most.saturating_add(1)).map(one).collect();
    ranges.filter(|ranges| (1..=most).contains(&ranges.len()))
}

fn one(element: &str) -> Option<ByteRange> {
    let (first, last) = element.split_once('-')?;
    match (number(first), number(last)) {
        (Some(first), Some(last)) if first <= last => Some((first..=last).into()),
        (Some(first), None) if last.is_empty() => Some((first..).into()),
        (None, Some(length)) if first.is_empty() => Some(ByteRange::last(length)),
        _ => None,
    }
}

/// One that is too large for any file is the largest.
fn number(text: &str) -> Option<u64> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| text.parse().unwrap_or(u64::MAX))
}

/// What is sent of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Selected {
    Whole,
    One(Range<u64>),
    /// At least two.
    Several(Vec<Range<u64>>),
    /// The file has none of the bytes.
    Nothing,
}

/// What a file of this length has of the ranges. Of an empty one there is no range to send: the whole of it is the answer, and so it
/// is where several ranges would be longer than the file, as those of an attack are.
pub(super) fn select(ranges: &[ByteRange], len: u64) -> Selected {
    if ranges.is_empty() || len == 0 {
        return Selected::Whole;
    }
    let mut found: Vec<_> = ranges.iter().filter_map(|range| range.within(len).ok()).collect();
    let sum = found.iter().fold(0_u64, |sum, range| sum.saturating_add(range.end - range.start));
    match found.len() {
        0 => Selected::Nothing,
        1 => Selected::One(found.remove(0)),
        _ if sum > len => Selected::Whole,
        _ => Selected::Several(found),
    }
}

#[cfg(test)]
mod fuzz;
#[cfg(test)]
mod tests {
    use super::*;

    fn of(lines: &[&str]) -> Option<Vec<ByteRange>> {
        let headers: HeaderMap = lines.iter().map(|line| (RANGE, line.parse().unwrap())).collect();
        asked(&headers, 3)
    }

    #[test]
    fn ranges_are_read_as_the_standard_writes_them_and_anything_else_means_the_whole() {
        let list = |ranges: &[ByteRange]| Some(ranges.to_vec());
        for (line, ranges) in [
            ("bytes=0-3", list(&[(0..=3).into()])),
            ("Bytes = 0-3", list(&[(0..=3).into()])),
            ("bytes=7-", list(&[(7..).into()])),
            ("bytes=-5", list(&[ByteRange::last(5)])),
            ("bytes=-0", list(&[ByteRange::last(0)])),
            ("bytes=0-1,4-5 , -1", list(&[(0..=1).into(), (4..=5).into(), ByteRange::last(1)])),
            ("bytes=,0-1,,", list(&[(0..=1).into()])),
            ("bytes=0-99999999999999999999", list(&[(0..=u64::MAX).into()])),
            ("bytes=0-0,1-1,2-2,3-3", None),
            ("bytes=5-2", None),
            ("bytes=0-1,5-2", None),
            ("bytes=", None),
            ("bytes=-", None),
            ("bytes=+1-2", None),
            ("bytes=1- 2", None),
            ("bytes=1", None),
            ("bytes", None),
            ("lines=0-3", None),
        ] {
            assert_eq!(of(&[line]), ranges, "{line}");
        }
        assert_eq!((of(&[]), of(&["bytes=0-1", "bytes=2-3"])), (None, None));
    }

    #[test]
    fn a_file_gives_what_it_has() {
        let several = |ranges: &[Range<u64>]| Selected::Several(ranges.to_vec());
        for (line, len, selected) in [
            ("bytes=0-3", 10, Selected::One(0..4)),
            ("bytes=8-99", 10, Selected::One(8..10)),
            ("bytes=-3", 10, Selected::One(7..10)),
            ("bytes=-99", 10, Selected::One(0..10)),
            ("bytes=10-", 10, Selected::Nothing),
            ("bytes=-0", 10, Selected::Nothing),
            ("bytes=0-1,20-30", 10, Selected::One(0..2)),
            ("bytes=20-,30-", 10, Selected::Nothing),
            ("bytes=0-1,4-5", 10, several(&[0..2, 4..6])),
            ("bytes=8-9,0-1", 10, several(&[8..10, 0..2])),
            ("bytes=0-,0-,0-", 10, Selected::Whole),
            ("bytes=0-6,3-9", 10, Selected::Whole),
            ("bytes=0-4,5-9", 10, several(&[0..5, 5..10])),
            ("bytes=0-", 0, Selected::Whole),
            ("bytes=-5", 0, Selected::Whole),
        ] {
            assert_eq!(select(&of(&[line]).unwrap(), len), selected, "{line} of {len}");
        }
        assert_eq!(select(&[], 10), Selected::Whole);
    }
}
