//! A URL taken apart: where to connect to, and what to ask for there.

use serde_json::Value;

use super::address::is_host;
use crate::tool::ToolError;

/// Bytes of a URL, the query included.
pub(super) const URL_BYTES_MAX: usize = 8 * 1024;

/// What a request goes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) is_tls: bool,
    /// Name or address, lower-case, without brackets.
    pub(super) host: String,
    pub(super) port: u16,
    /// Begins with `/`; without query.
    path: String,
    /// Without `?`.
    query: Option<String>,
}

fn refused(why: impl std::fmt::Display) -> ToolError {
    ToolError::argument(format!("url: {why}"))
}

impl Target {
    /// Reads a whole URL. Characters that a URL cannot hold are encoded in its path and query.
    pub(super) fn parse(url: &str) -> Result<Self, ToolError> {
        let url = check(url)?;
        let (is_tls, rest) = scheme(url)
            .ok_or_else(|| refused("it begins with neither http:// nor https://"))
            .map(|(is_tls, rest)| (is_tls, rest.trim_start_matches("//")))?;
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, rest) = rest.split_at(end);
        let (host, port) = host_and_port(authority, is_tls)?;
        let (path, query) = path_and_query(rest);
        Ok(Self { is_tls, host, port, path, query }.normal())
    }

    /// The target of a `Location` seen from this one.
    pub(super) fn join(&self, location: &str) -> Result<Self, ToolError> {
        let location = check(location)?;
        if scheme(location).is_some() {
            return Self::parse(location);
        }
        if location.starts_with("//") {
            let scheme = if self.is_tls { "https:" } else { "http:" };
            return Self::parse(&format!("{scheme}{location}"));
        }
        if location.split(['/', '?']).next().is_some_and(|first| first.contains(':')) {
            return Err(refused("a redirect leads to something else than http"));
        }
        let (path, query) = match location.as_bytes().first() {
            None => (self.path.clone(), self.query.clone()),
            Some(b'?') => (self.path.clone(), path_and_query(location).1),
            Some(b'/') => path_and_query(location),
            Some(_) => {
                let folder = self.path.rsplit_once('/').map_or("", |(folder, _)| folder);
                path_and_query(&format!("{folder}/{location}"))
            }
        };
        Ok(Self { path, query, ..self.clone() }.normal())
    }

    /// Adds members of `query` to what the URL asks for.
    pub(super) fn add_query<'a>(
        &mut self,
        members: impl IntoIterator<Item = (&'a String, &'a Value)>,
    ) -> Result<(), ToolError> {
        let mut query = self.query.take().unwrap_or_default();
        for (name, value) in members {
            let values = match value {
                Value::Array(values) => values.as_slice(),
                value => std::slice::from_ref(value),
            };
            for value in values {
                let text = match value {
                    Value::String(text) => text.clone(),
                    Value::Number(_) | Value::Bool(_) => value.to_string(),
                    Value::Null => continue,
                    Value::Array(_) | Value::Object(_) => {
                        let message =
                            format!("query.{name} must be a text, a number, true, false or a list of them");
                        return Err(ToolError::argument(message));
                    }
                };
                if !query.is_empty() {
                    query.push('&');
                }
                encode(name, is_unreserved, &mut query);
                query.push('=');
                encode(&text, is_unreserved, &mut query);
            }
        }
        if query.len() + self.path.len() > URL_BYTES_MAX {
            return Err(refused(format_args!("with its query it exceeds {URL_BYTES_MAX} bytes")));
        }
        self.query = (!query.is_empty()).then_some(query);
        Ok(())
    }

    /// The `Host` header.
    pub(super) fn authority(&self) -> String {
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        let usual = if self.is_tls { 443 } else { 80 };
        if self.port == usual { host } else { format!("{host}:{}", self.port) }
    }

    /// What the request line asks for.
    pub(super) fn path_and_query(&self) -> String {
        match &self.query {
            Some(query) => format!("{}?{query}", self.path),
            None => self.path.clone(),
        }
    }

    /// The whole URL.
    pub(super) fn url(&self) -> String {
        let scheme = if self.is_tls { "https" } else { "http" };
        format!("{scheme}://{}{}", self.authority(), self.path_and_query())
    }

    /// Whether both are one server in the eyes of a browser.
    pub(super) fn is_same_origin(&self, other: &Self) -> bool {
        (self.is_tls, &self.host, self.port) == (other.is_tls, &other.host, other.port)
    }

    /// Without `.` and `..` in the path.
    fn normal(mut self) -> Self {
        let mut segments: Vec<&str> = Vec::new();
        let mut given = self.path.split('/').skip(1).peekable();
        while let Some(segment) = given.next() {
            let is_last = given.peek().is_none();
            match segment {
                "." | ".." => {
                    if segment == ".." {
                        segments.pop();
                    }
                    if is_last {
                        segments.push("");
                    }
                }
                other => segments.push(other),
            }
        }
        self.path = format!("/{}", segments.join("/"));
        self
    }
}

/// What can be part of a URL at all; without its fragment.
fn check(url: &str) -> Result<&str, ToolError> {
    let url = url.trim_matches(' ');
    let url = url.split_once('#').map_or(url, |(url, _)| url);
    if url.len() > URL_BYTES_MAX {
        return Err(refused(format_args!("it exceeds {URL_BYTES_MAX} bytes")));
    }
    if url.contains(|next: char| next.is_control() || next == '\\') {
        return Err(refused("it holds a control character or \\"));
    }
    Ok(url)
}

