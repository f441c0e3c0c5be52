//! Reads dates and times of day as people and programs write them.

use std::fmt;
use std::str::FromStr;

use crate::class::{Classified, ErrorClass};
use crate::clock::Timestamp;

/// A text that is not a date and time of RFC 3339.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimestampError;

impl fmt::Display for TimestampError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "not a date and time such as 2026-01-31T08:30:00Z, 2026-01-31T09:30:00.250+01:00 or 2026-01-31",
        )
    }
}

impl std::error::Error for TimestampError {}

impl Classified for TimestampError {
    fn class(&self) -> ErrorClass {
        ErrorClass::Invalid
    }
}

impl FromStr for Timestamp {
    type Err = TimestampError;

    /// Reads RFC 3339: a date, `T` or a blank, a time of day, and `Z` or an offset. A date alone is its beginning in
    /// UTC. What is finer than a millisecond is cut off, and a leap second is the last millisecond before it.
    fn from_str(text: &str) -> Result<Self, TimestampError> {
        read(text).ok_or(TimestampError)
    }
}

fn read(text: &str) -> Option<Timestamp> {
    let (date, rest) = text.split_at_checked(10)?;
    let bytes = date.as_bytes();
    if bytes[4] != b'-' || bytes[7] != b'-' {
        return None;
    }
    let (year, month, day) = (digits(date.get(..4)?)?, digits(date.get(5..7)?)?, digits(date.get(8..)?)?);
    if !(1..=12).contains(&month) || !(1..=days_in(year, month)).contains(&day) {
        return None;
    }
    let midnight = days(year, month, day) * 86_400_000;
    if rest.is_empty() {
        return Some(Timestamp(midnight));
    }
    let rest = rest.strip_prefix(['T', 't', ' '])?;
    let (time, rest) = rest.split_at_checked(8)?;
    let bytes = time.as_bytes();
    if bytes[2] != b':' || bytes[5] != b':' {
        return None;
    }
    let (hour, minute, second) = (digits(time.get(..2)?)?, digits(time.get(3..5)?)?, digits(time.get(6..)?)?);
    if hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let (millis, rest) = fraction(rest)?;
    let offset_minutes = offset(rest)?;
    let of_minute = if second == 60 { 59_999 } else { second * 1_000 + millis };
    Some(Timestamp(midnight + (hour * 60 + minute - offset_minutes) * 60_000 + of_minute))
}

/// The milliseconds of a fraction of a second, and what follows it.
fn fraction(rest: &str) -> Option<(i64, &str)> {
    let Some(rest) = rest.strip_prefix('.') else { return Some((0, rest)) };
    let length = rest.bytes().take_while(u8::is_ascii_digit).count();
    let (fraction, rest) = rest.split_at(length);
    let padded: String = fraction.chars().chain("000".chars()).take(3).collect();
    (length > 0).then_some((digits(&padded)?, rest))
}

/// How many minutes local time is ahead of UTC.
fn offset(text: &str) -> Option<i64> {
    if text.eq_ignore_ascii_case("z") {
        return Some(0);
    }
    let sign = match text.as_bytes().first()? {
        b'+' => 1,
        b'-' => -1,
        _ => return None,
    };
    let (hours, minutes) = text.get(1..)?.split_once(':')?;
    let (hours, minutes) = (two_digits(hours)?, two_digits(minutes)?);
    (hours <= 23 && minutes <= 59).then_some(sign * (hours * 60 + minutes))
}

fn two_digits(text: &str) -> Option<i64> {
    (text.len() == 2).then(|| digits(text))?
}

fn digits(text: &str) -> Option<i64> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

fn days_in(year: i64, month: i64) -> i64 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days since 1970-01-01. Hinnant 2013, `days_from_civil`: eras of 400 years that begin on 1 March.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = year - i64::from(month <= 2);
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let month_from_march = (month + 9) % 12;
    let day_of_year = (153 * month_from_march + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_day_that_is_written_is_read_back() {
        for day in (-720_000..2_930_000_i64).step_by(97) {
            let time = Timestamp(day * 86_400_000 + 45_296_789);
            // RFC 3339 has years of four digits without a sign.
            if (-62_167_219_200_000..253_402_300_800_000).contains(&time.0) {
                assert_eq!(time.to_string().parse(), Ok(time), "{time}");
            }
        }
    }

    #[test]
    fn offsets_fractions_and_dates_are_read() {
        let at = |text: &str| text.parse::<Timestamp>().map(|time| time.to_string());
        let noon = Ok("2026-01-31T12:00:00.000Z".to_owned());
        assert_eq!(at("2026-01-31T12:00:00Z"), noon);
        assert_eq!(at("2026-01-31 13:00:00+01:00"), noon);
        assert_eq!(at("2026-01-30T23:30:00-12:30"), noon);
        assert_eq!(at("2026-01-31T12:00:00.2509z"), Ok("2026-01-31T12:00:00.250Z".to_owned()));
        assert_eq!(at("2026-01-31T12:00:00.5Z"), Ok("2026-01-31T12:00:00.500Z".to_owned()));
        assert_eq!(at("2024-02-29"), Ok("2024-02-29T00:00:00.000Z".to_owned()));
        assert_eq!(at("2016-12-31T23:59:60Z"), Ok("2016-12-31T23:59:59.999Z".to_owned()));
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for text in [
            "",
            "2026",
            "2026-13-01",
            "2026-02-29",
            "2026-01-31T",
            "2026-01-31T24:00:00Z",
            "2026-01-31T12:00:00",
            "2026-01-31T12:00:00.Z",
            "2026-01-31T12:00:00+1:00",
            "2026-01-31T12:00:00Zx",
            "2026-01-3\u{e9}",
            "+026-01-01",
        ] {
            assert_eq!(text.parse::<Timestamp>(), Err(TimestampError), "{text:?}");
        }
    }
}
