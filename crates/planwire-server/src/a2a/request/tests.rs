//! What a request of A2A must be, and what is said of one that is not.

use serde_json::{Value, json};

use super::*;

fn object(value: Value) -> Map<String, Value> {
    let Value::Object(object) = value else { panic!("{value}") };
    object
}

fn read(method: Method, params: Value) -> Result<Operation, Value> {
    parse(method, object(params)).map_err(|error| serde_json::to_value(error.violations()).unwrap())
}

/// The fields that are named.
fn fields(method: Method, params: Value) -> Vec<String> {
    let violations = read(method, params).unwrap_err();
    violations.as_array().unwrap().iter().map(|one| one["field"].as_str().unwrap().to_owned()).collect()
}

fn message() -> Value {
    json!({ "messageId": "m", "role": "ROLE_USER", "parts": [{ "text": "a" }] })
}

#[test]
fn a_message_with_everything_is_read() {
    let mut message = message();
    for (name, value) in [
        ("contextId", json!("c")),
        ("taskId", json!("")),
        ("metadata", json!({ "skillId": "s" })),
        ("extensions", json!(["urn:x"])),
        ("referenceTaskIds", json!(["t"])),
        ("unknown", json!(1)),
    ] {
        message[name] = value;
    }
    message["parts"] = json!([
        { "text": "" }, { "raw": "aGk=" }, { "raw": "aGk" }, { "raw": "-_8=" }, { "url": "https://x.example" },
        { "data": null }, { "data": 1e100 }, { "text": "b", "mediaType": "text/plain", "filename": "b.txt" },
    ]);
    let configuration = json!({
        "acceptedOutputModes": ["text/plain"], "historyLength": "3", "returnImmediately": true,
        "taskPushNotificationConfig": null,
    });
    let params =
        json!({ "message": message, "configuration": configuration, "tenant": "default", "metadata": {} });
    let Ok(Operation::Send(send)) = read(Method::SendMessage, params) else { panic!() };
    assert_eq!((send.history_length, send.return_immediately, send.task), (Some(3), true, None));
    assert_eq!((send.message.parts.len(), send.message.context_id.as_deref()), (8, Some("c")));
    assert_eq!((send.message_json["unknown"].as_i64(), send.accepted_output_modes.len()), (Some(1), 1));
}

#[test]
fn all_that_is_wrong_with_a_message_is_named_at_once() {
    let params = json!({
        "tenant": "other",
        "message": {
            "messageId": "", "contextId": "a b", "taskId": 7, "role": "user", "metadata": [], "extensions": "x",
            "parts": [
                { "text": 1 }, {}, { "text": "a", "data": 1 }, 7, { "raw": "a b" }, { "raw": "a" },
                { "text": "a", "mediaType": 1, "metadata": 1, "filename": [] },
            ],
        },
        "configuration": { "historyLength": -1, "returnImmediately": "yes", "acceptedOutputModes": [1] },
    });
    let expected = [
        "tenant",
        "configuration.acceptedOutputModes",
        "configuration.historyLength",
        "configuration.returnImmediately",
        "message.messageId",
        "message.taskId",
        "message.contextId",
        "message.role",
        "message.parts[0].text",
        "message.parts[1]",
        "message.parts[2]",
        "message.parts[3]",
        "message.parts[4].raw",
        "message.parts[5].raw",
        "message.parts[6].metadata",
        "message.parts[6].filename",
        "message.parts[6].mediaType",
        "message.metadata",
        "message.extensions",
    ];
    let mut found = fields(Method::SendMessage, params);
    let mut expected: Vec<_> = expected.iter().map(ToString::to_string).collect();
    found.sort();
    expected.sort();
    assert_eq!(found, expected);
}

