//! What a step gets of a response: status, some headers, and a body of bounded size in the form that fits it.

use http_body_util::BodyExt as _;
use hyper::Response;
use hyper::body::Incoming;
use hyper::header::{self, HeaderMap};
use planwire_event::Digest;
use serde_json::{Map, Value, json};

use super::arguments::Request;
use super::connection::{Exchange, bad_response};
use crate::base64;
use crate::redaction::{Edges, Redactor, lossy};
use crate::tool::{ToolError, ToolOutput};

/// Bytes of each header that a step sees; a longer one counts as truncated.
const HEADER_BYTES_MAX: usize = 1024;
/// Bytes of a body that is only told in the message of a failure.
const EXCERPT_BYTES_MAX: usize = 4 * 1024;
/// Characters of it in the message.
const EXCERPT_CHARS_MAX: usize = 400;

/// The headers that a step sees, if the response has them.
const HEADERS: [&str; 7] =
    ["content-type", "etag", "last-modified", "link", "location", "retry-after", "x-request-id"];

/// Bytes of all headers that a step sees, escaped as JSON, with their names.
pub(super) const HEADERS_BYTES_MAX: usize = HEADERS.len() * (HEADER_BYTES_MAX + 32);

/// Reads the body and makes the output, or the failure, of the call.
pub(super) async fn read(
    request: &Request,
    exchange: &mut Exchange,
    redactor: &Redactor,
) -> Result<ToolOutput, ToolError> {
    let status = exchange.response().status();
    let is_ok = request.ok_statuses.contain(status);
    let kept_bytes = if is_ok { request.kept_bytes } else { EXCERPT_BYTES_MAX };
    let body = exchange.with(async |response| Body::read(response, kept_bytes).await).await;
    let body = body.map_err(|error| bad_response(request, &error))?;
    let headers = exchange.response().headers();
    let encoding = encoding_of(headers).filter(|_| !body.bytes.is_empty());
    if !is_ok {
        let reason = status.canonical_reason().unwrap_or_default();
        let message = format!("{} gives {} {reason}", request.named(), status.as_u16());
        // What is packed cannot be looked through.
        let excerpt = if encoding.is_some() { String::new() } else { body.excerpt(redactor) };
        return Err(ToolError::new("http_status", message.trim_end().to_owned() + &excerpt));
    }
    if let Some(encoding) = encoding {
        let message =
            format!("{}: the body is encoded ({encoding}), which was not asked for", request.named());
        return Err(ToolError::new("bad_response", message));
    }
    if body.is_cut && request.is_strict {
        let message = format!("{} gives more than {} bytes", request.named(), request.kept_bytes);
        return Err(ToolError::new("too_large", message));
    }
    let (shown, is_header_cut) = headers_of(headers, redactor);
    let truncated = body.is_cut || is_header_cut;
    let mut output = Map::new();
    output.insert("status".to_owned(), json!(status.as_u16()));
    output.insert("headers".to_owned(), shown);
    output.insert("url".to_owned(), json!(request.shown.url));
    output.insert("truncated".to_owned(), json!(truncated));
    body.put_into(&mut output, is_json(headers), redactor);
    Ok(ToolOutput::cut(Value::Object(output), truncated))
}

/// The headers that a step sees, without values of secrets, and whether one of them was cut then.
fn headers_of(headers: &HeaderMap, redactor: &Redactor) -> (Value, bool) {
    let mut is_cut = false;
    let mut text = |name: &str| {
        let mut value = lossy(redactor.bytes(headers.get(name)?.as_bytes()).into_owned());
        is_cut |= value.len() > HEADER_BYTES_MAX;
        value.truncate(value.floor_char_boundary(HEADER_BYTES_MAX));
        Some((name.to_owned(), json!(value)))
    };
    (Value::Object(HEADERS.into_iter().filter_map(&mut text).collect()), is_cut)
}

/// How a body is encoded, if it is.
fn encoding_of(headers: &HeaderMap) -> Option<String> {
    const NAME_CHARS_MAX: usize = 40;
    let named = headers.get_all(header::CONTENT_ENCODING).iter();
    let named = named.map(|value| String::from_utf8_lossy(value.as_bytes()).trim().to_owned());
    let mut named = named.filter(|name| !name.is_empty() && !name.eq_ignore_ascii_case("identity"));
    named.next().map(|name| name.chars().filter(char::is_ascii_graphic).take(NAME_CHARS_MAX).collect())
}

fn is_json(headers: &HeaderMap) -> bool {
    let media_type =
        headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let media_type = media_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    media_type == "application/json" || media_type.ends_with("+json")
}

/// The beginning of a body.
struct Body {
    bytes: Vec<u8>,
    /// Whether there is more.
    is_cut: bool,
}

impl Body {
    async fn read(response: &mut Response<Incoming>, bytes_max: usize) -> Result<Self, hyper::Error> {
        let mut body = Self { bytes: Vec::new(), is_cut: false };
        while let Some(frame) = response.body_mut().frame().await {
            let Ok(data) = frame?.into_data() else { continue };
            let room = bytes_max - body.bytes.len();
            body.bytes.extend_from_slice(&data[..data.len().min(room)]);
            if data.len() > room {
                body.is_cut = true;
                break;
            }
        }
        Ok(body)
    }

    /// `json`, `text`, or for bytes that are neither `size_bytes`, `digest` and `base64`, as long as they are whole.
    fn put_into(self, output: &mut Map<String, Value>, is_json: bool, redactor: &Redactor) {
        if is_json
            && !self.is_cut
            && let Ok(value) = serde_json::from_slice(&self.bytes)
        {
            output.insert("json".to_owned(), value);
            return;
        }
        let edges = Edges::cut_end_if(self.is_cut);
        match self.into_text() {
            Ok(text) => {
                output.insert("text".to_owned(), json!(redactor.cut_text(&text, edges)));
            }
            Err(body) if body.is_cut => {}
            Err(body) => {
                // All three tell of the same bytes: without values of secrets, which Base64 could hide.
                let bytes = redactor.bytes(&body.bytes);
                output.insert("size_bytes".to_owned(), json!(bytes.len()));
                output.insert("digest".to_owned(), json!(Digest::of(&bytes).to_string()));
                output.insert("base64".to_owned(), json!(base64::encode(&bytes)));
            }
        }
    }

    /// The text, if it is one; a character that the cut went through is left out.
    fn into_text(mut self) -> Result<String, Self> {
        if let Err(error) = std::str::from_utf8(&self.bytes)
            && self.is_cut
            && error.error_len().is_none()
        {
            self.bytes.truncate(error.valid_up_to());
        }
        let is_cut = self.is_cut;
        String::from_utf8(self.bytes).map_err(|error| Self { bytes: error.into_bytes(), is_cut })
    }

    /// The beginning of the body on one line, for a message.
    fn excerpt(self, redactor: &Redactor) -> String {
        let is_cut = self.is_cut;
        let Ok(text) = self.into_text() else { return String::new() };
        let text = redactor.cut_text(&text, Edges::cut_end_if(is_cut));
        let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
        let mut kept: String = line.chars().take(EXCERPT_CHARS_MAX).collect();
        if kept.is_empty() {
            return String::new();
        }
        if kept.len() < line.len() || is_cut {
            kept.push_str("...");
        }
        format!(": {kept}")
    }
}
