//! The shape of plan documents as JSON Schema, for editors.

use planwire_event::cost::COST_UNITS_MAX;
use serde_json::{Value, json};

use super::keys::{ANSWER_TYPES, ARTIFACT_PARTS, ASK_KINDS, FAIL_REASONS, INPUT_TYPES};
use super::model::{
    ATTEMPTS_MAX, DEPTH_MAX, MEMBERS_MAX, PARALLEL_MAX, STEPS_MAX, TREE_CALLS_MAX, TREE_PARALLEL_MAX,
    TREE_TOKENS_MAX,
};

const STEPS: [&str; 7] =
    ["tool_step", "decide_step", "plan_step", "ask_step", "approve_step", "fail_step", "artifact_step"];
const STEP_ID: &str = "^[a-z][a-z0-9_]{0,63}$";
const PLAN_NAME: &str = "^[a-z][a-z0-9-]{0,63}$";
const DURATION: &str = "^[0-9]+(ms|s|m|h)$";

/// The shape of plan documents as JSON Schema (draft 2020-12).
///
/// It says which keys there are and what their values look like. What a schema cannot say, such as whether an
/// expression is sound or a step exists, only [`Document::parse`](super::Document::parse) tells.
#[must_use]
pub fn schema() -> Value {
    let mut plan = plan();
    let defs = json!({
        "plan": plan,
        "expression": {"type": ["string", "boolean"], "description": "CEL, at most 4 KiB and 200 nodes"},
        "template": {"description": "any value; texts may hold ${..} with CEL"},
        "text_template": {"type": "string", "description": "may hold ${..} with CEL"},
        "duration": {"type": "string", "pattern": DURATION, "examples": ["200ms", "30s", "10m", "1h"]},
        "parallel": {"type": "integer", "minimum": 1, "maximum": PARALLEL_MAX},
        "after": {"type": "array", "items": {"type": "string"}, "description": "steps that must be done before"},
        "with": {"type": "object", "additionalProperties": reference("template")},
        "input": input(),
        "tool_step": tool_step(),
        "decide_step": decide_step(),
        "plan_step": plan_step(),
        "ask_step": ask_step(),
        "approve_step": approve_step(),
        "fail_step": fail_step(),
        "artifact_step": artifact_step(),
        "retry": retry(),
        "on_error": on_error(),
        "artifact": artifact(),
    });
    plan["$schema"] = json!("https://json-schema.org/draft/2020-12/schema");
    plan["title"] = json!("Planwire plan document");
    plan["$defs"] = defs;
    plan
}

fn reference(name: &str) -> Value {
    json!({"$ref": format!("#/$defs/{name}")})
}

/// An object with these members and no others.
fn object(required: &[&str], properties: Value) -> Value {
    json!({"type": "object", "required": required, "properties": properties, "additionalProperties": false})
}

/// An object whose members are named by ids.
fn named(max: usize, member: Value) -> Value {
    json!({"type": "object", "maxProperties": max, "propertyNames": {"pattern": STEP_ID}, "additionalProperties": member})
}

fn plan() -> Value {
    let mut steps = named(STEPS_MAX, json!({"oneOf": STEPS.map(reference)}));
    steps["minProperties"] = json!(1);
    object(
        &["plan", "goal", "steps"],
        json!({
            "plan": {"type": "string", "pattern": PLAN_NAME, "description": "name of the plan"},
            "goal": {"type": "string", "maxLength": 500, "description": "what it is for, in one line"},
            "inputs": named(MEMBERS_MAX, reference("input")),
            "limits": object(&[], json!({
                "parallel": reference("parallel"),
                "depth": {"type": "integer", "minimum": 0, "maximum": DEPTH_MAX},
                "timeout": reference("duration"),
                "tool_calls": amount(1, TREE_CALLS_MAX, "tool calls of the plan and all below it"),
                "tokens": amount(1, TREE_TOKENS_MAX, "tokens of the plan and all below it"),
                "cost": cost("cost of the plan and all below it"),
                "parallel_calls": amount(1, TREE_PARALLEL_MAX, "tool calls that run at a time"),
                "parallel_plans": amount(1, TREE_PARALLEL_MAX, "subplans that run at a time"),
            })),
            "steps": steps,
            "outputs": named(MEMBERS_MAX, reference("template")),
            "artifacts": named(MEMBERS_MAX, reference("artifact")),
        }),
    )
}

