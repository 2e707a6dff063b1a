//! Which version of A2A a client speaks, and which extensions it activates.

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::response::Response;

use super::error::{A2aError, ErrorKind};
use super::wire::EXTENSION;

/// The version that we speak.
pub(crate) const VERSION: &str = "1.0";

/// What a client speaks that names no version.
const UNNAMED: &str = "0.3";

const VERSION_HEADER: &str = "a2a-version";

const EXTENSIONS_HEADER: &str = "a2a-extensions";

/// Checks `A2A-Version`: the header, else the query parameter of the same name.
///
/// Major and minor decide; a patch number is ignored, as the specification asks.
pub(crate) fn check(headers: &HeaderMap, query: &[(String, String)]) -> Result<(), A2aError> {
    let header = headers.get(VERSION_HEADER).map(|value| value.to_str().unwrap_or("?").trim());
    let named = query.iter().find(|(name, _)| name.eq_ignore_ascii_case(VERSION_HEADER));
    let version = header.or(named.map(|(_, value)| value.trim())).unwrap_or_default();
    let version = if version.is_empty() { UNNAMED } else { version };
    if is_ours(version) {
        return Ok(());
    }
    let version: String = version.chars().take(32).collect();
    let message = format!(
        "A2A {version} is not spoken here; send the header A2A-Version: {VERSION} (without it, {UNNAMED} is meant)"
    );
    Err(A2aError::new(ErrorKind::VersionNotSupported, message).with("supportedVersions", VERSION))
}

fn is_ours(version: &str) -> bool {
    match version.strip_prefix(VERSION) {
        Some("") => true,
        Some(rest) => rest.strip_prefix('.').is_some_and(|patch| {
            (1..=9).contains(&patch.len()) && patch.bytes().all(|byte| byte.is_ascii_digit())
        }),
        None => false,
    }
}

/// Whether the client activates our extension. Others are ignored.
pub(crate) fn is_extended(headers: &HeaderMap) -> bool {
    headers
        .get_all(EXTENSIONS_HEADER)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|uri| uri.trim() == EXTENSION)
}

/// Says on an answer that our extension is active.
pub(crate) fn echo(response: &mut Response) {
    let name = HeaderName::from_static(EXTENSIONS_HEADER);
    response.headers_mut().insert(name, HeaderValue::from_static(EXTENSION));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn speaks(header: Option<&str>, parameter: Option<&str>) -> bool {
        let mut headers = HeaderMap::new();
        if let Some(value) = header {
            headers.insert(VERSION_HEADER, value.parse().unwrap());
        }
        let query: Vec<_> = parameter.into_iter().map(|value| ("A2A-Version".into(), value.into())).collect();
        check(&headers, &query).is_ok()
    }

    #[test]
    fn one_point_zero_is_spoken_and_must_be_named() {
        for version in ["1.0", " 1.0 ", "1.0.0", "1.0.1"] {
            assert!(speaks(Some(version), None), "{version}");
            assert!(speaks(None, Some(version)), "{version}");
        }
        for version in ["", "0.3", "1", "1.1", "1.00", "1.0.", "1.0.x", "1.0.1.2", "99.0", "v1.0", "1.0, 0.3"]
        {
            assert!(!speaks(Some(version), None), "{version}");
        }
        assert!(!speaks(None, None));
        assert!(!speaks(Some("0.3"), Some("1.0")), "the header decides");
    }

    #[test]
    fn our_extension_is_found_among_others() {
        let extended = |values: &[&str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(EXTENSIONS_HEADER, value.parse().unwrap());
            }
            is_extended(&headers)
        };
        assert!(extended(&[EXTENSION]));
        assert!(extended(&["https://a.example/x", &format!("https://b.example/y , {EXTENSION}")]));
        assert!(!extended(&[]));
        assert!(!extended(&["urn:planwire:a2a:plan-events:2", "plan-events"]));
    }
}
