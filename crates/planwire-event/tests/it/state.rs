//! The fold over one plan.

use planwire_event::limits::OPEN_ID_BYTES_MAX;
use planwire_event::state::{
    ARTIFACTS_MAX, ArtifactSource, ChildState, DECISIONS_MAX, Detail, Phase, QUESTION_BYTES_MAX,
    QUESTIONS_MAX, STEPS_MAX, SUMMARY_ITEMS_MAX, SUMMARY_TEXT_CHARS_MAX, StepKind, StepState, TEXT_CHARS_MAX,
};
use planwire_event::vocabulary::FailureReason;
use planwire_event::{PlanState, PlanStatus};
use serde_json::{Value, json};

use crate::fixture::{Log, STEP_MS, at_seq, with_payload, without_payload};

fn started() -> Log {
    let mut log = Log::default();
    log.put("p", "PlanStarted", json!({"name": "report", "goal": "Say it", "inputs": {"folder": "/srv"}}));
    log
}

fn fold(log: &Log) -> PlanState {
    PlanState::fold(log.of("p")).expect("the plan has started")
}

fn call(log: &mut Log, call_id: &str, step: &str, attempt: u32) {
    let payload = json!({"call_id": call_id, "step": step, "tool": "file.list", "attempt": attempt});
    log.put("p", "ToolCalled", payload);
}

fn end(log: &mut Log, call_id: &str, step: &str, ok: bool) {
    let mut payload = json!({"call_id": call_id, "step": step, "ok": ok});
    if !ok {
        payload["error"] = json!({"code": "not_found", "message": "no such folder"});
    }
    log.put("p", "ToolCompleted", payload);
}

fn decide(log: &mut Log, step: &str, chosen: &str) {
    log.put(
        "p",
        "DecisionMade",
        json!({"decision_id": "d", "decision_type": "choice", "step": step, "question": "Which?",
            "options": [{"name": "git"}, {"name": "none"}], "chosen": chosen,
            "alternatives": [{"name": "none", "reason": "there is a repository"}],
            "rationale": "a .git entry", "decided_by": "rule"}),
    );
}

fn fail(log: &mut Log, reason: &str) {
    let payload = json!({"reason": reason, "error": {"code": "c", "message": "m", "step": "s"}});
    log.put("p", "PlanFailed", payload);
}

/// The states of the steps, in order.
fn steps(log: &Log) -> Vec<(String, StepState)> {
    fold(log).steps.iter().map(|step| (step.step.clone(), step.state)).collect()
}

#[test]
fn json_names_are_the_interface() {
    let mut log = started();
    call(&mut log, "c1", "list", 1);
    end(&mut log, "c1", "list", true);
    decide(&mut log, "history", "git");
    log.put("p", "SubplanSpawned", json!({"child_plan_id": "kid", "name": "folder", "step": "folders"}));
    call(&mut log, "c2", "list", 2);
    let part = json!({"url": "file:///tmp/report.md"});
    log.put(
        "p",
        "ArtifactProduced",
        json!({"artifact_id": "a", "name": "report.md", "media_type": "text/markdown", "part": part}),
    );
    log.put("p", "CancelRequested", json!({"requested_by": "ann", "reason": "enough"}));
    log.put("p", "acme.hit", json!({}));
    insta::assert_snapshot!(serde_json::to_string_pretty(&fold(&log)).unwrap());
}

#[test]
fn an_end_brings_outputs_or_the_error() {
    let mut log = started();
    log.put("p", "PlanCompleted", json!({"outputs": {"n": 3}, "duration_ms": 7}));
    let state = fold(&log);
    assert_eq!((state.status, state.phase), (PlanStatus::Completed, Phase::Completed));
    assert_eq!(state.outputs.unwrap()["n"], 3);
    assert_eq!((state.duration_ms, state.error), (Some(7), None));

    let mut log = started();
    fail(&mut log, "error");
    let state = fold(&log);
    assert_eq!(state.phase, Phase::Failed);
    assert_eq!(state.error.unwrap().step.unwrap(), "s");
    assert_eq!(
        state.duration_ms,
        Some(STEP_MS),
        "measured by the timestamps where the publisher says nothing"
    );
    assert!(state.ended_at > Some(state.started_at) && state.outputs.is_none());
}

