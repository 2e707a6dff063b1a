//! Which message starts what.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::*;

fn entry(name: &str, inputs: Value) -> CatalogEntry {
    CatalogEntry { name: name.into(), goal: String::new(), inputs: json!({ "properties": inputs }) }
}

fn catalog() -> Vec<CatalogEntry> {
    vec![
        entry("report", json!({ "message": { "type": "string" }, "folder": { "type": "string" } })),
        entry("review", json!({ "text": { "type": "string" }, "message": { "type": "object" } })),
    ]
}

fn message(value: Value) -> Message {
    serde_json::from_value(value).unwrap()
}

fn said(text: &str) -> Message {
    message(json!({ "messageId": "tck-1", "role": "ROLE_USER", "parts": [{ "text": text }] }))
}

fn plan(when: Option<&str>, name: &str, inputs: &[(&str, &str)]) -> Route {
    let inputs: BTreeMap<_, _> =
        inputs.iter().map(|(name, source)| ((*name).into(), (*source).into())).collect();
    Route { when: when.map(Into::into), then: Then::Plan { name: name.into(), inputs } }
}

fn answer(when: Option<&str>, source: &str) -> Route {
    Route { when: when.map(Into::into), then: Then::Answer(source.into()) }
}

/// Where a message goes, as text.
fn go(routes: &[Route], catalog: &[CatalogEntry], inline: bool, message: &Message) -> String {
    let routes = Routes::compile(routes).unwrap();
    match routes.target(message, &Offer { catalog, inline }) {
        Ok(Target::Start { document: DocumentSource::Registered(name), inputs }) => {
            format!("{name} {}", Value::Object(inputs))
        }
        Ok(Target::Start { document: DocumentSource::Received { text, .. }, inputs }) => {
            format!("{text} {}", Value::Object(inputs))
        }
        Ok(Target::Start { document: other, .. }) => panic!("{other:?}"),
        Ok(Target::Answer(part)) => serde_json::to_string(&part).unwrap(),
        Err(error) => format!("{error:?}"),
    }
}

