//! Instants of RFC 3339 in filters. A filter that names one declares that the key's strings are compared as times.
//! Invariants: two texts of one instant, in whatever time zone, are equal; later instants are greater, to the
//! nanosecond.

use super::ast::{Clause, FilterError};

/// Bytes of a date without a time: `2024-05-01`.
const DATE_BYTES: usize = "2024-05-01".len();

/// An instant in a filter, read from RFC 3339. A test with it reads the key's strings as times too; a string that is
/// none fails the test.
///
/// ```
/// use drumlin::filters::DateTime;
/// use drumlin::{Filter, Metadata};
///
/// let since_may = Filter::gte("created", DateTime::parse("2024-05-01")?);
/// assert!(since_may.matches(Some(&Metadata::from([("created", "2024-05-01T02:00:00+02:00")])), None));
/// assert!(!since_may.matches(Some(&Metadata::from([("created", "2024-05-01T01:59:59.9+02:00")])), None));
/// assert!(!since_may.matches(Some(&Metadata::from([("created", "next summer")])), None));
/// # Ok::<(), drumlin::filters::FilterError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DateTime {
    /// Since 1970 in UTC, without leap seconds.
    seconds: i64,
    /// From 1,000,000,000 on inside a leap second.
    nanoseconds: u32,
}

impl DateTime {
    /// Reads an RFC 3339 date-time (`2024-05-01T09:30:00.25+02:00`; a space may stand for the `T`), or a date, which is
    /// its midnight in UTC. Of the fraction nine digits count.
    ///
    /// # Errors
    /// The text is neither.
    pub fn parse(text: &str) -> Result<DateTime, FilterError> {
        let refused = || FilterError { clause: Clause::Where, message: format!("{EXPECTED}, got {text:?}") };
        DateTime::read(text).ok_or_else(refused)
    }

    /// As [`DateTime::parse`]; `None` where that refuses.
    pub(super) fn read(text: &str) -> Option<DateTime> {
        let mut midnight = *b"0000-00-00T00:00:00Z";
        let whole = match text.len() {
            DATE_BYTES => {
                midnight.get_mut(..DATE_BYTES)?.copy_from_slice(text.as_bytes());
                std::str::from_utf8(&midnight).ok()?
            }
            _ => text,
        };
        let read = chrono::DateTime::parse_from_rfc3339(whole).ok()?;
        // The crate also reads the minus sign of typography in an offset.
        if !whole.is_ascii() {
            return None;
        }
        Some(DateTime { seconds: read.timestamp(), nanoseconds: read.timestamp_subsec_nanos() })
    }
}

/// How a refusal of a text begins.
pub(super) const EXPECTED: &str =
    "expected an RFC 3339 date-time such as \"2024-05-01T09:30:00Z\" or a date such as \"2024-05-01\"";

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> DateTime {
        DateTime::read(text).unwrap_or_else(|| panic!("{text} was refused"))
    }

    /// Counts days one by one from 1970, by the calendar's rules.
    fn seconds_of_midnight(year: i64, month: usize, day: i64) -> i64 {
        let leap = |y: i64| y % 4 == 0 && (y % 100 != 0 || y % 400 == 0);
        let years: i64 = match year >= 1970 {
            true => (1970..year).map(|y| if leap(y) { 366 } else { 365 }).sum(),
            false => -(year..1970).map(|y| if leap(y) { 366 } else { 365 }).sum::<i64>(),
        };
        let february = if leap(year) { 29 } else { 28 };
        let months = [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
        (years + months[..month - 1].iter().sum::<i64>() + day - 1) * 86_400
    }

    #[test]
    fn a_date_is_midnight_in_utc_and_every_month_has_its_days() {
        for (year, leap) in [(0, true), (1600, true), (1900, false), (1969, false), (2000, true), (2024, true)] {
            for month in 1..=12 {
                let text = format!("{year:04}-{month:02}-01");
                let expected = DateTime { seconds: seconds_of_midnight(year, month, 1), nanoseconds: 0 };
                assert_eq!(read(&text), expected, "{text}");
                assert_eq!(read(&format!("{text}T00:00:00Z")), expected, "{text}");
            }
            assert_eq!(DateTime::read(&format!("{year:04}-02-29")).is_some(), leap, "{year}");
        }
    }

    #[test]
    fn texts_of_one_instant_are_equal() {
        let one = read("2024-05-01T00:00:00Z");
        for same in [
            "2024-05-01",
            "2024-05-01t00:00:00z",
            "2024-05-01 00:00:00Z",
            "2024-05-01T00:00:00.000Z",
            "2024-05-01T00:00:00.0000000009Z",
            "2024-05-01T00:00:00+00:00",
            "2024-05-01T00:00:00-00:00",
            "2024-05-01T05:45:00+05:45",
            "2024-04-30T19:00:00-05:00",
            "2024-05-01T23:59:00+23:59",
        ] {
            assert_eq!(read(same), one, "{same}");
        }
    }

    #[test]
    fn later_instants_are_greater_to_the_nanosecond() {
        let ascending = [
            "0000-01-01",
            "1969-12-31T23:59:59.999999999Z",
            "1970-01-01",
            "2016-12-31T23:59:59.999999999Z",
            "2016-12-31T23:59:60Z",
            "2016-12-31T23:59:60.5Z",
            "2017-01-01",
            "2017-01-01T00:00:00.000000001Z",
            "2017-01-01T00:00:00.1Z",
            "2017-01-01T00:00:00.12Z",
            "2017-01-01T00:00:01+00:00",
            "2017-01-01T00:00:01-00:01",
            "9999-12-31T23:59:59.999999999-23:59",
        ];
        assert!(ascending.windows(2).all(|pair| read(pair[0]) < read(pair[1])));
    }

    #[test]
    fn what_is_no_date_is_refused() {
        for text in [
            "",
            "2024",
            "2024-05",
            "2024-5-1",
            "2024-05-1 ",
            " 2024-05-01",
            "20240501",
            "+2024-05-1",
            "2024-13-01",
            "2024-00-01",
            "2024-05-32",
            "2023-02-29",
            "2024/05/01",
            "2024-05-01T",
            "2024-05-01T00:00",
            "2024-05-01T00:00:00",
            "2024-05-01T00:00:00.Z",
            "2024-05-01T24:00:00Z",
            "2024-05-01T00:60:00Z",
            "2024-05-01T00:00:61Z",
            "2024-05-01T00:00:00Z ",
            "2024-05-01T00:00:00ZZ",
            "2024-05-01T00:00:00 Z",
            "2024-05-01T00:00:00+0100",
            "2024-05-01T00:00:00+01",
            "2024-05-01T00:00:00+24:00",
            "2024-05-01T00:00:00\u{2212}01:00",
            "2024-05-01T00:00:00+01:00[Europe/Paris]",
            "2024-05-01_00:00:00Z",
            "12024-05-01",
            "2024-W18-3",
            "２０24",
            "Wed, 01 May 2024 00:00:00 GMT",
            "1714521600",
        ] {
            assert_eq!(DateTime::read(text), None, "{text:?}");
            assert!(DateTime::parse(text).unwrap_err().message.ends_with(&format!("{text:?}")));
        }
    }
}
