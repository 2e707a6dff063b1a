//! The tool `http`: what it sends, what it gives, where it does not go.

mod addresses;
pub(crate) mod peer;
mod redirects;

use planwire_engine::stop::{StopReason, Stopper};
use planwire_engine::tool::ToolError;
use planwire_engine::tools::http::connection::HEADER_BYTES_MAX;
use planwire_engine::tools::http::{
    AllowPrivate, Http, HttpConfig, RESPONSE_BYTES_DEFAULT, RESPONSE_BYTES_MAX, Roots,
};
use serde_json::json;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpListener;

use crate::house::House;
use peer::{AUTHORITY, Answer, LOCALHOST, Peer, call, call_until, failure, local, response};

#[tokio::test]
async fn json_goes_out_and_comes_back() {
    let peer = Peer::plain(|request| {
        let body = request.split_once("\r\n\r\n").unwrap().1;
        let headers = ["Content-Type: application/vnd.x+json; charset=utf-8", "ETag: \"7\"", "X-Other: no"];
        response("201 Created", &headers, format!(r#"{{"you": {body}, "n": 1.5}}"#))
    })
    .await;
    let arguments = json!({
        "url": peer.url("/a b?x=1#part"), "method": "post", "query": {"q": "ü&", "n": [1, true]},
        "headers": {"X-Asked": " for "}, "json": {"list": [1, "é"]},
    });
    let output = call(&local(), arguments).await.unwrap();
    assert_eq!(
        output.value,
        json!({
            "status": 201, "truncated": false, "url": peer.url("/a%20b?x=1&n=1&n=true&q=%C3%BC%26"),
            "headers": {"content-type": "application/vnd.x+json; charset=utf-8", "etag": "\"7\""},
            "json": {"you": {"list": [1, "é"]}, "n": 1.5},
        })
    );
    let request = &peer.requests()[0];
    assert!(request.starts_with("POST /a%20b?x=1&n=1&n=true&q=%C3%BC%26 HTTP/1.1\r\n"), "{request}");
    assert!(request.ends_with("\r\n\r\n{\"list\":[1,\"é\"]}"), "{request}");
    for header in [
        "x-asked: for",
        "content-type: application/json",
        "accept: */*",
        "connection: close",
        "accept-encoding: identity",
        &format!("host: {}", peer.address),
        concat!("user-agent: planwire/", env!("CARGO_PKG_VERSION")),
    ] {
        assert!(request.contains(&format!("{header}\r\n")), "{header} is not in {request}");
    }
}

#[tokio::test]
async fn bodies_are_given_in_the_form_that_fits_them() {
    let peer = Peer::plain(|request| match request.split(' ').nth(1).unwrap() {
        "/text" => response("200 OK", &["content-type: text/plain"], "é\n"),
        "/broken" => response("200 OK", &["content-type: application/json"], "{\"a\":"),
        "/bytes" => response("200 OK", &[], b"\xff\0\xfe"),
        "/none" => Answer::Bytes(b"HTTP/1.1 204 No Content\r\n\r\n".to_vec()),
        _ => response("200 OK", &[], request.split_once("\r\n\r\n").unwrap().1),
    })
    .await;
    let ask = async |arguments| call(&local(), arguments).await.unwrap().value;
    let get = async |path| ask(json!({"url": peer.url(path)})).await;
    assert_eq!(get("/text").await["text"], "é\n");
    assert_eq!(get("/broken").await["text"], "{\"a\":");
    assert_eq!(get("/none").await["text"], "");
    let bytes = get("/bytes").await;
    assert_eq!(
        (&bytes["base64"], &bytes["size_bytes"], &bytes["text"]),
        (&json!("/wD+"), &json!(3), &json!(null))
    );
    assert_eq!(bytes["digest"].as_str().unwrap().len(), 64);
    let head = ask(json!({"url": peer.url("/text"), "method": "HEAD"})).await;
    assert_eq!((&head["text"], &head["headers"]["content-type"]), (&json!(""), &json!("text/plain")));
    let echo = ask(json!({"url": peer.url("/"), "method": "PUT", "text": "as it is"})).await;
    assert_eq!(echo["text"], "as it is");
    assert!(peer.requests().last().unwrap().contains("content-type: text/plain; charset=utf-8\r\n"));
}

#[tokio::test]
async fn other_statuses_are_failures_that_say_why() {
    let peer =
        Peer::plain(|_| response("404 Not Found", &[], format!("no\n such  {}", "x".repeat(9000)))).await;
    let (code, message) = failure(&local(), json!({"url": peer.url("/a?token=b")})).await;
    assert_eq!(code, "http_status");
    let begin = format!("GET {} gives 404 Not Found: no such xxx", peer.url("/a"));
    assert!(message.starts_with(&begin) && message.ends_with("x...") && message.len() < 600, "{message}");
    let output = call(&local(), json!({"url": peer.url("/"), "ok_statuses": ["2xx", 404]})).await.unwrap();
    assert_eq!((&output.value["status"], &output.value["truncated"]), (&json!(404), &json!(false)));
    let (code, _) = failure(&local(), json!({"url": peer.url("/"), "ok_statuses": [200]})).await;
    assert_eq!(code, "http_status");
}

#[tokio::test]
async fn long_bodies_are_cut_or_refused() {
    let endless =
        |_: &str| Answer::Endless(b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\n\r\n\xc3\xa9a".to_vec());
    let peer = Peer::plain(endless).await;
    let output = call(&local(), json!({"url": peer.url("/")})).await.unwrap();
    assert!(output.truncated && output.value["truncated"] == true);
    assert_eq!(output.value["text"].as_str().unwrap().len(), RESPONSE_BYTES_DEFAULT);
    let strict = json!({"url": peer.url("/"), "max_response_bytes": 1000});
    assert_eq!(failure(&local(), strict).await.0, "too_large");

    let peer = Peer::plain(|_| response("200 OK", &[], vec![0xff; RESPONSE_BYTES_MAX])).await;
    let all = json!({"url": peer.url("/"), "max_response_bytes": RESPONSE_BYTES_MAX});
    let output = call(&local(), all).await.unwrap();
    let (fitted, cut) = planwire_engine::output::fit(output.value.clone());
    assert!(!cut && fitted == output.value, "the largest body in Base64 fits into an event");
    let output = call(&local(), json!({"url": peer.url("/")})).await.unwrap();
    assert!(output.truncated && output.value.get("base64").is_none());

    let peer = Peer::plain(|_| {
        response("200 OK", &["content-type: application/json"], format!("[{}1]", "1,".repeat(50_000)))
    })
    .await;
    let output = call(&local(), json!({"url": peer.url("/")})).await.unwrap();
    assert!(
        output.value["text"].as_str().unwrap().starts_with("[1,1,") && output.truncated,
        "half of JSON is text"
    );
}

#[tokio::test]
async fn what_is_not_http_is_a_failure() {
    let head = format!("HTTP/1.1 200 OK\r\nx: {}\r\n\r\n", "x".repeat(HEADER_BYTES_MAX));
    let peer = Peer::plain(move |request| match request.split(' ').nth(1).unwrap() {
        "/garbage" => Answer::Bytes(b"SSH-2.0-x\r\n\r\n".to_vec()),
        "/short" => Answer::Bytes(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nabc".to_vec()),
        "/nothing" => Answer::Bytes(Vec::new()),
        "/many" => Answer::Bytes(format!("HTTP/1.1 200 OK\r\n{}\r\n", "a: b\r\n".repeat(101)).into_bytes()),
        _ => Answer::Bytes(head.clone().into_bytes()),
    })
    .await;
    for (path, code) in [
        ("/garbage", "bad_response"),
        ("/short", "bad_response"),
        ("/nothing", "bad_response"),
        ("/many", "too_large"),
        ("/head", "too_large"),
    ] {
        let (found, message) = failure(&local(), json!({"url": peer.url(path)})).await;
        assert_eq!(found, code, "{path}: {message}");
        assert!(message.starts_with(&format!("GET {}: ", peer.url(path))), "{message}");
    }
}

#[tokio::test]
async fn a_call_that_is_asked_to_end_ends_with_its_connection() {
    let peer = Peer::plain(|_| Answer::Silence).await;
    let stopper = Stopper::new();
    let http = local();
    let ask = call_until(&http, &stopper, json!({"url": peer.url("/")}));
    let stop = async {
        while peer.requests().is_empty() {
            tokio::task::yield_now().await;
        }
        stopper.stop(StopReason::TimedOut);
    };
    let (result, ()) = tokio::join!(ask, stop);
    assert_eq!(result.unwrap_err(), ToolError::stopped());
}

#[tokio::test]
async fn a_silent_server_costs_the_time_of_the_step() {
    let peer = Peer::plain(|_| Answer::Silence).await;
    let house = House::open_with(|config| planwire_engine::EngineConfig {
        tools: config.tools.with(std::sync::Arc::new(local())),
        ..config
    });
    let document = format!(
        "{{plan: slow, goal: Wait, steps: {{ask: {{tool: http, timeout: 50ms, with: {{url: '{}'}}}}}}}}",
        peer.url("/")
    );
    assert_eq!(house.run(&document).await.failed().error.code, "timed_out");
}

#[tokio::test]
async fn certificates_are_checked() {
    let peer = Peer::tls(|_| response("200 OK", &[], "secure")).await;
    let with = |roots: Vec<&[u8]>| {
        let roots = Roots::Only(roots.into_iter().map(<[u8]>::to_vec).collect());
        let allow_private = AllowPrivate::parse(["localhost", "127.0.0.1"]).unwrap();
        Http::new(HttpConfig { allow_private, roots, ..HttpConfig::default() })
    };
    let port = peer.address.port();
    let named = json!({"url": format!("https://localhost:{port}/")});
    let output = call(&with(vec![AUTHORITY]), named.clone()).await.unwrap();
    assert_eq!(output.value["text"], "secure");

    let other_name = json!({"url": format!("https://127.0.0.1:{port}/")});
    let plain = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let no_tls = json!({"url": format!("https://localhost:{}/", plain.local_addr().unwrap().port())});
    let plain = tokio::spawn(async move {
        let (mut stream, _) = plain.accept().await.unwrap();
        stream.write_all(b"SSH-2.0-x\r\n").await.unwrap();
    });
    for (http, arguments) in [
        (with(vec![AUTHORITY]), other_name),
        (with(vec![LOCALHOST]), named.clone()),
        (with(vec![]), named.clone()),
        (with(vec![b"no certificate"]), named.clone()),
        (with(vec![AUTHORITY]), no_tls),
    ] {
        let (code, message) = failure(&http, arguments).await;
        assert_eq!(code, "tls_failed", "{message}");
    }
    plain.await.unwrap();
    assert_eq!(peer.requests().len(), 1);
    let system = Http::new(HttpConfig {
        allow_private: AllowPrivate::parse(["localhost"]).unwrap(),
        ..HttpConfig::default()
    });
    assert_eq!(failure(&system, named).await.0, "tls_failed");
}
