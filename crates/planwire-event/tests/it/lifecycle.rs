//! What may follow what: each refusal, and what is not refused.

use planwire_event::lifecycle::{Fact, Known};
use planwire_event::limits::{OPEN_ID_BYTES_MAX, OPEN_ITEMS_MAX, PLAN_DEPTH_MAX};
use planwire_event::vocabulary::FailureReason;
use planwire_event::{EventType, Payload, PlanLifecycle, PlanStatus, Producer, Refusal, Seq};
use serde_json::{Value, json};

use crate::fixture::{Log, plan};

/// Publishes lines of `producer plan EventType payload`; all but the last are accepted, the last ends as `expected`.
fn check(lines: &str, expected: &str) {
    let mut log = Log::default();
    let lines: Vec<&str> = lines.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let (last, before) = lines.split_last().expect("there is a line");
    for line in before {
        publish(&mut log, line).unwrap_or_else(|refusal| panic!("{line}: {refusal}"));
    }
    let stored = log.events.len();
    let got = publish(&mut log, last).map_or_else(|refusal| refusal.to_string(), |()| "accepted".into());
    assert_eq!(got, expected, "{last}");
    let added = log.events.len() - stored;
    assert_eq!(added, usize::from(expected == "accepted"), "a refused event leaves nothing behind");
}

fn publish(log: &mut Log, line: &str) -> Result<(), Refusal> {
    let mut parts = line.splitn(4, ' ');
    let mut next = || parts.next().unwrap_or("{}");
    let (producer, plan, event_type, payload) = (next(), next(), next(), next());
    let payload: Value = serde_json::from_str(payload).expect("payloads are JSON");
    log.publish(producer, plan, event_type, payload)
}

const STARTED: &str = r#"me root PlanStarted {"name":"r"}"#;
const OWNED: &str = r#"exec1 root PlanStarted {"name":"r","executor_id":"exec1"}"#;
const SPAWNED: &str = r#"me root SubplanSpawned {"child_plan_id":"kid"}"#;
const KID: &str = r#"me kid PlanStarted {"name":"k","parent_plan_id":"root"}"#;
const CALLED: &str = r#"me root ToolCalled {"call_id":"c1","tool":"t"}"#;
const CALL_ENDED: &str = r#"me root ToolCompleted {"call_id":"c1","ok":true}"#;
const KID_REPORTED: &str = r#"me root SubplanCompleted {"child_plan_id":"kid","ok":true}"#;
const COMPLETED: &str = "me root PlanCompleted {}";
const FAILED: &str =
    r#"me root PlanFailed {"reason":"cancelled","error":{"code":"cancelled","message":"m"}}"#;

fn after(lines: &[&str]) -> String {
    lines.join("\n")
}

#[test]
fn the_first_event_is_plan_started() {
    for first in [CALLED, COMPLETED, SPAWNED, "me root acme.hit {}"] {
        check(first, "plan root has not started; its first event must be PlanStarted");
    }
    check(STARTED, "accepted");
}

#[test]
fn a_plan_starts_once() {
    let expected = "plan root has already started";
    check(&after(&[STARTED, STARTED]), expected);
    check(&after(&[STARTED, COMPLETED, STARTED]), expected);
}

