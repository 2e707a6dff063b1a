//! What servers and programs make of a value when they say it again.

use planwire_engine::tools::http::{AllowPrivate, Http, HttpConfig, Resolver};
use planwire_engine::{EngineConfig, Secrets};
use planwire_event::vocabulary::ToolCompleted;
use serde_json::{Value, json};

use crate::house::{Events, House};
use crate::http::peer::{Peer, response};

const TOKEN: &str = "Tok-4f9a/81C2e7+\"x";
const TENANT: &str = "AcmeTenant42";

/// Reaches this machine, whatever the host is called.
fn anywhere() -> Http {
    let resolver = Resolver::new(|_, _| Box::pin(async { Ok(vec!["127.0.0.1".parse().unwrap()]) }));
    Http::new(HttpConfig {
        allow_private: AllowPrivate::parse(["127.0.0.1"]).unwrap(),
        resolver,
        ..HttpConfig::default()
    })
}

fn house(secrets: &[(&str, &str)]) -> House {
    let secrets = secrets.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    let secrets = Secrets::new(secrets).unwrap();
    House::open_with(|config| EngineConfig {
        tools: config.tools.with(std::sync::Arc::new(anywhere())),
        secrets,
        ..config
    })
}

async fn run(house: &House, document: &str, url: &str) -> Events {
    let root = house.try_start(document, json!({ "url": url })).await;
    let root = root.unwrap_or_else(|error| panic!("{error}"));
    house.tree(&root).await
}

fn step(with: &str) -> String {
    format!(
        "plan: echo\ngoal: Be told it again\ninputs: {{ url: {{ type: string }} }}\nsteps:\n  ask:\n    tool: http\n    with: {with}\n    on_error: {{ decide: q, options: {{ on: {{ description: d, output: null }}, no: {{ description: d, fail: true }} }}, choose: \"'on'\" }}\n"
    )
}

fn completed(events: &Events) -> ToolCompleted {
    events.all::<ToolCompleted>().remove(0)
}

/// Nothing of a value, however it is written, is in an event.
fn check(events: &Events, parts: &[&str]) {
    for event in &events.0 {
        let text = event.event.payload().as_str().to_ascii_lowercase();
        for part in parts {
            assert!(!text.contains(&part.to_ascii_lowercase()), "{part}: {text}");
        }
    }
}

#[tokio::test]
async fn a_secret_in_a_host_name_is_found_although_hosts_are_lower_case() {
    let house = house(&[("TENANT", TENANT)]);
    let peer = Peer::plain(|request| {
        let host = request.lines().find_map(|line| line.strip_prefix("host: ")).unwrap();
        response("200 OK", &["etag: ACMETENANT42"], format!("you asked {host}"))
    })
    .await;
    let with = "{ url: \"http://${secret('TENANT')}.example:${inputs.url}/\" }";
    let events = run(&house, &step(with), &peer.address.port().to_string()).await;
    let output = completed(&events).output.unwrap();
    assert!(output["text"].as_str().unwrap().starts_with("you asked ***TENANT***.example:"), "{output}");
    assert!(output["url"].as_str().unwrap().starts_with("http://***TENANT***.example:"), "{output}");
    assert_eq!(output["headers"]["etag"], "***TENANT***");
    check(&events, &[TENANT]);
}

#[tokio::test]
async fn a_url_that_is_a_secret_is_not_told_in_part() {
    let peer = Peer::plain(|request| {
        let line = request.lines().next().unwrap().to_owned();
        let status = if line.contains("fail") { "500 Oops" } else { "200 OK" };
        response(status, &[], format!("no route for {}", line.split(' ').nth(1).unwrap()))
    })
    .await;
    for tail in ["/hooks/T0aB1c2/B9xYz?fail=1&key=SeCrEt77", "/hooks/T0aB1c2/B9xYz?key=SeCrEt77#frag9876"] {
        let value = format!("http://Hooks.Example:{}{tail}", peer.address.port());
        let house = house(&[("HOOK", &value)]);
        let events = run(&house, &step("{ url: \"${secret('HOOK')}\" }"), "").await;
        check(&events, &["hooks", "T0aB1c2", "SeCrEt77", "frag9876"]);
        let completed = completed(&events);
        match completed.output {
            Some(output) => assert_eq!(output["url"], "***HOOK***"),
            None => {
                let message = completed.error.unwrap().message;
                assert_eq!(
                    message,
                    "GET ***HOOK*** gives 500 Internal Server Error: no route for ***HOOK***"
                );
            }
        }
    }
    let value = "http://Hooks.Example:1/hooks/T0aB1c2";
    let house = house(&[("HOOK", value)]);
    let events = run(&house, &step("{ url: \"${secret('HOOK')}\" }"), "").await;
    assert_eq!(completed(&events).error.unwrap().code, "connect_failed");
    check(&events, &["hooks"]);
}

#[tokio::test]
async fn bytes_that_are_no_text_are_looked_through_before_they_become_base64() {
    let house = house(&[("TOKEN", TOKEN)]);
    let peer = Peer::plain(|request| {
        let body = request.split_once("\r\n\r\n").unwrap().1;
        let quoted = serde_json::to_string(body).unwrap();
        response("200 OK", &[], [b"\xff\xfe{", quoted.as_bytes(), b"\xff}"].concat())
    })
    .await;
    let with = "{ url: \"${inputs.url}\", method: POST, text: \"${secret('TOKEN')}\" }";
    let events = run(&house, &step(with), &peer.url("/")).await;
    let output = completed(&events).output.unwrap();
    let bytes = super::canary::base64(b"\xff\xfe{\"***TOKEN***\"\xff}");
    assert_eq!(output["base64"].as_str().unwrap().trim_end_matches('='), bytes, "{output}");
    assert_eq!(output["size_bytes"], b"\xff\xfe{\"***TOKEN***\"\xff}".len());
}

