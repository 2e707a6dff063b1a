//! What facades may know of a registered document before they start it.

use planwire_bus::CatalogEntry;
use serde_json::{Map, Value, json};

use crate::document::Document;
use crate::document::model::{Input, InputKind};

/// The entry of a document that is registered as `name`.
pub(crate) fn entry(name: &str, document: &Document) -> CatalogEntry {
    CatalogEntry { name: name.into(), goal: document.goal.clone(), inputs: schema_of(&document.inputs) }
}

/// JSON Schema of the inputs of a plan.
fn schema_of(inputs: &[Input]) -> Value {
    let properties: Map<String, Value> =
        inputs.iter().map(|input| (input.name.clone(), property_of(input))).collect();
    let required: Vec<_> =
        inputs.iter().filter(|input| input.default.is_none()).map(|input| input.name.as_str()).collect();
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": false,
    })
}

fn property_of(input: &Input) -> Value {
    let mut property = match input.kind {
        InputKind::String => json!({"type": "string"}),
        InputKind::Int => json!({"type": "integer"}),
        InputKind::Number => json!({"type": "number"}),
        InputKind::Bool => json!({"type": "boolean"}),
        InputKind::Path => json!({"type": "string", "minLength": 1, "format": "path"}),
        InputKind::List => json!({"type": "array"}),
        InputKind::Object => json!({"type": "object"}),
    };
    if let Some(description) = &input.description {
        property["description"] = json!(description);
    }
    if input.secret {
        property["writeOnly"] = json!(true);
    }
    if let Some(default) = &input.default {
        property["default"] = default.clone();
    }
    property
}
