//! Points in time: UTC, microseconds, written as RFC 3339 with `Z`.

use std::fmt;
use std::str::FromStr;

use jiff::civil::DateTime;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Characters of a timestamp as it is written.
pub const TIMESTAMP_CHARS: usize = 27;

const EPOCH: DateTime = DateTime::constant(1970, 1, 1, 0, 0, 0, 0);
/// 0001-01-01T00:00:00Z.
const MICROS_MIN: i64 = -62_135_596_800_000_000;
/// 9999-12-31T23:59:59.999999Z.
const MICROS_MAX: i64 = 253_402_300_799_999_999;

/// A point in time in microseconds since 1970 (UTC), from the year 0001 to 9999.
///
/// Written as RFC 3339 with six digits and `Z`; other offsets are converted, digits beyond microseconds are cut.
///
/// ```
/// let time: planwire_event::Timestamp = "2026-11-22T15:20:01.1234569+01:00".parse().unwrap();
/// assert_eq!(time.to_string(), "2026-11-22T14:20:01.123456Z");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

/// Why a text is no [`Timestamp`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TimestampError {
    /// The text is not RFC 3339.
    #[error("timestamp '{text}' is not RFC 3339, for example 2026-11-22T14:20:01.123456Z")]
    Malformed {
        /// The text, shortened.
        text: String,
    },
    /// A leap second: POSIX time has none, so two stores could disagree about it.
    #[error("timestamp '{text}' has second 60; leap seconds are not representable")]
    LeapSecond {
        /// The text.
        text: String,
    },
    /// Before the year 0001 or after 9999.
    #[error("timestamp '{text}' lies outside of the years 0001 to 9999")]
    OutOfRange {
        /// The text.
        text: String,
    },
}

impl Timestamp {
    /// Makes a timestamp of microseconds since 1970, moved into the years 0001 to 9999.
    #[must_use]
    pub const fn from_micros_clamped(micros: i64) -> Self {
        if micros < MICROS_MIN {
            Self(MICROS_MIN)
        } else if micros > MICROS_MAX {
            Self(MICROS_MAX)
        } else {
            Self(micros)
        }
    }

    /// Microseconds since 1970 (UTC).
    #[must_use]
    pub const fn as_micros(self) -> i64 {
        self.0
    }

    /// Writes the timestamp into `room`, without an allocation: each event has two, and each is written several times.
    pub fn text(self, room: &mut [u8; TIMESTAMP_CHARS]) -> &str {
        const DAY: i64 = 86_400_000_000;
        let (days, micros) = (self.0.div_euclid(DAY), self.0.rem_euclid(DAY));
        // In a calendar whose year begins in March, counted from the year 0: leap days come last, and 400 years are
        // one period. The earliest day that can be written lies 306 days after its beginning.
        let days = days + 719_468;
        let (period, day) = (days / 146_097, days % 146_097);
        let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
        let day = day - (365 * year + year / 4 - year / 100);
        let month = (5 * day + 2) / 153;
        let day = day - (153 * month + 2) / 5 + 1;
        let year = 400 * period + year + month / 10;
        let month = if month < 10 { month + 3 } else { month - 9 };
        let (seconds, fraction) = (micros / 1_000_000, micros % 1_000_000);
        *room = *b"0000-00-00T00:00:00.000000Z";
        let pairs = [
            (0, year / 100),
            (2, year % 100),
            (5, month),
            (8, day),
            (11, seconds / 3_600),
            (14, seconds / 60 % 60),
            (17, seconds % 60),
            (20, fraction / 10_000),
            (22, fraction / 100 % 100),
            (24, fraction % 100),
        ];
        for (place, number) in pairs {
            let digits = usize::try_from(number).ok().and_then(|number| PAIRS.get(number)).unwrap_or(b"00");
            room[place..place + 2].copy_from_slice(digits);
        }
        str::from_utf8(room).unwrap_or_default()
    }

    /// Whole milliseconds from `earlier` to this, 0 if `earlier` is later.
    #[must_use]
    pub const fn millis_since(self, earlier: Self) -> u64 {
        let micros = self.0.saturating_sub(earlier.0);
        if micros > 0 { micros.unsigned_abs() / 1000 } else { 0 }
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text(&mut [0; TIMESTAMP_CHARS]))
    }
}

/// The numbers from 0 to 99 as two digits.
static PAIRS: [[u8; 2]; 100] = {
    let mut pairs = [*b"00"; 100];
    let mut number = 1;
    while number < pairs.len() {
        let [tens, ones] = pairs[number - 1];
        pairs[number] = if ones == b'9' { [tens + 1, b'0'] } else { [tens, ones + 1] };
        number += 1;
    }
    pairs
};

impl FromStr for Timestamp {
    type Err = TimestampError;

    fn from_str(text: &str) -> Result<Self, TimestampError> {
        let short = || text.chars().take(48).collect::<String>();
        let malformed = || TimestampError::Malformed { text: short() };
        if !has_rfc3339_shape(text.as_bytes()) {
            return Err(malformed());
        }
        if &text[17..19] == "60" {
            return Err(TimestampError::LeapSecond { text: short() });
        }
        if &text[..4] == "0000" {
            return Err(TimestampError::OutOfRange { text: short() });
        }
        let digits = text[19..]
            .strip_prefix('.')
            .map_or(0, |rest| rest.bytes().take_while(u8::is_ascii_digit).count());
        let (fraction, offset) = if digits > 0 { text[19..].split_at(1 + digits) } else { ("", &text[19..]) };
        let cut = format!("{}T{}{}", &text[..10], &text[11..19], &fraction[..fraction.len().min(7)]);
        let local: DateTime = cut.parse().map_err(|_| malformed())?;
        let offset_micros = parse_offset(offset).ok_or_else(malformed)?;
        let micros = local.duration_since(EPOCH).as_micros() - i128::from(offset_micros);
        i64::try_from(micros)
            .ok()
            .filter(|micros| (MICROS_MIN..=MICROS_MAX).contains(micros))
            .map(Self)
            .ok_or_else(|| TimestampError::OutOfRange { text: short() })
    }
}

