//! The payload of an event: a JSON object in normal form.

use std::fmt;
use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::digest::Digest;
use crate::normal::{self, NormalError, Source};

/// The one member of what stands in the place of a removed payload; its value is the digest, 64 hexadecimal digits.
pub const REMOVED_MEMBER: &str = "$removed";

const REMOVED_BEGIN: &str = "{\"$removed\":\"";
const REMOVED_END: &str = "\"}";

/// A JSON object in normal form (see [`crate::normal`]); cheap to clone.
///
/// ```
/// let payload = planwire_event::Payload::parse(r#"{ "b": 1.0, "a": true }"#).unwrap();
/// assert_eq!(payload.as_str(), r#"{"a":true,"b":1}"#);
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Payload(Arc<str>);

/// Why a value is no payload.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PayloadError {
    /// It has no normal form.
    #[error(transparent)]
    Normal(#[from] NormalError),
    /// It looks like what stands in the place of a removed payload.
    #[error("a payload cannot be {REMOVED_BEGIN}..{REMOVED_END}: that stands for one that was removed")]
    Removed,
    /// It has not the members that its event type asks for.
    #[error("payload of {event_type} does not fit its schema: {message}")]
    Shape {
        /// The type whose members are missing or wrong.
        event_type: String,
        /// Which member, and what is wrong with it.
        message: String,
    },
}

impl Payload {
    /// Reads a JSON object and puts it into normal form.
    ///
    /// # Errors
    ///
    /// [`NormalError`] if it is no object, too large, too deep, or holds what a store could not.
    pub fn parse(text: &str) -> Result<Self, NormalError> {
        normal::normalise(text, Source::Publisher).map(|normal| Self(normal.into()))
    }

    /// Serialises `value` and puts it into normal form.
    ///
    /// # Errors
    ///
    /// [`NormalError`] as for [`Payload::parse`].
    pub fn of<T: Serialize + ?Sized>(value: &T) -> Result<Self, NormalError> {
        let text = serde_json::to_string(value)
            .map_err(|error| NormalError::Malformed { message: error.to_string() })?;
        Self::parse(&text)
    }

    /// Takes a text that already is in normal form, as a store keeps it.
    #[must_use]
    pub fn from_normal(text: &str) -> Self {
        Self(text.into())
    }

    /// What stands in the place of a payload that was removed from the log, and had this digest.
    #[must_use]
    pub fn removed(digest: &Digest) -> Self {
        Self(format!("{REMOVED_BEGIN}{digest}{REMOVED_END}").into())
    }

    /// The digest of the payload that was here, if it was removed. No event is published with such a payload.
    #[must_use]
    pub fn removed_digest(&self) -> Option<Digest> {
        self.0.strip_prefix(REMOVED_BEGIN)?.strip_suffix(REMOVED_END)?.parse().ok()
    }

    /// SHA-256 of the normal form, also of one that was removed.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.removed_digest().unwrap_or_else(|| Digest::of(self.0.as_bytes()))
    }

    /// The normal form.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Reads the payload as `T`.
    ///
    /// # Errors
    ///
    /// The message names the member that is missing or wrong.
    pub fn read<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        serde_json::from_str(&self.0)
    }

    /// The payload as a JSON object.
    #[must_use]
    pub fn to_value(&self) -> serde_json::Value {
        // Normal form is JSON by construction; a row that a hand has changed fails its checksum before this.
        serde_json::from_str(&self.0).unwrap_or_default()
    }
}

impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for Payload {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let raw: &serde_json::value::RawValue =
            serde_json::from_str(&self.0).map_err(serde::ser::Error::custom)?;
        raw.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Payload {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = Box::<serde_json::value::RawValue>::deserialize(deserializer)?;
        Self::parse(raw.get()).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn payloads_are_read_as_types_and_as_values() {
        let payload = Payload::of(&serde_json::json!({"z": 1, "a": [1, 2]})).unwrap();
        assert_eq!(payload.as_str(), r#"{"a":[1,2],"z":1}"#);
        assert_eq!(payload.to_value()["z"], 1);
        let map: std::collections::BTreeMap<String, serde_json::Value> = payload.read().unwrap();
        assert_eq!(map.len(), 2);
        assert_eq!(format!("{payload:?}"), payload.as_str());
        assert!(payload.read::<Vec<u8>>().is_err());
    }

    #[test]
    fn removed_payload_keeps_its_digest_and_nothing_else() {
        let payload = Payload::of(&serde_json::json!({"a": 1})).unwrap();
        let removed = Payload::removed(&payload.digest());
        assert_eq!((removed.removed_digest(), removed.digest()), (Some(payload.digest()), payload.digest()));
        assert_eq!(removed.to_value()[REMOVED_MEMBER], payload.digest().to_string());
        assert_eq!(Payload::parse(removed.as_str()).unwrap(), removed, "it is in normal form");
        assert_eq!(payload.removed_digest(), None);
        for other in [r#"{"$removed":"x"}"#, r#"{"$removed":1}"#, r#"{"$removed":"","a":1}"#] {
            assert_eq!(Payload::from_normal(other).removed_digest(), None);
        }
    }

    #[test]
    fn json_form_is_the_object_itself() {
        let payload: Payload = serde_json::from_str(r#"{"b":2,"a":1}"#).unwrap();
        assert_eq!(serde_json::to_string(&payload).unwrap(), r#"{"a":1,"b":2}"#);
        assert!(serde_json::from_str::<Payload>("[]").is_err());
        assert_eq!(Payload::of(&7), Err(NormalError::NotObject));
        assert_eq!(Payload::from_normal("{}"), Payload::parse(" { } ").unwrap());
    }
}
