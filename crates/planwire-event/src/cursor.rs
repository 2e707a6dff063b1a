//! Places in a log and in a plan, and the cursor that names one to clients.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::ids::excerpt;

/// Crockford base32, as in ULIDs.
const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
const LOG_ID_CHARS: usize = 8;

/// Characters of a cursor.
pub const CURSOR_CHARS: usize = LOG_ID_CHARS + 1 + 16;

/// Place of an event in its log: 1, 2, 3 ... in commit order, without gaps. [`Position::ZERO`] is before the first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Position(u64);

impl Position {
    /// Before the first event.
    pub const ZERO: Self = Self(0);

    /// Makes a position of its number.
    #[must_use]
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The position after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }

    /// The position before this one; zero stays zero.
    #[must_use]
    pub const fn previous(self) -> Self {
        Self(self.0.saturating_sub(1))
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Place of an event in its plan: 1, 2, 3 ... without gaps, so that a reader sees that nothing is missing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Seq(u64);

impl Seq {
    /// Before the first event of the plan.
    pub const ZERO: Self = Self(0);

    /// Makes a seq of its number.
    #[must_use]
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The seq after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl fmt::Display for Seq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Name of a log: 8 characters of Crockford base32, random, made with the log.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LogId([u8; LOG_ID_CHARS]);

impl LogId {
    /// Makes a log id of random bits, of which the low 40 are used.
    #[must_use]
    pub fn from_random(bits: u64) -> Self {
        let mut text = [0; LOG_ID_CHARS];
        for (at, slot) in text.iter_mut().enumerate() {
            let index = (bits >> (5 * at)) & 31;
            *slot = ALPHABET[usize::try_from(index).unwrap_or(0)];
        }
        Self(text)
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl fmt::Display for LogId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Debug for LogId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LogId({self})")
    }
}

impl FromStr for LogId {
    type Err = CursorError;

    fn from_str(text: &str) -> Result<Self, CursorError> {
        <[u8; LOG_ID_CHARS]>::try_from(text.as_bytes())
            .ok()
            .filter(|bytes| bytes.iter().all(|byte| ALPHABET.contains(byte)))
            .map(Self)
            .ok_or_else(|| CursorError { text: excerpt(text) })
    }
}

impl Serialize for LogId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for LogId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// A text is neither a cursor nor the id of a log.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "cursor '{text}' is malformed; a cursor looks like 7Q4M2K9A-00000000000004d2 and comes from an earlier answer"
)]
pub struct CursorError {
    /// The text, shortened and escaped.
    pub text: String,
}

/// A position that also names its log; opaque to clients, sorts as text.
///
/// ```
/// let cursor: planwire_event::Cursor = "7Q4M2K9A-00000000000004d2".parse().unwrap();
/// assert_eq!(cursor.position.get(), 1234);
/// assert_eq!(cursor.to_string(), "7Q4M2K9A-00000000000004d2");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cursor {
    /// The log that the position lies in.
    pub log_id: LogId,
    /// The place in it.
    pub position: Position,
}

impl Cursor {
    /// Writes the cursor into `room`, without an allocation.
    pub fn text(self, room: &mut [u8; CURSOR_CHARS]) -> &str {
        let (log_id, digits) = room.split_at_mut(LOG_ID_CHARS);
        log_id.copy_from_slice(&self.log_id.0);
        digits[0] = b'-';
        let mut number = self.position.get();
        for digit in digits[1..].iter_mut().rev() {
            *digit = b"0123456789abcdef"[usize::try_from(number % 16).unwrap_or(0)];
            number /= 16;
        }
        str::from_utf8(room).unwrap_or_default()
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text(&mut [0; CURSOR_CHARS]))
    }
}

impl FromStr for Cursor {
    type Err = CursorError;

    fn from_str(text: &str) -> Result<Self, CursorError> {
        let malformed = || CursorError { text: excerpt(text) };
        let (log, digits) = text.split_once('-').ok_or_else(malformed)?;
        // One position has one text: upper-case digits and signs, which from_str_radix reads, are refused.
        let plain = digits.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        if text.len() != CURSOR_CHARS || !plain {
            return Err(malformed());
        }
        let log_id = log.parse().map_err(|_| malformed())?;
        let number = u64::from_str_radix(digits, 16).map_err(|_| malformed())?;
        // SQL integers are signed: no log ever gets beyond them.
        if i64::try_from(number).is_err() {
            return Err(malformed());
        }
        Ok(Self { log_id, position: Position(number) })
    }
}

impl Serialize for Cursor {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Cursor {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursors_sort_as_text() {
        let log_id = LogId::from_random(0x12_3456_789a);
        let texts: Vec<_> = [0, 1, 9, 10, 255, 256, 1 << 40]
            .map(|at| Cursor { log_id, position: Position(at) }.to_string())
            .into();
        assert!(texts.is_sorted(), "{texts:?}");
        assert!(texts.iter().all(|text| text.parse::<Cursor>().unwrap().to_string() == *text));
    }

    #[test]
    fn malformed_cursors_are_refused() {
        for bad in [
            "",
            "start",
            "-1",
            "9223372036854775808",
            "7Q4M2K9A",
            "7Q4M2K9A-",
            "7Q4M2K9A-4d2",
            "7Q4M2K9A-00000000000004D2",
            "7Q4M2K9A-+0000000000004d2",
            "7q4m2k9a-00000000000004d2",
            "7Q4M2K9U-00000000000004d2",
            "7Q4M2K9A-ffffffffffffffff",
            "7Q4M2K9A-00000000000004d2 ",
            "é",
            &"x".repeat(10_000),
        ] {
            let error = bad.parse::<Cursor>().unwrap_err();
            assert!(error.text.len() < 400);
        }
    }

    #[test]
    fn log_ids_use_all_forty_bits() {
        assert_eq!(LogId::from_random(0).as_str(), "00000000");
        assert_eq!(LogId::from_random((1 << 40) - 1).as_str(), "ZZZZZZZZ");
        assert_eq!(format!("{:?}", LogId::from_random(1)), "LogId(10000000)");
    }

    #[test]
    fn positions_and_seqs_count_on() {
        assert_eq!(Position::ZERO.next().next().previous(), Position::new(1));
        assert_eq!(Position::ZERO.previous(), Position::ZERO);
        assert_eq!(Seq::ZERO.next(), Seq::new(1));
        assert_eq!((Position::new(7).to_string(), Seq::new(8).to_string()), ("7".into(), "8".into()));
    }

    #[test]
    fn json_form_is_the_text() {
        let cursor: Cursor = serde_json::from_str("\"7Q4M2K9A-00000000000004d2\"").unwrap();
        assert_eq!(serde_json::to_string(&cursor).unwrap(), "\"7Q4M2K9A-00000000000004d2\"");
        let log: LogId = serde_json::from_str("\"7Q4M2K9A\"").unwrap();
        assert_eq!(serde_json::to_string(&log).unwrap(), "\"7Q4M2K9A\"");
    }
}
