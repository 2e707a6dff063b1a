//! The shape of plan documents as JSON Schema.
use serde_json::{Value, json};
/// The shape of plan documents as JSON Schema (draft 2020-12).
#[must_use]
pub fn schema() -> Value {
    json!({})
}