#[tokio::test]
async fn text_of_two_bytes_per_character_is_looked_through() {
    let house = house(&[("TOKEN", TOKEN)]);
    let peer = Peer::plain(|request| {
        let body = request.split_once("\r\n\r\n").unwrap().1;
        let wide: Vec<u8> = body.encode_utf16().flat_map(u16::to_le_bytes).collect();
        response("200 OK", &["content-type: text/plain; charset=utf-16"], wide)
    })
    .await;
    let with = "{ url: \"${inputs.url}\", method: POST, text: \"a${secret('TOKEN')}b\" }";
    let output = completed(&run(&house, &step(with), &peer.url("/")).await).output.unwrap();
    assert_eq!(output["text"].as_str().unwrap().replace(['\0', '\u{fffd}'], ""), "a***TOKEN***b");
}

#[tokio::test]
async fn a_body_that_is_encoded_in_transit_is_refused() {
    let house = house(&[("TOKEN", TOKEN)]);
    let peer = Peer::plain(|request| match request.split(' ').nth(1).unwrap() {
        "/identity" => response("200 OK", &["content-encoding: Identity"], "plain"),
        "/empty" => response("200 OK", &["content-encoding: gzip"], ""),
        "/failed" => response("500 Oops", &["content-encoding: br"], "something packed"),
        _ => response("200 OK", &["content-encoding: gzip"], b"\x1f\x8bpacked"),
    })
    .await;
    let ask = async |path: &str| {
        completed(&run(&house, &step("{ url: \"${inputs.url}\" }"), &peer.url(path)).await)
    };
    let error = ask("/packed").await.error.unwrap();
    assert_eq!(error.code, "bad_response");
    assert!(error.message.ends_with("the body is encoded (gzip), which was not asked for"), "{error:?}");
    assert_eq!(ask("/identity").await.output.unwrap()["text"], "plain");
    assert_eq!(ask("/empty").await.output.unwrap()["text"], "");
    let error = ask("/failed").await.error.unwrap();
    assert_eq!(error.code, "http_status");
    assert!(error.message.ends_with("500 Internal Server Error"), "{error:?}");
}

#[tokio::test]
async fn programs_that_wrap_and_quote_a_value_do_not_bring_it_into_the_log() {
    let house = house(&[("TOKEN", TOKEN)]);
    let events = run(
        &house,
        r#"
plan: wrap
goal: Write it in other ways
inputs: { url: { type: string } }
steps:
  all:
    tool: exec
    with:
      env: { T: "${secret('TOKEN')}" }
      argv:
        - sh
        - -c
        - |
          printf %s "$T" | base64 -w 6 | sed 's/$/ \r/'
          printf %s "$T" | sed 's/"/\&quot;/'
          printf '\n"%s"' "$T" | sed 's/"/\&#x22;/g'
          printf '\n%s' "$T" | tr a-z A-Z
"#,
        "",
    )
    .await;
    let said = completed(&events).output.unwrap()["stdout"].as_str().unwrap().to_owned();
    assert_eq!(said, "***TOKEN*** \r\n***TOKEN***\n&#x22;***TOKEN***&#x22;\n***TOKEN***");
    check(&events, &[&TOKEN[..6]]);
}

#[tokio::test]
async fn a_value_with_blanks_around_it_is_found_without_them() {
    let house = house(&[("TOKEN", "  tok-4f9a81c2e7 \t\n")]);
    let peer = Peer::plain(|request| {
        let token = request.lines().find_map(|line| line.strip_prefix("x-token: ")).unwrap();
        response("200 OK", &[], format!("<{token}>"))
    })
    .await;
    let with = "{ url: \"${inputs.url}\", headers: { x-token: \"${secret('TOKEN')}\" } }";
    let output = completed(&run(&house, &step(with), &peer.url("/")).await).output.unwrap();
    assert_eq!(output["text"], "<***TOKEN***>");
}

#[tokio::test]
async fn plans_are_not_named_or_grouped_by_a_secret() {
    use planwire_bus::{DocumentSource, PlanStarter as _, StartError, StartRequest};
    let house = house(&[("TENANT", TENANT)]);
    let request = |context_id: Option<&str>| StartRequest {
        document: DocumentSource::Inline {
            text: "{plan: p, goal: g, steps: {a: {ask: q}}}".into(),
            name: "p.yaml".into(),
            folder: None,
        },
        inputs: serde_json::Map::new(),
        origin: planwire_event::vocabulary::Origin {
            protocol: "a2a".into(),
            principal: "me".into(),
            message: None,
        },
        context_id: context_id.map(str::to_owned),
    };
    let refused = |result| match result {
        Err(StartError::Inputs { message }) => assert!(!message.contains(TENANT), "{message}"),
        other => panic!("{other:?}"),
    };
    refused(house.engine.start(request(Some("of-acmetenant42"))).await);
    refused(house.engine.start_as(format!("p-{TENANT}").parse().unwrap(), request(None)).await);
    let bad = StartRequest { inputs: json!({ TENANT: 1 }).as_object().unwrap().clone(), ..request(None) };
    refused(house.engine.start(bad).await);
    let broken = StartRequest {
        document: DocumentSource::Inline {
            text: format!("{{plan: p, goal: g, steps: {{a: {{tool: {TENANT}}}}}}}"),
            name: "p.yaml".into(),
            folder: None,
        },
        ..request(None)
    };
    let Err(StartError::Invalid { message, diagnostics }) = house.engine.start(broken).await else {
        panic!("it started");
    };
    for text in [message, Value::to_string(&diagnostics)] {
        assert!(text.contains("***TENANT***") && !text.contains(TENANT), "{text}");
    }
}
