//! The normal form of payloads: one text for one value, made once at the door.
//!
//! Hashed, stored and sent as these bytes. Keys are sorted by UTF-16 units (RFC 8785 section 3.2.3), a number that is
//! an integer of i64 or u64 is written as such, others as the shortest text of their f64. What two stores could tell
//! apart, or one of them could not hold, is refused: duplicate keys, U+0000, lone surrogates, integer literals beyond
//! 64 bits, numbers beyond f64.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};

use crate::limits::{PAYLOAD_BYTES_MAX, PAYLOAD_DEPTH_MAX};

/// Why a text has no normal form.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NormalError {
    /// Not JSON, or JSON that a store could not hold; says what and where.
    #[error("payload is not acceptable JSON: {message}")]
    Malformed {
        /// What is wrong, with line and column.
        message: String,
    },
    /// A value that is no object.
    #[error("payload must be a JSON object")]
    NotObject,
    /// The normal form is too long.
    #[error("payload of {len_bytes} bytes exceeds the limit of {PAYLOAD_BYTES_MAX}")]
    TooLarge {
        /// Bytes of the text or of its normal form.
        len_bytes: usize,
    },
}

/// Where a text comes from decides how its integer literals beyond 64 bits are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// A publisher: they are refused, since their digits would be lost.
    Publisher,
    /// A store that writes large floats as digits, as JSONB does: they are floats.
    Store,
}

impl Source {
    /// How many times longer than its normal form a text may be.
    const fn longer_max(self) -> usize {
        match self {
            // White space, but not more than this in good faith.
            Self::Publisher => 4,
            // JSONB writes `1e308` with 309 digits and `5e-324` with 324 places: 53 times as long with the comma.
            Self::Store => 64,
        }
    }
}

/// Puts a JSON object into normal form.
///
/// # Errors
///
/// [`NormalError`] says what is wrong and where; nothing is repaired in silence.
pub fn normalise(text: &str, source: Source) -> Result<String, NormalError> {
    if text.len() > source.longer_max() * PAYLOAD_BYTES_MAX {
        return Err(NormalError::TooLarge { len_bytes: text.len() });
    }
    if !text.trim_start().starts_with('{') && serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok() {
        return Err(NormalError::NotObject);
    }
    let malformed = |error: serde_json::Error| NormalError::Malformed { message: error.to_string() };
    let mut wide = false;
    let mut reader = serde_json::Deserializer::from_str(text);
    let node = NodeSeed { depth: 1, wide: &mut wide }.deserialize(&mut reader).map_err(malformed)?;
    reader.end().map_err(malformed)?;
    if wide && source == Source::Publisher {
        refuse_wide_integers(text)?;
    }
    let mut out = Vec::with_capacity(text.len());
    node.write(&mut out);
    if out.len() > PAYLOAD_BYTES_MAX {
        return Err(NormalError::TooLarge { len_bytes: out.len() });
    }
    String::from_utf8(out).map_err(|error| NormalError::Malformed { message: error.to_string() })
}

/// A JSON value whose numbers are already in normal form.
enum Node {
    Null,
    Bool(bool),
    Unsigned(u64),
    Signed(i64),
    Float(f64),
    Text(String),
    List(Vec<Node>),
    Object(Vec<(String, Node)>),
}

impl Node {
    /// A float that is an integer of 64 bits becomes one; -0 becomes 0.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the range is checked first")]
    fn of_float(value: f64) -> Self {
        const TWO_63: f64 = 9_223_372_036_854_775_808.0;
        if value.fract() != 0.0 || !(-TWO_63..2.0 * TWO_63).contains(&value) {
            return Self::Float(value);
        }
        if value < 0.0 { Self::Signed(value as i64) } else { Self::Unsigned(value as u64) }
    }

    fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Null => out.extend_from_slice(b"null"),
            Self::Bool(value) => out.extend_from_slice(if *value { b"true" } else { b"false" }),
            Self::Unsigned(value) => write_json(value, out),
            Self::Signed(value) => write_json(value, out),
            Self::Float(value) => write_float(*value, out),
            Self::Text(value) => write_json(value, out),
            Self::List(items) => {
                out.push(b'[');
                for (at, item) in items.iter().enumerate() {
                    if at > 0 {
                        out.push(b',');
                    }
                    item.write(out);
                }
                out.push(b']');
            }
            Self::Object(members) => {
                out.push(b'{');
                for (at, (key, value)) in members.iter().enumerate() {
                    if at > 0 {
                        out.push(b',');
                    }
                    write_json(key, out);
                    out.push(b':');
                    value.write(out);
                }
                out.push(b'}');
            }
        }
    }
}

fn write_json<T: serde::Serialize + ?Sized>(value: &T, out: &mut Vec<u8>) {
    // Numbers and texts have no failing serialisation, and a Vec takes every write.
    serde_json::to_writer(out, value).expect("a number or text can be written to memory");
}

