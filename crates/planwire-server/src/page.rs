//! The page at `/`: one file that shows plans as they happen, put together of its parts when it is first asked for.

use std::sync::LazyLock;

use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use planwire_event::Digest;

use crate::openapi::{Answer, Content, Operation};

const INDEX: &str = include_str!("page/index.html");
const STYLE: &str = include_str!("page/page.css");
const SCRIPT: &str = concat!(include_str!("page/detail.js"), include_str!("page/page.js"));

/// The page with its style and its script.
static PAGE: LazyLock<String> = LazyLock::new(|| {
    INDEX.replacen("<style>", &format!("<style>{STYLE}"), 1).replacen(
        "<script>",
        &format!("<script>{SCRIPT}"),
        1,
    )
});

/// What the page may do: run its own script and style, and ask this server. Nothing else loads or runs, whatever an
/// event holds.
static POLICY: LazyLock<HeaderValue> = LazyLock::new(|| {
    let policy = format!(
        "default-src 'none'; script-src {}; style-src {}; connect-src 'self'; img-src data:; base-uri 'none'; \
         form-action 'none'; frame-ancestors 'none'",
        hash_of(SCRIPT),
        hash_of(STYLE),
    );
    HeaderValue::from_str(&policy).unwrap_or_else(|_| HeaderValue::from_static("default-src 'none'"))
});

pub(crate) static INDEX_PAGE: Operation = Operation {
    id: "getPage",
    summary: "The page for people",
    description: "One file that shows plans as they happen.",
    parameters: &[],
    body: None,
    answers: &[Answer::new(
        200,
        "The page.",
        &[Content::of("text/html", |_| serde_json::json!({"type": "string"}))],
    )],
    faults: &[],
    problems: &[],
};

pub(crate) async fn index() -> Response {
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8")),
        (header::CONTENT_SECURITY_POLICY, POLICY.clone()),
        (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    ];
    (headers, PAGE.as_str()).into_response()
}

/// The source expression of an element that holds just `text`.
fn hash_of(text: &str) -> String {
    format!("'sha256-{}'", base64(Digest::of(text.as_bytes()).as_bytes()))
}

fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for group in bytes.chunks(3) {
        let bits = group
            .iter()
            .enumerate()
            .fold(0u32, |bits, (at, byte)| bits | (u32::from(*byte) << (16 - 8 * at)));
        for at in 0..4 {
            let index = usize::try_from((bits >> (18 - 6 * at)) & 63).unwrap_or(0);
            out.push(if at <= group.len() { char::from(ALPHABET[index]) } else { '=' });
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_that_of_rfc_4648() {
        for (bytes, text) in
            [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")]
        {
            assert_eq!(base64(bytes.as_bytes()), text);
        }
    }

    #[test]
    fn page_is_one_file_that_builds_no_html_of_text() {
        assert!(PAGE.contains(STYLE) && PAGE.contains(SCRIPT));
        for part in [INDEX, STYLE, include_str!("page/detail.js"), include_str!("page/page.js")] {
            assert!(part.lines().count() <= 300, "{} lines", part.lines().count());
        }
        for bad in [
            "innerHTML",
            "outerHTML",
            "insertAdjacentHTML",
            "document.write",
            "eval(",
            "http://",
            "https://",
            " style=",
        ] {
            assert!(!PAGE.contains(bad), "{bad}");
        }
        for tag in ["<script>", "<style>", "</script>", "</style>"] {
            assert_eq!(PAGE.matches(tag).count(), 1, "{tag}");
        }
    }
}