/// RFC 3339 section 5.6 up to the seconds; other ISO 8601 forms would make the wire form ambiguous.
fn has_rfc3339_shape(bytes: &[u8]) -> bool {
    bytes.len() >= 20
        && bytes.is_ascii()
        && bytes.iter().enumerate().take(19).all(|(at, byte)| match at {
            4 | 7 => *byte == b'-',
            10 => matches!(byte, b'T' | b't' | b' '),
            13 | 16 => *byte == b':',
            _ => byte.is_ascii_digit(),
        })
}

/// Reads `Z` or `+HH:MM` as microseconds.
fn parse_offset(text: &str) -> Option<i64> {
    if matches!(text, "Z" | "z") {
        return Some(0);
    }
    let sign = match text.as_bytes() {
        [b'+', h1, h2, b':', m1, m2] if [h1, h2, m1, m2].iter().all(|digit| digit.is_ascii_digit()) => 1,
        [b'-', h1, h2, b':', m1, m2] if [h1, h2, m1, m2].iter().all(|digit| digit.is_ascii_digit()) => -1,
        _ => return None,
    };
    let hours: i64 = text[1..3].parse().ok().filter(|hours| *hours < 24)?;
    let minutes: i64 = text[4..6].parse().ok().filter(|minutes| *minutes < 60)?;
    Some(sign * (hours * 60 + minutes) * 60_000_000)
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::SignedDuration;

    fn check(input: &str, expected: &str) {
        let got = match input.parse::<Timestamp>() {
            Ok(time) => time.to_string(),
            Err(error) => error.to_string(),
        };
        assert_eq!(got, expected, "{input}");
    }

    #[test]
    fn offsets_are_converted_and_digits_cut() {
        check("2026-11-22T14:20:01Z", "2026-11-22T14:20:01.000000Z");
        check("2026-11-22T14:20:01.1Z", "2026-11-22T14:20:01.100000Z");
        check("2026-11-22T14:20:01.999999999999Z", "2026-11-22T14:20:01.999999Z");
        check("2026-11-22t14:20:01-03:30", "2026-11-22T17:50:01.000000Z");
        check("0001-01-01T00:00:00Z", "0001-01-01T00:00:00.000000Z");
        check("9999-12-31T23:59:59.999999Z", "9999-12-31T23:59:59.999999Z");
        check("1969-12-31T23:59:59.9999999Z", "1969-12-31T23:59:59.999999Z");
    }

    #[test]
    fn what_is_refused_says_why() {
        check(
            "2026-12-31T23:59:60Z",
            "timestamp '2026-12-31T23:59:60Z' has second 60; leap seconds are not representable",
        );
        check(
            "0000-01-01T00:00:00Z",
            "timestamp '0000-01-01T00:00:00Z' lies outside of the years 0001 to 9999",
        );
        check(
            "0001-01-01T00:00:00+01:00",
            "timestamp '0001-01-01T00:00:00+01:00' lies outside of the years 0001 to 9999",
        );
        for text in [
            "",
            "now",
            "2026-11-22",
            "2026-11-22T14:20:01",
            "2026-11-22T14:20:01Z[UTC]",
            "2026-13-01T00:00:00Z",
            "２026-11-22T14:20:01Z",
        ] {
            assert!(matches!(text.parse::<Timestamp>(), Err(TimestampError::Malformed { .. })), "{text}");
        }
    }

    #[test]
    fn clamped_times_can_always_be_written() {
        assert_eq!(Timestamp::from_micros_clamped(i64::MAX).to_string(), "9999-12-31T23:59:59.999999Z");
        assert_eq!(Timestamp::from_micros_clamped(i64::MIN).to_string(), "0001-01-01T00:00:00.000000Z");
    }

    #[test]
    fn days_are_written_as_the_calendar_has_them() {
        let mut micros = MICROS_MIN;
        while micros < MICROS_MAX {
            let expected = EPOCH.checked_add(SignedDuration::from_micros(micros)).unwrap();
            assert_eq!(Timestamp(micros).to_string(), format!("{expected:.6}Z"));
            // A bit less than so many days, so that the time of day takes every value, too.
            micros += 11 * 86_399_123_457;
        }
    }

    #[test]
    fn a_clock_that_went_back_gives_no_negative_duration() {
        let (early, late) = (Timestamp(1_000_000), Timestamp(3_500_000));
        assert_eq!(late.millis_since(early), 2500);
        assert_eq!(early.millis_since(late), 0);
    }

    #[test]
    fn json_form_is_the_text() {
        let time: Timestamp = serde_json::from_str("\"2026-11-22T14:20:01Z\"").unwrap();
        assert_eq!(serde_json::to_string(&time).unwrap(), "\"2026-11-22T14:20:01.000000Z\"");
        assert!(serde_json::from_str::<Timestamp>("\"x\"").is_err());
    }
}
