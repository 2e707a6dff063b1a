//! Writes the references of a schema out, so that it becomes a tree of a bounded size.

use serde_json::{Map, Value, json};

/// Bytes of a schema that is written out; what lies beyond is not checked.
pub const UNFOLDED_BYTES_MAX: usize = 1024 * 1024;
/// Levels of a schema that is written out; what lies below, as in a recursion, is not checked.
pub const SCHEMA_LEVELS_MAX: usize = 32;

/// References to other places, which are not followed: what they point to depends on how the check got there.
const DYNAMIC: [&str; 2] = ["$dynamicRef", "$recursiveRef"];
/// Keywords that matter for references alone.
const ANCHORS: [&str; 8] =
    ["$defs", "definitions", "$id", "id", "$schema", "$anchor", "$dynamicAnchor", "$recursiveAnchor"];
/// Keywords whose value is data and no schema.
const DATA: [&str; 5] = ["const", "default", "enum", "example", "examples"];
/// Keywords whose members are schemas by names that people choose.
const NAMED: [&str; 4] = ["properties", "patternProperties", "dependentSchemas", "dependencies"];

/// The schema without references; `matches` says whether a pattern can be matched in bounded time.
pub(super) fn unfold(schema: &Value, matches: impl Fn(&str) -> bool) -> Value {
    Unfolding { root: schema, matches, bytes_left: UNFOLDED_BYTES_MAX }.schema(schema, SCHEMA_LEVELS_MAX)
}

struct Unfolding<'a, F> {
    root: &'a Value,
    matches: F,
    bytes_left: usize,
}

impl<'a, F: Fn(&str) -> bool> Unfolding<'a, F> {
    fn schema(&mut self, schema: &'a Value, levels_left: usize) -> Value {
        match schema {
            Value::Object(_) if levels_left == 0 || self.bytes_left == 0 => Value::Bool(true),
            Value::Object(members) => self.object(members, levels_left - 1),
            Value::Array(items) => {
                items.iter().map(|item| self.schema(item, levels_left)).collect::<Vec<_>>().into()
            }
            other => self.data(other),
        }
    }

    fn data(&mut self, value: &Value) -> Value {
        self.bytes_left = self.bytes_left.saturating_sub(value.to_string().len());
        value.clone()
    }

    fn object(&mut self, members: &'a Map<String, Value>, levels_left: usize) -> Value {
        let mut kept = Map::new();
        for (keyword, value) in members {
            let name = keyword.as_str();
            if name == "$ref" || DYNAMIC.contains(&name) || ANCHORS.contains(&name) {
                continue;
            }
            if name == "pattern" && value.as_str().is_some_and(|pattern| !(self.matches)(pattern)) {
                continue;
            }
            let value = match value {
                value if DATA.contains(&name) => self.data(value),
                Value::Object(named) if NAMED.contains(&name) => self.named(name, named, levels_left),
                value => self.schema(value, levels_left),
            };
            self.bytes_left = self.bytes_left.saturating_sub(keyword.len());
            kept.insert(keyword.clone(), value);
        }
        match members.get("$ref").map(|reference| self.target(reference)) {
            None => Value::Object(kept),
            Some(None) => Value::Object(kept),
            Some(Some(target)) => {
                let target = self.schema(target, levels_left);
                if kept.is_empty() { target } else { json!({"allOf": [target, kept]}) }
            }
        }
    }

    fn named(&mut self, keyword: &str, named: &'a Map<String, Value>, levels_left: usize) -> Value {
        let mut kept = Map::new();
        for (name, schema) in named {
            if keyword == "patternProperties" && !(self.matches)(name) {
                continue;
            }
            self.bytes_left = self.bytes_left.saturating_sub(name.len());
            kept.insert(name.clone(), self.schema(schema, levels_left));
        }
        Value::Object(kept)
    }

    /// What a reference within the schema points to.
    fn target(&self, reference: &Value) -> Option<&'a Value> {
        let pointer = reference.as_str()?.strip_prefix('#')?;
        self.root.pointer(pointer)
    }
}
