//! The arguments of a call, checked: a request that can be sent.

use std::collections::BTreeMap;

use bytes::Bytes;
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, StatusCode};
use planwire_event::vocabulary::Object;
use serde::Deserialize;
use serde_json::Value;

use super::shown::Shown;
use super::target::Target;
use super::{REDIRECTS_MAX, RESPONSE_BYTES_DEFAULT, RESPONSE_BYTES_MAX};
use crate::redaction::Redactor;
use crate::tool::ToolError;

/// Headers that a step may give.
const HEADERS_MAX: usize = 64;
/// Bytes of their names and values.
const HEADERS_BYTES_MAX: usize = 16 * 1024;
/// Statuses that a step may name.
const STATUSES_MAX: usize = 100;

const METHODS: [Method; 7] =
    [Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::PATCH, Method::DELETE, Method::OPTIONS];

/// Headers that say how a message travels: they are ours.
const OURS: [HeaderName; 9] = [
    header::HOST,
    header::CONTENT_LENGTH,
    header::TRANSFER_ENCODING,
    header::CONNECTION,
    header::UPGRADE,
    header::TE,
    header::TRAILER,
    header::EXPECT,
    header::ACCEPT_ENCODING,
];

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Arguments {
    url: String,
    method: Option<String>,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    #[serde(default)]
    query: Object,
    json: Option<Value>,
    text: Option<String>,
    ok_statuses: Option<Vec<Value>>,
    #[serde(default)]
    follow_redirects: u32,
    max_response_bytes: Option<usize>,
}

/// A request that can be sent.
pub(super) struct Request {
    pub(super) target: Target,
    pub(super) shown: Shown,
    pub(super) method: Method,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    pub(super) ok_statuses: Statuses,
    pub(super) follow_redirects: u32,
    pub(super) kept_bytes: usize,
    /// A longer body is a failure; otherwise it is cut.
    pub(super) is_strict: bool,
}

impl Request {
    pub(super) fn of(arguments: Arguments, redactor: &Redactor) -> Result<Self, ToolError> {
        let (target, shown) = target(&arguments, redactor)?;
        let mut headers = headers(&arguments.headers)?;
        let (body, media_type) = match (arguments.json, arguments.text) {
            (Some(_), Some(_)) => return Err(ToolError::argument("json and text cannot both be given")),
            (Some(json), None) => (Bytes::from(json.to_string()), "application/json"),
            (None, Some(text)) => (Bytes::from(text), "text/plain; charset=utf-8"),
            (None, None) => (Bytes::new(), ""),
        };
        let mut default = |name: HeaderName, value: &'static str| {
            if !value.is_empty() && !headers.contains_key(&name) {
                headers.insert(name, HeaderValue::from_static(value));
            }
        };
        default(header::CONTENT_TYPE, media_type);
        default(header::ACCEPT, "*/*");
        default(header::USER_AGENT, concat!("planwire/", env!("CARGO_PKG_VERSION")));
        if arguments.follow_redirects > REDIRECTS_MAX {
            return Err(ToolError::argument(format!("follow_redirects is at most {REDIRECTS_MAX}")));
        }
        if arguments.max_response_bytes.is_some_and(|bytes| bytes > RESPONSE_BYTES_MAX) {
            return Err(ToolError::argument(format!("max_response_bytes is at most {RESPONSE_BYTES_MAX}")));
        }
        Ok(Self {
            target,
            shown,
            method: method(arguments.method.as_deref().unwrap_or("GET"))?,
            headers,
            body,
            ok_statuses: Statuses::of(arguments.ok_statuses)?,
            follow_redirects: arguments.follow_redirects,
            kept_bytes: arguments.max_response_bytes.unwrap_or(RESPONSE_BYTES_DEFAULT),
            is_strict: arguments.max_response_bytes.is_some(),
        })
    }

    /// What was asked for, for messages.
    pub(super) fn named(&self) -> String {
        format!("{} {}", self.method, self.shown.resource)
    }
}

fn target(arguments: &Arguments, redactor: &Redactor) -> Result<(Target, Shown), ToolError> {
    let mut target = Target::parse(&arguments.url)?;
    let given = target.path_and_query();
    target.add_query(&arguments.query)?;
    let asked = target.path_and_query();
    let added = asked.strip_prefix(&given).unwrap_or_default();
    let shown = Shown::of(&target, &arguments.url, added, redactor);
    Ok((target, shown))
}

fn method(name: &str) -> Result<Method, ToolError> {
    let found = METHODS.iter().find(|method| method.as_str().eq_ignore_ascii_case(name));
    found.cloned().ok_or_else(|| {
        let known = METHODS.map(|method| method.to_string()).join(", ");
        ToolError::argument(format!("method must be one of {known}, not '{}'", name.escape_debug()))
    })
}

