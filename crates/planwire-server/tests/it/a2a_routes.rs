//! Which message starts what, as the configuration says.

use std::collections::BTreeMap;

use planwire_bus::DocumentSource;
use planwire_server::ServerConfig;
use planwire_server::a2a::{Route, Then};
use serde_json::{Value, json};

use crate::a2a_desk::{call, desk, fields, message, reason, rest};

fn plan(when: &str, name: &str, inputs: &[(&str, &str)]) -> Route {
    let inputs: BTreeMap<_, _> =
        inputs.iter().map(|(name, source)| ((*name).into(), (*source).into())).collect();
    Route { when: Some(when.into()), then: Then::Plan { name: name.into(), inputs } }
}

fn routed(config: &mut ServerConfig) {
    config.a2a.routes = vec![
        plan("message.id.startsWith('tck-')", "report", &[("folder", "'/tck'")]),
        plan("has(message.data.folder)", "review", &[("folder", "message.data.folder + '/x'")]),
        plan("message.text == 'misrouted'", "none", &[]),
        Route {
            when: Some("message.context_id != ''".into()),
            then: Then::Answer(
                "{'context': message.context_id, 'parts': message.parts.map(p, p.kind)}".into(),
            ),
        },
    ];
}

/// The document and the inputs of the only start.
async fn started(sent: Value) -> (String, Value) {
    let (served, desk) = desk(&["report", "review"], routed).await;
    let params = json!({ "message": sent, "configuration": { "returnImmediately": true } });
    call(&served, "SendMessage", params).await.unwrap();
    let asked = desk.asked.lock().unwrap().remove(0);
    let DocumentSource::Registered(name) = asked.document else { panic!("{asked:?}") };
    (name, Value::Object(asked.inputs))
}

#[tokio::test]
async fn first_route_that_holds_decides_and_a_skill_comes_before_all() {
    assert_eq!(started(message("tck-1", "a")).await, ("report".into(), json!({ "folder": "/tck" })));
    let mut data = message("m", "a");
    data["parts"] = json!([{ "data": { "folder": "/d" } }]);
    assert_eq!(started(data.clone()).await, ("review".into(), json!({ "folder": "/d/x" })));
    data["metadata"] = json!({ "skillId": "report" });
    assert_eq!(started(data).await, ("report".into(), json!({ "folder": "/d" })));
}

#[tokio::test]
async fn routes_answer_with_data_and_say_when_nothing_is_meant() {
    let (served, desk) = desk(&["report", "review"], routed).await;
    let mut said = message("m", "a");
    said["contextId"] = "c".into();
    let sent = rest(&served, "POST", "/message:send", json!({ "message": said })).await.unwrap();
    assert_eq!(sent["message"]["parts"], json!([{ "data": { "context": "c", "parts": ["text"] } }]));
    let refused = call(&served, "SendMessage", json!({ "message": message("m", "a") })).await.unwrap_err();
    assert_eq!((reason(&refused), fields(&refused)), ("INVALID_PARAMS", vec!["message.metadata"]));
    assert!(refused["message"].as_str().unwrap().ends_with("there are report, review"), "{refused}");
    assert!(desk.asked.lock().unwrap().is_empty());
}

#[tokio::test]
async fn documents_come_along_where_the_server_allows_it() {
    let document = json!({ "plan": "x", "steps": { "a": { "tool": "file.list" } } });
    let mut brought = message("m", "hi");
    brought["parts"] = json!([{ "data": document }, { "data": { "n": 1 } }]);
    let params = json!({ "message": brought, "configuration": { "returnImmediately": true } });
    let (served, _) = desk(&["report"], |_| {}).await;
    let refused = call(&served, "SendMessage", params.clone()).await.unwrap_err();
    assert_eq!((reason(&refused), fields(&refused)), ("INVALID_PARAMS", vec!["message.parts"]));
    let (served, desk) = desk(&["report"], |config| config.allow_inline_documents = true).await;
    call(&served, "SendMessage", params).await.unwrap();
    let asked = desk.asked.lock().unwrap().remove(0);
    let DocumentSource::Received { text, .. } = asked.document else { panic!("{asked:?}") };
    assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), document);
    assert_eq!(Value::Object(asked.inputs), json!({ "n": 1 }));
}
