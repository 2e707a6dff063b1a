//! Every error of A2A, over both bindings, with its code, its status and its details.

use std::time::Duration;

use planwire_bus::{PublishError, StartError};
use planwire_server::a2a::{Route, Then};
use planwire_server::{BODY_BYTES_MAX, BindError, Server, ServerConfig};
use serde_json::{Value, json};

use crate::a2a_desk::{
    EXTENDED, JSON, VERSION, call, desk, fields, message, reason, rest, rest_with, result,
};
use crate::client::{Answer, request};
use crate::served::{Fault, Served};

/// Asks the same over both bindings.
struct Both {
    method: &'static str,
    params: Value,
    verb: &'static str,
    path: &'static str,
    body: Value,
}

impl Both {
    fn send(message: Value) -> Self {
        let params = json!({ "message": message });
        Self { method: "SendMessage", verb: "POST", path: "/message:send", body: params.clone(), params }
    }

    fn of(method: &'static str, params: Value, verb: &'static str, path: &'static str) -> Self {
        Self { method, params, verb, path, body: Value::Null }
    }

    async fn fails(&self, served: &Served, expected: (&str, i64, &str, u64)) {
        let (name, code, status, http) = expected;
        let error = call(served, self.method, self.params.clone()).await.unwrap_err();
        assert_eq!((reason(&error), error["code"].as_i64()), (name, Some(code)), "{error}");
        let error = rest(served, self.verb, self.path, self.body.clone()).await.unwrap_err();
        assert_eq!(
            (reason(&error), error["status"].as_str(), error["code"].as_u64()),
            (name, Some(status), Some(http))
        );
        assert!(!error["message"].as_str().unwrap().is_empty());
    }
}

#[tokio::test]
async fn errors_of_tasks_have_their_codes() {
    let (served, _) = desk(&["report"], |_| {}).await;
    served.start_plan("open").await;
    served.start_plan("done").await;
    served.end_plan("done").await;
    let not_found = ("TASK_NOT_FOUND", -32001, "NOT_FOUND", 404);
    let none = || json!({ "id": "none" });
    Both::of("GetTask", none(), "GET", "/tasks/none").fails(&served, not_found).await;
    Both::of("CancelTask", none(), "POST", "/tasks/none:cancel").fails(&served, not_found).await;
    Both::of("SubscribeToTask", none(), "GET", "/tasks/none:subscribe").fails(&served, not_found).await;
    Both::of("SubscribeToTask", none(), "POST", "/tasks/none:subscribe").fails(&served, not_found).await;
    let elsewhere = json!({ "id": "open", "tenant": "other" });
    Both::of("GetTask", elsewhere, "GET", "/other/tasks/open").fails(&served, not_found).await;
    let ended = ("TASK_NOT_CANCELABLE", -32002, "FAILED_PRECONDITION", 400);
    Both::of("CancelTask", json!({ "id": "done" }), "POST", "/default/tasks/done:cancel")
        .fails(&served, ended)
        .await;
    let unsupported = ("UNSUPPORTED_OPERATION", -32004, "FAILED_PRECONDITION", 400);
    Both::of("SubscribeToTask", json!({ "id": "done" }), "GET", "/tasks/done:subscribe")
        .fails(&served, unsupported)
        .await;
    Both::of("GetExtendedAgentCard", json!({}), "GET", "/extendedAgentCard")
        .fails(&served, unsupported)
        .await;
    let mut to_done = message("m", "a");
    to_done["taskId"] = "done".into();
    Both::send(to_done).fails(&served, unsupported).await;
}

#[tokio::test]
async fn push_notifications_are_not_supported() {
    let (served, _) = desk(&["report"], |_| {}).await;
    let expected = ("PUSH_NOTIFICATION_NOT_SUPPORTED", -32003, "FAILED_PRECONDITION", 400);
    let configs = "/tasks/p/pushNotificationConfigs";
    for (method, verb, path) in [
        ("CreateTaskPushNotificationConfig", "POST", configs),
        ("GetTaskPushNotificationConfig", "GET", "/tasks/p/pushNotificationConfigs/c"),
        ("ListTaskPushNotificationConfigs", "GET", configs),
        ("DeleteTaskPushNotificationConfig", "DELETE", "/t/tasks/p/pushNotificationConfigs/c"),
    ] {
        Both::of(method, json!({ "taskId": "p" }), verb, path).fails(&served, expected).await;
    }
    let mut send = Both::send(message("m", "a"));
    send.params["configuration"] = json!({ "taskPushNotificationConfig": { "url": "https://x.example" } });
    send.body = send.params.clone();
    send.fails(&served, expected).await;
}

