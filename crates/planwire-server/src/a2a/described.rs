//! What the facade takes and gives, for `/openapi.json`.
//!
//! A request is read by hand, so that all that is wrong with it is named at once; here its form is told with the limits
//! by which it is read. Answers are the types of `wire`. Every path below `/a2a` is there once more below
//! `/a2a/{tenant}`.

use serde_json::{Value, json};

use super::MEDIA_TYPE;
use super::error::ErrorKind;
use super::methods::TaskPage;
use super::request::{CONTEXT_ID_BYTES_MAX, PAGE_TASKS_MAX, PAGE_TOKEN_BYTES_MAX};
use super::wire::{StreamResponse, Task, TaskState};
use crate::openapi::{Answer, Body, Content, Described, Operation, Parameter, Schemas, Values, frame};

/// The card and the text of the extension.
pub(crate) static CARD: Operation = Operation {
    id: "getAgentCard",
    summary: "The agent card of A2A",
    description: "Who this is, what it can do, and where. Each registered plan document is a skill.",
    parameters: &[],
    body: None,
    answers: &[
        Answer::new(200, "The card.", &[Content::of("application/json", |_| json!({"type": "object"}))])
            .with_headers(&[
                ("ETag", "Its name; for `If-None-Match`."),
                ("Cache-Control", "How long it may be kept."),
                ("Last-Modified", "Since when it is so; for `If-Modified-Since`."),
            ]),
        Answer::new(304, "The client has it already.", &[]),
    ],
    faults: &[],
    problems: &[],
};

pub(crate) static EXTENSION: Operation = Operation {
    id: "getPlanEventsExtension",
    summary: "The text of the extension urn:planwire:a2a:plan-events:1",
    description: "What it adds to A2A, for people.",
    parameters: &[],
    body: None,
    answers: &[Answer::new(200, "The text.", &[Content::of("text/markdown", |_| json!({"type": "string"}))])],
    faults: REFUSALS,
    problems: &[],
};

/// All that JSON-RPC answers at `/a2a`.
pub(crate) const OF_JSON_RPC: &[Described] =
    &[Described { method: "post", path: "/a2a", operation: &JSON_RPC }];

/// All that REST answers below it.
pub(crate) const OF_REST: &[Described] = &[
    Described { method: "post", path: "/a2a/message:send", operation: &SEND },
    Described { method: "post", path: "/a2a/message:stream", operation: &STREAM },
    Described { method: "get", path: "/a2a/tasks", operation: &LIST },
    Described { method: "get", path: "/a2a/tasks/{id}", operation: &GET },
    Described { method: "post", path: "/a2a/tasks/{id}:cancel", operation: &CANCEL },
    Described { method: "get", path: "/a2a/tasks/{id}:subscribe", operation: &SUBSCRIBE },
    Described { method: "post", path: "/a2a/tasks/{id}:subscribe", operation: &SUBSCRIBE_BY_POST },
    Described { method: "get", path: "/a2a/extendedAgentCard", operation: &EXTENDED_CARD },
];

const HEAD: &[Parameter] = &[
    Parameter::header(
        "A2A-Version",
        Values::Required { pattern: r"^1\.0(\.[0-9]{1,9})?$" },
        "The version that the client speaks; without it 0.3 is meant, which is refused.",
    ),
    Parameter::header(
        "A2A-Extensions",
        Values::Any,
        "Extensions that the client activates; `urn:planwire:a2a:plan-events:1` is known.",
    ),
];

const TASK: &[Parameter] = &[Parameter::path("id", Values::PlanId, "The task: a plan.")];

const RESUMED: &[Parameter] = &[
    Parameter::header(
        "Last-Event-ID",
        Values::Cursor,
        "The `id` of the last frame that was seen: the stream goes on after it, also after a restart of the server.",
    ),
    Parameter::query("after", Values::Cursor, "The same, for clients that cannot send the header."),
    Parameter::query(
        "event_field",
        Values::Choices(&["off", "on"]),
        "`off`: frames carry no `event:`, so that `EventSource.onmessage` sees all.",
    ),
];

const HISTORY_LENGTH: Parameter = Parameter::query(
    "historyLength",
    Values::Count { max: u32::MAX >> 1 },
    "Messages of the history, the last ones; all if left out.",
);

