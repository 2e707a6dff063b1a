//! What can go wrong in A2A, with its code in each binding.
//!
//! Codes, statuses and reasons are those of the specification 1.0.1. This is the only place that maps them.
//! **Invariant:** every error says in `google.rpc.ErrorInfo` what it is, whichever binding carries it.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use planwire_bus::{PublishError, ReadError, StartError, StreamError};
use planwire_event::Refusal;
use planwire_store::StoreError;
use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use crate::config::RETRY_AFTER_S;
use crate::problem::{Kind, Problem};

/// Who defines the reasons.
const DOMAIN: &str = "a2a-protocol.org";

macro_rules! errors {
    ($($(#[$doc:meta])* $name:ident $code:literal $status:ident $http:literal;)*) => {
        /// What went wrong.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum ErrorKind { $($(#[$doc])* $name,)* }

        impl ErrorKind {
            #[cfg(test)]
            pub(crate) const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The code in JSON-RPC.
            pub(crate) const fn code(self) -> i32 {
                match self { $(Self::$name => $code,)* }
            }

            /// The name of the gRPC status.
            pub(crate) const fn status(self) -> &'static str {
                match self { $(Self::$name => stringify!($status),)* }
            }

            /// The HTTP status in REST.
            pub(crate) const fn http(self) -> u16 {
                match self { $(Self::$name => $http,)* }
            }

            const fn name(self) -> &'static str {
                match self { $(Self::$name => stringify!($name),)* }
            }
        }
    };
}

errors! {
    /// No such task, or not for this caller.
    TaskNotFound -32001 NOT_FOUND 404;
    /// The task has ended.
    TaskNotCancelable -32002 FAILED_PRECONDITION 400;
    /// We do not call back.
    PushNotificationNotSupported -32003 FAILED_PRECONDITION 400;
    /// The task, or the server, does not do that.
    UnsupportedOperation -32004 FAILED_PRECONDITION 400;
    /// The client takes none of the types that answers and artifacts have.
    ContentTypeNotSupported -32005 INVALID_ARGUMENT 400;
    /// The body is not JSON by its `Content-Type`: the same error, with the status that HTTP has for it. A page of
    /// another site gets no further, whichever route it tries.
    BodyTypeNotSupported -32005 INVALID_ARGUMENT 415;
    /// What is set up here gave something that is no answer.
    InvalidAgentResponse -32006 INTERNAL 500;
    /// There should be an extended card, and is none. Ours says that there is none, so nobody is told this.
    #[cfg_attr(not(test), expect(dead_code, reason = "the table of the specification is whole"))]
    ExtendedAgentCardNotConfigured -32007 FAILED_PRECONDITION 400;
    /// The client must activate our extension.
    ExtensionSupportRequired -32008 FAILED_PRECONDITION 400;
    /// We speak another version.
    VersionNotSupported -32009 FAILED_PRECONDITION 400;
    /// No JSON.
    ParseError -32700 INVALID_ARGUMENT 400;
    /// JSON, but no request.
    InvalidRequest -32600 INVALID_ARGUMENT 400;
    /// The request is larger than a request may be.
    RequestTooLarge -32600 INVALID_ARGUMENT 413;
    /// The request did not arrive in time.
    RequestTimeout -32600 DEADLINE_EXCEEDED 408;
    /// The request's target is longer than one may be.
    RequestTargetTooLong -32600 INVALID_ARGUMENT 414;
    /// Who asks is not who it says to be.
    Unauthenticated -32600 UNAUTHENTICATED 401;
    /// Who asks may not: another site's page, or somebody who takes this server for another.
    PermissionDenied -32600 PERMISSION_DENIED 403;
    /// No such method, or nothing at the path.
    MethodNotFound -32601 NOT_FOUND 404;
    /// The path takes other methods.
    MethodNotAllowed -32601 UNIMPLEMENTED 405;
    /// Members of the request do not fit.
    InvalidParams -32602 INVALID_ARGUMENT 400;
    /// Our fault.
    InternalError -32603 INTERNAL 500;
    /// Not now: the request can be sent again.
    Unavailable -32603 UNAVAILABLE 503;
}

impl ErrorKind {
    /// The name in capitals, as `TASK_NOT_FOUND`.
    fn reason(self) -> String {
        let name = match self {
            Self::BodyTypeNotSupported => Self::ContentTypeNotSupported.name(),
            kind => kind.name(),
        };
        let mut reason = String::new();
        for letter in name.chars() {
            if letter.is_ascii_uppercase() && !reason.is_empty() {
                reason.push('_');
            }
            reason.push(letter.to_ascii_uppercase());
        }
        reason
    }
}

