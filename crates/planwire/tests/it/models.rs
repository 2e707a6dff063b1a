//! A model that the configuration names decides in a plan, by the command line.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::thread::JoinHandle;

use serde_json::{Value, json};

use crate::harness::Place;

const DOCUMENT: &str = "
plan: choosing
goal: Let a model choose
steps:
  first: { decide: Where to begin?, options: { api: the handlers, store: the tables }, model: small, context: [1, 2] }
outputs: { chosen: \"${steps.first.chosen}\" }
";

/// Answers one request with a completion; gives the request.
pub(crate) fn stand_in(content: &str) -> (String, JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address").to_string();
    let body = json!({
        "choices": [{"message": {"content": content}}],
        "usage": {"prompt_tokens": 120, "completion_tokens": 30},
    })
    .to_string();
    let answer = move || {
        let (mut stream, _) = listener.accept().expect("a client");
        let mut request = Vec::new();
        let mut piece = [0; 4096];
        while !is_whole(&request) {
            let read = stream.read(&mut piece).expect("a request");
            assert!(read > 0, "the request ended early");
            request.extend_from_slice(&piece[..read]);
        }
        let head = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all(&[head.as_bytes(), body.as_bytes()].concat()).expect("an answer");
        String::from_utf8(request).expect("text")
    };
    (address, std::thread::spawn(answer))
}

fn is_whole(request: &[u8]) -> bool {
    let text = String::from_utf8_lossy(request).to_ascii_lowercase();
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
    body.len() >= length.unwrap_or(0)
}

#[test]
fn configured_model_decides_with_its_token_and_what_it_used_is_in_the_log() {
    let (address, asked) =
        stand_in(r#"{"rationale": "first things first", "chosen": "store", "confidence": 0.9}"#);
    let mut place = Place::new();
    place.set_variable("TOKEN_OF_TEST", "a-token-of-the-test");
    let config = format!(
        "[engine.secrets]\nMODEL = {{ env = 'TOKEN_OF_TEST' }}\n\
         [engine.models.small]\nbase_url = 'http://{address}/v1'\nmodel = 'tiny'\nsecret = 'MODEL'\n\
         input_price = 10\noutput_price = 100\n"
    );
    let config = place.file("planwire.toml", &config);
    let document = place.file("choosing.yaml", DOCUMENT);
    let ran = place.run(&[
        "--config".as_ref(),
        config.as_os_str(),
        "--json".as_ref(),
        "run".as_ref(),
        document.as_os_str(),
    ]);
    let events = ran.json(0);
    let of = |event_type: &str| -> &Value {
        events
            .iter()
            .find(|event| event["event_type"] == event_type)
            .map(|event| &event["payload"])
            .expect("it")
    };
    assert_eq!(of("PlanCompleted")["outputs"], json!({"chosen": "store"}));
    assert_eq!(of("DecisionMade")["decided_by"], "model");
    assert_eq!(of("DecisionMade")["rationale"], "first things first");
    let usage = &of("ToolCompleted")["usage"];
    assert_eq!((&usage["input_tokens"], &usage["output_tokens"]), (&json!(120), &json!(30)));
    assert_eq!((&usage["cost"], &usage["currency"]), (&json!(0.0042), &json!("USD")));
    let request = asked.join().expect("a request");
    assert!(request.contains("authorization: Bearer a-token-of-the-test\r\n"), "{request}");
    assert!(!ran.stdout.contains("a-token-of-the-test"));
}

#[test]
fn check_says_that_no_model_is_configured() {
    let place = Place::new();
    let document = place.file("choosing.yaml", DOCUMENT);
    let ran = place.run(&["check".as_ref(), document.as_os_str()]);
    assert_eq!(ran.code, Some(2));
    assert!(ran.stderr.contains("no model is configured"), "{}", ran.stderr);
    assert!(ran.stderr.contains("[engine.models.default]"), "{}", ran.stderr);
}
