//! The windows of budgets: calendar days, weeks, months and years in a zone, or so many seconds.
//!
//! A window begins where its first day begins in the zone, and ends where the next one begins: days of 23 and 25 hours
//! are windows of 23 and 25 hours. Where windows begin depends on the zone's rules alone, so that every sidecar finds
//! the same ones. Rules are those of the bundled database.

use crate::cell::IN_FLIGHT;
use crate::now::Now;
use jiff::Timestamp;
use jiff::civil::Date;
pub use jiff::civil::Weekday;
use jiff::tz::{TimeZone, TimeZoneDatabase};
use std::sync::LazyLock;

const SECOND_NS: u64 = 1_000_000_000;
/// Windows that a zone may pass over at once.
const SKIPPED_MAX: usize = 2;
/// The longest window of fixed seconds: ten years of 366 days.
pub const WINDOW_SECONDS_MAX: u64 = 10 * 366 * 86_400;

/// How long a window is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Period {
    Day,
    /// From this day of the week on.
    Week(Weekday),
    /// From this day of the month on, 1 to 31: the last day of a month that is shorter.
    Month(i8),
    Year,
    /// So many seconds, counted from the first of 1970 in UTC; the zone says nothing.
    Seconds(u64),
    /// One window without an end: units that are in flight, and come back when they have landed.
    Open,
}

/// Windows, one behind the other.
#[derive(Debug, Clone, PartialEq)]
pub struct Windows {
    period: Period,
    zone: TimeZone,
}

/// One window: it holds its start, not its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    pub start_ns: u64,
    pub end_ns: u64,
}

impl Windows {
    /// Windows in an IANA zone such as `Europe/Berlin`; `None` if there is no such zone, or no such period.
    pub fn new(period: Period, zone: &str) -> Option<Windows> {
        static ZONES: LazyLock<TimeZoneDatabase> = LazyLock::new(TimeZoneDatabase::bundled);
        let is_there = match period {
            Period::Month(day) => (1..=31).contains(&day),
            Period::Seconds(seconds) => (1..=WINDOW_SECONDS_MAX).contains(&seconds),
            Period::Day | Period::Week(_) | Period::Year | Period::Open => true,
        };
        let zone = ZONES.get(zone).ok().filter(|_| is_there)?;
        Some(Windows { period, zone })
    }

    pub fn period(&self) -> Period {
        self.period
    }

    /// A moment as people in the zone write it, such as `1 January 2027, 00:00 Europe/Berlin`.
    pub fn shown(&self, moment_ns: u64) -> String {
        let moment = Timestamp::from_nanosecond(i128::from(moment_ns)).unwrap_or_default();
        let there = moment.to_zoned_datetime(self.zone.clone());
        let zone = self.zone.iana_name().unwrap_or("UTC");
        format!("{} {zone}", there.strftime("%-d %B %Y, %H:%M"))
    }

    /// The same as short as it can be told from now, such as `14:00`, `tomorrow 00:00` or `1 Jan 00:00`.
    pub fn shown_from(&self, moment_ns: u64, now: Now) -> String {
        let there = |ns: u64| {
            let moment = Timestamp::from_nanosecond(i128::from(ns)).unwrap_or_default();
            moment.to_zoned_datetime(self.zone.clone())
        };
        let (moment, now) = (there(moment_ns), there(now.0));
        let form = match moment.date() {
            day if day == now.date() => "%H:%M",
            day if now.date().tomorrow().is_ok_and(|next| next == day) => "tomorrow %H:%M",
            day if day.year() - now.date().year() > 1 => "%-d %b %Y",
            _ => "%-d %b %H:%M",
        };
        moment.strftime(form).to_string()
    }