/// A member of a request that does not fit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct FieldViolation {
    /// Its path, as `message.parts[0]`.
    pub(crate) field: String,
    pub(crate) description: String,
}

/// An answer that is no success.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct A2aError {
    kind: ErrorKind,
    message: String,
    violations: Vec<FieldViolation>,
    /// What programs may want to know; texts only, as ErrorInfo has it.
    metadata: Map<String, Value>,
}

impl A2aError {
    /// Makes an error of its kind and of what is special about this occurrence.
    pub(crate) fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), violations: Vec::new(), metadata: Map::new() }
    }

    /// Members that do not fit; at least one.
    pub(crate) fn invalid(violations: Vec<FieldViolation>) -> Self {
        let message = match &violations[..] {
            [first] => format!("{}: {}", first.field, first.description),
            [first, rest @ ..] => {
                format!("{}: {} (and {} more)", first.field, first.description, rest.len())
            }
            [] => "the parameters do not fit".to_owned(),
        };
        Self { violations, ..Self::new(ErrorKind::InvalidParams, message) }
    }

    /// One member that does not fit.
    pub(crate) fn field(field: impl Into<String>, description: impl Into<String>) -> Self {
        Self::invalid(vec![FieldViolation { field: field.into(), description: description.into() }])
    }

    /// No such task.
    pub(crate) fn task_not_found(id: &str) -> Self {
        let id: String = id.chars().take(128).collect();
        Self::new(ErrorKind::TaskNotFound, format!("task {id} is unknown")).with("taskId", id)
    }

    /// Adds a text to the metadata of ErrorInfo.
    #[must_use]
    pub(crate) fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.metadata.insert(name.to_owned(), Value::String(value.into()));
        self
    }

    #[cfg(test)]
    pub(crate) const fn kind(&self) -> ErrorKind {
        self.kind
    }

    #[cfg(test)]
    pub(crate) fn violations(&self) -> &[FieldViolation] {
        &self.violations
    }

    fn details(&self) -> Vec<Value> {
        let mut info = json!({
            "@type": "type.googleapis.com/google.rpc.ErrorInfo",
            "reason": self.kind.reason(),
            "domain": DOMAIN,
        });
        if !self.metadata.is_empty() {
            info["metadata"] = Value::Object(self.metadata.clone());
        }
        let mut details = vec![info];
        if !self.violations.is_empty() {
            details.push(json!({
                "@type": "type.googleapis.com/google.rpc.BadRequest",
                "fieldViolations": self.violations,
            }));
        }
        details
    }

    /// The answer in JSON-RPC: HTTP 200, whatever went wrong. `id` is that of the request, null if it is not known.
    pub(crate) fn json_rpc(self, id: &RawValue) -> Response {
        #[derive(Serialize)]
        struct Body<'a> {
            jsonrpc: &'static str,
            id: &'a RawValue,
            error: Value,
        }
        let error = json!({ "code": self.kind.code(), "message": self.message, "data": self.details() });
        let body = Body { jsonrpc: "2.0", id, error };
        let body = serde_json::to_vec(&body).unwrap_or_default();
        self.respond(StatusCode::OK, "application/json", body)
    }

    /// The answer in JSON-RPC to a request that is not even looked at, with the status that HTTP has for that.
    pub(crate) fn json_rpc_refusal(self) -> Response {
        let status = self.status();
        let mut response = self.json_rpc(RawValue::NULL);
        *response.status_mut() = status;
        response
    }

    /// The answer in REST, under the media type that the client reads.
    pub(crate) fn rest(self, media_type: &'static str) -> Response {
        let status = self.status();
        let body = json!({ "error": {
            "code": status.as_u16(),
            "status": self.kind.status(),
            "message": self.message,
            "details": self.details(),
        }});
        self.respond(status, media_type, body.to_string().into_bytes())
    }

    fn status(&self) -> StatusCode {
        StatusCode::from_u16(self.kind.http()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    fn respond(&self, status: StatusCode, media_type: &'static str, body: Vec<u8>) -> Response {
        let mut response = (status, [(header::CONTENT_TYPE, media_type)], body).into_response();
        match self.kind {
            ErrorKind::Unavailable => {
                response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(RETRY_AFTER_S));
            }
            ErrorKind::Unauthenticated => {
                let scheme = HeaderValue::from_static("Bearer");
                response.headers_mut().insert(header::WWW_AUTHENTICATE, scheme);
            }
            _ => {}
        }
        response
    }
}

