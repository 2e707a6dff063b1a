//! What texts must be like that keys take.

use planwire_engine::tools::http::AllowPrivate;

/// Characters of a text on one line.
const LINE_CHARS_MAX: usize = 1_000;

pub(super) fn is_line(text: &str) -> bool {
    !text.trim().is_empty() && !text.contains(char::is_control) && text.chars().count() <= LINE_CHARS_MAX
}

/// Characters of a text of several lines.
const TEXT_CHARS_MAX: usize = 10_000;

pub(super) fn is_text(text: &str) -> bool {
    let fits = |c: char| !c.is_control() || matches!(c, '\n' | '\t');
    !text.trim().is_empty() && text.chars().all(fits) && text.chars().count() <= TEXT_CHARS_MAX
}

pub(super) fn is_host(text: &str) -> bool {
    let authority = text.parse::<hyper::http::uri::Authority>();
    authority.is_ok_and(|authority| !authority.host().is_empty() && !text.contains('@'))
}

pub(super) fn is_origin(text: &str) -> bool {
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    rest.is_some_and(is_host)
}

pub(super) fn is_absolute(text: &str) -> bool {
    text.starts_with('/') && !text.contains('\0')
}

pub(super) fn is_url(text: &str) -> bool {
    is_line(text)
        && text.parse::<hyper::Uri>().is_ok_and(|uri| {
            matches!(uri.scheme_str(), Some("http" | "https"))
                && uri.authority().is_some_and(|authority| is_host(authority.as_str()))
                && uri.query().is_none()
                && !text.contains('#')
        })
}

pub(super) fn is_host_or_network(text: &str) -> bool {
    AllowPrivate::parse([text]).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_origins_and_addresses_are_told_apart() {
        let hosts = ["a", "a.example:7420", "10.0.0.1", "[::1]:80"];
        assert!(hosts.iter().all(|text| is_host(text)));
        assert!(!["", "a b", "http://a", "a/b", "u@a", "a:b:c"].iter().any(|text| is_host(text)));
        assert!(["http://a", "https://a:1"].iter().all(|text| is_origin(text)));
        assert!(!["a", "ftp://a", "https://a/", "https://u@a"].iter().any(|text| is_origin(text)));
        assert!(["http://a", "https://a:1/b/"].iter().all(|text| is_url(text)));
        assert!(!["a", "/b", "ftp://a", "http://a?q", "http://a#f", ""].iter().any(|text| is_url(text)));
    }
}