#[test]
fn each_reason_is_a_phase_of_its_own() {
    let mut phases = Vec::new();
    for reason in FailureReason::ALL {
        let mut log = started();
        fail(&mut log, reason.as_str());
        let phase = fold(&log).phase;
        assert_eq!(serde_json::to_value(phase).unwrap(), phase.as_str());
        phases.push(phase.as_str());
    }
    assert_eq!(phases, ["failed", "cancelled", "timed_out", "rejected", "limit_exceeded", "interrupted"]);
    let mut log = started();
    assert_eq!(fold(&log).phase.as_str(), "running");
    log.put("p", "CancelRequested", json!({"requested_by": "ann"}));
    log.put("p", "CancelRequested", json!({"requested_by": "bob"}));
    let state = fold(&log);
    assert_eq!(state.phase.as_str(), "cancelling");
    assert_eq!(state.cancel_requested.unwrap().requested_by, "ann", "the first request counts");
    log.put("p", "PlanCompleted", json!({}));
    assert_eq!(fold(&log).phase.as_str(), "completed");
}

fn ask(log: &mut Log, request_id: &str, step: &str, kind: &str) {
    let payload = json!({"request_id": request_id, "step": step, "kind": kind, "question": "Which branch?",
        "schema": {"type": "string"}});
    log.put("p", "InputRequested", payload);
}

fn answer(log: &mut Log, request_id: &str, outcome: &str) {
    let payload =
        json!({"request_id": request_id, "outcome": outcome, "value": "main", "answered_by": "ann"});
    log.put("p", "InputReceived", payload);
}

#[test]
fn a_plan_waits_while_a_question_is_open() {
    let mut log = started();
    let phase = |log: &Log| fold(log).phase.as_str();
    ask(&mut log, "q1", "login", "auth");
    assert_eq!(phase(&log), "auth_required");
    ask(&mut log, "q2", "branch", "input");
    assert_eq!(phase(&log), "input_required");
    call(&mut log, "c1", "list", 1);
    assert_eq!(phase(&log), "input_required", "work that goes on beside it changes nothing");
    let state = fold(&log);
    let question = &state.questions[1];
    assert_eq!((question.request_id.as_str(), question.step.as_str()), ("q2", "branch"));
    assert_eq!((question.schema.clone(), question.seq.get()), (Some(json!({"type": "string"})), 3));
    let step = state.steps.named("branch").unwrap();
    assert_eq!((step.kind, step.state), (StepKind::Question, StepState::Running));
    answer(&mut log, "q2", "answered");
    assert_eq!(phase(&log), "auth_required");
    answer(&mut log, "q1", "expired");
    assert_eq!(phase(&log), "running");
    let state = fold(&log);
    assert_eq!((state.questions.len(), state.counts.questions), (0, 2));
    assert_eq!(state.steps.named("branch").unwrap().state, StepState::Ok);
    let expired = state.steps.named("login").unwrap();
    assert_eq!(
        (expired.state, expired.error.as_ref().unwrap().code.as_str()),
        (StepState::Failed, "expired")
    );
    ask(&mut log, "q3", "branch", "input");
    log.put("p", "CancelRequested", json!({"requested_by": "ann"}));
    assert_eq!(phase(&log), "cancelling");
    fail(&mut log, "cancelled");
    assert_eq!((phase(&log), fold(&log).questions.len()), ("cancelled", 0));
}

