//! Plans, their documents and their blobs.

use std::sync::Arc;

use planwire_bus::Attachments;
use planwire_event::vocabulary::{ArtifactProduced, PlanStarted};
use planwire_event::{Digest, Event, Producer};
use planwire_store::{Blob, Document};
use serde_json::{Value, json};

use crate::client::{Client, get, post, request};
use crate::served::{Served, id, started};

#[tokio::test]
async fn roots_are_listed_newest_first_page_by_page() {
    let served = Served::start().await;
    for n in 0..5 {
        served.start_plan(&format!("p{n}")).await;
    }
    served.spawn_plan("p0", "child").await;
    served.end_plan("p1").await;
    let names = |page: &Value| -> Vec<String> {
        page["plans"]
            .as_array()
            .unwrap()
            .iter()
            .map(|plan| plan["plan_id"].as_str().unwrap().into())
            .collect()
    };
    let list = async |target: String| get(served.address, &target).await.json();
    assert_eq!(names(&list("/v1/plans".into()).await), ["p4", "p3", "p2", "p1", "p0"]);
    assert_eq!(names(&list("/v1/plans?state=open".into()).await), ["p4", "p3", "p2", "p0"]);
    assert_eq!(names(&list("/v1/plans?state=completed".into()).await), ["p1"]);
    assert_eq!(names(&list("/v1/plans?state=failed".into()).await), Vec::<String>::new());
    assert_eq!(names(&list("/v1/plans?tree=p0".into()).await), ["p0", "child"]);
    assert_eq!(names(&list("/v1/plans?roots=false&limit=1".into()).await), ["child"]);
    let (mut after, mut seen) = (String::new(), Vec::new());
    loop {
        let page = list(format!("/v1/plans?limit=2{after}")).await;
        seen.extend(names(&page));
        let Some(next) = page["next"].as_str() else { break };
        after = format!("&after={next}");
    }
    assert_eq!(seen, ["p4", "p3", "p2", "p1", "p0"]);
    for (target, status) in [
        ("/v1/plans?after=ZZZZZZZZ-0000000000000001", 409),
        ("/v1/plans?after=7Q4M2K9A-00000000000000ff", 409),
        ("/v1/plans?tree=nobody", 404),
    ] {
        assert_eq!(get(served.address, target).await.status, status, "{target}");
    }
}

#[tokio::test]
async fn list_by_state_goes_on_where_a_page_had_none() {
    let served = Served::start().await;
    served.start_plan("old").await;
    served.end_plan("old").await;
    for n in 0..25 {
        served.start_plan(&format!("p{n}")).await;
    }
    let (mut after, mut seen) = (String::new(), 0);
    loop {
        let page = get(served.address, &format!("/v1/plans?state=completed&limit=1{after}")).await.json();
        seen += page["plans"].as_array().unwrap().len();
        let Some(next) = page["next"].as_str() else { break };
        after = format!("&after={next}");
    }
    assert_eq!(seen, 1);
}

#[tokio::test]
async fn plan_is_its_row_and_what_its_events_add_up_to() {
    let served = Served::start().await;
    served.start_plan("p").await;
    served.end_plan("p").await;
    let plan = get(served.address, "/v1/plans/p").await.json();
    assert_eq!(
        (&plan["state"], &plan["name"], &plan["last_seq"]),
        (&json!("completed"), &json!("report"), &json!(2))
    );
    assert_eq!(plan["fold"]["goal"], "say what is there");
    let unknown = get(served.address, "/v1/plans/nobody").await;
    assert_eq!((unknown.status, unknown.problem().as_str()), (404, "plan-unknown"));
    insta::assert_snapshot!(unknown.text());
}

