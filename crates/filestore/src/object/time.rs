//! Times as servers write them.

#[cfg(feature = "azure")]
use std::time::SystemTime;

use statehouse_core::Timestamp;

/// Reads `2026-01-31T23:59:59.123Z`, and a time as HTTP writes it, as Azure's listings do.
pub(super) fn parse_time(text: &str) -> Option<Timestamp> {
    parse_iso(text).or_else(|| httpdate::parse_http_date(text).ok().map(Timestamp::from))
}

/// Writes `2026-01-31T23:59:59Z`.
#[cfg(feature = "azure")]
pub(super) fn write_time(time: SystemTime) -> String {
    const MONTHS: &str = "JanFebMarAprMayJunJulAugSepOctNovDec";
    // "Sat, 31 Jan 2026 23:59:59 GMT"
    let text = httpdate::fmt_http_date(time);
    let parts: Vec<_> = text.split(' ').collect();
    let [_, day, month, year, time, _] = parts[..] else { return String::new() };
    let month = MONTHS.find(month).unwrap_or(0) / 3 + 1;
    format!("{year}-{month:02}-{day}T{time}Z")
}

fn parse_iso(text: &str) -> Option<Timestamp> {
    let (date, time) = text.strip_suffix('Z')?.split_once('T')?;
    let mut date = date.split('-').map(|part| part.parse::<u64>().ok());
    let (year, month, day) = (date.next()??, date.next()??, date.next()??);
    let (time, fraction) = time.split_once('.').unwrap_or((time, "0"));
    let mut time = time.split(':').map(|part| part.parse::<u64>().ok());
    let (hour, minute, second) = (time.next()??, time.next()??, time.next()??);
    if !(1970..=9999).contains(&year) || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    if hour > 23 || minute > 59 || second > 60 || fraction.len() > 9 {
        return None;
    }
    // Howard Hinnant's `days_from_civil`, for years after 1970.
    let shifted_year = if month <= 2 { year - 1 } else { year };
    let (era, year_of_era) = (shifted_year / 400, shifted_year % 400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let days = era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468;
    let seconds = days * 86_400 + hour * 3600 + minute * 60 + second;
    let micros = format!("{fraction:0<6}").get(..6)?.parse::<u64>().ok()?;
    Some(Timestamp::from_micros(seconds * 1_000_000 + micros))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_servers_write_them() {
        let table = [
            ("1970-01-01T00:00:00Z", Some(0)),
            ("2000-02-29T23:59:59.000Z", Some(951_868_799_000_000)),
            ("2026-03-01T00:00:00.123456Z", Some(1_772_323_200_123_456)),
            ("2026-03-01T00:00:00.1Z", Some(1_772_323_200_100_000)),
            ("Sun, 01 Mar 2026 00:00:00 GMT", Some(1_772_323_200_000_000)),
            ("2026-13-01T00:00:00Z", None),
            ("2026-03-01", None),
            ("", None),
            ("é026-03-01T00:00:00Z", None),
            ("2026-03-01T00:00:00.éZ", None),
        ];
        for (text, micros) in table {
            assert_eq!(parse_time(text).map(|time| time.as_micros()), micros, "{text}");
        }
    }

    #[cfg(feature = "azure")]
    #[test]
    fn times_are_written_as_they_are_read() {
        for seconds in [0, 951_868_799, 1_772_323_200, 4_102_444_799] {
            let time = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(seconds);
            let text = write_time(time);
            assert_eq!(
                (text.len(), parse_iso(&text)),
                (20, Some(Timestamp::from_micros(seconds * 1_000_000))),
                "{text}"
            );
        }
    }
}
