//! Days since 1970-01-01, their parts and their text, for any `i32`: the proleptic Gregorian calendar.
//!
//! The algorithms are those of Howard Hinnant's "chrono-compatible low-level date algorithms": arithmetic only, so
//! that they run over a column without a branch that could fail.

use entente_protocols::language::expr::{DatePart, DateUnit};

/// The day with this year, month (1 to 12) and day of the month.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = year - i64::from(month <= 2);
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

/// Year, month and day of the month.
fn civil(day: i32) -> (i64, i64, i64) {
    let day = i64::from(day) + 719_468;
    let era = day.div_euclid(146_097);
    let day_of_era = day.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    (era * 400 + year_of_era + i64::from(month <= 2), month, day_of_year - (153 * shifted + 2) / 5 + 1)
}

/// A part of a day.
pub fn part(part: DatePart, day: i32) -> i64 {
    let (year, month, of_month) = civil(day);
    match part {
        DatePart::Year => year,
        DatePart::Quarter => (month - 1) / 3 + 1,
        DatePart::Month => month,
        DatePart::Day => of_month,
        // 1970-01-01 was a Thursday.
        DatePart::DayOfWeek => (i64::from(day) + 4).rem_euclid(7),
    }
}

/// The first day of the unit that a day lies in.
pub fn trunc(unit: DateUnit, day: i32) -> i32 {
    let (year, month, _) = civil(day);
    let first = match unit {
        DateUnit::Year => days(year, 1, 1),
        DateUnit::Quarter => days(year, (month - 1) / 3 * 3 + 1, 1),
        DateUnit::Month => days(year, month, 1),
    };
    // Only in the first unit of all does the first day lie before the first i32.
    first.max(i64::from(i32::MIN)) as i32
}

/// The day of `YYYY-MM-DD`, alone or with a time of day behind it: `T` or a space, `HH:MM`, then `:SS`, a fraction
/// and an offset if you like. The time and the offset are cut off.
pub fn parse_date(text: &str) -> Option<i32> {
    let text = text.trim_ascii().as_bytes();
    let (date, time) = text.split_at_checked(10)?;
    if date[4] != b'-' || date[7] != b'-' || !(time.is_empty() || is_time(time)) {
        return None;
    }
    let (year, month, day) = (number(&date[..4])?, number(&date[5..7])?, number(&date[8..])?);
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let longest = match month {
        2 => 28 + i64::from(leap),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    };
    ((1..=12).contains(&month) && (1..=longest).contains(&day)).then(|| days(year, month, day) as i32)
}

fn is_time(text: &[u8]) -> bool {
    let below = |digits: &[u8], limit| number(digits).is_some_and(|value| value < limit);
    let [b'T' | b't' | b' ', h1, h2, b':', m1, m2, rest @ ..] = text else { return false };
    let mut rest = rest;
    if !below(&[*h1, *h2], 25) || !below(&[*m1, *m2], 60) {
        return false;
    }
    if let [b':', s1, s2, behind @ ..] = rest {
        // 60 is a leap second.
        if !below(&[*s1, *s2], 61) {
            return false;
        }
        rest = behind;
        if let [b'.' | b',', fraction @ ..] = rest {
            let digits = fraction.iter().take_while(|byte| byte.is_ascii_digit()).count();
            if digits == 0 {
                return false;
            }
            rest = &fraction[digits..];
        }
    }
    match rest.trim_ascii_start() {
        [] | b"Z" | b"z" | b"UTC" => true,
        [b'+' | b'-', h1, h2] => below(&[*h1, *h2], 25),
        [b'+' | b'-', h1, h2, b':', m1, m2] | [b'+' | b'-', h1, h2, m1, m2] => {
            below(&[*h1, *h2], 25) && below(&[*m1, *m2], 60)
        }
        _ => false,
    }
}

fn number(digits: &[u8]) -> Option<i64> {
    digits.iter().try_fold(0, |value, digit| digit.is_ascii_digit().then(|| value * 10 + i64::from(digit - b'0')))
}

#[cfg(test)]
mod tests {
    use entente_protocols::language::schema::Day;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn text_forms() {
        for text in [
            "2024-02-29",
            "2024-02-29 08:30",
            "2024-02-29T08:30:59",
            "2024-02-29T24:00:00",
            " 2024-02-29 08:30:59.123456 ",
            "2024-02-29T08:30:59Z",
            "2024-02-29T08:30:59+02:00",
            "2024-02-29 08:30:59.1 -0500",
            "2024-02-29 08:30+02",
        ] {
            assert_eq!(parse_date(text), Day::parse("2024-02-29").map(|day| day.0), "{text}");
        }
        for text in [
            "",
            "2023-02-29",
            "2024-13-01",
            "2024-00-01",
            "2024-01-00",
            "2024-1-1",
            "20240101",
            "2024-01-01x",
            "2024-01-01 8:30",
            "2024-01-01 08:60",
            "2024-01-01 25:00",
            "2024-01-01T",
            "2024-01-01T08:30:",
            "2024-01-01T08:30:59.",
            "2024-01-01T08:30:59+",
            "+024-01-01",
            "2024-01-0é",
        ] {
            assert_eq!(parse_date(text), None, "{text}");
        }
    }

    #[test]
    fn the_ends_of_time() {
        for day in [i32::MIN, -1, 0, i32::MAX] {
            assert!((1..=12).contains(&part(DatePart::Month, day)));
            assert!(trunc(DateUnit::Year, day) <= day);
        }
        assert_eq!(part(DatePart::Year, i32::MAX), 5_881_580);
        assert_eq!(part(DatePart::DayOfWeek, 3), 0, "1970-01-04 was a Sunday");
    }

    proptest! {
        /// The same calendar as jiff's, over all of jiff's years.
        #[test]
        fn agrees_with_jiff(day in -4_371_000i32..2_932_000) {
            let date = Day(day).date();
            prop_assert_eq!(civil(day), (date.year().into(), date.month().into(), date.day().into()));
            prop_assert_eq!(part(DatePart::DayOfWeek, day), i64::from(date.weekday().to_sunday_zero_offset()));
            prop_assert_eq!(days(date.year().into(), date.month().into(), date.day().into()), i64::from(day));
            prop_assert_eq!(trunc(DateUnit::Month, day), Day::from_date(date.first_of_month()).0);
            if date.year() > 0 {
                prop_assert_eq!(parse_date(&Day(day).to_string()), Some(day));
            }
        }
    }
}