#[test]
fn an_approval_belongs_to_the_step_whose_tool_it_approves() {
    let mut log = started();
    let arguments = json!({"tool": "exec", "arguments": {}});
    let payload = json!({"request_id": "q1", "step": "list", "kind": "approval", "question": "Go?",
        "arguments": arguments, "arguments_digest": "aa"});
    log.put("p", "InputRequested", payload);
    assert_eq!(fold(&log).questions[0].arguments, arguments.as_object().cloned());
    answer(&mut log, "q1", "answered");
    call(&mut log, "c1", "list", 1);
    end(&mut log, "c1", "list", true);
    let step = fold(&log).steps.named("list").unwrap().clone();
    assert_eq!((step.kind, step.state, step.items.ok), (StepKind::Tool, StepState::Ok, 1));
}

#[test]
fn a_repeated_question_is_open_and_no_step_of_this_plan() {
    let mut log = started();
    let payload =
        json!({"request_id": "q1", "step": "s", "kind": "input", "question": "?", "for_plan_id": "kid"});
    log.put("p", "InputRequested", payload);
    let state = fold(&log);
    assert_eq!((state.phase, state.counts.questions, state.steps.len()), (Phase::InputRequired, 0, 0));
    assert_eq!(state.questions[0].for_plan_id.as_ref().unwrap().as_str(), "kid");
    answer(&mut log, "q1", "answered");
    assert_eq!(fold(&log).phase, Phase::Running);
}

#[test]
fn questions_beyond_the_limit_still_hold_the_plan() {
    let mut log = started();
    let long = json!({"enum": ["x".repeat(QUESTION_BYTES_MAX)]});
    for number in 0..=QUESTIONS_MAX {
        let payload =
            json!({"request_id": format!("q{number}"), "kind": "auth", "question": "?", "schema": long});
        log.put("p", "InputRequested", payload);
    }
    let state = fold(&log);
    assert_eq!((state.questions.len(), state.omitted.questions), (QUESTIONS_MAX, 1));
    assert_eq!(state.questions[0].schema, None, "a schema that is too large is only in the event");
    (0..QUESTIONS_MAX).for_each(|number| answer(&mut log, &format!("q{number}"), "answered"));
    assert_eq!(fold(&log).phase, Phase::AuthRequired);
    answer(&mut log, &format!("q{QUESTIONS_MAX}"), "withdrawn");
    assert_eq!(fold(&log).phase, Phase::Running);
}

#[test]
fn a_step_that_is_tried_again_is_one_step() {
    let mut log = started();
    call(&mut log, "c1", "list", 1);
    assert_eq!(steps(&log), [("list".into(), StepState::Running)]);
    end(&mut log, "c1", "list", false);
    assert_eq!(steps(&log), [("list".into(), StepState::Failed)]);
    call(&mut log, "c2", "list", 2);
    end(&mut log, "c2", "list", true);
    let state = fold(&log);
    let step = state.steps.named("list").unwrap();
    assert_eq!((step.state, step.attempts, step.kind), (StepState::Ok, 2, StepKind::Tool));
    assert_eq!((step.items.ok, step.items.failed, step.items.open), (1, 0, 0));
    assert_eq!(step.error.as_ref().unwrap().code, "not_found");
    assert_eq!((state.counts.tool_calls, state.counts.tool_failures), (2, 1));
}

#[test]
fn a_decision_about_a_failed_step_recovers_it() {
    let mut log = started();
    call(&mut log, "c1", "log", 1);
    end(&mut log, "c1", "log", false);
    decide(&mut log, "log", "none");
    let state = fold(&log);
    let step = state.steps.named("log").unwrap();
    assert_eq!((step.state, step.kind), (StepState::Recovered, StepKind::Tool));
    assert_eq!(step.chosen.as_deref(), Some("none"));
}

#[test]
fn a_decision_to_fail_does_not_recover_the_step_that_the_plan_fails_with() {
    let mut log = started();
    for step in ["s", "other"] {
        call(&mut log, step, step, 1);
        end(&mut log, step, step, false);
        decide(&mut log, step, "none");
    }
    fail(&mut log, "error");
    assert_eq!(steps(&log), [("s".into(), StepState::Failed), ("other".into(), StepState::Recovered)]);
}

