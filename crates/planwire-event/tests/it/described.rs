//! The schema of the fold, which is part of the HTTP API, against folds.

use planwire_event::{Digest, EventId, PlanState};
use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde_json::{Value, json};

use crate::fixture::Log;

fn schema<T: JsonSchema>() -> Value {
    SchemaSettings::draft2020_12().for_serialize().into_generator().into_root_schema_for::<T>().to_value()
}

fn check(log: &Log) {
    let fold = serde_json::to_value(PlanState::fold(log.of("p")).expect("the plan has started")).unwrap();
    let schema = schema::<PlanState>();
    let validator = jsonschema::validator_for(&schema).unwrap();
    let errors: Vec<String> =
        validator.iter_errors(&fold).map(|error| format!("{}: {error}", error.instance_path())).collect();
    assert!(errors.is_empty(), "{errors:?}");
    let described = schema["properties"].as_object().unwrap();
    for name in fold.as_object().unwrap().keys() {
        assert!(described[name]["description"].is_string(), "{name} has no description");
    }
}

#[test]
fn schema_of_the_fold_describes_folds_and_each_member() {
    let mut log = Log::default();
    log.put("p", "PlanStarted", json!({"name": "report", "inputs": {"folder": "/srv"}}));
    check(&log);
    log.put("p", "ToolCalled", json!({"call_id": "c", "step": "s", "tool": "exec"}));
    log.put("p", "ToolCalled", json!({"call_id": "e", "step": "t", "tool": "exec"}));
    let error = json!({"code": "c", "message": "m"});
    log.put("p", "ToolCompleted", json!({"call_id": "e", "step": "t", "ok": false, "error": error}));
    log.put(
        "p",
        "DecisionMade",
        json!({"decision_id": "d", "decision_type": "choice", "question": "Which?", "options": [{"name": "a"}],
            "chosen": "a", "alternatives": [{"name": "b"}], "decided_by": "rule"}),
    );
    log.put("p", "SubplanSpawned", json!({"child_plan_id": "child", "name": "child", "step": "sub"}));
    let blob = json!({"blob": {"digest": "0".repeat(64), "size_bytes": 7}});
    for part in [json!({"text": "t"}), json!({"data": 1}), json!({"url": "https://example.org"}), blob] {
        let artifact =
            json!({"artifact_id": part.to_string(), "name": "a", "media_type": "text/plain", "part": part});
        log.put("p", "ArtifactProduced", artifact);
    }
    log.put(
        "p",
        "InputRequested",
        json!({"request_id": "q", "kind": "approval", "question": "Go on?", "arguments": {"tool": "exec"}}),
    );
    log.put("p", "CancelRequested", json!({"requested_by": "me"}));
    check(&log);
    log.put("p", "PlanFailed", json!({"reason": "cancelled", "error": error}));
    check(&log);
}

#[test]
fn ids_and_digests_are_described_by_their_form() {
    let validates = |schema: &Value, text: &str| jsonschema::is_valid(schema, &json!(text));
    let event_id = schema::<EventId>();
    assert!(validates(&event_id, "01JD8C3V5K7QW9X2Y4Z6A8B0CE") && !validates(&event_id, "01JD"));
    let digest = schema::<Digest>();
    assert!(validates(&digest, &Digest::of(b"").to_string()) && !validates(&digest, "0123"));
}