#[test]
fn nothing_follows_the_terminal_event() {
    for end in [COMPLETED, FAILED] {
        for last in [COMPLETED, FAILED, CALLED, SPAWNED, "me root acme.hit {}"] {
            check(&after(&[STARTED, end, last]), "plan root has ended; nothing can follow");
        }
        check(
            &after(&[STARTED, end, r#"me root CancelRequested {"requested_by":"me"}"#]),
            "plan root has ended; nothing can follow",
        );
        check(&after(&[STARTED, SPAWNED, end, KID]), "plan root has ended; nothing can follow");
    }
}

#[test]
fn a_parent_is_known_and_has_announced_its_child() {
    check(KID, "plan kid names the parent root, which is unknown");
    check(
        r#"me kid PlanStarted {"name":"k","parent_plan_id":"kid"}"#,
        "plan kid names the parent kid, which is unknown",
    );
    check(&after(&[STARTED, KID]), "plan kid: its parent root has not announced it by SubplanSpawned");
    check(&after(&[STARTED, SPAWNED, KID]), "accepted");
}

#[test]
fn a_child_is_announced_once_and_before_it_starts() {
    check(&after(&[STARTED, SPAWNED, SPAWNED]), "plan root: subplan kid has already been spawned");
    check(&after(&[STARTED, SPAWNED, KID, SPAWNED]), "plan kid has already started");
    check(
        &after(&[STARTED, r#"me root SubplanSpawned {"child_plan_id":"root"}"#]),
        "plan root has already started",
    );
}

#[test]
fn a_childs_end_is_reported_once_and_after_it() {
    let (kid_ends, spawn) = ("me kid PlanCompleted {}", [STARTED, SPAWNED]);
    let open = "subplan kid of plan root has not ended yet";
    check(&after(&[&spawn[..], &[KID_REPORTED]].concat()), open);
    check(&after(&[&spawn[..], &[KID, KID_REPORTED]].concat()), open);
    check(&after(&[&spawn[..], &[KID, kid_ends, KID_REPORTED]].concat()), "accepted");
    check(
        &after(&[&spawn[..], &[KID, kid_ends, KID_REPORTED, KID_REPORTED]].concat()),
        "plan root: the end of subplan kid has already been reported",
    );
    check(&after(&[STARTED, KID_REPORTED]), "plan root: it has not spawned a subplan kid");
    // Another tree took the announced id before the child could.
    check(
        &after(&[&spawn[..], &[r#"me kid PlanStarted {"name":"k"}"#, kid_ends, KID_REPORTED]].concat()),
        "plan root: subplan kid has another parent",
    );
}

#[test]
fn calls_are_matched_by_their_id() {
    check(&after(&[STARTED, CALL_ENDED]), "plan root has no open tool call 'c1'");
    check(&after(&[STARTED, CALLED, CALLED]), "plan root already has an open tool call 'c1'");
    check(&after(&[STARTED, CALLED, CALL_ENDED, CALL_ENDED]), "plan root has no open tool call 'c1'");
    check(&after(&[STARTED, CALLED, CALL_ENDED, CALLED]), "accepted");
    check(&after(&[STARTED, CALLED, COMPLETED]), "accepted");
}

const ASKED: &str = r#"me root InputRequested {"request_id":"q1","kind":"input","question":"?"}"#;
const ANSWERED: &str = r#"me root InputReceived {"request_id":"q1","value":1,"answered_by":"me"}"#;

#[test]
fn a_question_is_answered_once() {
    let not_open = "plan root has no open question 'q1'; it may have been answered already";
    check(&after(&[STARTED, ANSWERED]), not_open);
    check(&after(&[STARTED, ASKED, ASKED]), "plan root already has an open question 'q1'");
    check(&after(&[STARTED, ASKED, ANSWERED]), "accepted");
    check(&after(&[STARTED, ASKED, ANSWERED, ANSWERED]), not_open);
    check(&after(&[STARTED, ASKED, ANSWERED, ASKED]), "accepted");
    check(&after(&[STARTED, ASKED, COMPLETED]), "accepted");
    check(&after(&[STARTED, ASKED, COMPLETED, ANSWERED]), "plan root has ended; nothing can follow");
}

#[test]
fn an_answer_is_about_the_arguments_that_were_shown() {
    let asked = ASKED.replace("\"?\"", "\"?\",\"arguments_digest\":\"aa\"");
    let about =
        |digest: &str| ANSWERED.replace("\"me\"", &format!("\"me\",\"arguments_digest\":\"{digest}\""));
    let changed = "the answer to 'q1' of plan root is about other arguments; read the question again";
    check(&after(&[STARTED, &asked, &about("bb")]), changed);
    check(&after(&[STARTED, ASKED, &about("aa")]), changed);
    check(&after(&[STARTED, &asked, &about("aa")]), "accepted");
    check(&after(&[STARTED, &asked, ANSWERED]), "accepted");
}

#[test]
fn anybody_answers_where_it_is_asked_and_the_owner_does_the_rest() {
    let (asked, repeated) = (
        ASKED.replacen("me", "exec1", 1),
        ASKED.replacen("me", "exec1", 1).replace("\"?\"", "\"?\",\"for_plan_id\":\"kid\""),
    );
    check(&after(&[OWNED, ASKED]), "plan root is run by executor exec1; only it may publish this");
    check(&after(&[OWNED, &asked, ANSWERED]), "accepted");
    let elsewhere = "plan root only repeats the question 'q1'; answer it on plan kid";
    check(&after(&[OWNED, &repeated, ANSWERED]), elsewhere);
    check(&after(&[OWNED, &repeated, &ANSWERED.replacen("me", "exec1", 1)]), "accepted");
    for outcome in ["expired", "withdrawn"] {
        let gone = ANSWERED.replace("\"value\":1", &format!("\"outcome\":\"{outcome}\""));
        let owner_only = "plan root is run by executor exec1; only it may publish this";
        check(&after(&[OWNED, &asked, &gone]), owner_only);
        check(&after(&[OWNED, &asked, &gone.replacen("me", "exec1", 1)]), "accepted");
        check(&after(&[STARTED, ASKED, &gone]), "accepted");
    }
    // A tree without an owner is its publishers' affair.
    check(&after(&[STARTED, &repeated.replacen("exec1", "me", 1), ANSWERED]), "accepted");
}

#[test]
fn only_the_owner_publishes_on_an_owned_tree() {
    let expected = "plan root is run by executor exec1; only it may publish this";
    for last in [CALLED, COMPLETED, SPAWNED, FAILED] {
        check(&after(&[OWNED, last]), expected);
        check(&after(&[OWNED, &last.replacen("me", "exec1", 1)]), "accepted");
    }
    check(&after(&[OWNED, r#"me root CancelRequested {"requested_by":"me"}"#]), "accepted");
    check(&after(&[OWNED, "me root acme.note {}"]), "accepted");
}

#[test]
fn an_owned_tree_is_owned_to_its_leaves() {
    let spawned = SPAWNED.replacen("me", "exec1", 1);
    let start = |producer: &str| KID.replacen("me", producer, 1);
    let root_owner = "plan root is run by executor exec1; only it may publish this";
    check(&after(&[OWNED, &spawned, &start("me")]), root_owner);
    check(
        &after(&[OWNED, &spawned, &start("exec1"), "me kid PlanCompleted {}"]),
        "plan kid is run by executor exec1; only it may publish this",
    );
    check(&after(&[OWNED, &spawned, &start("exec1"), "exec1 kid PlanCompleted {}"]), "accepted");
}

#[test]
fn naming_an_executor_does_not_make_it_the_owner() {
    let foreign = r#"http:me root PlanStarted {"name":"r","executor_id":"exec1"}"#;
    check(&after(&[foreign, CALLED]), "accepted");
}

#[test]
fn what_comes_through_a_door_is_no_executor_whatever_it_says() {
    for door in ["http:me", "import", "cli", "library"] {
        let claims = format!(r#"{door} root PlanStarted {{"name":"r","executor_id":"{door}"}}"#);
        check(&after(&[&claims, CALLED]), "accepted");
    }
}

#[test]
fn tree_is_adopted_from_the_owner_that_it_has() {
    let adopted = |producer: &str, new: &str, previous: &str| {
        format!(r#"{producer} root PlanAdopted {{"executor_id":"{new}","previous":"{previous}"}}"#)
    };
    let refused = "plan root is run by executor exec1; only it may publish this";
    check(&after(&[OWNED, &adopted("exec2", "exec2", "exec1")]), "accepted");
    check(&after(&[OWNED, &adopted("exec2", "exec2", "exec3")]), refused);
    check(&after(&[OWNED, &adopted("exec2", "exec3", "exec1")]), refused);
    check(&after(&[OWNED, &adopted("http:me", "http:me", "exec1")]), refused);
    let taken = adopted("exec2", "exec2", "exec1");
    let late = "exec1 root PlanCompleted {}";
    check(&after(&[OWNED, &taken, late]), "plan root is run by executor exec2; only it may publish this");
    check(&after(&[OWNED, &taken, "exec2 root PlanCompleted {}"]), "accepted");
    check(
        &after(&[OWNED, &taken, &adopted("exec3", "exec3", "exec1")]),
        "plan root is run by executor exec2; only it may publish this",
    );
}

#[test]
fn adoption_of_a_tree_without_owner_changes_nothing() {
    let started = r#"import root PlanStarted {"name":"r","executor_id":"exec1"}"#;
    let adopted = r#"import root PlanAdopted {"executor_id":"exec2","previous":"exec1"}"#;
    check(&after(&[started, adopted, CALLED]), "accepted");
}

#[test]
fn open_calls_and_subplans_have_a_limit() {
    let mut log = Log::default();
    log.put("root", "PlanStarted", json!({"name": "r"}));
    for at in 0..OPEN_ITEMS_MAX {
        log.put("root", "ToolCalled", json!({"call_id": format!("c{at}"), "tool": "t"}));
        log.put("root", "SubplanSpawned", json!({"child_plan_id": format!("k{at}")}));
    }
    let call = log.publish("me", "root", "ToolCalled", json!({"call_id": "more", "tool": "t"})).unwrap_err();
    assert_eq!(call.to_string(), "plan root exceeds the limit of 10000 open tool calls");
    let child = log.publish("me", "root", "SubplanSpawned", json!({"child_plan_id": "more"})).unwrap_err();
    assert_eq!(child.to_string(), "plan root exceeds the limit of 10000 subplans of one plan");
    log.put("root", "ToolCompleted", json!({"call_id": "c0", "ok": true}));
    log.put("root", "ToolCalled", json!({"call_id": "more", "tool": "t"}));
}

#[test]
fn ids_of_calls_and_questions_have_a_length() {
    let mut log = Log::default();
    log.put("root", "PlanStarted", json!({"name": "r"}));
    let (long, too_long) =
        ("é".repeat(OPEN_ID_BYTES_MAX / 2), format!("i{}", "é".repeat(OPEN_ID_BYTES_MAX / 2)));
    let call = |id: &str| json!({"call_id": id, "tool": "t"});
    let question = |id: &str| json!({"request_id": id, "kind": "input", "question": "?"});
    log.put("root", "ToolCalled", call(&long));
    log.put("root", "InputRequested", question(&long));
    for (event_type, payload, expected) in [
        ("ToolCalled", call(&too_long), "plan root exceeds the limit of 500 bytes of a call_id".to_owned()),
        (
            "InputRequested",
            question(&too_long),
            "plan root exceeds the limit of 500 bytes of a request_id".to_owned(),
        ),
        (
            "ToolCompleted",
            json!({"call_id": too_long, "ok": true}),
            format!("plan root has no open tool call '{too_long}'"),
        ),
        (
            "InputReceived",
            json!({"request_id": too_long, "value": 1, "answered_by": "a", "via": "v"}),
            format!("plan root has no open question '{too_long}'; it may have been answered already"),
        ),
    ] {
        let refusal = log.publish("me", "root", event_type, payload).unwrap_err();
        assert_eq!(refusal.to_string(), expected);
    }
    log.put("root", "ToolCompleted", json!({"call_id": long, "ok": true}));
    log.put("root", "InputReceived", json!({"request_id": long, "value": 1, "answered_by": "a", "via": "v"}));
}

#[test]
fn trees_have_a_depth() {
    let mut log = Log::default();
    log.put("p0", "PlanStarted", json!({"name": "r"}));
    for depth in 1..=PLAN_DEPTH_MAX + 1 {
        let (parent, child) = (format!("p{}", depth - 1), format!("p{depth}"));
        log.put(&parent, "SubplanSpawned", json!({"child_plan_id": child}));
        let started = json!({"name": "c", "parent_plan_id": parent});
        let outcome = log.publish("http:me", &child, "PlanStarted", started);
        if depth <= PLAN_DEPTH_MAX {
            outcome.unwrap();
            assert_eq!(log.plans[&plan(&child)].lineage().depth, depth);
        } else {
            let refusal = outcome.unwrap_err();
            assert_eq!(refusal.to_string(), "plan p65 exceeds the limit of 64 levels of plans");
        }
    }
}

#[test]
fn children_take_root_and_context_from_above() {
    let mut log = Log::default();
    log.put("root", "PlanStarted", json!({"name": "r", "context_id": "talk"}));
    log.put("root", "SubplanSpawned", json!({"child_plan_id": "kid"}));
    log.put("kid", "PlanStarted", json!({"name": "k", "parent_plan_id": "root", "context_id": "other"}));
    let kid = log.plans[&plan("kid")].lineage();
    assert_eq!((kid.root_plan_id.as_str(), &*kid.context_id, kid.depth), ("root", "talk", 1));
    log.put("alone", "PlanStarted", json!({"name": "a"}));
    assert_eq!(&*log.plans[&plan("alone")].lineage().context_id, "alone");
}

#[test]
fn announced_children_are_those_whose_end_is_not_reported() {
    let mut log = Log::default();
    log.put("root", "PlanStarted", json!({"name": "r"}));
    for kid in ["a", "b"] {
        log.put("root", "SubplanSpawned", json!({"child_plan_id": kid}));
    }
    log.put("a", "PlanStarted", json!({"name": "k", "parent_plan_id": "root"}));
    log.put("a", "PlanCompleted", json!({}));
    log.put("root", "SubplanCompleted", json!({"child_plan_id": "a", "ok": true}));
    let announced: Vec<_> = log.plans[&plan("root")].announced_children().collect();
    assert_eq!(announced, [&plan("b")]);
}

fn fact_of(event_type: &str, payload: &Value) -> Fact {
    Fact::of(&event_type.parse().unwrap(), &Payload::of(payload).unwrap()).unwrap()
}

#[test]
fn what_was_not_stored_is_taken_back() {
    let mut log = Log::default();
    log.put("root", "PlanStarted", json!({"name": "r"}));
    log.put("root", "ToolCalled", json!({"call_id": "c1", "tool": "t"}));
    log.put("root", "SubplanSpawned", json!({"child_plan_id": "kid"}));
    log.put("root", "InputRequested", json!({"request_id": "q1", "kind": "auth", "question": "?"}));
    let before = log.plans.remove(&plan("root")).unwrap();
    let mut plan_lifecycle = before.clone();
    let facts = [
        Fact::Other,
        Fact::Called("c2".into()),
        Fact::CallEnded("c1".into()),
        Fact::Spawned(plan("kid2")),
        Fact::ChildEnded(plan("kid")),
        fact_of("InputRequested", &json!({"request_id": "q2", "kind": "auth", "question": "?"})),
        fact_of("InputReceived", &json!({"request_id": "q1", "answered_by": "me"})),
        Fact::Failed(FailureReason::TimedOut),
    ];
    let undos: Vec<_> = facts.iter().map(|fact| plan_lifecycle.apply(fact)).collect();
    assert_eq!(plan_lifecycle.status(), PlanStatus::Failed(FailureReason::TimedOut));
    assert_eq!(plan_lifecycle.seq(), Seq::new(12));
    undos.into_iter().rev().for_each(|undo| plan_lifecycle.revert(undo));
    assert_eq!(plan_lifecycle, before);
}

#[test]
fn a_replayed_plan_is_the_plan() {
    let mut log = Log::default();
    log.publish("exec1", "root", "PlanStarted", json!({"name": "r", "executor_id": "exec1"})).unwrap();
    log.publish("exec1", "root", "ToolCalled", json!({"call_id": "c1", "tool": "t"})).unwrap();
    let live = &log.plans[&plan("root")];
    let owner = live.owner().map(Into::into);
    let mut replayed = PlanLifecycle::replay(plan("root"), live.lineage().clone(), owner);
    for event in log.of("root") {
        replayed.apply(&Fact::of(event.event.event_type(), event.event.payload()).unwrap());
    }
    assert_eq!(replayed, *live);
    let ended = PlanLifecycle::ended(
        plan("root"),
        live.lineage().clone(),
        Seq::new(9),
        PlanStatus::Completed,
        Some("exec1".into()),
    );
    let refusal = ended.check(&"a.b".parse().unwrap(), &Fact::Other, Known::Unknown, &Producer::new("exec1"));
    assert_eq!(refusal, Err(Refusal::PlanEnded { plan_id: plan("root") }));
}

#[test]
fn a_status_is_read_back_from_its_two_columns() {
    let failed = FailureReason::ALL.iter().map(|reason| PlanStatus::Failed(*reason));
    for status in failed.chain([PlanStatus::Open, PlanStatus::Completed]) {
        assert_eq!(PlanStatus::parse(status.state(), status.reason()), Some(status));
    }
    assert_eq!(PlanStatus::parse("failed", None), None);
    assert_eq!(PlanStatus::parse("failed", Some("bored")), None);
    assert_eq!(PlanStatus::parse("paused", None), None);
    for reason in FailureReason::ALL {
        assert_eq!(serde_json::to_value(reason).unwrap(), reason.as_str());
    }
}

#[test]
fn payloads_that_do_not_fit_their_type_say_which_member() {
    use planwire_event::Payload;
    for ours in EventType::OURS {
        let payload = Payload::parse(r#"{"name":7,"outputs":7,"reason":7,"decision_id":7,"call_id":7,"child_plan_id":7,"artifact_id":7,"requested_by":7}"#).unwrap();
        let message = Fact::of(ours, &payload).unwrap_err().to_string();
        assert!(message.starts_with(&format!("payload of {ours} does not fit its schema: ")), "{message}");
    }
    assert_eq!(Fact::of(&"a.b".parse().unwrap(), &Payload::parse("{}").unwrap()), Ok(Fact::Other));
}

#[test]
fn refusals_have_one_json_form() {
    let refusal = Refusal::CallUnknown { plan_id: plan("p"), call_id: "c".into() };
    let json = json!({"refusal": "call_unknown", "plan_id": "p", "call_id": "c"});
    assert_eq!(serde_json::to_value(&refusal).unwrap(), json);
    assert_eq!(serde_json::from_value::<Refusal>(json).unwrap(), refusal);
}
