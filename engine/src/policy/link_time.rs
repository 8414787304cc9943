//! The time in which a role link holds: `2026-01-31 09:00:00` in UTC, or `_` for an open end, as Casbin writes it.

use crate::now::Now;

const NS_PER_SECOND: i128 = 1_000_000_000;

/// After the one and before the other, in unix nanoseconds; neither moment itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct LinkTime {
    after: i128,
    before: i128,
}

impl LinkTime {
    pub(crate) const ALWAYS: LinkTime = LinkTime { after: i128::MIN, before: i128::MAX };

    /// Reads both ends; the text that is none.
    pub(crate) fn parse<'t>(start: &'t str, end: &'t str) -> Result<LinkTime, &'t str> {
        let read = |text: &'t str, open| match text {
            "_" => Ok(open),
            _ => unix_seconds(text).map(|s| i128::from(s) * NS_PER_SECOND).ok_or(text),
        };
        let (after, before) = (read(start, i128::MIN)?, read(end, i128::MAX)?);
        Ok(LinkTime { after, before })
    }

    pub(crate) fn holds(self, now: Now) -> bool {
        let now = i128::from(now.0);
        self.after < now && now < self.before
    }
}

/// Seconds since 1970 of `YYYY-MM-DD HH:MM:SS`, a day that exists.
fn unix_seconds(text: &str) -> Option<i64> {
    let (date, time) = text.split_once(' ')?;
    let [year, month, day] = numbers(date, '-', [4, 2, 2])?;
    let [hour, minute, second] = numbers(time, ':', [2, 2, 2])?;
    let is_leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    let days_in_month = match month {
        4 | 6 | 9 | 11 => 30,
        2 if is_leap => 29,
        2 => 28,
        1..=12 => 31,
        _ => return None,
    };
    if !(1..=days_in_month).contains(&day) || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    Some(days_from_civil(year, month, day) * 86_400 + hour * 3_600 + minute * 60 + second)
}

/// Three numbers of so many digits.
fn numbers(text: &str, between: char, digits: [usize; 3]) -> Option<[i64; 3]> {
    let mut parts = text.split(between);
    let mut next = |digits: usize| {
        let part = parts.next().filter(|part| part.len() == digits)?;
        part.bytes().all(|byte| byte.is_ascii_digit()).then(|| part.parse().ok())?
    };
    let found = [next(digits[0])?, next(digits[1])?, next(digits[2])?];
    parts.next().is_none().then_some(found)
}

/// Days since 1970-01-01 in the Gregorian calendar, counted in years that begin with March.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_those_of_the_calendar() {
        for (text, seconds) in [
            ("1970-01-01 00:00:00", Some(0)),
            ("2026-11-25 21:33:01", Some(1_795_642_381)),
            ("2000-02-29 00:00:00", Some(951_782_400)),
            ("1900-03-01 00:00:00", Some(-2_203_891_200)),
            ("0000-01-01 00:00:00", Some(-62_167_219_200)),
            ("9999-12-30 23:59:59", Some(253_402_214_399)),
            ("2026-02-29 00:00:00", None),
            ("2026-13-01 00:00:00", None),
            ("2026-01-01 24:00:00", None),
            ("2026-01-01", None),
            ("2026-1-1 00:00:00", None),
            ("+026-01-01 00:00:00", None),
        ] {
            assert_eq!(unix_seconds(text), seconds, "{text}");
        }
    }

    #[test]
    fn a_link_holds_between_its_ends_and_not_at_them() {
        let link = LinkTime::parse("1970-01-01 00:00:10", "1970-01-01 00:00:20").unwrap();
        let second = |s: u64| Now(s * 1_000_000_000);
        for (now, expected) in [(10, false), (11, true), (19, true), (20, false)] {
            assert_eq!(link.holds(second(now)), expected, "{now}");
        }
        assert!(LinkTime::parse("_", "_").unwrap().holds(Now(0)));
        assert_eq!(LinkTime::parse("_", "soon"), Err("soon"));
    }
}