#[test]
fn a_plan_that_completes_has_got_over_its_failures() {
    let mut log = started();
    call(&mut log, "c1", "a", 1);
    end(&mut log, "c1", "a", false);
    call(&mut log, "c2", "b", 1);
    log.put("p", "PlanCompleted", json!({}));
    assert_eq!(steps(&log), [("a".into(), StepState::Recovered), ("b".into(), StepState::Abandoned)]);
    assert!(fold(&log).open_calls.is_empty());

    let mut log = started();
    call(&mut log, "c1", "a", 1);
    end(&mut log, "c1", "a", false);
    fail(&mut log, "error");
    assert_eq!(steps(&log), [("a".into(), StepState::Failed)]);
}

#[test]
fn items_of_one_step_are_counted() {
    let mut log = started();
    for kid in ["k1", "k2", "k3"] {
        log.put("p", "SubplanSpawned", json!({"child_plan_id": kid, "name": "f", "step": "folders"}));
        log.put(kid, "PlanStarted", json!({"name": "f", "parent_plan_id": "p"}));
        log.put(kid, "PlanCompleted", json!({}));
    }
    let report = |log: &mut Log, kid: &str, ok: bool| {
        let payload = json!({"child_plan_id": kid, "ok": ok, "duration_ms": 9});
        log.put("p", "SubplanCompleted", payload);
    };
    report(&mut log, "k1", true);
    report(&mut log, "k2", false);
    let state = fold(&log);
    let step = state.steps.named("folders").unwrap();
    assert_eq!((step.state, step.kind), (StepState::Running, StepKind::Subplan));
    assert_eq!((step.items.open, step.items.ok, step.items.failed), (1, 1, 1));
    assert_eq!(step.child_plan_ids.len(), 3);
    let children: Vec<_> = state.children.iter().map(|child| child.state).collect();
    assert_eq!(children, [ChildState::Completed, ChildState::Failed, ChildState::Running]);
    assert_eq!(state.children[1].error.as_ref().unwrap().code, "unknown", "a failure without a word");
    assert_eq!((state.counts.subplans, state.counts.subplan_failures), (3, 1));
    report(&mut log, "k3", true);
    assert_eq!(steps(&log), [("folders".into(), StepState::Failed)]);
}

#[test]
fn a_call_whose_end_does_not_name_the_step_ends_it() {
    let mut log = started();
    call(&mut log, "c1", "list", 1);
    end(&mut log, "c1", "", true);
    call(&mut log, "c2", "", 1);
    end(&mut log, "c2", "", true);
    assert_eq!(steps(&log), [("list".into(), StepState::Ok)], "calls without a step are counted only");
    assert_eq!(fold(&log).counts.tool_calls, 2);
}

#[test]
fn the_id_of_an_open_call_is_whole_or_not_kept() {
    let mut log = started();
    let (long, too_long) = ("i".repeat(OPEN_ID_BYTES_MAX), "j".repeat(OPEN_ID_BYTES_MAX + 1));
    call(&mut log, &long, "a", 1);
    call(&mut log, "j", "a", 1);
    let last = log.events.pop().unwrap();
    log.events.push(with_payload(&last, &json!({"call_id": too_long, "step": "a", "tool": "t"})));
    let mut state = PlanState::start_with(&log.events[0], Detail::Summary).unwrap();
    log.events.iter().for_each(|event| state.apply(event));
    let ids: Vec<_> = state.open_calls.values().map(|call| &call.call_id).collect();
    assert_eq!(ids, [&long]);
    assert_eq!(state.omitted.open_calls, 1);
    assert_eq!(state.detail(), Detail::Summary);
}