    /// The window that holds a moment; `None` in the last window that nanoseconds in 64 bits reach, in the year 2554.
    pub fn at(&self, now: Now) -> Option<Window> {
        if let Period::Seconds(seconds) = self.period {
            let length = seconds * SECOND_NS;
            let start_ns = now.0 - now.0 % length;
            return Some(Window { start_ns, end_ns: start_ns.checked_add(length)? });
        }
        if self.period == Period::Open {
            return Some(Window { start_ns: 0, end_ns: IN_FLIGHT });
        }
        let moment = Timestamp::from_nanosecond(i128::from(now.0)).ok()?;
        let day = moment.to_zoned_datetime(self.zone.clone()).date();
        let mut first = self.first_day(day)?;
        // A clock that was put back shows a day again that is over; a day that was left out has no moment.
        for _ in 0..=SKIPPED_MAX {
            let next = self.next_first_day(first)?;
            let (start_ns, end_ns) = (self.starts(first)?, self.starts(next)?);
            if now.0 < end_ns {
                return Some(Window { start_ns, end_ns });
            }
            first = next;
        }
        None
    }

    /// The first day of the window that holds a day.
    fn first_day(&self, day: Date) -> Option<Date> {
        match self.period {
            Period::Day | Period::Seconds(_) | Period::Open => Some(day),
            Period::Week(first) => {
                let since = (day.weekday().to_monday_zero_offset() - first.to_monday_zero_offset())
                    .rem_euclid(7);
                day.checked_sub(jiff::Span::new().days(since)).ok()
            }
            Period::Month(anchor) => {
                let own = clamped(day, anchor)?;
                match own <= day {
                    true => Some(own),
                    false => clamped(day.first_of_month().yesterday().ok()?, anchor),
                }
            }
            Period::Year => Date::new(day.year(), 1, 1).ok(),
        }
    }

    fn next_first_day(&self, first: Date) -> Option<Date> {
        match self.period {
            Period::Day | Period::Seconds(_) | Period::Open => first.tomorrow().ok(),
            Period::Week(_) => first.checked_add(jiff::Span::new().days(7)).ok(),
            Period::Month(anchor) => clamped(first.last_of_month().tomorrow().ok()?, anchor),
            Period::Year => Date::new(first.year().checked_add(1)?, 1, 1).ok(),
        }
    }

    /// Where a day begins, in unix nanoseconds.
    fn starts(&self, day: Date) -> Option<u64> {
        let start = day.to_zoned_datetime(self.zone.clone()).ok()?.timestamp().as_nanosecond();
        u64::try_from(start.max(0)).ok()
    }
}