#[tokio::test]
async fn types_that_are_not_spoken_are_refused() {
    let (served, _) = desk(&["report"], |_| {}).await;
    let mut send = Both::send(message("m", "a"));
    send.params["configuration"] = json!({ "acceptedOutputModes": ["image/png"] });
    send.body = send.params.clone();
    send.fails(&served, ("CONTENT_TYPE_NOT_SUPPORTED", -32005, "INVALID_ARGUMENT", 400)).await;

    let body = json!({ "jsonrpc": "2.0", "id": 1, "method": "SendMessage", "params": { "message": message("m", "a") } });
    for headers in [&["Content-Type: text/plain"][..], &["Content-Type: application/xml"], &[], &[JSON, JSON]]
    {
        let headers = [&[VERSION], headers].concat();
        let answer = request(served.address, "POST", "/a2a", &headers, &body.to_string()).await;
        let error = result(&answer, &Value::Null).unwrap_err();
        assert_eq!(
            (reason(&error), error["code"].as_i64()),
            ("CONTENT_TYPE_NOT_SUPPORTED", Some(-32005)),
            "{headers:?}"
        );
        let answer =
            request(served.address, "POST", "/a2a/message:send", &headers, &body["params"].to_string()).await;
        assert_eq!(
            (answer.status, reason(&answer.json()["error"])),
            (415, "CONTENT_TYPE_NOT_SUPPORTED"),
            "{headers:?}"
        );
    }
    for media in ["application/json; charset=utf-8", "APPLICATION/A2A+JSON"] {
        let mut body = body.clone();
        body["params"]["configuration"] = json!({ "returnImmediately": true });
        let headers = [VERSION.to_owned(), format!("Content-Type: {media}")];
        let headers: Vec<_> = headers.iter().map(String::as_str).collect();
        let answer = request(served.address, "POST", "/a2a/", &headers, &body.to_string()).await;
        assert!(result(&answer, &json!(1)).is_ok());
        let answer =
            request(served.address, "POST", "/a2a/message:send", &headers, &body["params"].to_string()).await;
        assert_eq!(answer.status, 200);
    }
}

#[tokio::test]
async fn a_route_that_gives_no_answer_is_an_invalid_agent_response() {
    let (served, _) = desk(&["report"], |config| {
        let then = Then::Answer("size(message.parts)".into());
        config.a2a.routes = vec![Route { when: None, then }];
    })
    .await;
    Both::send(message("m", "a")).fails(&served, ("INVALID_AGENT_RESPONSE", -32006, "INTERNAL", 500)).await;
}

#[tokio::test]
async fn an_extension_that_is_required_must_be_activated() {
    let (served, _) = desk(&["report"], |config| config.a2a.extension_required = true).await;
    let card = crate::client::get(served.address, "/.well-known/agent-card.json").await.json();
    assert_eq!(card["capabilities"]["extensions"][0]["required"], true);
    let expected = ("EXTENSION_SUPPORT_REQUIRED", -32008, "FAILED_PRECONDITION", 400);
    Both::send(message("m", "a")).fails(&served, expected).await;
    Both::of("ListTasks", json!({}), "GET", "/tasks").fails(&served, expected).await;
    assert!(rest_with(&served, &[VERSION, EXTENDED], "GET", "/tasks", Value::Null).await.is_ok());
}

#[tokio::test]
async fn the_version_must_be_named_and_be_ours() {
    let (served, _) = desk(&["report"], |_| {}).await;
    let body = json!({ "jsonrpc": "2.0", "id": 1, "method": "ListTasks", "params": {} }).to_string();
    for versions in
        [&[][..], &["A2A-Version: 0.3"], &["A2A-Version: "], &["A2A-Version: 99.0"], &["A2A-Version: 1"]]
    {
        let headers = [versions, &[JSON]].concat();
        let error =
            result(&request(served.address, "POST", "/a2a", &headers, &body).await, &json!(1)).unwrap_err();
        assert_eq!(
            (reason(&error), error["code"].as_i64()),
            ("VERSION_NOT_SUPPORTED", Some(-32009)),
            "{versions:?}"
        );
        let answer = request(served.address, "GET", "/a2a/tasks", versions, "").await;
        let error = &answer.json()["error"];
        assert_eq!(
            (answer.status, reason(error), &error["status"]),
            (400, "VERSION_NOT_SUPPORTED", &json!("FAILED_PRECONDITION"))
        );
    }
    for (target, headers) in [
        ("", &["A2A-Version: 1.0", JSON][..]),
        ("", &["A2A-Version: 1.0.1", JSON]),
        ("?A2A-Version=1.0", &[JSON]),
    ] {
        let answer = request(served.address, "POST", &format!("/a2a{target}"), headers, &body).await;
        assert!(result(&answer, &json!(1)).is_ok());
        let answer = request(served.address, "GET", &format!("/a2a/tasks{target}"), headers, "").await;
        assert_eq!(answer.status, 200);
    }
}

