//! When a key ends: a moment in UTC, written `2027-01-31T18:00:00Z`, or `2027-01-31` for the beginning of
//! that day. Invariant: what is parsed is a date that exists, from 1970 to 9999.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

const DAY_SECONDS: u64 = 86_400;

/// The moment at which a key stops being valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Expiry {
    /// Since 1970-01-01T00:00:00Z.
    seconds: u64,
}

impl Expiry {
    pub(super) fn parse(text: &str) -> Option<Expiry> {
        let (date, time) = match text.split_once('T') {
            Some((date, time)) => (date, time.strip_suffix('Z')?),
            None => (text, "00:00:00"),
        };
        let [year, month, day] = numbers(date, '-', [4, 2, 2])?;
        let [hour, minute, second] = numbers(time, ':', [2, 2, 2])?;
        let exists = year >= 1970
            && (1..=12).contains(&month)
            && (1..=days_of_month(year, month)).contains(&day)
            && hour < 24
            && minute < 60
            && second < 60;
        let days = || days_before_year(year) + (1..month).map(|m| days_of_month(year, m)).sum::<u64>() + day - 1;
        exists.then(|| Expiry { seconds: days() * DAY_SECONDS + hour * 3_600 + minute * 60 + second })
    }

    /// Whether the key is no longer valid at this moment.
    pub(super) fn passed(self, now: SystemTime) -> bool {
        // A clock before 1970 is wrong, so it lets no key pass that has an end.
        now.duration_since(UNIX_EPOCH).map_or(true, |now| now >= Duration::from_secs(self.seconds))
    }
}

/// Three numbers with exactly these counts of digits.
fn numbers(text: &str, separator: char, digits: [usize; 3]) -> Option<[u64; 3]> {
    let parts: Vec<&str> = text.split(separator).collect();
    let [a, b, c] = parts.try_into().ok()?;
    let number = |part: &str, digits: usize| {
        let plain = part.len() == digits && part.bytes().all(|byte| byte.is_ascii_digit());
        if plain { part.parse().ok() } else { None }
    };
    Some([number(a, digits[0])?, number(b, digits[1])?, number(c, digits[2])?])
}

fn is_leap(year: u64) -> bool {
    year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
}

fn days_of_month(year: u64, month: u64) -> u64 {
    match month {
        2 => 28 + u64::from(is_leap(year)),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days from 1970-01-01 to the first of January of the year.
fn days_before_year(year: u64) -> u64 {
    (1970..year).map(|y| 365 + u64::from(is_leap(y))).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_is_the_seconds_that_date_tells() {
        // From `date -u -d … +%s`.
        let cases = [
            ("1970-01-01", 0),
            ("1970-01-01T00:00:01Z", 1),
            ("2000-02-29", 951_782_400),
            ("2000-03-01", 951_868_800),
            ("2026-11-21T20:16:21Z", 1_795_292_181),
            ("2027-01-31", 1_801_353_600),
            ("2100-03-01", 4_107_542_400),
            ("9999-12-31T23:59:59Z", 253_402_300_799),
        ];
        for (text, seconds) in cases {
            assert_eq!(Expiry::parse(text), Some(Expiry { seconds }), "{text}");
        }
    }

    #[test]
    fn what_is_no_date_is_refused() {
        for bad in [
            "",
            "soon",
            "2027",
            "2027-1-31",
            "2027-02-29",
            "2100-02-29",
            "2027-13-01",
            "2027-00-01",
            "2027-01-00",
            "1969-12-31",
            "2027-01-31T18:00:00",
            "2027-01-31T24:00:00Z",
            "2027-01-31T18:60:00Z",
            "2027-01-31T18:00Z",
            "2027-01-31T18:00:00+01:00",
            "+027-01-31",
            "2027-01-31-01",
            "٢٠٢٧-01-31",
        ] {
            assert_eq!(Expiry::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_key_ends_at_the_moment_itself() {
        let end = Expiry::parse("2027-01-31T18:00:00Z").unwrap();
        let at = |seconds| UNIX_EPOCH + Duration::from_secs(seconds);
        assert!(!end.passed(at(end.seconds - 1)) && end.passed(at(end.seconds)) && end.passed(at(end.seconds + 1)));
    }
}