fn amount(min: usize, max: impl Into<serde_json::Number>, description: &str) -> Value {
    json!({"type": "integer", "minimum": min, "maximum": max.into(), "description": description})
}

fn cost(description: &str) -> Value {
    json!({"type": ["number", "string"], "minimum": 0, "maximum": COST_UNITS_MAX, "description": description})
}

fn input() -> Value {
    object(
        &["type"],
        json!({
            "type": {"enum": INPUT_TYPES},
            "default": {"description": "the value when none is given; without it the input is required"},
            "secret": {
                "type": "boolean",
                "description": "the value is stored nowhere, and only tools get it; of type string, without default",
            },
            "description": {"type": "string"},
        }),
    )
}

fn tool_step() -> Value {
    object(
        &["tool"],
        json!({
            "tool": {"type": "string"},
            "with": reference("with"),
            "approve": approve(),
            "expires": reference("duration"),
            "timeout": reference("duration"),
            "retry": reference("retry"),
            "idempotent": {"type": "boolean"},
            "usage": {"type": "object", "description": "what a call used", "additionalProperties": reference("template")},
            "reserve": reserve(),
            "when": reference("expression"),
            "after": reference("after"),
            "on_error": reference("on_error"),
        }),
    )
}

fn options(member: Value) -> Value {
    let mut options = named(MEMBERS_MAX, member);
    options["minProperties"] = json!(2);
    options
}

fn reserve() -> Value {
    object(&[], json!({"tokens": reference("template"), "cost": reference("template")}))
}

fn decide_step() -> Value {
    let described = object(&["description"], json!({"description": {"type": "string"}}));
    let mut step = object(
        &["decide", "options"],
        json!({
            "decide": {"type": "string", "description": "the question"},
            "options": options(json!({"oneOf": [{"type": "string"}, described]})),
            "choose": reference("expression"),
            "rationale": reference("text_template"),
            "model": {"type": "string", "description": "the model that chooses, as the configuration names it"},
            "context": reference("template"),
            "otherwise": {"type": "string", "description": "the option that is taken if the model chooses none"},
            "timeout": reference("duration"),
            "retry": reference("retry"),
            "reserve": reserve(),
            "when": reference("expression"),
            "after": reference("after"),
        }),
    );
    step["oneOf"] = json!([{"required": ["choose"]}, {"required": ["model"]}]);
    step
}

fn plan_step() -> Value {
    object(
        &["plan"],
        json!({
            "plan": {"oneOf": [
                {"type": "string", "description": "a file, seen from this one, or one ${..} with CEL that gives a plan"},
                reference("plan"),
            ]},
            "with": {"oneOf": [reference("with"), {"type": "string", "description": "where 'plan' is made: one ${..} with CEL"}]},
            "for_each": reference("expression"),
            "parallel": reference("parallel"),
            "when": reference("expression"),
            "after": reference("after"),
            "on_error": reference("on_error"),
        }),
    )
}

fn approve() -> Value {
    json!({"type": "string", "description": "the question whether to go on; may hold ${..} with CEL"})
}

fn ask_step() -> Value {
    let answer = object(
        &[],
        json!({
            "type": {"enum": ANSWER_TYPES},
            "enum": {"type": "array", "minItems": 1},
            "description": {"type": "string"},
        }),
    );
    let mut step = object(
        &["ask"],
        json!({
            "ask": {"type": "string", "description": "the question; may hold ${..} with CEL"},
            "kind": {"enum": ASK_KINDS},
            "answer": answer,
            "schema": {"type": "object", "description": "JSON Schema of the answer, without references"},
            "expires": reference("duration"),
            "when": reference("expression"),
            "after": reference("after"),
            "on_error": reference("on_error"),
        }),
    );
    step["not"] = json!({"required": ["answer", "schema"]});
    step
}

fn approve_step() -> Value {
    object(
        &["approve"],
        json!({
            "approve": approve(),
            "arguments": {"type": "object", "description": "what is shown", "additionalProperties": reference("template")},
            "expires": reference("duration"),
            "when": reference("expression"),
            "after": reference("after"),
            "on_error": reference("on_error"),
        }),
    )
}