/// Whether it is https, and what follows the colon.
fn scheme(url: &str) -> Option<(bool, &str)> {
    [("https:", true), ("http:", false)].into_iter().find_map(|(name, is_tls)| {
        let begins = url.get(..name.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(name));
        begins.then(|| (is_tls, &url[name.len()..])).filter(|(_, rest)| rest.starts_with("//"))
    })
}

fn host_and_port(authority: &str, is_tls: bool) -> Result<(String, u16), ToolError> {
    if authority.contains('@') {
        return Err(refused("it holds credentials; give them in headers"));
    }
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => {
            let (host, port) = rest.split_once(']').ok_or_else(|| refused("a bracket is not closed"))?;
            let address: std::net::Ipv6Addr =
                host.parse().map_err(|_| refused("what stands in brackets is no IPv6 address"))?;
            (address.to_string(), port)
        }
        None => {
            let end = authority.find(':').unwrap_or(authority.len());
            (authority[..end].to_ascii_lowercase(), &authority[end..])
        }
    };
    if !host.is_ascii() {
        return Err(refused("the host has to be written in ASCII (xn--..)"));
    }
    if !host.contains(':') && !is_host(&host) {
        return Err(refused("the host is none"));
    }
    let port = match port.strip_prefix(':') {
        None if port.is_empty() => Some(if is_tls { 443 } else { 80 }),
        Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
            digits.parse().ok().filter(|port| *port != 0)
        }
        _ => None,
    };
    Ok((host, port.ok_or_else(|| refused("the port is none"))?))
}

fn path_and_query(rest: &str) -> (String, Option<String>) {
    let (path, query) = rest.split_once('?').map_or((rest, None), |(path, query)| (path, Some(query)));
    let encoded = |text: &str| {
        let mut out = String::with_capacity(text.len());
        encode(text, |byte| byte.is_ascii_graphic() && !br#""<>^`{|}"#.contains(&byte), &mut out);
        out
    };
    let path = if path.is_empty() { "/".to_owned() } else { encoded(path) };
    (path, query.map(encoded))
}

const fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

fn encode(text: &str, keep: impl Fn(u8) -> bool, out: &mut String) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    for byte in text.bytes() {
        if keep(byte) {
            out.push(char::from(byte));
        } else {
            out.push('%');
            out.extend([byte >> 4, byte & 15].map(|digit| char::from(DIGITS[usize::from(digit)])));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn urls_are_taken_apart() {
        for (url, shown) in [
            ("http://a", "http://a/"),
            ("HTTP://A.Example:80/x?y=1#z", "http://a.example/x?y=1"),
            ("https://a:8443?q", "https://a:8443/?q"),
            ("https://[::1]:444/ü b?ä={}", "https://[::1]:444/%C3%BC%20b?%C3%A4=%7B%7D"),
            ("http://a/b/../c/./d/..", "http://a/c/"),
            ("http://a/%41//b", "http://a/%41//b"),
        ] {
            assert_eq!(Target::parse(url).unwrap().url(), shown);
        }
    }

    #[test]
    fn what_is_no_url_is_refused() {
        for url in [
            "",
            "a",
            "ftp://a",
            "http:a",
            "http:///a",
            "http://",
            "http://me:pw@a/",
            "http://a:0",
            "http://a:x",
            "http://a:65536",
            "http://[::1",
            "http://[1.2.3.4]/",
            "http://[fe80::1%25eth0]/",
            "http://ü/",
            "http://a b/",
            "http://a%2e/",
            "http://a\\b",
            "http://a/\r\nX: y",
            "http://a..b/",
            "http://.",
        ] {
            let error = Target::parse(url).expect_err(url);
            assert_eq!(error.code, "bad_argument", "{url}");
        }
        assert!(Target::parse(&format!("http://a/{}", "x".repeat(URL_BYTES_MAX))).is_err());
    }

    #[test]
    fn locations_are_seen_from_where_they_were_given() {
        let from = Target::parse("https://a/b/c?d").unwrap();
        for (location, url) in [
            ("", "https://a/b/c?d"),
            ("?e", "https://a/b/c?e"),
            ("e", "https://a/b/e"),
            ("../e?f", "https://a/e?f"),
            ("/e", "https://a/e"),
            ("//x/e", "https://x/e"),
            ("http://x/e", "http://x/e"),
        ] {
            assert_eq!(from.join(location).unwrap().url(), url);
        }
        assert!(from.join("file:///etc/passwd").is_err());
        assert!(from.is_same_origin(&from.join("/e").unwrap()));
        assert!(!from.is_same_origin(&from.join("https://a:444/").unwrap()));
    }

    #[test]
    fn queries_are_encoded() {
        let mut target = Target::parse("http://a/?x").unwrap();
        let query = json!({"a b": "c&d=e", "n": 1, "on": true, "none": null, "list": ["é", 2]});
        target.add_query(query.as_object().unwrap()).unwrap();
        assert_eq!(target.path_and_query(), "/?x&a%20b=c%26d%3De&list=%C3%A9&list=2&n=1&on=true");
        assert!(target.add_query(json!({"a": {}}).as_object().unwrap()).is_err());
        assert!(target.add_query(json!({"a": "x".repeat(URL_BYTES_MAX)}).as_object().unwrap()).is_err());
    }
}
