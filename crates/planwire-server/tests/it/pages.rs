//! Reading events page by page.

use serde_json::json;

use crate::client::{get, request};
use crate::served::Served;

#[tokio::test]
async fn pages_give_every_event_once_and_say_when_there_is_no_more() {
    let served = Served::start().await;
    served.start_plan("p").await;
    for n in 1..24 {
        served.note("p", n).await;
    }
    served.end_plan("p").await;
    let (mut after, mut seqs) = ("start".to_owned(), Vec::new());
    loop {
        let page = get(served.address, &format!("/v1/plans/p/events?limit=10&after={after}")).await.json();
        seqs.extend(page["events"].as_array().unwrap().iter().map(|event| event["seq"].as_u64().unwrap()));
        after = page["next"].as_str().unwrap().to_owned();
        assert_eq!(page["ended"], page["at_head"]);
        if page["ended"] == true {
            break;
        }
    }
    assert_eq!(seqs, (1..=25).collect::<Vec<_>>());
    let rest = get(served.address, &format!("/v1/plans/p/events?after={after}")).await.json();
    assert_eq!(rest, json!({ "events": [], "next": after, "at_head": true, "ended": true }));
}

#[tokio::test]
async fn page_of_an_open_plan_has_not_ended() {
    let served = Served::start().await;
    served.start_plan("p").await;
    insta::assert_snapshot!(get(served.address, "/v1/plans/p/events").await.text());
    assert_eq!(get(served.address, "/v1/events").await.json()["ended"], false);
    let now = get(served.address, "/v1/events?after=now").await.json();
    assert_eq!(
        now,
        json!({ "events": [], "next": "7Q4M2K9A-0000000000000001", "at_head": true, "ended": false })
    );
}

#[tokio::test]
async fn page_has_100_events_unless_it_is_asked_otherwise() {
    let served = Served::start().await;
    served.start_plan("p").await;
    for n in 0..150 {
        served.note("p", n).await;
    }
    let events =
        async |target: &str| get(served.address, target).await.json()["events"].as_array().unwrap().len();
    assert_eq!(events("/v1/events").await, 100);
    assert_eq!(events("/v1/events?limit=1000").await, 151);
    assert_eq!(events("/v1/events?limit=1").await, 1);
}

#[tokio::test]
async fn filters_are_by_type_plan_and_tree() {
    let served = Served::start().await;
    served.start_plan("root").await;
    served.spawn_plan("root", "child").await;
    served.start_plan("other").await;
    served.note("child", 1).await;
    served.note("other", 2).await;
    let read = async |target: &str| {
        let page = get(served.address, target).await.json();
        let events = page["events"].as_array().unwrap().clone();
        let name = |event: &serde_json::Value| {
            format!("{} {}", event["plan_id"].as_str().unwrap(), event["event_type"].as_str().unwrap())
        };
        (events.iter().map(name).collect::<Vec<_>>(), page["next"].as_str().unwrap().to_owned())
    };
    let (events, next) = read("/v1/events?event_type=acme.note").await;
    assert_eq!(events, ["child acme.note", "other acme.note"]);
    assert_eq!(next, served.bus.tail().to_string());
    let tree = ["root PlanStarted", "root SubplanSpawned", "child PlanStarted", "child acme.note"];
    assert_eq!(read("/v1/plans/root/events?tree=true").await.0, tree);
    assert_eq!(read("/v1/events?plan_id=root&tree=true").await.0, tree);
    assert_eq!(
        read("/v1/plans/child/events?tree=true&event_type=acme.note&event_type=PlanFailed").await.0,
        tree[3..]
    );
    assert_eq!(read("/v1/events?plan_id=root&tree=false").await.0, tree[..2]);
}

#[tokio::test]
async fn parameters_that_do_not_fit_are_named() {
    let served = Served::start().await;
    served.start_plan("p").await;
    for (target, parameter) in [
        ("/v1/events?tree=true", "tree"),
        ("/v1/events?limit=0", "limit"),
        ("/v1/events?limit=1001", "limit"),
        ("/v1/events?limit=1&limit=1", "limit"),
        ("/v1/events?event_type=Nonsense", "event_type"),
        ("/v1/events?event_field=off", "event_field"),
        ("/v1/events?plan_id=a%0Ab", "plan_id"),
        ("/v1/plans/p/events?plan_id=p", "plan_id"),
        ("/v1/events?until=x", "until"),
        ("/v1/plans?state=running", "state"),
        ("/v1/plans?tree=p&roots=true", "roots"),
        ("/v1/plans/p?fold=no", "fold"),
    ] {
        let answer = get(served.address, target).await;
        assert_eq!((answer.status, answer.problem().as_str()), (400, "parameter-invalid"), "{target}");
        assert_eq!(answer.json()["parameter"], parameter, "{target}");
    }
    insta::assert_snapshot!(get(served.address, "/v1/events?until=x").await.text());
}

#[tokio::test]
async fn one_event_is_read_by_its_id() {
    let served = Served::start().await;
    served.start_plan("p").await;
    let listed = get(served.address, "/v1/events").await.json()["events"][0].clone();
    let id = listed["event_id"].as_str().unwrap();
    assert_eq!(get(served.address, &format!("/v1/events/{id}")).await.json(), listed);
    assert_eq!(get(served.address, &format!("/v1/events/{}", id.to_lowercase())).await.json(), listed);
    let unknown = get(served.address, "/v1/events/00000000000000000000000000").await;
    assert_eq!((unknown.status, unknown.problem().as_str()), (404, "event-unknown"));
    let malformed = get(served.address, "/v1/events/1").await;
    assert_eq!((malformed.status, malformed.problem().as_str()), (400, "id-malformed"));
}

#[tokio::test]
async fn form_that_cannot_be_served_is_406() {
    let served = Served::start().await;
    let answer = request(served.address, "GET", "/v1/events", &["Accept: text/html"], "").await;
    assert_eq!((answer.status, answer.problem().as_str()), (406, "not-acceptable"));
}

#[tokio::test]
async fn plan_ids_in_paths_are_checked() {
    let served = Served::start().await;
    for bad in ["a%0Ab", "%00", ".", "*", "%3E", "%25", "'", "%EF%BD%90", &"p".repeat(129)] {
        for target in ["", "/events", "/document", &format!("/blobs/{}", "0".repeat(64))] {
            let answer = get(served.address, &format!("/v1/plans/{bad}{target}")).await;
            assert_eq!((answer.status, answer.problem().as_str()), (400, "id-malformed"), "{bad}{target}");
        }
    }
    for target in ["/v1/plans/%FF/events", "/v1/events/%FF", "/v1/plans/%FF/blobs/0", "/v1/plans/p/blobs/%FF"]
    {
        let not_utf8 = get(served.address, target).await;
        assert_eq!((not_utf8.status, not_utf8.problem().as_str()), (400, "id-malformed"), "{target}");
    }
}

#[tokio::test]
async fn the_page_is_served_with_a_policy_that_lets_nothing_else_run() {
    let served = Served::start().await;
    let page = get(served.address, "/").await;
    assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"));
    let policy = page.header("content-security-policy").unwrap();
    assert!(policy.starts_with("default-src 'none'; script-src 'sha256-"), "{policy}");
    assert!(!policy.contains("unsafe"), "{policy}");
    assert!(page.text().contains("<title>Planwire</title>"));
}