#[test]
fn the_id_of_an_open_question_is_whole_or_not_kept() {
    let mut log = started();
    let (long, too_long) = ("i".repeat(OPEN_ID_BYTES_MAX), "j".repeat(OPEN_ID_BYTES_MAX + 1));
    for request_id in [&long, "j"] {
        log.put("p", "InputRequested", json!({"request_id": request_id, "kind": "auth", "question": "?"}));
    }
    let last = log.events.pop().unwrap();
    let asked = with_payload(&last, &json!({"request_id": too_long, "kind": "auth", "question": "?"}));
    log.events.push(asked.clone());
    let state = fold(&log);
    let ids: Vec<_> = state.questions.iter().map(|question| &question.request_id).collect();
    assert_eq!((ids, state.omitted.questions), (vec![&long], 1));
    answer(&mut log, &long, "answered");
    assert_eq!(fold(&log).phase, Phase::AuthRequired, "it is known to be open all the same");
    answer(&mut log, "j", "answered");
    let last = log.events.pop().unwrap();
    let payload = json!({"request_id": too_long, "value": 1, "answered_by": "ann", "via": "page"});
    log.events.push(with_payload(&last, &payload));
    assert_eq!(fold(&log).phase, Phase::Running);
}

#[test]
fn artifacts_add_up_their_parts() {
    let mut log = started();
    let mut produce = |artifact: &str, part: Value, append: bool, last: bool| {
        log.put(
            "p",
            "ArtifactProduced",
            json!({"artifact_id": artifact, "name": "n", "media_type": "text/plain", "part": part,
                "append": append, "last_chunk": last}),
        );
    };
    produce("a", json!({"text": "12345"}), false, false);
    produce("a", json!({"text": "678"}), true, true);
    produce("b", json!({"data": [1, 2]}), false, false);
    produce("b", json!({"data": [1]}), false, true);
    produce("c", json!({"blob": {"digest": "ab", "size_bytes": 70}}), false, true);
    let state = fold(&log);
    let sizes: Vec<_> = state
        .artifacts
        .iter()
        .map(|artifact| (artifact.size_bytes, artifact.parts, artifact.complete))
        .collect();
    assert_eq!(sizes, [(8, 2, true), (3, 1, true), (70, 1, true)]);
    assert_eq!(state.artifacts[2].source, ArtifactSource::Blob { digest: "ab".into() });
    assert_eq!(state.counts.artifacts, 5);
}

#[test]
fn what_was_seen_and_what_belongs_to_others_changes_nothing() {
    let mut log = started();
    call(&mut log, "c1", "list", 1);
    log.put("q", "PlanStarted", json!({"name": "other"}));
    let state = fold(&log);
    let mut again = state.clone();
    log.events.iter().for_each(|event| again.apply(event));
    assert_eq!(again, state);
    let mut restarted = state.clone();
    restarted.apply(&at_seq(&log.events[0], 9));
    assert_eq!(restarted.steps, state.steps);
    assert_eq!(PlanState::start(&log.events[1]), None, "a plan begins with its start");
    assert_eq!(PlanState::fold([]), None);
}

#[test]
fn events_whose_payload_was_removed_still_count() {
    let mut log = started();
    call(&mut log, "c1", "list", 1);
    end(&mut log, "c1", "list", true);
    decide(&mut log, "history", "git");
    log.put("p", "SubplanSpawned", json!({"child_plan_id": "kid"}));
    log.put("kid", "PlanStarted", json!({"name": "k", "parent_plan_id": "p"}));
    log.put("kid", "PlanCompleted", json!({}));
    log.put("p", "SubplanCompleted", json!({"child_plan_id": "kid", "ok": true}));
    let part = json!({"text": "t"});
    log.put(
        "p",
        "ArtifactProduced",
        json!({"artifact_id": "a", "name": "n", "media_type": "m", "part": part}),
    );
    log.put("p", "CancelRequested", json!({"requested_by": "ann"}));
    fail(&mut log, "cancelled");
    let bare: Vec<_> = log.of("p").map(without_payload).collect();
    let (state, whole) = (PlanState::fold(&bare).unwrap(), fold(&log));
    assert_eq!(state.status, PlanStatus::Failed(FailureReason::Error), "the reason is in the payload");
    assert_eq!(state.counts, whole.counts);
    assert_eq!((state.last_seq, state.ended_at), (whole.last_seq, whole.ended_at));
    assert!(state.steps.is_empty() && state.name.is_empty() && state.inputs.is_none());
}