#[tokio::test]
async fn an_active_extension_is_named_in_the_answer() {
    let (served, _) = desk(&["report"], |_| {}).await;
    let body = json!({ "jsonrpc": "2.0", "id": 1, "method": "ListTasks" }).to_string();
    let active = format!("A2A-Extensions: https://x.example/other, {}", crate::a2a_desk::EXTENSION);
    for (extensions, expected) in
        [(active.as_str(), Some(crate::a2a_desk::EXTENSION)), ("A2A-Extensions: https://x.example", None)]
    {
        let headers = [VERSION, JSON, extensions];
        let answers: [Answer; 3] = [
            request(served.address, "POST", "/a2a", &headers, &body).await,
            request(served.address, "GET", "/a2a/tasks", &headers[..], "").await,
            request(served.address, "GET", "/a2a/tasks/none", &headers, "").await,
        ];
        for answer in answers {
            assert_eq!(answer.header("a2a-extensions"), expected, "{answer:?}");
        }
    }
}

#[tokio::test]
async fn requests_that_are_none_are_told_so() {
    let (served, _) = desk(&["report"], |_| {}).await;
    let ask = async |body: &str| {
        let answer = request(served.address, "POST", "/a2a", &[VERSION, JSON], body).await;
        let id = answer.json()["id"].clone();
        let error = result(&answer, &id).unwrap_err();
        (error["code"].as_i64().unwrap(), id)
    };
    for (body, code) in [
        ("", -32700),
        ("{", -32700),
        ("{\"id\":1e400", -32700),
        ("nonsense", -32700),
        ("[]", -32600),
        (r#"[{"jsonrpc":"2.0","id":1,"method":"ListTasks"}]"#, -32600),
        ("7", -32600),
        ("null", -32600),
        (r#"{"jsonrpc":"2.0","method":"ListTasks"}"#, -32600),
        (r#"{"jsonrpc":"2.0","id":{},"method":"ListTasks"}"#, -32600),
        (r#"{"jsonrpc":"2.0","id":[1],"method":"ListTasks"}"#, -32600),
        (r#"{"jsonrpc":"2.0","id":true,"method":"ListTasks"}"#, -32600),
        (r#"{"jsonrpc":"2.0","id":1,"id":2,"method":"ListTasks"}"#, -32600),
    ] {
        assert_eq!(ask(body).await, (code, Value::Null), "{body}");
    }
    let long = format!(r#"{{"jsonrpc":"2.0","id":"{}","method":"ListTasks"}}"#, "a".repeat(255));
    assert_eq!(ask(&long).await, (-32600, Value::Null));
    for (body, code) in [
        (r#"{"jsonrpc":"1.0","id":7,"method":"ListTasks"}"#, -32600),
        (r#"{"id":7,"method":"ListTasks"}"#, -32600),
        (r#"{"jsonrpc":"2.0","id":7}"#, -32600),
        (r#"{"jsonrpc":"2.0","id":7,"method":3}"#, -32600),
        (r#"{"jsonrpc":"2.0","id":7,"method":"message/send"}"#, -32601),
        (r#"{"jsonrpc":"2.0","id":7,"method":"listTasks"}"#, -32601),
        (r#"{"jsonrpc":"2.0","id":7,"method":"ListTasks","params":[]}"#, -32602),
        (r#"{"jsonrpc":"2.0","id":7,"method":"ListTasks","params":"x"}"#, -32602),
        (r#"{"jsonrpc":"2.0","id":7,"method":"GetTask","params":{}}"#, -32602),
        (r#"{"jsonrpc":"2.0","id":7,"method":"GetTask"}"#, -32602),
    ] {
        assert_eq!(ask(body).await, (code, json!(7)), "{body}");
    }
    let deep = format!(
        r#"{{"jsonrpc":"2.0","id":7,"method":"ListTasks","params":{{"a":{}1{}}}}}"#,
        "[".repeat(500),
        "]".repeat(500)
    );
    assert_eq!(ask(&deep).await, (-32602, json!(7)));
}

#[tokio::test]
async fn ids_come_back_as_they_were_written() {
    let (served, _) = desk(&["report"], |_| {}).await;
    let long = format!("\"{}\"", "a".repeat(254));
    for id in ["1e100", "-0", "1.50", "12345678901234567890123", "null", r#""a\u0041\u2028""#, "\"\"", &long]
    {
        let body = format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"ListTasks"}}"#);
        let answer = request(served.address, "POST", "/a2a", &[VERSION, JSON], &body).await;
        assert!(
            answer.text().starts_with(&format!(r#"{{"jsonrpc":"2.0","id":{id},"result":"#)),
            "{}",
            answer.text()
        );
        let body = format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"No"}}"#);
        let answer = request(served.address, "POST", "/a2a", &[VERSION, JSON], &body).await;
        assert!(
            answer.text().starts_with(&format!(r#"{{"jsonrpc":"2.0","id":{id},"error":"#)),
            "{}",
            answer.text()
        );
    }
}

#[tokio::test]
async fn fields_that_do_not_fit_are_named_in_both_bindings() {
    let (served, _) = desk(&["report"], |_| {}).await;
    let params = json!({ "message": { "role": "user", "parts": [] } });
    let expected = ["message.messageId", "message.role", "message.parts"];
    let error = call(&served, "SendMessage", params.clone()).await.unwrap_err();
    assert_eq!((reason(&error), fields(&error)), ("INVALID_PARAMS", expected.to_vec()));
    let error = rest(&served, "POST", "/message:send", params).await.unwrap_err();
    assert_eq!(
        (fields(&error), error["code"].as_u64(), error["status"].as_str()),
        (expected.to_vec(), Some(400), Some("INVALID_ARGUMENT"))
    );
    for (path, field) in [
        ("/tasks?pageSize=0", "pageSize"),
        ("/tasks?includeArtifacts=maybe", "includeArtifacts"),
        ("/other/tasks", "tenant"),
        ("/tasks/p?historyLength=x", "historyLength"),
        ("/tasks/p:subscribe?after=x", "after"),
        ("/tasks/p:subscribe?event_field=maybe", "event_field"),
    ] {
        let error = rest(&served, "GET", path, Value::Null).await.unwrap_err();
        assert_eq!((reason(&error), fields(&error)), ("INVALID_PARAMS", vec![field]), "{path}");
    }
}

#[tokio::test]
async fn paths_and_bodies_that_mean_nothing_are_refused() {
    let (served, _) = desk(&["report"], |_| {}).await;
    let ask = async |verb: &str, target: &str, headers: &[&str], body: &str| {
        let answer = request(served.address, verb, target, headers, body).await;
        let allow = answer.header("allow").map(str::to_owned);
        (answer.status, reason(&answer.json()["error"]).to_owned(), allow)
    };
    let nothing = (404, "METHOD_NOT_FOUND".to_owned(), None);
    assert_eq!(ask("GET", "/a2a/nothing", &[VERSION], "").await, nothing);
    assert_eq!(ask("POST", "/a2a/tasks/p:end", &[VERSION, JSON], "{}").await, nothing);
    let not_allowed = |allow: &str| (405, "METHOD_NOT_ALLOWED".to_owned(), Some(allow.to_owned()));
    assert_eq!(ask("GET", "/a2a", &[VERSION], "").await, not_allowed("POST"));
    assert_eq!(ask("DELETE", "/a2a/tasks/p", &[VERSION], "").await, not_allowed("GET"));
    assert_eq!(ask("PUT", "/a2a/tasks/p:subscribe", &[VERSION, JSON], "{}").await, not_allowed("GET, POST"));
    let send = "/a2a/message:send";
    let parse = (400, "PARSE_ERROR".to_owned(), None);
    assert_eq!(ask("POST", send, &[VERSION, JSON], "{").await, parse);
    assert_eq!(ask("POST", send, &[VERSION, JSON], "[]").await, (400, "INVALID_REQUEST".to_owned(), None));
    assert_eq!(ask("POST", send, &[VERSION, JSON], "").await, (400, "INVALID_PARAMS".to_owned(), None));
    let large = " ".repeat(BODY_BYTES_MAX + 1);
    assert_eq!(
        ask("POST", send, &[VERSION, JSON], &large).await,
        (413, "REQUEST_TOO_LARGE".to_owned(), None)
    );
    let answer = request(served.address, "POST", "/a2a", &[VERSION, JSON], &large).await;
    assert_eq!(result(&answer, &Value::Null).unwrap_err()["code"], -32600);
}

#[tokio::test]
async fn a_body_that_does_not_arrive_is_not_waited_for() {
    let (served, _) = desk(&["report"], |config| config.limits.body_read = Duration::from_millis(20)).await;
    let mut client = crate::client::Client::connect(served.address).await;
    client.send(format!("POST /a2a/message:send HTTP/1.1\r\nHost: localhost\r\n{VERSION}\r\n{JSON}\r\nContent-Length: 9\r\n\r\n{{")).await;
    let answer = client.answer().await;
    assert_eq!((answer.status, reason(&answer.json()["error"])), (408, "REQUEST_TIMEOUT"));
}

#[tokio::test]
async fn what_stops_a_start_is_said() {
    let (served, desk) = desk(&["report"], |_| {}).await;
    type Make = fn() -> StartError;
    let faults: [(Make, &str, i64, u16); 5] = [
        (|| StartError::Inputs { message: "folder is missing".into() }, "INVALID_PARAMS", -32602, 400),
        (|| StartError::UnknownDocument { name: "x".into() }, "INVALID_PARAMS", -32602, 400),
        (|| StartError::TooMany { max: 3 }, "UNAVAILABLE", -32603, 503),
        (|| StartError::Publish(PublishError::Stopped), "UNAVAILABLE", -32603, 503),
        (|| StartError::Closed, "UNAVAILABLE", -32603, 503),
    ];
    for (fault, name, code, http) in faults {
        *desk.fault.lock().unwrap() = Some(fault());
        let body = json!({ "message": message("m", "a") });
        let answer =
            request(served.address, "POST", "/a2a/message:send", &[VERSION, JSON], &body.to_string()).await;
        let error = &answer.json()["error"];
        assert_eq!((answer.status, reason(error)), (http, name), "{error}");
        assert_eq!(answer.header("retry-after").is_some(), http == 503);
        assert!(error["message"].as_str().unwrap().contains(&fault().to_string()), "{error}");
        *desk.fault.lock().unwrap() = Some(fault());
        assert_eq!(call(&served, "SendMessage", body).await.unwrap_err()["code"], code);
    }
    served.fault.set(Fault::FULL);
    let error = call(&served, "SendMessage", json!({ "message": message("m", "a") })).await.unwrap_err();
    assert_eq!((reason(&error), error["code"].as_i64()), ("UNAVAILABLE", Some(-32603)));
    served.fault.set(Fault::NONE);

    let served = Served::start().await;
    let error = call(&served, "SendMessage", json!({ "message": message("m", "a") })).await.unwrap_err();
    assert_eq!((reason(&error), fields(&error)), ("INVALID_PARAMS", vec!["message.metadata"]));
}

#[tokio::test]
async fn a_server_with_a_route_that_is_none_does_not_start() {
    let served = Served::start().await;
    let mut config = ServerConfig { listen: "127.0.0.1:0".parse().unwrap(), ..ServerConfig::default() };
    config.a2a.routes = vec![Route { when: Some("message.".into()), then: Then::Answer("'a'".into()) }];
    let Err(error) = Server::bind(config, served.bus.clone(), None).await else { panic!() };
    assert!(matches!(&error, BindError::Route(_)) && error.to_string().contains("route 0, when"), "{error}");
}

#[tokio::test]
async fn answers_of_rest_have_the_media_type_that_the_client_names() {
    const PLAIN: &str = "application/json";
    const OURS: &str = "application/a2a+json";
    let (served, _) = desk(&["report"], |_| {}).await;
    let sent = json!({ "message": message("m", "a"), "configuration": { "returnImmediately": true } });
    for (headers, expected) in [
        (&["Content-Type: application/json"][..], PLAIN),
        (&["Content-Type: application/json", "Accept: */*"], PLAIN),
        (&["Content-Type: application/a2a+json"], OURS),
        (&["Content-Type: application/a2a+json", "Accept: */*"], OURS),
        (&["Content-Type: application/a2a+json", "Accept: application/json"], PLAIN),
        (&["Content-Type: application/json", "Accept: application/a2a+json"], OURS),
        (&["Content-Type: application/json", "Accept: application/json, application/a2a+json"], OURS),
        (&["Content-Type: application/json", "Accept: application/json, application/a2a+json;q=0.5"], PLAIN),
        (&["Content-Type: application/json", "Accept: application/a2a+json;q=0"], PLAIN),
    ] {
        let headers = [&[VERSION], headers].concat();
        let answer = request(served.address, "POST", "/a2a/message:send", &headers, &sent.to_string()).await;
        assert_eq!((answer.status, answer.header("content-type")), (200, Some(expected)), "{headers:?}");
    }
    for (accept, expected) in [("*/*", PLAIN), (OURS, OURS), ("text/html", PLAIN)] {
        let accept = format!("Accept: {accept}");
        let answer = request(served.address, "GET", "/a2a/tasks/none", &[VERSION, &accept], "").await;
        assert_eq!((answer.status, answer.header("content-type")), (404, Some(expected)), "{accept}");
    }
}

#[tokio::test]
async fn a_request_that_is_not_let_in_is_told_so_in_the_words_of_a2a() {
    let (served, _) = desk(&["report"], |_| {}).await;
    let long = format!("/a2a/tasks?pageToken={}", "a".repeat(8 * 1024));
    for (headers, status, name, grpc) in [
        (&["Authorization: Bearer other"][..], 401, "UNAUTHENTICATED", "UNAUTHENTICATED"),
        (&["Origin: https://evil.example"], 403, "PERMISSION_DENIED", "PERMISSION_DENIED"),
        (&["Host: evil.example"], 400, "INVALID_REQUEST", "INVALID_ARGUMENT"),
    ] {
        let headers = [&[VERSION, JSON], headers].concat();
        for (verb, target) in
            [("GET", "/a2a/tasks"), ("POST", "/a2a/message:stream"), ("GET", "/a2a/extensions/plan-events")]
        {
            let answer = request(served.address, verb, target, &headers, "").await;
            let error = &answer.json()["error"];
            assert_eq!((answer.status, reason(error), &error["status"]), (status, name, &json!(grpc)));
            assert_eq!(answer.header("www-authenticate").is_some(), status == 401);
        }
        for target in ["/a2a", "/a2a/"] {
            let answer = request(served.address, "POST", target, &headers, "{}").await;
            let body = answer.json();
            assert_eq!(
                (answer.status, &body["id"], &body["error"]["code"]),
                (status, &Value::Null, &json!(-32600))
            );
            assert_eq!(
                (reason(&body["error"]), answer.header("content-type")),
                (name, Some("application/json"))
            );
        }
    }
    let answer = request(served.address, "GET", &long, &[VERSION], "").await;
    assert_eq!((answer.status, reason(&answer.json()["error"])), (414, "REQUEST_TARGET_TOO_LONG"));
    // The card says how to prove who one is, so it is there for those who have tried in vain.
    let card = "/.well-known/agent-card.json";
    assert_eq!(request(served.address, "GET", card, &["Authorization: Basic eDp5"], "").await.status, 200);
}

#[tokio::test]
async fn what_only_concerns_streams_or_bodies_stops_nothing_else() {
    let (served, _) = desk(&["report"], |_| {}).await;
    served.start_plan("p").await;
    let headers = [VERSION, JSON, "Last-Event-ID: 2"];
    for (method, params) in [("GetTask", json!({ "id": "p" })), ("ListTasks", json!({}))] {
        let body = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params }).to_string();
        let answer = request(served.address, "POST", "/a2a?event_field=maybe", &headers, &body).await;
        assert!(result(&answer, &json!(1)).is_ok(), "{answer:?}");
    }
    let answer = request(served.address, "GET", "/a2a/tasks/p?after=x", &headers, "").await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let body = json!({ "jsonrpc": "2.0", "id": 1, "method": "SubscribeToTask", "params": { "id": "p" } });
    let answer = request(served.address, "POST", "/a2a", &headers, &body.to_string()).await;
    assert_eq!(fields(&result(&answer, &json!(1)).unwrap_err()), ["Last-Event-ID"]);
    // A body that is not there has no type.
    let answer =
        request(served.address, "GET", "/a2a/tasks/p", &[VERSION, "Content-Type: text/plain"], "").await;
    assert_eq!(answer.status, 200, "{answer:?}");
}