#[test]
fn a_skill_comes_before_routes_and_routes_before_the_only_document() {
    let routes =
        [plan(Some("message.id.startsWith('tck-')"), "review", &[]), answer(None, "'Hello ' + message.text")];
    let mut named = said("hi");
    assert_eq!(go(&routes, &catalog(), false, &named), r#"review {"text":"hi"}"#);
    named.message_id = "other".into();
    assert_eq!(go(&routes, &catalog(), false, &named), r#"{"text":"Hello hi"}"#);
    for member in ["skillId", "skill"] {
        named.metadata = Some(Map::from_iter([(member.to_owned(), json!("report"))]));
        assert_eq!(go(&routes, &catalog(), false, &named), r#"report {"message":"hi"}"#);
    }
    assert_eq!(go(&[], &catalog()[..1], false, &said("hi")), r#"report {"message":"hi"}"#);
}

#[test]
fn nobody_guesses_which_skill_is_meant() {
    let unclear = go(&[], &catalog(), false, &said("hi"));
    assert!(
        unclear.contains("message.metadata") && unclear.contains("there are report, review"),
        "{unclear}"
    );
    let mut unknown = said("hi");
    unknown.metadata = Some(Map::from_iter([("skillId".to_owned(), json!("none"))]));
    let refused = go(&[], &catalog()[..1], false, &unknown);
    assert!(refused.contains("there is no such skill; there are report"), "{refused}");
    assert!(go(&[], &[], false, &said("hi")).contains("no document is registered here"));
}

#[test]
fn a_condition_that_names_what_is_not_there_does_not_hold() {
    let routes = [
        answer(Some("message.data.folder == '/x'"), "'data'"),
        answer(Some("message.metadata.n > 'text'"), "'types'"),
        answer(Some("message.text"), "'no bool'"),
        answer(
            Some("message.parts.exists(p, p.kind == 'file' && p.media_type == 'image/png')"),
            "message.parts",
        ),
        answer(None, "{'text': message.text, 'role': message.role, 'context': message.context_id}"),
    ];
    assert_eq!(go(&routes, &[], false, &said("hi")), r#"{"data":{"context":"","role":"user","text":"hi"}}"#);
    let data = message(json!({ "parts": [{ "data": { "folder": "/x" } }] }));
    assert_eq!(go(&routes, &[], false, &data), r#"{"text":"data"}"#);
    let file =
        message(json!({ "parts": [{ "raw": "aGk=", "mediaType": "image/png", "filename": "a.png" }] }));
    assert_eq!(
        go(&routes, &[], false, &file),
        r#"{"data":[{"data":null,"filename":"a.png","kind":"file","media_type":"image/png","raw":"aGk=","text":"","url":""}]}"#
    );
}

#[test]
fn inputs_come_from_expressions_or_from_the_parts() {
    let routes = [plan(
        Some("has(message.data.folder)"),
        "x",
        &[("folder", "message.data.folder"), ("n", "size(message.parts)")],
    )];
    let data = message(json!({ "parts": [{ "data": { "folder": "/x", "more": 1 } }] }));
    assert_eq!(go(&routes, &[], false, &data), r#"x {"folder":"/x","n":1}"#);
    let lacking = go(&[plan(None, "x", &[("folder", "message.data.folder")])], &[], false, &said("hi"));
    assert!(lacking.contains("does not give the input 'folder'"), "{lacking}");
    // An unregistered document is the starter's to refuse.
    assert_eq!(go(&[plan(None, "x", &[])], &[], false, &said("hi")), "x {}");

    let several = message(json!({ "parts": [
        { "text": "a" }, { "data": { "folder": "/x" } }, { "text": "b" }, { "data": { "folder": "/y", "message": "c" } },
    ] }));
    assert_eq!(go(&[], &catalog()[..1], false, &several), r#"report {"folder":"/y","message":"c"}"#);
    for file in [json!({ "url": "https://x.example" }), json!({ "raw": "aGk=" })] {
        let file = message(json!({ "parts": [{ "data": { "folder": "/x" } }, file] }));
        assert!(go(&[], &catalog()[..1], false, &file).contains("message.parts[1] is a file"));
        assert!(
            go(&[plan(None, "x", &[])], &[], false, &file).starts_with("x "),
            "the starter refuses the name"
        );
    }
    let text = message(json!({ "parts": [{ "text": "a" }, { "text": "b" }] }));
    assert_eq!(go(&[], &catalog()[..1], false, &text), r#"report {"message":"a\nb"}"#);
    let list = message(json!({ "parts": [{ "data": [1] }] }));
    assert!(go(&[], &catalog()[..1], false, &list).contains("message.parts[0].data"));
}

#[test]
fn documents_come_along_only_where_that_is_allowed() {
    let brought = message(json!({ "parts": [
        { "data": { "plan": "x", "steps": {}, "inputs": { "message": { "type": "string" } } } },
        { "text": "hi" }, { "data": { "n": 1 } },
    ] }));
    let refused = go(&[], &catalog()[..1], false, &brought);
    assert!(refused.contains("only registered ones may be started here"), "{refused}");
    assert_eq!(
        go(&[], &catalog()[..1], true, &brought),
        r#"{"inputs":{"message":{"type":"string"}},"plan":"x","steps":{}} {"message":"hi","n":1}"#
    );
}

#[test]
fn an_answer_that_is_none_is_our_fault() {
    for (source, what) in
        [("1 + 1", "neither a text"), ("message.data.x", "no member 'x'"), ("true", "neither a text")]
    {
        let failed = go(&[answer(None, source)], &[], false, &said("hi"));
        assert!(failed.contains("InvalidAgentResponse") && failed.contains(what), "{failed}");
    }
}

#[test]
fn routes_that_cannot_be_used_are_named() {
    let refused = |routes: &[Route]| Routes::compile(routes).unwrap_err().to_string();
    let good = answer(None, "'a'");
    assert!(
        refused(&[good.clone(), answer(Some("message."), "'a'")])
            .starts_with("route 1, when: not a CEL expression")
    );
    assert!(refused(&[answer(None, "other.text")]).starts_with("route 0, answer: unknown variable 'other'"));
    assert!(
        refused(&[plan(None, "x", &[("a", "nothing()")])]).starts_with("route 0, inputs.a: unknown function")
    );
    assert_eq!(refused(&vec![good; 101]), "there are 101 routes, the limit is 100");
}
