//! The agent card, and the text of our extension.

use planwire_server::ServerConfig;
use planwire_server::a2a::Provider;
use serde_json::{Value, json};

use crate::a2a_desk::{EXTENSION, desk};
use crate::client::{get, request};
use crate::served::Served;

const CARD: &str = "/.well-known/agent-card.json";

fn described(config: &mut ServerConfig) {
    config.a2a.name = "Desk".into();
    config.a2a.version = "7".into();
    config.a2a.description = "Makes reports.".into();
    config.a2a.url = Some("https://desk.example/".into());
    config.a2a.documentation_url = Some("https://desk.example/docs".into());
    config.a2a.icon_url = Some("https://desk.example/icon.png".into());
    config.a2a.provider = Some(Provider { organization: "Us".into(), url: "https://us.example".into() });
}

#[tokio::test]
async fn card_says_who_this_is_and_what_it_can_do() {
    let (served, _) = desk(&["report", "review"], described).await;
    let answer = get(served.address, CARD).await;
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/json")));
    insta::assert_snapshot!(serde_json::to_string_pretty(&answer.json()).unwrap());
}

/// Checks what the specification requires of every card.
fn check(card: &Value) {
    for name in ["name", "description", "version"] {
        assert!(!card[name].as_str().unwrap().is_empty(), "{name}: {card}");
    }
    for name in ["supportedInterfaces", "defaultInputModes", "defaultOutputModes", "skills"] {
        assert!(!card[name].as_array().unwrap().is_empty(), "{name}: {card}");
    }
    for skill in card["skills"].as_array().unwrap() {
        for name in ["id", "name", "description"] {
            assert!(!skill[name].as_str().unwrap().is_empty(), "{name}: {skill}");
        }
        assert!(!skill["tags"].as_array().unwrap().is_empty(), "{skill}");
    }
}

#[tokio::test]
async fn card_is_whole_without_documents_and_without_configuration() {
    let served = Served::start().await;
    let card = get(served.address, CARD).await.json();
    check(&card);
    assert_eq!((card["name"].as_str(), card["skills"][0]["id"].as_str()), (Some("Planwire"), Some("follow")));
    let url = format!("http://{}/a2a", served.address);
    let interfaces: Vec<_> = card["supportedInterfaces"].as_array().unwrap().iter().collect();
    for (interface, binding) in interfaces.iter().zip(["JSONRPC", "HTTP+JSON"]) {
        assert_eq!(**interface, json!({ "url": url, "protocolBinding": binding, "protocolVersion": "1.0" }));
    }
    assert_eq!(card["capabilities"]["extensions"][0]["uri"], EXTENSION);
    let (with, _) = desk(&["report"], |_| {}).await;
    check(&get(with.address, CARD).await.json());
}

#[tokio::test]
async fn card_is_sent_again_only_when_it_is_another() {
    let (served, _) = desk(&["report"], |_| {}).await;
    let first = get(served.address, CARD).await;
    let etag = first.header("etag").unwrap().to_owned();
    assert_eq!(first.header("cache-control"), Some("public, max-age=300"));
    assert_eq!(first.header("last-modified"), Some("Sun, 22 Nov 2026 14:20:00 GMT"));
    served.clock.advance(5_000_000);
    let ask = async |header: String| request(served.address, "GET", CARD, &[&header], "").await;
    for known in [
        format!("If-None-Match: \"x\", W/{etag}"),
        "If-None-Match: *".into(),
        "If-Modified-Since: Sun, 22 Nov 2026 14:20:00 GMT".into(),
    ] {
        let same = ask(known.clone()).await;
        assert_eq!(
            (same.status, same.header("etag"), same.body.len()),
            (304, Some(etag.as_str()), 0),
            "{known}"
        );
    }
    let other = ask("If-None-Match: \"x\"".into()).await;
    assert_eq!((other.status, other.header("last-modified")), (200, first.header("last-modified")));
}

#[tokio::test]
async fn text_of_the_extension_is_served() {
    let served = Served::start().await;
    let answer = get(served.address, "/a2a/extensions/plan-events").await;
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("text/markdown; charset=utf-8")));
    assert!(answer.text().contains(EXTENSION));
}