const LISTED: &[Parameter] = &[
    Parameter::query("contextId", Values::Text { chars_max: CONTEXT_ID_BYTES_MAX }, "Only of this context."),
    Parameter::query("status", Values::TaskState, "Only of this state."),
    Parameter::query("pageSize", Values::Page { max: PAGE_TASKS_MAX }, "Tasks of a page."),
    Parameter::query(
        "pageToken",
        Values::Text { chars_max: PAGE_TOKEN_BYTES_MAX },
        "The `nextPageToken` of the page before.",
    ),
    HISTORY_LENGTH,
    Parameter::query(
        "statusTimestampAfter",
        Values::Timestamp,
        "Only tasks whose status is of this time or later.",
    ),
    Parameter::query(
        "includeArtifacts",
        Values::Choices(&["true", "false"]),
        "Whether tasks have their artifacts.",
    ),
];

const FRAME_NAMES: &str = "Which of the members of StreamResponse it has, or the type of the plan's event.";

/// The errors of REST: statuses with the kinds that have them.
const FAULTS: &[Answer] = &[
    fault(ErrorKind::InvalidParams, "The request does not fit, or the task does not do that now."),
    fault(ErrorKind::Unauthenticated, UNAUTHENTICATED).with_headers(AUTHENTICATE),
    fault(ErrorKind::PermissionDenied, PERMISSION_DENIED),
    fault(ErrorKind::TaskNotFound, "No such task."),
    fault(ErrorKind::RequestTimeout, "The request did not arrive in time."),
    fault(ErrorKind::RequestTooLarge, "The request is too large."),
    fault(ErrorKind::RequestTargetTooLong, TARGET_TOO_LONG),
    fault(ErrorKind::BodyTypeNotSupported, "The body is not JSON by its `Content-Type`."),
    fault(ErrorKind::InternalError, "The server could not make the answer."),
    fault(ErrorKind::Unavailable, "Not now: the request can be sent again.")
        .with_headers(&[("Retry-After", "Seconds after which to ask again.")]),
];

const fn fault(kind: ErrorKind, description: &'static str) -> Answer {
    const ERROR: &[Content] = &of_rest(error);
    Answer::new(kind.http(), description, ERROR)
}

const BAD_HEAD: &str = "The request's head contradicts itself.";
const UNAUTHENTICATED: &str = "A token was sent that is not valid here.";
const PERMISSION_DENIED: &str = "The host is not ours, or the page of another site asks.";
const TARGET_TOO_LONG: &str = "The request's target is too long.";
const AUTHENTICATE: &[(&str, &str)] = &[("WWW-Authenticate", "How to say who asks.")];

/// What is answered to a request that is not let in.
const REFUSALS: &[Answer] = &[
    fault(ErrorKind::InvalidRequest, BAD_HEAD),
    fault(ErrorKind::Unauthenticated, UNAUTHENTICATED).with_headers(AUTHENTICATE),
    fault(ErrorKind::PermissionDenied, PERMISSION_DENIED),
    fault(ErrorKind::RequestTargetTooLong, TARGET_TOO_LONG),
];

/// The same in JSON-RPC: the only answers that have not the status 200.
const REFUSALS_OF_JSON_RPC: &[Answer] = &[
    refusal(ErrorKind::InvalidRequest, BAD_HEAD),
    refusal(ErrorKind::Unauthenticated, UNAUTHENTICATED).with_headers(AUTHENTICATE),
    refusal(ErrorKind::PermissionDenied, PERMISSION_DENIED),
    refusal(ErrorKind::RequestTargetTooLong, TARGET_TOO_LONG),
];

const fn refusal(kind: ErrorKind, description: &'static str) -> Answer {
    const ERROR: &[Content] = &[Content::of("application/json", replied)];
    Answer::new(kind.http(), description, ERROR)
}

fn error(_: &mut Schemas) -> Value {
    let texts = |text: &str| json!({"type": "string", "description": text});
    json!({
        "title": "An error of A2A",
        "type": "object",
        "properties": {
            "error": {
                "type": "object",
                "properties": {
                    "code": {"type": "integer", "description": "The HTTP status."},
                    "status": texts("The name of the gRPC status."),
                    "message": texts("What is special about this occurrence."),
                    "details": {
                        "description": "First google.rpc.ErrorInfo, whose `reason` says which error of A2A this is; \
                                        google.rpc.BadRequest names members that do not fit.",
                        "type": "array",
                        "items": {"type": "object", "required": ["@type"]},
                        "minItems": 1,
                    },
                },
                "required": ["code", "status", "message", "details"],
            },
        },
        "required": ["error"],
    })
}