/// Writes the shortest text that reads back as `value`; large and small ones with an exponent.
fn write_float(value: f64, out: &mut Vec<u8>) {
    use std::io::Write as _;
    let plain = (1e-5..1e16).contains(&value.abs());
    let written = if plain { write!(out, "{value}") } else { write!(out, "{value:e}") };
    written.expect("a Vec takes every write");
}

struct NodeSeed<'a> {
    depth: usize,
    /// Set when a number beyond i64 was read as a float: its literal has to be looked at.
    wide: &'a mut bool,
}

impl<'de> DeserializeSeed<'de> for NodeSeed<'_> {
    type Value = Node;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Node, D::Error> {
        deserializer.deserialize_any(self)
    }
}

fn check_text<E: serde::de::Error>(text: &str) -> Result<(), E> {
    if text.contains('\0') { Err(E::custom("U+0000 cannot be stored in a text")) } else { Ok(()) }
}

fn check_depth<E: serde::de::Error>(depth: usize) -> Result<(), E> {
    if depth > PAYLOAD_DEPTH_MAX {
        return Err(E::custom(format_args!("nested deeper than {PAYLOAD_DEPTH_MAX} levels")));
    }
    Ok(())
}

impl<'de> Visitor<'de> for NodeSeed<'_> {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Node, E> {
        Ok(Node::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Node, E> {
        Ok(Node::Bool(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Node, E> {
        Ok(Node::Unsigned(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Node, E> {
        Ok(Node::Signed(value))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Node, E> {
        *self.wide |= value.abs() >= 9e18;
        Ok(Node::of_float(value))
    }

    fn visit_str<E: serde::de::Error>(self, value: &str) -> Result<Node, E> {
        check_text(value)?;
        Ok(Node::Text(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Node, A::Error> {
        check_depth(self.depth)?;
        let mut items = Vec::new();
        while let Some(item) = seq.next_element_seed(NodeSeed { depth: self.depth + 1, wide: self.wide })? {
            items.push(item);
        }
        Ok(Node::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Node, A::Error> {
        check_depth(self.depth)?;
        let mut members: Vec<(String, Node)> = Vec::new();
        while let Some(key) = map.next_key::<String>()? {
            check_text(&key)?;
            let value = map.next_value_seed(NodeSeed { depth: self.depth + 1, wide: self.wide })?;
            members.push((key, value));
        }
        members.sort_by(|(a, _), (b, _)| a.encode_utf16().cmp(b.encode_utf16()));
        if let Some(pair) = members.windows(2).find(|pair| pair[0].0 == pair[1].0) {
            return Err(A::Error::custom(format_args!(
                "duplicate key '{}'",
                crate::ids::excerpt(&pair[0].0)
            )));
        }
        Ok(Node::Object(members))
    }
}

/// Finds integer literals that fit neither i64 nor u64, in a text that is known to be JSON.
fn refuse_wide_integers(text: &str) -> Result<(), NormalError> {
    let bytes = text.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        match bytes[at] {
            b'"' => {
                at += 1;
                while bytes[at] != b'"' {
                    at += if bytes[at] == b'\\' { 2 } else { 1 };
                }
                at += 1;
            }
            b'-' | b'0'..=b'9' => {
                let start = at;
                while at < bytes.len() && matches!(bytes[at], b'-' | b'+' | b'.' | b'e' | b'E' | b'0'..=b'9')
                {
                    at += 1;
                }
                let literal = &text[start..at];
                let integer = !literal.contains(['.', 'e', 'E']);
                if integer && literal.parse::<u64>().is_err() && literal.parse::<i64>().is_err() {
                    let message = format!(
                        "integer {} does not fit 64 bits; send it as text",
                        crate::ids::excerpt(literal)
                    );
                    return Err(NormalError::Malformed { message });
                }
            }
            _ => at += 1,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(input: &str, expected: &str) {
        let got = normalise(input, Source::Publisher).unwrap_or_else(|error| error.to_string());
        assert_eq!(got, expected, "{input}");
    }

    #[test]
    fn keys_are_sorted_by_utf16_units() {
        check(r#"{ "b": 1, "a": {"d":[], "c":{}} }"#, r#"{"a":{"c":{},"d":[]},"b":1}"#);
        // RFC 8785 section 3.2.3: U+1F600 is a surrogate pair and sorts before U+FB33.
        check(
            "{\"\u{fb33}\":1,\"\u{1f600}\":2,\"\u{20ac}\":3,\"\\r\":4,\"1\":5}",
            "{\"\\r\":4,\"1\":5,\"\u{20ac}\":3,\"\u{1f600}\":2,\"\u{fb33}\":1}",
        );
    }

    #[test]
    fn numbers_have_one_text() {
        check(
            r#"{"n":[1.0,-0,-0.0,1e19,1e3,0.1,1E-7,1e20,-1.5e300]}"#,
            r#"{"n":[1,0,0,10000000000000000000,1000,0.1,1e-7,1e20,-1.5e300]}"#,
        );
        check(
            r#"{"n":[18446744073709551615,-9223372036854775808,9007199254740993]}"#,
            r#"{"n":[18446744073709551615,-9223372036854775808,9007199254740993]}"#,
        );
        check(
            r#"{"n":[-9.223372036854775808e18,1.8446744073709552e19]}"#,
            r#"{"n":[-9223372036854775808,1.8446744073709552e19]}"#,
        );
    }

    #[test]
    fn what_a_store_could_not_hold_is_refused() {
        check(
            r#"{"n":18446744073709551616}"#,
            "payload is not acceptable JSON: integer 18446744073709551616 does not fit 64 bits; send it as text",
        );
        check(
            r#"{"\"1":"\\","n":-9223372036854775809}"#,
            "payload is not acceptable JSON: integer -9223372036854775809 does not fit 64 bits; send it as text",
        );
        check(r#"{"n":1e400}"#, "payload is not acceptable JSON: number out of range at line 1 column 10");
        check(
            r#"{"s":"\u0000"}"#,
            "payload is not acceptable JSON: U+0000 cannot be stored in a text at line 1 column 13",
        );
        check(
            r#"{"\u0000":1}"#,
            "payload is not acceptable JSON: U+0000 cannot be stored in a text at line 1 column 9",
        );
        check(
            r#"{"a":1,"\u0061":2}"#,
            "payload is not acceptable JSON: duplicate key 'a' at line 1 column 18",
        );
        assert!(normalise(r#"{"s":"\ud800"}"#, Source::Publisher).is_err());
        check("[]", "payload must be a JSON object");
        check("7", "payload must be a JSON object");
        check("{} {}", "payload is not acceptable JSON: trailing characters at line 1 column 4");
        assert!(normalise("", Source::Publisher).is_err());
    }

    #[test]
    fn large_floats_that_a_store_wrote_as_digits_are_read_back() {
        assert_eq!(normalise(r#"{"n":100000000000000000000}"#, Source::Store).unwrap(), r#"{"n":1e20}"#);
    }

    #[test]
    fn the_largest_payload_is_read_back_however_long_a_store_writes_it() {
        let list = |number: &str| format!(r#"{{"n":[{}]}}"#, vec![number; 37_000].join(","));
        for (digits, normal) in
            [(format!("1{}", "0".repeat(308)), "1e308"), (format!("0.{}5", "0".repeat(323)), "5e-324")]
        {
            let payload = normalise(&list(normal), Source::Publisher).unwrap();
            assert_eq!(normalise(&list(&digits).replace(',', ", "), Source::Store).unwrap(), payload);
            assert!(normalise(&list(&digits), Source::Publisher).is_err());
        }
    }

    #[test]
    fn depth_and_size_have_limits() {
        let nested = |levels: usize| format!("{}1{}", "{\"a\":".repeat(levels), "}".repeat(levels));
        assert!(normalise(&nested(64), Source::Publisher).is_ok());
        let message = normalise(&nested(65), Source::Publisher).unwrap_err().to_string();
        assert!(message.contains("nested deeper than 64 levels"), "{message}");
        let sized = |bytes: usize| format!("{{\"a\":\"{}\"}}", "x".repeat(bytes - 8));
        assert!(normalise(&sized(PAYLOAD_BYTES_MAX), Source::Publisher).is_ok());
        assert_eq!(
            normalise(&sized(PAYLOAD_BYTES_MAX + 1), Source::Publisher),
            Err(NormalError::TooLarge { len_bytes: PAYLOAD_BYTES_MAX + 1 })
        );
        assert!(matches!(normalise(&sized(2_000_000), Source::Publisher), Err(NormalError::TooLarge { .. })));
    }

    #[test]
    fn texts_keep_every_character() {
        check(
            "{\"s\":\"\\u00e9\\ud83d\\ude00\\n\\u0085\u{2028}/\\/\"}",
            "{\"s\":\"é😀\\n\u{85}\u{2028}//\"}",
        );
        check(r#"{"b":[true,false,null]}"#, r#"{"b":[true,false,null]}"#);
    }

    proptest::proptest! {
        #[test]
        fn normal_form_is_a_fixed_point(keys in proptest::collection::vec("[a-c\\PC]{0,3}", 0..6), number in proptest::num::f64::NORMAL) {
            let value: serde_json::Map<_, _> = keys.into_iter().filter(|key| !key.contains('\0')).map(|key| (key, serde_json::json!(number))).collect();
            let once = normalise(&serde_json::Value::Object(value).to_string(), Source::Publisher).unwrap();
            proptest::prop_assert_eq!(&normalise(&once, Source::Publisher).unwrap(), &once);
            proptest::prop_assert_eq!(&normalise(&once, Source::Store).unwrap(), &once);
        }
    }
}