fn headers(given: &BTreeMap<String, String>) -> Result<HeaderMap, ToolError> {
    let bytes: usize = given.iter().map(|(name, value)| name.len() + value.len()).sum();
    if given.len() > HEADERS_MAX || bytes > HEADERS_BYTES_MAX {
        let message = format!("headers are at most {HEADERS_MAX}, of {HEADERS_BYTES_MAX} bytes together");
        return Err(ToolError::argument(message));
    }
    let mut headers = HeaderMap::new();
    for (name, value) in given {
        let shown = name.escape_debug();
        let parsed = HeaderName::from_bytes(name.as_bytes())
            .map_err(|_| ToolError::argument(format!("headers: '{shown}' is no name of a header")))?;
        if OURS.contains(&parsed) {
            return Err(ToolError::argument(format!("headers: '{shown}' cannot be given")));
        }
        // The value may hold a secret: it is not part of the message.
        let value = HeaderValue::from_str(value.trim()).map_err(|_| {
            ToolError::argument(format!("headers: the value of '{shown}' is none of a header"))
        })?;
        if headers.insert(parsed, value).is_some() {
            return Err(ToolError::argument(format!("headers: '{shown}' is given twice")));
        }
    }
    Ok(headers)
}

/// Statuses that are no failure.
pub(super) struct Statuses(Vec<(u16, u16)>);

impl Statuses {
    pub(super) fn of(given: Option<Vec<Value>>) -> Result<Self, ToolError> {
        const SUCCESS: (u16, u16) = (200, 299);
        let Some(given) = given else { return Ok(Self(vec![SUCCESS])) };
        let unknown = |value: &Value| {
            ToolError::argument(format!("ok_statuses: {value} is no status such as 404 or '4xx'"))
        };
        if given.len() > STATUSES_MAX {
            return Err(ToolError::argument(format!("ok_statuses has more than {STATUSES_MAX} entries")));
        }
        let ranges = given.iter().map(|value| range_of(value).ok_or_else(|| unknown(value)));
        ranges.collect::<Result<_, _>>().map(Self)
    }

    pub(super) fn contain(&self, status: StatusCode) -> bool {
        self.0.iter().any(|(first, last)| (*first..=*last).contains(&status.as_u16()))
    }
}

fn range_of(value: &Value) -> Option<(u16, u16)> {
    match value {
        Value::Number(number) => {
            let status =
                u16::try_from(number.as_u64()?).ok().filter(|status| (100..=599).contains(status))?;
            Some((status, status))
        }
        Value::String(text) => {
            let class =
                text.strip_suffix("xx")?.parse::<u16>().ok().filter(|class| (1..=5).contains(class))?;
            Some((class * 100, class * 100 + 99))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn request(value: Value) -> Result<Request, ToolError> {
        Request::of(serde_json::from_value(value).unwrap(), &Redactor::default())
    }

    #[test]
    fn what_cannot_be_sent_is_refused() {
        for (arguments, part) in [
            (json!({"method": "CONNECT"}), "method must be one of GET, HEAD"),
            (json!({"json": 1, "text": "a"}), "both"),
            (json!({"headers": {"Host": "b"}}), "'Host' cannot be given"),
            (json!({"headers": {"a b": "c"}}), "no name of a header"),
            (json!({"headers": {"a": "b\r\nc: d"}}), "the value of 'a'"),
            (json!({"headers": {"a": "b", "A": "c"}}), "twice"),
            (json!({"headers": {"a": "x".repeat(HEADERS_BYTES_MAX)}}), "at most 64"),
            (json!({"follow_redirects": 6}), "at most 5"),
            (json!({"max_response_bytes": RESPONSE_BYTES_MAX + 1}), "at most"),
            (json!({"ok_statuses": [99]}), "99 is no status"),
            (json!({"ok_statuses": ["6xx"]}), "\"6xx\" is no status"),
            (json!({"ok_statuses": [true]}), "true is no status"),
            (json!({"ok_statuses": vec![200; STATUSES_MAX + 1]}), "more than 100"),
        ] {
            let mut value = arguments;
            value["url"] = json!("http://a/");
            let error = request(value).err().unwrap();
            assert_eq!(error.code, "bad_argument");
            assert!(error.message.contains(part), "{}", error.message);
        }
    }

    #[test]
    fn statuses_are_single_or_classes() {
        let statuses = request(json!({"url": "http://a/", "ok_statuses": [404, "2xx"]})).unwrap().ok_statuses;
        let contains = |status| statuses.contain(StatusCode::from_u16(status).unwrap());
        assert!(contains(200) && contains(299) && contains(404));
        assert!(!contains(300) && !contains(403));
    }
}
