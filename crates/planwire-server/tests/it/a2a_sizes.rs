//! What is too large for a task or an update, and what is sent along.

use planwire_bus::Attachments;
use planwire_event::{Digest, Producer};
use planwire_store::Blob;
use serde_json::{Value, json};

use crate::a2a_desk::{EXTENDED, EXTENSION, VERSION};
use crate::a2a_stream::{follow, posted};
use crate::client::request;
use crate::served::Served;

#[tokio::test]
async fn small_blobs_are_sent_along_and_large_ones_by_their_address() {
    let served = Served::start().await;
    served.start_plan("p").await;
    let mut streams = vec![follow(&served, "p", &[]).await, follow(&served, "p", &[EXTENDED]).await];
    let mut digests = Vec::new();
    for (name, body) in [("small", b"foobar".to_vec()), ("large", vec![7; 40_000])] {
        let digest = Digest::of(&body);
        let part = json!({ "blob": { "digest": digest.to_string(), "size_bytes": body.len() } });
        let payload = json!({ "artifact_id": name, "name": name, "media_type": "x/y", "part": part });
        let attachments =
            Attachments { blobs: vec![Blob { digest, body: body.into() }], ..Attachments::default() };
        let event = served.draft("p", "ArtifactProduced", &payload);
        served.bus.publisher(Producer::new("test")).publish_with(vec![event], attachments).await.unwrap();
        digests.push(digest);
    }
    streams.push(follow(&served, "p", &[]).await);
    let check = |small: &Value, large: &Value| {
        assert_eq!(*small, json!({ "raw": "Zm9vYmFy", "filename": "small", "mediaType": "x/y" }));
        let url = large["url"].as_str().unwrap();
        assert!(url.ends_with(&format!("/v1/plans/p/blobs/{}", digests[1])), "{url}");
    };
    for stream in &mut streams[..2] {
        stream.event().await.unwrap();
        let (small, large) = (stream.event().await.unwrap().data, stream.event().await.unwrap().data);
        let part = |update: &Value| update["artifactUpdate"]["artifact"]["parts"][0].clone();
        check(&part(&small), &part(&large));
    }
    let task = streams[2].event().await.unwrap().data["task"].clone();
    check(&task["artifacts"][0]["parts"][0], &task["artifacts"][1]["parts"][0]);
}

#[tokio::test]
async fn of_very_many_small_blobs_a_task_gives_the_addresses() {
    let served = Served::start().await;
    served.start_plan("p").await;
    let (digest, body) = (Digest::of(b"foobar"), b"foobar".to_vec());
    for number in 0..70 {
        let part = json!({ "blob": { "digest": digest.to_string(), "size_bytes": body.len() } });
        let payload = json!({ "artifact_id": "a", "name": "n", "media_type": "x/y", "part": part, "append": number > 0 });
        let blobs = vec![Blob { digest, body: body.clone().into() }];
        let attachments = Attachments { blobs, ..Attachments::default() };
        let event = served.draft("p", "ArtifactProduced", &payload);
        served.bus.publisher(Producer::new("test")).publish_with(vec![event], attachments).await.unwrap();
    }
    let task = request(served.address, "GET", "/a2a/tasks/p", &[VERSION], "").await.json();
    let parts = task["artifacts"][0]["parts"].as_array().unwrap();
    let is_sent: Vec<_> = parts.iter().map(|part| part["raw"].is_string()).collect();
    assert_eq!((is_sent.len(), is_sent.iter().filter(|is_sent| **is_sent).count()), (70, 64));
    assert!(parts[69]["url"].as_str().unwrap().ends_with(&digest.to_string()), "{}", parts[69]);
    assert_eq!(task["metadata"][EXTENSION]["truncated"], true);
}

#[tokio::test]
async fn a_task_that_is_too_large_for_a_frame_says_so() {
    let served = Served::start().await;
    let text = "x".repeat(25_000);
    let message = json!({ "messageId": "m", "role": "ROLE_USER", "parts": [{ "text": text }] });
    let origin = json!({ "protocol": "a2a", "principal": "me", "message": message });
    served.event("p", "PlanStarted", json!({ "name": "n", "origin": origin })).await;
    for artifact in ["a", "b", "c"] {
        served.artifact("p", artifact, &text, false).await;
    }
    served.artifact("p", "b", &text, true).await;
    served
        .event("p", "InputRequested", json!({ "request_id": "r", "kind": "input", "question": text }))
        .await;
    let mut stream = follow(&served, "p", &[]).await;
    let frame = stream.frame().await.unwrap();
    assert!(frame.len() < 64 * 1024, "{}", frame.len());
    let task: Value = serde_json::from_str(frame.split_once("data: ").unwrap().1).unwrap();
    let task = &task["task"];
    assert_eq!(task["metadata"][EXTENSION]["truncated"], true);
    let part = |at: usize| &task["artifacts"][at]["parts"][0];
    assert_eq!(part(0)["text"].as_str().map(str::len), Some(25_000));
    assert!(part(1)["url"].as_str().unwrap().ends_with("/v1/plans/p/events?event_type=ArtifactProduced"));
    assert!(part(2)["url"].as_str().unwrap().contains("/v1/events/"));
    let history = task["history"].as_array().unwrap();
    assert!(
        history.iter().all(|message| message["parts"][0]["text"].as_str().unwrap().len() < 600),
        "{history:?}"
    );
}

#[tokio::test]
async fn frames_of_the_largest_bodies_under_the_longest_id_fit_every_client() {
    let served = Served::start().await;
    let text = "x".repeat(250_000);
    served.start_plan("p").await;
    served.artifact("p", "a", &text[..50_000], false).await;
    // As many bytes as an id may have, each pair of which is written as six.
    let id = "\u{85}".repeat(127);
    let body = json!({ "jsonrpc": "2.0", "id": id, "method": "SubscribeToTask", "params": { "id": "p" } });
    let mut streams =
        vec![posted(&served, "/a2a", &[], &body).await, posted(&served, "/a2a", &[EXTENDED], &body).await];
    for bytes in [30_000, 58_000, 60_000, 61_000, 200_000] {
        served.artifact("p", "a", &text[..bytes], false).await;
        let payload = json!({ "request_id": bytes.to_string(), "kind": "input", "question": text[..bytes] });
        served.event("p", "InputRequested", payload).await;
    }
    served.event("p", "PlanCompleted", json!({ "outputs": { "text": text[..59_000] } })).await;
    for stream in &mut streams {
        let mut frames = 0;
        while let Some(frame) = stream.frame().await {
            assert!(frame.len() < 64 * 1024, "{}", frame.len());
            frames += 1;
        }
        assert_eq!(frames, 12);
    }
}