/// An answer of REST, whose media type is the one that the client names.
const fn of_rest(schema: fn(&mut Schemas) -> Value) -> [Content; 2] {
    [Content::of("application/json", schema), Content::of(MEDIA_TYPE, schema)]
}

/// The methods that are there, of those that A2A has.
const METHODS: [&str; 6] =
    ["SendMessage", "SendStreamingMessage", "GetTask", "ListTasks", "CancelTask", "SubscribeToTask"];

static JSON_RPC: Operation = Operation {
    id: "callA2a",
    summary: "A2A 1.0 over JSON-RPC",
    description: "Every method of A2A by its name. The HTTP status is 200 whatever comes of it, once the request is let in; \
                  SendStreamingMessage and SubscribeToTask answer with a stream whose frames are whole answers of JSON-RPC.",
    parameters: &[HEAD, RESUMED],
    body: Some(Body { content: Content::of("application/json", called), required: true }),
    answers: &[Answer::new(
        200,
        "A result or an error.",
        &[Content::of("application/json", replied), Content::stream(replied_frame)],
    )],
    faults: REFUSALS_OF_JSON_RPC,
    problems: &[],
};

fn called(_: &mut Schemas) -> Value {
    json!({
        "type": "object",
        "properties": {
            "jsonrpc": {"const": "2.0"},
            "id": {"type": ["string", "integer"]},
            "method": {"enum": METHODS},
            "params": {"type": "object"},
        },
        "required": ["jsonrpc", "id", "method"],
    })
}

fn replied(_: &mut Schemas) -> Value {
    json!({
        "type": "object",
        "properties": {
            "jsonrpc": {"const": "2.0"},
            "id": {"type": ["string", "number", "null"]},
            "result": {"type": "object"},
            "error": {
                "type": "object",
                "properties": {
                    "code": {"type": "integer"},
                    "message": {"type": "string"},
                    "data": {"type": "array", "items": {"type": "object"}},
                },
                "required": ["code", "message"],
            },
        },
        "required": ["jsonrpc", "id"],
        "oneOf": [{"required": ["result"]}, {"required": ["error"]}],
    })
}

fn replied_frame(schemas: &mut Schemas) -> Value {
    frame(FRAME_NAMES, &replied(schemas))
}

fn update_frame(schemas: &mut Schemas) -> Value {
    frame(FRAME_NAMES, &schemas.answer::<StreamResponse>())
}

static SEND: Operation = Operation {
    id: "sendMessage",
    summary: "SendMessage: starts a task, answers its question, or gets a direct answer",
    description: "Waits until the task ends or asks something, unless `configuration.returnImmediately`. With our \
                  extension a message may ask its task to pause or to go on, which is answered at once.",
    parameters: &[HEAD],
    body: Some(Body { content: Content::of("application/json", sent), required: true }),
    answers: &[Answer::new(
        200,
        "The task, or a message.",
        &of_rest(|schemas| schemas.answer::<StreamResponse>()),
    )],
    faults: FAULTS,
    problems: &[],
};

static STREAM: Operation = Operation {
    id: "sendStreamingMessage",
    summary: "SendStreamingMessage: the same, and follows the task",
    description: "A stream: the task as it stands, then each update once, until the task ends or asks something.",
    parameters: &[HEAD, RESUMED],
    body: Some(Body { content: Content::of("application/json", sent), required: true }),
    answers: &[Answer::new(200, "Each frame is one StreamResponse.", &[Content::stream(update_frame)])],
    faults: FAULTS,
    problems: &[],
};