#[test]
fn long_texts_are_cut() {
    let mut log = Log::default();
    log.put(
        "p",
        "PlanStarted",
        json!({"name": "é".repeat(TEXT_CHARS_MAX + 1), "goal": "g".repeat(TEXT_CHARS_MAX)}),
    );
    let state = fold(&log);
    assert_eq!(state.name.chars().count(), TEXT_CHARS_MAX + 1);
    assert!(state.name.ends_with("é…"));
    assert!(!state.goal.ends_with('…'));
    let summary = PlanState::start_with(&log.events[0], Detail::Summary).unwrap();
    assert_eq!(summary.goal.chars().count(), SUMMARY_TEXT_CHARS_MAX + 1);
    assert_eq!(summary.inputs, None);
}

#[test]
fn lists_have_a_length_and_say_what_is_left_out() {
    let mut log = started();
    for at in 0..=STEPS_MAX {
        call(&mut log, &format!("c{at}"), &format!("s{at}"), 1);
        end(&mut log, &format!("c{at}"), &format!("s{at}"), true);
    }
    for at in 0..=ARTIFACTS_MAX.max(DECISIONS_MAX) {
        decide(&mut log, "", "git");
        let (id, part) = (format!("a{at}"), json!({"text": "t"}));
        log.put(
            "p",
            "ArtifactProduced",
            json!({"artifact_id": id, "name": "n", "media_type": "m", "part": part}),
        );
    }
    let state = fold(&log);
    assert_eq!((state.steps.len(), state.omitted.step_events), (STEPS_MAX, 1));
    assert_eq!((state.decisions.len(), state.omitted.decisions), (DECISIONS_MAX, 1));
    assert_eq!((state.artifacts.len(), state.omitted.artifact_events), (ARTIFACTS_MAX, 1));
    assert_eq!(state.counts.tool_calls, STEPS_MAX as u64 + 1);
}

#[test]
fn a_summary_follows_more_items_than_it_keeps() {
    let mut log = started();
    let kids: Vec<_> = (0..SUMMARY_ITEMS_MAX * 2).map(|at| format!("k{at}")).collect();
    for kid in &kids {
        call(&mut log, &format!("c-{kid}"), "touch", 1);
        log.put("p", "SubplanSpawned", json!({"child_plan_id": kid, "step": "folders"}));
        log.put(kid, "PlanStarted", json!({"name": "f", "parent_plan_id": "p"}));
        log.put(kid, "PlanCompleted", json!({}));
    }
    let summary = |log: &Log| {
        let mut events = log.of("p");
        let mut state = PlanState::start_with(events.next().unwrap(), Detail::Summary).unwrap();
        events.for_each(|event| state.apply(event));
        state
    };
    let state = summary(&log);
    assert_eq!((state.children.len(), state.open_calls.len()), (SUMMARY_ITEMS_MAX, SUMMARY_ITEMS_MAX));
    assert_eq!(state.omitted.children, SUMMARY_ITEMS_MAX as u64);
    assert_eq!(state.omitted.open_calls, SUMMARY_ITEMS_MAX as u64);
    for kid in &kids {
        end(&mut log, &format!("c-{kid}"), "touch", true);
        log.put("p", "SubplanCompleted", json!({"child_plan_id": kid, "ok": true}));
    }
    let state = summary(&log);
    assert_eq!(state.omitted.open_calls, 0);
    for step in &state.steps {
        assert_eq!((step.state, step.items.ok), (StepState::Ok, kids.len() as u64), "{step:?}");
    }
}