/// The anchor day of a day's month, or its last day if it is shorter.
fn clamped(day: Date, anchor: i8) -> Option<Date> {
    Date::new(day.year(), day.month(), anchor.min(day.days_in_month())).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Now {
        let moment: Timestamp = text.parse().unwrap();
        Now(u64::try_from(moment.as_nanosecond()).unwrap())
    }

    #[test]
    fn a_moment_is_told_as_short_as_it_can_be() {
        for (zone, now, moment, expected) in [
            ("UTC", "2026-11-26T13:00:00Z", "2026-11-26T14:00:00Z", "14:00"),
            ("UTC", "2026-11-26T13:00:00Z", "2026-11-27T00:00:00Z", "tomorrow 00:00"),
            // In the zone it is tomorrow already.
            ("Asia/Tokyo", "2026-11-26T16:00:00Z", "2026-11-27T15:00:00Z", "tomorrow 00:00"),
            ("Europe/Berlin", "2026-11-26T13:00:00Z", "2026-12-31T23:00:00Z", "1 Jan 00:00"),
            ("UTC", "2026-11-26T13:00:00Z", "2029-01-01T00:00:00Z", "1 Jan 2029"),
        ] {
            let windows = Windows::new(Period::Day, zone).unwrap();
            assert_eq!(windows.shown_from(at(moment).0, at(now)), expected, "{now} {moment}");
        }
    }

    /// Both sides of each edge, as table rows.
    #[test]
    fn a_window_holds_its_start_and_not_its_end() {
        use Period::{Day, Month, Seconds, Week, Year};
        for (period, zone, start, end) in [
            (Day, "UTC", "2026-02-28T00:00:00Z", "2026-03-01T00:00:00Z"),
            // 23 hours, then 25.
            (Day, "Europe/Berlin", "2026-03-28T23:00:00Z", "2026-03-29T22:00:00Z"),
            (Day, "Europe/Berlin", "2026-10-24T22:00:00Z", "2026-10-25T23:00:00Z"),
            // The day begins at one o'clock, because midnight is left out.
            (Day, "Africa/Cairo", "2026-04-23T22:00:00Z", "2026-04-24T21:00:00Z"),
            (Week(Weekday::Monday), "UTC", "2026-11-23T00:00:00Z", "2026-11-30T00:00:00Z"),
            (Week(Weekday::Sunday), "UTC", "2026-11-22T00:00:00Z", "2026-11-29T00:00:00Z"),
            (Month(1), "Asia/Tokyo", "2026-01-31T15:00:00Z", "2026-02-28T15:00:00Z"),
            (Month(31), "UTC", "2026-01-31T00:00:00Z", "2026-02-28T00:00:00Z"),
            (Month(31), "UTC", "2026-02-28T00:00:00Z", "2026-03-31T00:00:00Z"),
            (Month(30), "UTC", "2028-02-29T00:00:00Z", "2028-03-30T00:00:00Z"),
            (Month(15), "UTC", "2025-12-15T00:00:00Z", "2026-01-15T00:00:00Z"),
            (Year, "America/New_York", "2026-01-01T05:00:00Z", "2027-01-01T05:00:00Z"),
            (Seconds(3_600), "UTC", "2026-11-26T04:00:00Z", "2026-11-26T05:00:00Z"),
        ] {
            let windows = Windows::new(period, zone).unwrap();
            let (start, end) = (at(start), at(end));
            let window = Some(Window { start_ns: start.0, end_ns: end.0 });
            for (moment, is_in) in [
                (start.0 - 1, false),
                (start.0, true),
                (start.0 + 1, true),
                (end.0 - 1, true),
                (end.0, false),
            ] {
                let found = windows.at(Now(moment));
                assert_eq!(found == window, is_in, "{period:?} {zone} {moment} {found:?}");
            }
        }
    }

    #[test]
    fn what_is_no_window_is_none() {
        assert_eq!(Windows::new(Period::Day, "Europe/Atlantis"), None);
        assert_eq!(Windows::new(Period::Month(0), "UTC"), None);
        assert_eq!(Windows::new(Period::Month(32), "UTC"), None);
        assert_eq!(Windows::new(Period::Seconds(0), "UTC"), None);
        assert_eq!(Windows::new(Period::Seconds(WINDOW_SECONDS_MAX + 1), "UTC"), None);
        assert_eq!(Windows::new(Period::Day, "UTC").unwrap().at(Now(u64::MAX)), None);
        assert_eq!(Windows::new(Period::Seconds(60), "UTC").unwrap().at(Now(u64::MAX)), None);
    }

    /// Every zone, 2000 to 2037: windows follow each other without a gap, each holds the moment that asked for it,
    /// and none is shorter or longer than a calendar can make it.
    #[test]
    fn windows_follow_each_other_in_every_zone() {
        const HOUR_NS: u64 = 3_600 * SECOND_NS;
        let zones = TimeZoneDatabase::bundled();
        let (first, last) = (at("2000-01-01T00:00:00Z"), at("2038-01-01T00:00:00Z"));
        let mut count = 0;
        for zone in zones.available() {
            for (period, hours) in [
                (Period::Day, 1..=49),
                (Period::Week(Weekday::Wednesday), 143..=193),
                (Period::Month(31), 24 * 27..=24 * 32),
                (Period::Year, 24 * 364..=24 * 367),
            ] {
                let windows = Windows::new(period, zone.as_str()).unwrap();
                let mut moment = first;
                while moment < last {
                    let window = windows.at(moment).unwrap();
                    assert!(
                        window.start_ns <= moment.0 && moment.0 < window.end_ns,
                        "{zone} {moment:?} {window:?}"
                    );
                    let length = (window.end_ns - window.start_ns) / HOUR_NS;
                    assert!(
                        hours.contains(&length),
                        "{zone} {period:?} {window:?}: {length} hours"
                    );
                    let before = windows.at(Now(window.end_ns - 1)).unwrap();
                    assert_eq!(before, window, "{zone} {period:?}");
                    moment = Now(window.end_ns);
                    count += 1;
                }
                assert!(windows.at(Now(moment.0 - 1)).unwrap().end_ns == moment.0);
            }
        }
        assert!(count > 1_000_000, "{count}");
    }
}
