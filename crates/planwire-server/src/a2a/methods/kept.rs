//! A message as the log keeps it, and what makes it the same message when it comes again.

use planwire_event::{Digest, EventId, Payload};
use serde_json::{Value, json};

use crate::a2a::wire::EXTENSION;
use crate::app::PRINCIPAL;

/// Bytes of a message that an event keeps; of a larger one the contents of its parts are left out.
const KEPT_BYTES_MAX: usize = 64 * 1024;

/// Characters of a text that is kept of a message that is larger.
const KEPT_TEXT_CHARS_MAX: usize = 2_000;

/// The same for the same message to the same task, and for nothing else.
pub(super) fn identity(task: &str, message: &Value) -> EventId {
    let content = Payload::of(message).map(|payload| payload.as_str().to_owned()).unwrap_or_default();
    let digest = Digest::of(format!("a2a\n{PRINCIPAL}\n{task}\n{content}").as_bytes());
    let mut bits = [0; 16];
    bits.copy_from_slice(&digest.as_bytes()[..16]);
    EventId::from(u128::from_be_bytes(bits))
}

/// The message as an event keeps it: whole, or with the start of its texts and a note for each other part.
pub(super) fn kept(message: &Value) -> Value {
    if message.to_string().len() <= KEPT_BYTES_MAX {
        return message.clone();
    }
    let parts = message["parts"].as_array().map(Vec::as_slice).unwrap_or_default();
    let mut bytes = 0;
    let mut kept = Vec::new();
    for part in parts {
        let text = match part["text"].as_str() {
            Some(text) => text.chars().take(KEPT_TEXT_CHARS_MAX).collect(),
            None => format!("(a part of {} bytes)", part.to_string().len()),
        };
        bytes += text.len();
        if bytes > KEPT_BYTES_MAX / 4 {
            break;
        }
        kept.push(json!({ "text": text }));
    }
    json!({
        "messageId": message["messageId"],
        "role": message["role"],
        "parts": kept,
        "metadata": { EXTENSION: { "truncated": true } },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_message_is_kept_by_its_start() {
        let small = json!({"messageId": "m", "role": "ROLE_USER", "parts": [{"data": {"a": 1}}]});
        assert_eq!(kept(&small), small);
        let large = json!({
            "messageId": "m", "role": "ROLE_USER",
            "parts": [{"text": "ä".repeat(KEPT_BYTES_MAX)}, {"data": {"a": "b".repeat(100)}}],
        });
        let short = kept(&large);
        assert_eq!(short["parts"][0]["text"].as_str().unwrap().chars().count(), KEPT_TEXT_CHARS_MAX);
        assert_eq!(short["parts"][1], json!({"text": "(a part of 117 bytes)"}));
        let many = json!({"parts": vec![json!({"text": "c".repeat(1_000)}); 900]});
        assert!(kept(&many).to_string().len() < KEPT_BYTES_MAX);
    }

    #[test]
    fn identity_is_of_task_and_content() {
        let message = |id: &str, text: &str| json!({"messageId": id, "parts": [{"text": text}]});
        let first = identity("t", &message("m", "a"));
        assert_eq!(first, identity("t", &message("m", "a")));
        for other in [
            identity("u", &message("m", "a")),
            identity("t", &message("n", "a")),
            identity("t", &message("m", "b")),
        ] {
            assert_ne!(first, other);
        }
    }
}
