//! Texts that are cut, or come in pieces: no beginning of a value is left over at a cut.

use planwire_engine::{EngineConfig, Secrets};
use planwire_event::vocabulary::{ArtifactPart, ArtifactProduced, DecisionMade, ToolCompleted};
use serde_json::json;

use crate::asking::{Asked, answer};
use crate::house::{Events, House};
use crate::http::peer::{Peer, local, response};

const TOKEN: &str = "tok-4f9a81c2e7-b6d0";

fn house() -> House {
    let secrets = Secrets::new([("TOKEN".to_owned(), TOKEN.to_owned())]).unwrap();
    House::open_with(|config| EngineConfig {
        tools: config.tools.with(std::sync::Arc::new(local())),
        secrets,
        ..config
    })
}

/// Not even the first bytes of the value are in an event.
fn check(events: &Events) {
    for event in &events.0 {
        let text = event.event.payload().as_str();
        assert!(!text.contains(&TOKEN[..4]), "{text}");
        assert!(!text.contains(&TOKEN[TOKEN.len() - 4..]), "{text}");
    }
}

#[tokio::test]
async fn a_long_header_is_cut_behind_its_secrets_and_says_so() {
    let house = house();
    let peer = Peer::plain(|request| {
        let token = request.lines().find_map(|line| line.strip_prefix("x-token: ")).unwrap();
        let link = format!("link: {}{token}{}", "x".repeat(1024 - 9), "y".repeat(100));
        response("200 OK", &[&link, &format!("etag: {token}")], "short")
    })
    .await;
    let document = r#"
plan: header
goal: Be told it in a header
inputs: { url: { type: string } }
steps: { ask: { tool: http, with: { url: "${inputs.url}", headers: { x-token: "${secret('TOKEN')}" } } } }
"#;
    let root = house.try_start(document, json!({"url": peer.url("/")})).await.unwrap();
    let events = house.tree(&root).await;
    check(&events);
    let completed = events.all::<ToolCompleted>().remove(0);
    let output = completed.output.unwrap();
    assert!(output["headers"]["link"].as_str().unwrap().ends_with("xxx***TOKEN*"), "{output}");
    assert_eq!(output["headers"]["etag"], "***TOKEN***");
    assert_eq!(
        (&output["truncated"], completed.truncated, &output["text"]),
        (&json!(true), true, &json!("short"))
    );
}

#[tokio::test]
async fn texts_are_cut_behind_what_steps_put_together() {
    let house = house();
    let plan = r#"
plan: joined
goal: Put halves together where a text is cut
inputs: { pad: { type: string }, first: { type: string }, second: { type: string } }
steps:
  choice:
    decide: Which?
    options: { on: go on, off: stop }
    choose: "'on'"
    rationale: "${inputs.pad}${inputs.first}${inputs.second}"
  left: { after: [choice], artifact: { name: "${inputs.pad}${inputs.first}${inputs.second}", text: "here" } }
  ask: { after: [left], ask: "${inputs.pad}${inputs.first}${inputs.second}" }
  failing: { after: [ask], fail: "${inputs.pad}${inputs.first}${inputs.second}" }
"#;
    let (first, second) = TOKEN.split_at(3);
    let inputs = json!({"pad": "x".repeat(3_990), "first": first, "second": second});
    let root = house.try_start(plan, inputs).await.unwrap_or_else(|error| panic!("{error}"));
    let (_, question) = Asked::of(&house, &root).await.next().await;
    answer(&house, &root, &question, json!("go")).await;
    let events = house.tree(&root).await;
    let rationale = events.all::<DecisionMade>().remove(0).rationale;
    let name = events.all::<ArtifactProduced>().remove(0).name;
    for text in [rationale, name, question.question, events.failed().error.message] {
        assert!(text.ends_with("x***TOKEN**..."), "{text}");
    }
}

#[tokio::test]
async fn chunks_are_looked_through_together() {
    let house = house();
    let plan = r#"
plan: chunks
goal: Leave a text in chunks
inputs: { chunks: { type: list } }
steps: { wait: { ask: q } }
artifacts: { pieces: { chunks: "${inputs.chunks}" } }
"#;
    let (first, second) = TOKEN.split_at(3);
    let chunks = json!([format!("a {first}"), second[..4], format!("{} b", &second[4..]), "c"]);
    let root = house.try_start(plan, json!({ "chunks": chunks })).await.unwrap();
    let (_, question) = Asked::of(&house, &root).await.next().await;
    answer(&house, &root, &question, json!("go")).await;
    let events = house.tree(&root).await;
    let parts: Vec<_> = events.all::<ArtifactProduced>().into_iter().map(|produced| produced.part).collect();
    let text = |text: &str| ArtifactPart::Text(text.to_owned());
    assert_eq!(parts, [text("a ***TOKEN***"), text(""), text(" b"), text("c")]);
}

#[tokio::test]
async fn lines_of_files_are_looked_through_as_pieces() {
    let house = house();
    let encoded = super::canary::base64(format!("user:{TOKEN}").as_bytes());
    let (first, rest) = encoded.split_at(16);
    let (second, third) = rest.split_at(8);
    let long = format!("{}{TOKEN}", "k".repeat(64 * 1024 - 10));
    house.write("note.txt", &format!("k {first}\nk{}\n{second}\n{third} k\n{long} k\n", &TOKEN[..9]));
    let events = house
        .run("{plan: p, goal: g, steps: {a: {tool: file.read, with: {root: ., path: note.txt, contains: ''}}, b: {tool: exec, with: {argv: [printf, \"%s\", \"${secret('TOKEN')}\"]}}}}")
        .await;
    let completed: Vec<ToolCompleted> = events.all();
    let lines = completed.iter().find(|completed| completed.step == "a").unwrap().output.clone().unwrap();
    let texts: Vec<&str> =
        lines["lines"].as_array().unwrap().iter().map(|line| line["text"].as_str().unwrap()).collect();
    assert!(texts[0] == "k dXNlcjp***TOKEN***", "{texts:?}");
    assert_eq!(&texts[1..4], ["k***TOKEN***", "***TOKEN***", "***TOKEN*** k"]);
    assert_eq!(texts[5], "***TOKEN*** k");
    check(&events);
}

#[tokio::test]
async fn data_beside_the_log_stays_json_without_its_secrets() {
    let secrets = Secrets::new([("PIN".to_owned(), "918273".to_owned())]).unwrap();
    let house = House::open_with(|config| EngineConfig { secrets, ..config });
    let plan = "
plan: data
goal: Leave data
inputs: { many: { type: list } }
steps: { all: { tool: test.echo, with: { value: \"${inputs.many}\" } } }
artifacts: { data: { media_type: application/json, data: \"${[inputs.many, [91, 918272 + 1]]}\" } }
";
    let many = vec!["0123456789"; 6_000];
    let root = house.try_start(plan, json!({ "many": many })).await.unwrap_or_else(|error| panic!("{error}"));
    let events = house.tree(&root).await;
    let produced = events.all::<ArtifactProduced>().remove(0);
    let ArtifactPart::Blob { digest, .. } = produced.part else { panic!("{:?}", produced.part) };
    let digest = digest.parse().unwrap();
    let chunk = house.bus.repository().blob(digest, 0).await.unwrap().unwrap();
    let data: serde_json::Value = serde_json::from_slice(&chunk).unwrap();
    assert_eq!(data[1], json!([91, "***PIN***"]));
}