impl From<Problem> for A2aError {
    fn from(problem: Problem) -> Self {
        let kind = match problem.kind() {
            Kind::PlanUnknown => ErrorKind::TaskNotFound,
            Kind::BodyTooLarge => ErrorKind::RequestTooLarge,
            Kind::BodyTimeout => ErrorKind::RequestTimeout,
            Kind::BodyMalformed => ErrorKind::ParseError,
            Kind::HeadMalformed => ErrorKind::InvalidRequest,
            Kind::UriTooLong => ErrorKind::RequestTargetTooLong,
            Kind::TokenRefused => ErrorKind::Unauthenticated,
            Kind::HostRefused | Kind::OriginRefused => ErrorKind::PermissionDenied,
            Kind::InputsInvalid | Kind::DocumentUnregistered | Kind::DocumentInvalid => {
                ErrorKind::InvalidParams
            }
            Kind::EventRefused | Kind::EventConflict | Kind::PlanEnded | Kind::NoEngine => {
                ErrorKind::UnsupportedOperation
            }
            kind => match kind.status() {
                503 => ErrorKind::Unavailable,
                500.. => ErrorKind::InternalError,
                _ => ErrorKind::InvalidParams,
            },
        };
        Self::new(kind, problem.detail())
    }
}

impl From<StoreError> for A2aError {
    fn from(error: StoreError) -> Self {
        Problem::of_read(&error).into()
    }
}

impl From<ReadError> for A2aError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Store(source) => source.into(),
            other => Self::new(ErrorKind::InternalError, other.to_string()),
        }
    }
}

impl From<StreamError> for A2aError {
    fn from(error: StreamError) -> Self {
        Problem::from(error).into()
    }
}

impl From<PublishError> for A2aError {
    fn from(error: PublishError) -> Self {
        match error {
            PublishError::Rejected { refusal: Refusal::PlanNotStarted { plan_id }, .. } => {
                Self::task_not_found(plan_id.as_str())
            }
            // Without the index of the event: the client has sent none.
            PublishError::Rejected { refusal, .. } => {
                Self::new(ErrorKind::UnsupportedOperation, refusal.to_string())
            }
            other => Problem::from(other).into(),
        }
    }
}

impl From<StartError> for A2aError {
    fn from(error: StartError) -> Self {
        match error {
            StartError::Inputs { message } => Self::field("message.parts", message),
            StartError::Publish(source) => source.into(),
            other => Problem::from(other).into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_statuses_and_reasons_are_those_of_the_specification() {
        let lines: Vec<_> = ErrorKind::ALL
            .iter()
            .map(|kind| format!("{} {} {} {}", kind.reason(), kind.code(), kind.status(), kind.http()))
            .collect();
        insta::assert_snapshot!(lines.join("\n"), @r"
        TASK_NOT_FOUND -32001 NOT_FOUND 404
        TASK_NOT_CANCELABLE -32002 FAILED_PRECONDITION 400
        PUSH_NOTIFICATION_NOT_SUPPORTED -32003 FAILED_PRECONDITION 400
        UNSUPPORTED_OPERATION -32004 FAILED_PRECONDITION 400
        CONTENT_TYPE_NOT_SUPPORTED -32005 INVALID_ARGUMENT 400
        CONTENT_TYPE_NOT_SUPPORTED -32005 INVALID_ARGUMENT 415
        INVALID_AGENT_RESPONSE -32006 INTERNAL 500
        EXTENDED_AGENT_CARD_NOT_CONFIGURED -32007 FAILED_PRECONDITION 400
        EXTENSION_SUPPORT_REQUIRED -32008 FAILED_PRECONDITION 400
        VERSION_NOT_SUPPORTED -32009 FAILED_PRECONDITION 400
        PARSE_ERROR -32700 INVALID_ARGUMENT 400
        INVALID_REQUEST -32600 INVALID_ARGUMENT 400
        REQUEST_TOO_LARGE -32600 INVALID_ARGUMENT 413
        REQUEST_TIMEOUT -32600 DEADLINE_EXCEEDED 408
        REQUEST_TARGET_TOO_LONG -32600 INVALID_ARGUMENT 414
        UNAUTHENTICATED -32600 UNAUTHENTICATED 401
        PERMISSION_DENIED -32600 PERMISSION_DENIED 403
        METHOD_NOT_FOUND -32601 NOT_FOUND 404
        METHOD_NOT_ALLOWED -32601 UNIMPLEMENTED 405
        INVALID_PARAMS -32602 INVALID_ARGUMENT 400
        INTERNAL_ERROR -32603 INTERNAL 500
        UNAVAILABLE -32603 UNAVAILABLE 503
        ");
    }
}