#[tokio::test]
async fn cancelling_publishes_a_request_for_it() {
    let served = Served::start().await;
    served.start_plan("p").await;
    let answer = post(served.address, "/v1/plans/p/cancel", r#"{"reason":"enough"}"#).await;
    assert_eq!((answer.status, &answer.json()["plan_id"]), (202, &json!("p")));
    assert_eq!(post(served.address, "/v1/plans/p/cancel", "").await.status, 202);
    let page = get(served.address, "/v1/plans/p/events?event_type=CancelRequested").await.json();
    assert_eq!(page["events"][0]["payload"], json!({ "reason": "enough", "requested_by": "http:anonymous" }));
    served.end_plan("p").await;
    let ended = post(served.address, "/v1/plans/p/cancel", "{}").await;
    assert_eq!((ended.status, ended.problem().as_str()), (409, "plan-ended"));
    let unknown = post(served.address, "/v1/plans/nobody/cancel", "{}").await;
    assert_eq!((unknown.status, unknown.problem().as_str()), (404, "plan-unknown"));
    for body in [r#"{"why":1}"#, "[]", r#"["enough"]"#, "null"] {
        let malformed = post(served.address, "/v1/plans/p/cancel", body).await;
        assert_eq!((malformed.status, malformed.problem().as_str()), (400, "body-malformed"), "{body}");
    }
    let large = json!({ "reason": "x".repeat(300_000) }).to_string();
    assert_eq!(post(served.address, "/v1/plans/p/cancel", &large).await.status, 400);
    let form =
        request(served.address, "POST", "/v1/plans/p/cancel", &["Content-Type: text/plain"], "{}").await;
    assert_eq!(form.status, 415);
}

/// Publishes a plan with a document and an artifact whose content is `body`.
async fn plan_with_blob(served: &Served, plan: &str, body: &[u8], name: &str) -> Digest {
    plan_with_part(served, plan, body, body.len(), name).await
}

/// The same, with a blob that the store holds only in part if `size_bytes` is more than the body.
async fn plan_with_part(served: &Served, plan: &str, body: &[u8], size_bytes: usize, name: &str) -> Digest {
    let document = r#"{"plan":"report"}"#;
    let digest = Digest::of(document.as_bytes());
    let with_document = PlanStarted { document_digest: Some(digest.to_string()), ..started(None) };
    let blob = Digest::of(body);
    let artifact: ArtifactProduced = serde_json::from_value(json!({
        "artifact_id": "a", "name": name, "media_type": "text/markdown",
        "part": { "blob": { "digest": blob.to_string(), "size_bytes": size_bytes } },
    }))
    .unwrap();
    let events = vec![
        Event::of(&served.ids, &*served.clock, id(plan), &with_document).unwrap(),
        Event::of(&served.ids, &*served.clock, id(plan), &artifact).unwrap(),
    ];
    let attachments = Attachments {
        documents: vec![Document { digest, body: document.into() }],
        blobs: vec![Blob { digest: blob, body: Arc::from(body) }],
    };
    served.bus.publisher(Producer::new("test")).publish_with(events, attachments).await.unwrap();
    blob
}

#[tokio::test]
async fn blobs_are_downloads_of_the_plan_that_names_them() {
    let served = Served::start().await;
    // More than two chunks.
    let body: Vec<u8> = (0..2_500_000_u32).flat_map(|n| n.to_le_bytes()).take(2_300_000).collect();
    let digest = plan_with_blob(&served, "p", &body, "../Bericht \"1\".md").await;
    served.start_plan("q").await;
    let answer = get(served.address, &format!("/v1/plans/p/blobs/{digest}")).await;
    assert_eq!((answer.status, answer.body == body), (200, true));
    for (name, value) in [
        ("content-type", "text/markdown"),
        ("content-disposition", "attachment; filename=\"Bericht__1_.md\""),
        ("content-security-policy", "default-src 'none'; sandbox"),
        ("x-content-type-options", "nosniff"),
    ] {
        assert_eq!(answer.header(name), Some(value));
    }
    for (target, status, problem) in [
        (format!("/v1/plans/q/blobs/{digest}"), 404, "blob-unknown"),
        (format!("/v1/plans/p/blobs/{}", Digest::of(b"other")), 404, "blob-unknown"),
        (format!("/v1/plans/nobody/blobs/{digest}"), 404, "plan-unknown"),
        ("/v1/plans/p/blobs/xyz".to_owned(), 400, "id-malformed"),
    ] {
        let answer = get(served.address, &target).await;
        assert_eq!((answer.status, answer.problem().as_str()), (status, problem), "{target}");
    }
}

#[tokio::test]
async fn part_of_a_blob_does_not_look_like_the_whole() {
    let served = Served::start().await;
    let digest = plan_with_part(&served, "p", &[b'x'; 1000], 1001, "part").await;
    let mut client = Client::connect(served.address).await;
    client.ask("GET", &format!("/v1/plans/p/blobs/{digest}"), &[], "").await;
    assert_eq!(client.head().await.status, 200);
    let rest = client.rest().await;
    assert!(!rest.ends_with(b"0\r\n\r\n"), "a break is no clean end");
}

#[tokio::test]
async fn document_of_a_plan_is_served_in_normal_form() {
    let served = Served::start().await;
    plan_with_blob(&served, "p", b"x", "x").await;
    served.start_plan("q").await;
    let answer = get(served.address, "/v1/plans/p/document").await;
    assert_eq!(
        (answer.text(), answer.header("content-type")),
        (r#"{"plan":"report"}"#, Some("application/json"))
    );
    let none = get(served.address, "/v1/plans/q/document").await;
    assert_eq!((none.status, none.problem().as_str()), (404, "document-unknown"));
}
