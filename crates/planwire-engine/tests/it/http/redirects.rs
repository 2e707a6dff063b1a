//! Redirects: off unless asked for, checked at each hop, and nobody gets what was meant for another.

use planwire_engine::tools::http::{AllowPrivate, Http, HttpConfig, Roots};
use serde_json::{Value, json};

use super::peer::{AUTHORITY, Answer, Peer, call, failure, local, response};

fn to(status: &str, location: &str) -> Answer {
    response(status, &[&format!("Location: {location}")], "")
}

/// `/from` leads to `location`; everything else answers.
async fn leading(status: &'static str, location: impl Into<String>) -> Peer {
    let location = location.into();
    Peer::plain(move |request| match request.split(' ').nth(1).unwrap() {
        "/from" => to(status, &location),
        "/again" => to("302 Found", "again"),
        _ => response("200 OK", &[], "arrived"),
    })
    .await
}

fn ask(peer: &Peer, more: Value) -> Value {
    let mut arguments = json!({"url": peer.url("/from"), "follow_redirects": 2});
    arguments.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    arguments
}

#[tokio::test]
async fn redirects_are_not_followed_unless_asked_for() {
    let peer = leading("302 Found", "/to").await;
    let (code, message) = failure(&local(), json!({"url": peer.url("/from")})).await;
    assert_eq!(code, "http_status");
    assert!(message.ends_with("gives 302 Found"), "{message}");
    let output = call(&local(), json!({"url": peer.url("/from"), "ok_statuses": [302]})).await.unwrap();
    assert_eq!(output.value["headers"]["location"], "/to");
    assert_eq!(peer.requests().len(), 2);
}

#[tokio::test]
async fn redirects_are_followed_as_far_as_asked_for() {
    let peer = leading("301 Moved Permanently", "to?x=1").await;
    let output = call(&local(), ask(&peer, json!({"headers": {"authorization": "Bearer x"}}))).await.unwrap();
    assert_eq!(
        (&output.value["text"], &output.value["url"]),
        (&json!("arrived"), &json!(peer.url("/to?x=1")))
    );
    assert!(peer.requests()[1].contains("authorization: Bearer x\r\n"), "it is the same server");

    let peer = leading("302 Found", "/again").await;
    assert_eq!(failure(&local(), ask(&peer, json!({}))).await.0, "too_many_redirects");
    assert_eq!(peer.requests().len(), 3);
}

#[tokio::test]
async fn methods_and_bodies_follow_the_status() {
    for (status, line, body) in [
        ("302 Found", "GET /to ", ""),
        ("303 See Other", "GET /to ", ""),
        ("307 Temporary Redirect", "POST /to ", "text"),
        ("308 Permanent Redirect", "POST /to ", "text"),
    ] {
        let peer = leading(status, "/to").await;
        call(&local(), ask(&peer, json!({"method": "POST", "text": "text"}))).await.unwrap();
        let request = peer.requests().pop().unwrap();
        assert!(request.starts_with(line), "{request}");
        assert_eq!(request.split_once("\r\n\r\n").unwrap().1, body);
        assert_eq!(request.contains("content-type"), !body.is_empty());
    }
}

#[tokio::test]
async fn another_server_gets_no_credentials_and_no_body() {
    let other = Peer::plain(|_| response("200 OK", &[], "arrived")).await;
    let peer = leading("302 Found", other.url("/to")).await;
    let headers = json!({"authorization": "a", "cookie": "b", "x-api-key": "c", "accept": "text/plain"});
    call(&local(), ask(&peer, json!({"headers": headers}))).await.unwrap();
    let request = other.requests().pop().unwrap();
    assert!(request.contains("accept: text/plain\r\n") && request.contains("user-agent: "), "{request}");
    assert!(!["authorization", "cookie", "x-api-key"].iter().any(|name| request.contains(name)), "{request}");

    let peer = leading("307 Temporary Redirect", other.url("/to")).await;
    let (code, _) = failure(&local(), ask(&peer, json!({"method": "POST", "text": "secret"}))).await;
    assert_eq!((code.as_str(), other.requests().len()), ("redirect_refused", 1));
}

#[tokio::test]
async fn redirects_do_not_lead_to_private_addresses_or_away_from_tls() {
    for location in ["http://127.0.0.2/", "http://[::1]/", "//169.254.169.254/latest/meta-data", "http://0/"]
    {
        let peer = leading("302 Found", location).await;
        let (code, message) = failure(&local(), ask(&peer, json!({}))).await;
        assert_eq!(code, "private_address", "{location}: {message}");
    }
    for location in ["file:///etc/passwd", "gopher://x/", "http://me:pw@example.com/", "javascript:x"] {
        let peer = leading("302 Found", location).await;
        assert_eq!(failure(&local(), ask(&peer, json!({}))).await.0, "redirect_refused", "{location}");
    }
    let plain = Peer::plain(|_| response("200 OK", &[], "")).await;
    let location = plain.url("/");
    let peer = Peer::tls(move |_| to("302 Found", &location)).await;
    let http = Http::new(HttpConfig {
        allow_private: AllowPrivate::parse(["127.0.0.1/32", "::1"]).unwrap(),
        roots: Roots::Only(vec![AUTHORITY.to_vec()]),
        ..HttpConfig::default()
    });
    let url = format!("https://localhost:{}/", peer.address.port());
    assert_eq!(failure(&http, json!({"url": url, "follow_redirects": 1})).await.0, "redirect_refused");
    assert!(plain.requests().is_empty());
}
