//! Questions, ends and artifacts in documents: what is read of them, and what is told of others.

use planwire_engine::document::model::StepKind;
use planwire_engine::document::{Document, Folder};
use serde_json::json;

/// Checks the first problem of a document without its source line and hint.
fn check(text: &str, expected: &str) {
    let problems = Document::parse(text, "test.yaml", Folder::None).expect_err(text);
    let first = &problems.list()[0];
    let got = format!("{}:{}: {}", first.line, first.column, first.message);
    assert_eq!(got, expected, "{text}");
}

fn plan(steps: &str) -> String {
    format!("plan: test\ngoal: Test\nsteps:\n{steps}")
}

#[test]
fn each_member_of_questions_ends_and_artifacts_is_checked() {
    let one = |step: &str| plan(&format!("  a: {{ {step} }}"));
    check(&one("ask: [1]"), "4:13: 'ask' must be a text, not a list");
    check(&one("ask: q, kind: approval"), "4:22: 'kind' cannot be 'approval'");
    check(&one("ask: q, answer: { type: path }"), "4:32: 'type' cannot be 'path'");
    check(&one("ask: q, answer: {}"), "4:24: 'answer' has neither 'type' nor 'enum'");
    check(&one("ask: q, answer: { enum: x }"), "4:32: 'enum' must be a list, not a text");
    check(&one("ask: q, answer: { enum: [] }"), "4:32: 'enum' is empty");
    check(
        &one("ask: q, answer: { type: int, enum: [1, b] }"),
        "4:47: an entry of 'enum' must be a whole number, not a text",
    );
    check(&one("ask: q, answer: { type: int }, schema: {}"), "4:47: step 'a' has both 'answer' and 'schema'");
    check(&one("ask: q, schema: true"), "4:24: 'schema' must be a mapping, not true or false");
    check(
        &one("ask: q, schema: { $ref: \"#\" }"),
        "4:24: the schema has a $ref; write the part out where it is used",
    );
    check(&one("ask: q, expires: 721h"), "4:25: 'expires' must be above 0 and at most 720h, not 721h");
    check(&one("ask: q, retry: { attempts: 2 }"), "4:16: 'retry' is not for a question");
    check(&one("approve: q, arguments: [1]"), "4:31: 'arguments' must be a mapping, not a list");
    check(&one("approve: q, ask: q"), "4:20: step 'a' has both 'ask' and 'approve'");
    let tool = "tool: exec, with: { argv: [ls] }";
    check(&one(&format!("{tool}, expires: 1h")), "4:42: 'expires' is only for steps with 'approve' or 'ask'");
    check(&one(&format!("{tool}, approve: 7")), "4:51: 'approve' must be a text, not a number");
    check(&one("fail: x, reason: cancelled"), "4:25: 'reason' cannot be 'cancelled'");
    check(&one("fail: x, on_error: {}"), "4:17: 'on_error' is not for a fail step");
    check(
        &one("artifact: { text: a, chunks: [b] }"),
        "4:3: artifact 'a' must have one of 'text', 'data', 'url', 'base64' and 'chunks'",
    );
    check(&one("artifact: { chunks: a }"), "4:28: 'chunks' must be a list of texts");
    check(
        &one("artifact: { url: ftp://a }"),
        "4:25: 'url' must be an address that begins with https:// or http://",
    );
    check(&one("artifact: { base64: a }"), "4:28: 'base64' is not base64");
    check(
        &format!("{}\nartifacts: {{ a: {{ text: b }} }}", one("artifact: { text: a }")),
        "5:14: the step 'a' produces an artifact of this name already",
    );
    let member = format!("{}\noutputs: {{ x: \"${{steps.a.chosen}}\" }}", one("ask: q"));
    check(&member, "5:18: 'a' is a question and has no member 'chosen'");
}

#[test]
fn questions_keep_what_their_document_says() {
    let schema = |step: &str| match &read(step).steps[0].kind {
        StepKind::Ask(ask) => (ask.kind.as_str(), ask.schema.clone(), ask.expires.as_secs()),
        other => panic!("{other:?}"),
    };
    assert_eq!(schema("ask: q"), ("input", Some(json!({"type": "string"})), 86_400));
    assert_eq!(schema("ask: q, kind: auth, expires: 1m"), ("auth", None, 60));
    let list = json!({"type": "array", "description": "names"});
    assert_eq!(schema("ask: q, answer: { type: list, description: names }").1, Some(list));
    assert_eq!(schema("ask: q, answer: { enum: [1, b] }").1, Some(json!({"enum": [1, "b"]})));
    let any = json!({"minimum": 1});
    assert_eq!(schema("ask: q, schema: { minimum: 1 }").1, Some(any));
    assert_eq!(schema("approve: q").0, "approval");
}

fn read(step: &str) -> std::sync::Arc<Document> {
    let text = plan(&format!("  a: {{ {step} }}"));
    let resolved = Document::parse(&text, "test.yaml", Folder::None);
    resolved.unwrap_or_else(|problems| panic!("{problems}")).document
}
