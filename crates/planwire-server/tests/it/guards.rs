//! Requests that never reach a route.

use crate::client::{Client, get, request};
use crate::served::Served;

#[tokio::test]
async fn foreign_hosts_are_refused_on_every_route() {
    let served = Served::start().await;
    for target in ["/", "/v1/events", "/v1/plans/p/events", "/healthz", "/nothing"] {
        for accept in ["text/event-stream", "application/json"] {
            let mut client = Client::connect(served.address).await;
            client
                .send(format!("GET {target} HTTP/1.1\r\nHost: evil.example\r\nAccept: {accept}\r\n\r\n"))
                .await;
            let answer = client.answer().await;
            assert_eq!((answer.status, answer.problem().as_str()), (403, "host-refused"), "{target}");
        }
    }
    let mut client = Client::connect(served.address).await;
    client.send("GET / HTTP/1.1\r\n\r\n").await;
    assert_eq!(client.answer().await.status, 400);
}

#[tokio::test]
async fn pages_of_other_sites_are_refused_also_when_they_ask_first() {
    let served = Served::start().await;
    for method in ["GET", "POST", "OPTIONS"] {
        let headers = ["Origin: https://evil.example", "Access-Control-Request-Method: POST"];
        let answer = request(served.address, method, "/v1/events", &headers, "").await;
        assert_eq!((answer.status, answer.problem().as_str()), (403, "origin-refused"), "{method}");
    }
    let own = request(served.address, "GET", "/v1/events", &["Origin: http://localhost"], "").await;
    assert_eq!((own.status, own.header("access-control-allow-origin")), (200, None));
}

#[tokio::test]
async fn unknown_paths_and_methods_are_answered_as_problems() {
    let served = Served::start().await;
    for target in ["/v2/events", "/v1", "/v1/plans/p/more", "/v1/events/", "//"] {
        let answer = get(served.address, target).await;
        assert_eq!((answer.status, answer.problem().as_str()), (404, "route-unknown"), "{target}");
    }
    for (method, target, allow) in [
        ("OPTIONS", "/v1/events", "GET,HEAD,POST"),
        ("DELETE", "/v1/plans/p", "GET,HEAD"),
        ("PUT", "/v1/plans/p/cancel", "POST"),
    ] {
        let answer = request(served.address, method, target, &[], "").await;
        assert_eq!((answer.status, answer.problem().as_str()), (405, "method-not-allowed"), "{target}");
        assert_eq!(answer.header("allow"), Some(allow), "{target}");
    }
    insta::assert_snapshot!(get(served.address, "/nothing").await.text());
}

#[tokio::test]
async fn head_is_get_without_a_body() {
    let served = Served::start().await;
    let mut client = Client::connect(served.address).await;
    client.ask("HEAD", "/v1/events", &[], "").await;
    let head = client.head().await;
    assert_eq!((head.status, head.header("content-type")), (200, Some("application/json")));
    // Nothing follows but the next answer.
    client.ask("GET", "/healthz", &[], "").await;
    assert_eq!(client.answer().await.json()["status"], "ok");
}

#[tokio::test]
async fn targets_and_heads_have_limits() {
    let served = Served::start().await;
    let long = get(served.address, &format!("/v1/events?{}", "a".repeat(9_000))).await;
    assert_eq!((long.status, long.problem().as_str()), (414, "uri-too-long"));
    let large = format!("X-Large: {}", "a".repeat(20_000));
    assert_eq!(request(served.address, "GET", "/", &[&large], "").await.status, 431);
    let many = vec!["X-Many: 1"; 70];
    assert_eq!(request(served.address, "GET", "/", &many, "").await.status, 431);
}

#[tokio::test]
async fn heads_that_could_be_read_in_two_ways_are_refused() {
    let served = Served::start().await;
    for head in [
        "Content-Length: 1\r\nContent-Length: 2\r\n",
        "X-Nul: a\0b\r\n",
        " folded: 1\r\n",
        "Transfer-Encoding: gzip\r\n",
    ] {
        let mut client = Client::connect(served.address).await;
        client
            .send(format!(
                "POST /v1/events HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n{head}\r\n"
            ))
            .await;
        let rest = client.rest().await;
        let status = String::from_utf8_lossy(&rest).split(' ').nth(1).map(str::to_owned);
        assert_eq!(status.as_deref(), Some("400"), "{head:?}: {}", String::from_utf8_lossy(&rest));
    }
}

#[tokio::test]
async fn nothing_that_follows_a_chunked_body_is_believed() {
    let served = Served::start().await;
    for lengths in
        ["Content-Length: 6\r\nTransfer-Encoding: chunked", "Transfer-Encoding: chunked\r\nContent-Length: 6"]
    {
        let mut client = Client::connect(served.address).await;
        let head = "POST /v1/events HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n";
        client
            .send(format!("{head}{lengths}\r\n\r\n0\r\n\r\nGET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"))
            .await;
        let rest = client.rest().await;
        let rest = String::from_utf8_lossy(&rest);
        assert!(rest.starts_with("HTTP/1.1 400"), "{rest}");
        assert_eq!(rest.matches("HTTP/1.1").count(), 1, "{rest}");
    }
}