fn sent(_: &mut Schemas) -> Value {
    let id = json!({"type": ["string", "null"], "pattern": format!("^[!-~]{{0,{CONTEXT_ID_BYTES_MAX}}}$")});
    let part = |content: &str, schema: Value| {
        json!({
            "type": "object",
            "properties": {
                content: schema,
                "filename": {"type": ["string", "null"]},
                "mediaType": {"type": ["string", "null"]},
                "metadata": {"type": ["object", "null"]},
            },
            "required": [content],
            "additionalProperties": false,
        })
    };
    let text = json!({"type": "string"});
    json!({
        "title": "SendMessageRequest",
        "type": "object",
        "properties": {
            "message": {
                "type": "object",
                "properties": {
                    "messageId": {"type": "string", "pattern": "^[!-~]{1,128}$"},
                    "role": {"const": "ROLE_USER"},
                    "parts": {
                        "type": "array",
                        "items": {"anyOf": [part("text", text.clone()), part("url", text), part("data", json!(true))]},
                        "minItems": 1,
                        "maxItems": 1000,
                    },
                    "contextId": id,
                    "taskId": id,
                    "metadata": {"type": ["object", "null"]},
                },
                "required": ["messageId", "role", "parts"],
            },
            "configuration": {
                "type": ["object", "null"],
                "properties": {"returnImmediately": {"type": ["boolean", "null"]}},
            },
            "metadata": {"type": ["object", "null"]},
        },
        "required": ["message"],
    })
}

static LIST: Operation = Operation {
    id: "listTasks",
    summary: "ListTasks: the task whose status changed last comes first",
    description: "",
    parameters: &[HEAD, LISTED],
    body: None,
    answers: &[Answer::new(200, "A page of tasks.", &of_rest(|schemas| schemas.answer::<TaskPage>()))],
    faults: FAULTS,
    problems: &[],
};

const ONE_TASK: &[Answer] = &[Answer::new(200, "The task.", &of_rest(|schemas| schemas.answer::<Task>()))];

static GET: Operation = Operation {
    id: "getTask",
    summary: "GetTask",
    description: "The task as it stands, with history and artifacts.",
    parameters: &[HEAD, TASK, &[HISTORY_LENGTH]],
    body: None,
    answers: ONE_TASK,
    faults: FAULTS,
    problems: &[],
};

static CANCEL: Operation = Operation {
    id: "cancelTask",
    summary: "CancelTask: asks that a task end, and waits for it",
    description: "A task that has ended is an error, TASK_NOT_CANCELABLE.",
    parameters: &[HEAD, TASK],
    body: None,
    answers: ONE_TASK,
    faults: FAULTS,
    problems: &[],
};

const SUBSCRIBED: &[Answer] =
    &[Answer::new(200, "Each frame is one StreamResponse.", &[Content::stream(update_frame)])];

static SUBSCRIBE: Operation = Operation {
    id: "subscribeToTask",
    summary: "SubscribeToTask: follows a task, from now or from any frame",
    description: "A stream: the task as it stood at the cursor, then each update once, until the task ends.",
    parameters: &[HEAD, TASK, RESUMED],
    body: None,
    answers: SUBSCRIBED,
    faults: FAULTS,
    problems: &[],
};

static SUBSCRIBE_BY_POST: Operation = Operation {
    id: "subscribeToTaskByPost",
    summary: "The same by POST",
    description: "Older drafts of A2A have it so.",
    parameters: &[HEAD, TASK, RESUMED],
    body: None,
    answers: SUBSCRIBED,
    faults: FAULTS,
    problems: &[],
};

static EXTENDED_CARD: Operation = Operation {
    id: "getExtendedAgentCard",
    summary: "GetExtendedAgentCard",
    description: "There is one card for all; this answers with the error UNSUPPORTED_OPERATION.",
    parameters: &[HEAD],
    body: None,
    answers: &[],
    faults: FAULTS,
    problems: &[],
};

pub(crate) fn task_state(schemas: &mut Schemas) -> Value {
    schemas.answer::<TaskState>()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::a2a::request::Method;
    use crate::a2a::rest;

    #[test]
    fn what_is_described_is_there() {
        for described in OF_REST {
            let path = described.path.strip_prefix("/a2a/").unwrap().replace("{id}", "p");
            assert!(rest::takes(described.method, &path), "{} {path}", described.method);
        }
    }

    #[test]
    fn methods_that_are_described_are_there() {
        assert!(METHODS.iter().all(|name| Method::named(name).is_some()));
    }

    #[test]
    fn each_error_of_rest_has_a_described_status() {
        let described: Vec<_> = FAULTS.iter().map(|fault| fault.status).collect();
        for kind in ErrorKind::ALL {
            // Paths that are described take their method.
            assert!(kind.http() == 405 || described.contains(&kind.http()), "{kind:?}");
        }
    }
}
