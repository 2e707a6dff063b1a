//! Names of events and plans, and the generator that makes them.

use std::fmt;
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use ulid::Ulid;

use crate::clock::{Clock, SystemClock};
use crate::limits::PLAN_ID_CHARS_MAX;

/// Characters of an event id.
pub const EVENT_ID_CHARS: usize = ulid::ULID_LEN;

/// Why a text is no id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IdError {
    /// An event id that is no ULID.
    #[error("event id '{text}' is not a ULID (26 characters of Crockford base32)")]
    EventId {
        /// The text, shortened and escaped.
        text: String,
    },
    /// A plan id with other characters, empty, or too long.
    #[error("plan id '{text}' is not 1 to {PLAN_ID_CHARS_MAX} characters of A-Z, a-z, 0-9, '_' and '-'")]
    PlanId {
        /// The text, shortened and escaped.
        text: String,
    },
}

/// Shortens and escapes a text that came from outside, so that it may stand in a message.
pub(crate) fn excerpt(text: &str) -> String {
    text.chars().take(48).flat_map(char::escape_debug).collect()
}

/// Name of an event: a ULID, made by its publisher; the key of idempotence.
///
/// Sorts by the time at which it was made. Reads upper and lower case, writes upper case.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventId(Ulid);

impl EventId {
    /// The 128 bits of the id.
    #[must_use]
    pub const fn as_u128(self) -> u128 {
        self.0.0
    }

    /// Writes the id into `room`, without an allocation.
    pub fn text(self, room: &mut [u8; EVENT_ID_CHARS]) -> &str {
        self.0.array_to_str(room)
    }
}

impl From<u128> for EventId {
    fn from(bits: u128) -> Self {
        Self(Ulid(bits))
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.text(&mut [0; EVENT_ID_CHARS]))
    }
}

impl fmt::Debug for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EventId({self})")
    }
}

impl FromStr for EventId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let malformed = || IdError::EventId { text: excerpt(text) };
        // 26 characters of 5 bits are 130: a first character above 7 would overflow in silence.
        if !matches!(text.as_bytes().first(), Some(b'0'..=b'7')) {
            return Err(malformed());
        }
        Ulid::from_string(text).map(Self).map_err(|_| malformed())
    }
}

impl Serialize for EventId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for EventId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// Name of a plan: 1 to 128 characters of `[A-Za-z0-9_-]`; a ULID when we make it. Cheap to clone.
///
/// ```
/// let plan: planwire_event::PlanId = "nightly-2026_11".parse().unwrap();
/// assert_eq!(plan.as_str(), "nightly-2026_11");
/// assert!("a/b".parse::<planwire_event::PlanId>().is_err());
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PlanId(Arc<str>);

impl PlanId {
    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<EventId> for PlanId {
    fn from(id: EventId) -> Self {
        Self(id.to_string().into())
    }
}

impl fmt::Display for PlanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for PlanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PlanId({self})")
    }
}

impl FromStr for PlanId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let good = (1..=PLAN_ID_CHARS_MAX).contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'));
        if good { Ok(Self(text.into())) } else { Err(IdError::PlanId { text: excerpt(text) }) }
    }
}

impl Serialize for PlanId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for PlanId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// Makes ULIDs that rise within a millisecond, across threads, and when the clock goes back.
///
/// One generator per process keeps ids near in time, which keeps the index on them cheap. Time and randomness are
/// parameters: [`IdGenerator::system`] takes them from the operating system, [`IdGenerator::new`] from the caller.
pub struct IdGenerator {
    clock: Arc<dyn Clock>,
    source: Mutex<Source>,
}

struct Source {
    last: Option<u128>,
    random: Box<dyn FnMut() -> u128 + Send>,
}

/// Bits of a ULID below its 48 bits of milliseconds.
const RANDOM_BITS: u32 = 80;

impl IdGenerator {
    /// Creates a generator from a clock and a source of random bits, of which the low 80 are used.
    pub fn new(clock: Arc<dyn Clock>, random: impl FnMut() -> u128 + Send + 'static) -> Self {
        Self { clock, source: Mutex::new(Source { last: None, random: Box::new(random) }) }
    }

    /// Creates a generator from the clock and the randomness of the operating system.
    #[must_use]
    pub fn system() -> Self {
        Self::new(Arc::new(SystemClock), system_random)
    }

