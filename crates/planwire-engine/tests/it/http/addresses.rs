//! Private addresses: refused in whatever form they come, before anything is connected.

use std::io;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use futures_util::FutureExt as _;
use planwire_engine::tools::http::{AllowPrivate, Http, HttpConfig, Resolver};
use serde_json::json;

use super::peer::{Peer, call, failure, response};

/// Resolves every name to the next of these lists; says how often it was asked.
fn resolving(answers: Vec<Vec<&'static str>>, allowed: &[&str]) -> (Http, Arc<AtomicUsize>) {
    let (asked, answers) = (Arc::new(AtomicUsize::new(0)), Mutex::new(answers.into_iter()));
    let count = Arc::clone(&asked);
    let resolver = Resolver::new(move |_, _| {
        count.fetch_add(1, Ordering::SeqCst);
        let next = answers.lock().unwrap().next().ok_or_else(|| io::Error::other("no such name"));
        let addresses =
            next.map(|next| next.into_iter().map(|text| text.parse::<IpAddr>().unwrap()).collect());
        std::future::ready(addresses).boxed()
    });
    let allow_private = AllowPrivate::parse(allowed).unwrap();
    (Http::new(HttpConfig { allow_private, resolver, ..HttpConfig::default() }), asked)
}

#[tokio::test]
async fn private_addresses_are_refused_in_every_form() {
    let peer = Peer::plain(|_| response("200 OK", &[], "never")).await;
    let port = peer.address.port();
    for host in [
        "127.0.0.1",
        "127.1",
        "2130706433",
        "0x7f000001",
        "0x7f.1",
        "0177.0.0.1",
        "017700000001",
        "0",
        "0.0.0.0",
        "localhost",
        "LOCALHOST",
        "[::1]",
        "[::]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[0:0:0:0:0:0:0:1]",
        "[::127.0.0.1]",
        "[64:ff9b::7f00:1]",
        "[2002:7f00:1::]",
        "[fc00::1]",
        "[fe80::1]",
        "[ff02::1]",
        "10.0.0.1",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "224.0.0.1",
        "255.255.255.255",
    ] {
        let (code, message) =
            failure(&Http::default(), json!({"url": format!("http://{host}:{port}/")})).await;
        assert_eq!(code, "private_address", "{host}: {message}");
    }
    assert!(peer.requests().is_empty());
}

#[tokio::test]
async fn names_with_a_private_address_are_refused_whatever_else_they_have() {
    for addresses in [vec!["10.0.0.1"], vec!["1.1.1.1", "::1"], vec!["::ffff:192.168.0.1"]] {
        let (http, _) = resolving(vec![addresses], &[]);
        assert_eq!(failure(&http, json!({"url": "http://x.example/"})).await.0, "private_address");
    }
    let (http, _) = resolving(vec![vec![]], &[]);
    for _ in 0..2 {
        assert_eq!(failure(&http, json!({"url": "http://x.example/"})).await.0, "resolve_failed");
    }
}

#[tokio::test]
async fn a_name_is_resolved_once_and_the_checked_address_is_connected_to() {
    let peer = Peer::plain(|_| response("200 OK", &[], "checked")).await;
    // Whoever asks a second time is led elsewhere.
    let (http, asked) = resolving(vec![vec!["127.0.0.1"], vec!["127.0.0.2"]], &["127.0.0.1"]);
    let url = format!("http://rebinding.example:{}/", peer.address.port());
    let output = call(&http, json!({"url": url})).await.unwrap();
    assert_eq!((&output.value["text"], asked.load(Ordering::SeqCst)), (&json!("checked"), 1));
    assert!(peer.requests()[0].contains("host: rebinding.example:"));
    assert_eq!(failure(&http, json!({"url": url})).await.0, "private_address", "a new call is checked anew");
}

#[tokio::test]
async fn every_address_of_a_name_is_tried() {
    let peer = Peer::plain(|_| response("200 OK", &[], "second")).await;
    let port = peer.address.port();
    let (http, _) = resolving(vec![vec!["127.0.0.9", "127.0.0.1"], vec!["127.0.0.9"]], &["127.0.0.0/8"]);
    let output = call(&http, json!({"url": format!("http://x.example:{port}/")})).await.unwrap();
    assert_eq!(output.value["text"], "second");
    let (code, message) = failure(&http, json!({"url": format!("http://x.example:{port}/")})).await;
    assert_eq!(code, "connect_failed");
    assert!(message.starts_with(&format!("x.example:{port}: ")), "{message}");
}

#[tokio::test]
async fn hosts_can_be_allowed_by_name() {
    let peer = Peer::plain(|_| response("200 OK", &[], "allowed")).await;
    let port = peer.address.port();
    let (http, _) = resolving(vec![vec!["127.0.0.1"]; 2], &["Build.Example"]);
    let output = call(&http, json!({"url": format!("http://build.EXAMPLE:{port}/")})).await.unwrap();
    assert_eq!(output.value["text"], "allowed");
    assert_eq!(
        failure(&http, json!({"url": format!("http://other.example:{port}/")})).await.0,
        "private_address"
    );
}