#[test]
fn messages_need_an_id_a_role_and_a_part() {
    let check = |message: Value, expected: &[&str]| {
        assert_eq!(
            fields(Method::SendStreamingMessage, json!({ "message": message })),
            expected,
            "{message}"
        );
    };
    check(json!({}), &["message.messageId", "message.role", "message.parts"]);
    check(json!({ "messageId": "m", "role": "ROLE_USER", "parts": [] }), &["message.parts"]);
    check(json!({ "messageId": "m", "role": "ROLE_AGENT", "parts": [{ "text": "a" }] }), &["message.role"]);
    check(json!({ "messageId": "m", "role": "ROLE_USER", "parts": {} }), &["message.parts"]);
    check(
        json!({ "messageId": "m".repeat(257), "role": "ROLE_USER", "parts": [{ "text": "a" }] }),
        &["message.messageId"],
    );
    check(json!("hello"), &["message"]);
    assert_eq!(fields(Method::SendMessage, json!({})), ["message"]);
    let many = json!({ "messageId": "m", "role": "ROLE_USER", "parts": vec![json!({}); 500] });
    assert_eq!(fields(Method::SendMessage, json!({ "message": many })).len(), 20);
}

#[test]
fn what_no_event_could_say_is_refused() {
    let mut deep = json!(1);
    for _ in 0..70 {
        deep = json!([deep]);
    }
    for part in [json!({ "text": "a\u{0}" }), json!({ "data": deep }), json!({ "text": "a".repeat(300_000) })]
    {
        let mut message = message();
        message["parts"] = json!([part]);
        assert_eq!(fields(Method::SendMessage, json!({ "message": message })), ["message"]);
    }
}

#[test]
fn lists_are_filtered_by_what_is_known() {
    let list = |params: Value| match read(Method::ListTasks, params) {
        Ok(Operation::List(list)) => Ok(list),
        Err(violations) => Err(violations),
        other => panic!("{other:?}"),
    };
    let plain =
        list(json!({ "status": "TASK_STATE_UNSPECIFIED", "contextId": "", "pageToken": "" })).unwrap();
    assert_eq!(
        (plain.page_size, plain.status, plain.context_id, plain.include_artifacts),
        (50, None, None, false)
    );
    let full = list(json!({
        "status": "TASK_STATE_WORKING", "contextId": "c", "pageSize": "100", "historyLength": 0,
        "statusTimestampAfter": "2026-11-22T14:20:01Z", "includeArtifacts": true,
    }))
    .unwrap();
    assert_eq!((full.page_size, full.status, full.history_length), (100, Some(TaskState::Working), Some(0)));
    assert!(full.status_since.is_some() && full.include_artifacts);
    for (name, value) in [
        ("pageSize", json!(0)),
        ("pageSize", json!(101)),
        ("pageSize", json!(-1)),
        ("pageSize", json!(1.5)),
        ("pageSize", json!("ten")),
        ("pageSize", json!(4_294_967_297_i64)),
        ("status", json!("WORKING")),
        ("status", json!(2)),
        ("historyLength", json!("-1")),
        ("statusTimestampAfter", json!("yesterday")),
        ("includeArtifacts", json!("yes")),
        ("pageToken", json!("a".repeat(1_000))),
        ("tenant", json!("other")),
    ] {
        let mut params = json!({});
        params[name] = value;
        assert_eq!(fields(Method::ListTasks, params), [name]);
    }
}

#[test]
fn an_id_that_cannot_be_one_names_no_task() {
    for id in ["a b", "ä", &"a".repeat(200)] {
        let params = object(json!({ "id": id }));
        assert_eq!(
            parse(Method::GetTask, params.clone()).unwrap_err().kind(),
            ErrorKind::TaskNotFound,
            "{id}"
        );
    }
    let params = object(json!({ "id": "p", "tenant": "other" }));
    assert_eq!(parse(Method::CancelTask, params).unwrap_err().kind(), ErrorKind::TaskNotFound);
    assert_eq!(fields(Method::SubscribeToTask, json!({})), ["id"]);
    assert_eq!(fields(Method::GetTask, json!({ "id": 7 })), ["id"]);
}

#[test]
fn names_of_the_proto_file_are_taken_too() {
    let read = |params| format!("{:?}", read(Method::GetTask, params).unwrap());
    let ours = read(json!({ "id": "t", "historyLength": 1 }));
    assert_eq!(read(json!({ "id": "t", "history_length": 1 })), ours);
    assert_ne!(read(json!({ "id": "t" })), ours);
    let both = json!({ "message": { "message_id": "a", "messageId": "b", "role": "ROLE_USER", "parts": [{ "text": "a" }] } });
    assert_eq!(fields(Method::SendMessage, both), ["message.messageId"]);
}