    /// Makes the next id, greater than all before it.
    pub fn next_id(&self) -> EventId {
        let millis = u128::from(self.clock.now().as_micros().max(0).unsigned_abs() / 1000);
        let mut source = self.source.lock().unwrap_or_else(PoisonError::into_inner);
        let id = match source.last {
            Some(last) if millis <= last >> RANDOM_BITS => last.saturating_add(1),
            // The top random bit stays clear: within a millisecond there is room for 2^79 successors.
            _ => (millis << RANDOM_BITS) | ((source.random)() & ((1 << (RANDOM_BITS - 1)) - 1)),
        };
        source.last = Some(id);
        EventId::from(id)
    }

    /// Makes a plan id.
    pub fn next_plan_id(&self) -> PlanId {
        self.next_id().into()
    }
}

impl fmt::Debug for IdGenerator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IdGenerator").field("clock", &self.clock).finish_non_exhaustive()
    }
}

fn system_random() -> u128 {
    let mut bytes = [0; 16];
    // Without randomness two processes could make equal ids, and an event would be taken for a repetition.
    getrandom::fill(&mut bytes).expect("the operating system gives randomness");
    u128::from_le_bytes(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::ManualClock;
    use crate::timestamp::Timestamp;

    fn generator(clock: Arc<ManualClock>) -> IdGenerator {
        IdGenerator::new(clock, || u128::MAX)
    }

    #[test]
    fn ids_rise_within_a_millisecond_and_when_the_clock_goes_back() {
        let clock = Arc::new(ManualClock::at(Timestamp::from_micros_clamped(1_000_000)));
        let ids = generator(Arc::clone(&clock));
        let mut made = vec![ids.next_id(), ids.next_id()];
        clock.advance(-500_000);
        made.push(ids.next_id());
        clock.advance(900_000);
        made.push(ids.next_id());
        assert!(made.is_sorted_by(|a, b| a < b), "{made:?}");
        assert_eq!(made[3].as_u128() >> 80, 1400);
    }

    #[test]
    fn ids_rise_across_threads_without_a_duplicate() {
        let ids = Arc::new(IdGenerator::system());
        let threads: Vec<_> = (0..8)
            .map(|_| {
                let ids = Arc::clone(&ids);
                std::thread::spawn(move || (0..2000).map(|_| ids.next_id()).collect::<Vec<_>>())
            })
            .collect();
        let per_thread: Vec<_> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
        assert!(per_thread.iter().all(|made| made.is_sorted_by(|a, b| a < b)));
        let unique: std::collections::HashSet<_> = per_thread.into_iter().flatten().collect();
        assert_eq!(unique.len(), 16_000);
    }

    #[test]
    fn event_ids_are_read_in_either_case_and_written_in_upper() {
        let id: EventId = "01jd8c3v5k7qw9x2y4z6a8b0ce".parse().unwrap();
        assert_eq!(id.to_string(), "01JD8C3V5K7QW9X2Y4Z6A8B0CE");
        assert_eq!(serde_json::to_string(&id).unwrap(), "\"01JD8C3V5K7QW9X2Y4Z6A8B0CE\"");
        for bad in [
            "",
            "8ZZZZZZZZZZZZZZZZZZZZZZZZZ",
            "01JD8C3V5K7QW9X2Y4Z6A8B0C",
            "01JD8C3V5K7QW9X2Y4Z6A8B0CU",
            "01JD8C3V5K7QW9X2Y4Z6A8B0C\n",
        ] {
            assert!(bad.parse::<EventId>().is_err(), "{bad}");
        }
    }

    #[test]
    fn plan_ids_hold_no_character_that_another_format_could_read() {
        for bad in ["", "a b", "a\n", "a\0", ".", "*", ">", "%", "'", "plän", "ａ", &"a".repeat(129)] {
            assert!(bad.parse::<PlanId>().is_err(), "{bad}");
        }
        assert!("a".repeat(128).parse::<PlanId>().is_ok());
        let message = "a\n\u{1b}[31m".parse::<PlanId>().unwrap_err().to_string();
        assert!(message.starts_with("plan id 'a\\n\\u{1b}[31m' is not"), "{message}");
    }
}