fn fail_step() -> Value {
    object(
        &["fail"],
        json!({
            "fail": {"type": "string", "description": "why the plan ends; may hold ${..} with CEL"},
            "reason": {"enum": FAIL_REASONS},
            "when": reference("expression"),
            "after": reference("after"),
        }),
    )
}

fn artifact_step() -> Value {
    object(
        &["artifact"],
        json!({
            "artifact": reference("artifact"),
            "when": reference("expression"),
            "after": reference("after"),
        }),
    )
}

fn retry() -> Value {
    object(
        &["attempts"],
        json!({
            "attempts": {"type": "integer", "minimum": 1, "maximum": ATTEMPTS_MAX},
            "backoff": reference("duration"),
            "max_backoff": reference("duration"),
            "when": reference("expression"),
        }),
    )
}

fn on_error() -> Value {
    let mut option = object(
        &["description"],
        json!({
            "description": {"type": "string"},
            "output": reference("template"),
            "fail": {"const": true},
        }),
    );
    option["oneOf"] = json!([{"required": ["output"]}, {"required": ["fail"]}]);
    object(
        &["decide", "options", "choose"],
        json!({
            "decide": {"type": "string", "description": "the question"},
            "options": options(option),
            "choose": reference("expression"),
            "rationale": reference("text_template"),
        }),
    )
}

fn artifact() -> Value {
    let mut artifact = object(
        &[],
        json!({
            "name": reference("text_template"),
            "media_type": {"type": "string"},
            "text": reference("text_template"),
            "data": reference("template"),
            "url": reference("text_template"),
            "base64": reference("text_template"),
            "chunks": {"type": ["array", "string"], "items": reference("text_template")},
        }),
    );
    artifact["oneOf"] = ARTIFACT_PARTS.map(|part| json!({"required": [part]})).into();
    artifact
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::keys;
    use super::*;

    #[test]
    fn schema_and_parser_know_the_same_keys() {
        let schema = schema();
        let check = |place: &str, known: &[&str]| {
            let properties =
                schema.pointer(&format!("{place}/properties")).unwrap_or_else(|| panic!("{place}"));
            let got: BTreeSet<&str> = properties.as_object().unwrap().keys().map(String::as_str).collect();
            assert_eq!(got, known.iter().copied().collect(), "{place}");
        };
        check("", &keys::DOCUMENT);
        check("/$defs/plan", &keys::DOCUMENT);
        check("/properties/limits", &keys::LIMITS);
        check("/$defs/input", &keys::INPUT);
        check("/$defs/tool_step", &keys::TOOL_STEP);
        check("/$defs/decide_step", &keys::DECIDE_STEP);
        check("/$defs/decide_step/properties/options/additionalProperties/oneOf/1", &keys::OPTION);
        check("/$defs/plan_step", &keys::PLAN_STEP);
        check("/$defs/ask_step", &keys::ASK_STEP);
        check("/$defs/ask_step/properties/answer", &keys::ANSWER);
        check("/$defs/approve_step", &keys::APPROVE_STEP);
        check("/$defs/fail_step", &keys::FAIL_STEP);
        check("/$defs/artifact_step", &keys::ARTIFACT_STEP);
        check("/$defs/retry", &keys::RETRY);
        check("/$defs/tool_step/properties/reserve", &keys::RESERVE);
        check("/$defs/on_error", &keys::ON_ERROR);
        check("/$defs/on_error/properties/options/additionalProperties", &keys::RECOVERY_OPTION);
        check("/$defs/artifact", &keys::ARTIFACT);
    }

    #[test]
    fn every_reference_of_the_schema_has_its_target() {
        fn walk(value: &Value, schema: &Value) {
            match value {
                Value::Object(members) => {
                    if let Some(Value::String(target)) = members.get("$ref") {
                        assert!(schema.pointer(target.trim_start_matches('#')).is_some(), "{target}");
                    }
                    members.values().for_each(|member| walk(member, schema));
                }
                Value::Array(items) => items.iter().for_each(|item| walk(item, schema)),
                _ => {}
            }
        }
        let schema = schema();
        walk(&schema, &schema);
    }
}
