//! Bodies of requests: bounded in size and time.

use std::error::Error;
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, header};
use http_body_util::LengthLimitError;
use serde::Deserialize;

use crate::config::BODY_BYTES_MAX;
use crate::problem::{Kind, Problem};

/// Why a body is not taken.
pub(crate) const PROBLEMS: &[Kind] = &[Kind::BodyTimeout, Kind::BodyTooLarge, Kind::BodyMalformed];

/// Reads a body as text.
pub(crate) async fn text(headers: &HeaderMap, body: Body, wait: Duration) -> Result<String, Problem> {
    let announced =
        headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|bytes| bytes > BODY_BYTES_MAX as u64) {
        return Err(too_large());
    }
    let bytes = tokio::time::timeout(wait, axum::body::to_bytes(body, BODY_BYTES_MAX))
        .await
        .map_err(|_| {
            Problem::new(Kind::BodyTimeout, format!("the body took longer than {} s", wait.as_secs()))
        })?
        .map_err(|error| {
            let over = error.source().is_some_and(<dyn Error>::is::<LengthLimitError>);
            if over {
                too_large()
            } else {
                Problem::new(Kind::BodyMalformed, "the body did not arrive whole")
            }
        })?;
    String::from_utf8(bytes.into()).map_err(|_| Problem::new(Kind::BodyMalformed, "the body is not UTF-8"))
}

fn too_large() -> Problem {
    Problem::new(Kind::BodyTooLarge, format!("the limit is {BODY_BYTES_MAX} bytes"))
        .with("max_bytes", BODY_BYTES_MAX)
}

/// Characters of what is said about a body: a message that repeats the body's own words must not be as long as it.
const MESSAGE_CHARS_MAX: usize = 300;

/// Reads a text as a JSON object.
pub(crate) fn json<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, Problem> {
    let object = serde_json::from_str(text).map_err(|error| {
        let message: String = error.to_string().chars().take(MESSAGE_CHARS_MAX).collect();
        Problem::new(Kind::BodyMalformed, message)
    })?;
    // serde reads the members of a struct from an array too, by their place.
    if text.trim_start().starts_with('{') {
        return Ok(object);
    }
    Err(Problem::new(Kind::BodyMalformed, "the body must be an object"))
}
