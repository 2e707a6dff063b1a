//! Who may ask at all: the guards of a server without identity.
//!
//! A page of another site can reach a loopback server through the visitor's browser. It cannot choose the `Host` of
//! a rebound DNS name, hide its `Origin`, or send JSON without asking first; so these three are checked before
//! anything else. There are no CORS headers at all.

use axum::http::{HeaderMap, HeaderName, Method, Request, header};
use planwire_event::Digest;

use crate::a2a::card;
use crate::config::{ServerConfig, URI_BYTES_MAX};
use crate::problem::{Kind, Problem};

/// Names of this machine for itself.
const LOOPBACK_NAMES: [&str; 3] = ["localhost", "127.0.0.1", "[::1]"];

/// Why a request is not let in.
pub(crate) const PROBLEMS: &[Kind] =
    &[Kind::HeadMalformed, Kind::TokenRefused, Kind::HostRefused, Kind::OriginRefused, Kind::UriTooLong];

/// Why a POST is not let in besides.
pub(crate) const PROBLEMS_OF_POST: &[Kind] = &[Kind::ContentTypeUnsupported];

/// What a request has to fulfil.
#[derive(Debug)]
pub(crate) struct Guard {
    hosts: Vec<String>,
    origins: Vec<String>,
    /// Digests are compared instead of the texts: how long that takes says nothing about the token.
    token: Option<Digest>,
}

/// Who asks, as far as it is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Caller {
    /// Somebody who reaches the server.
    Anonymous,
    /// The user who runs the server, proven by the token of the lock file.
    SameUser,
}

impl Guard {
    pub(crate) fn new(config: &ServerConfig) -> Self {
        Self {
            hosts: config.hosts.iter().map(|host| host.to_ascii_lowercase()).collect(),
            origins: config.origins.iter().map(|origin| origin.to_ascii_lowercase()).collect(),
            token: config.token.as_ref().map(|token| Digest::of(token.as_bytes())),
        }
    }

    /// Lets the request in, or says why not.
    pub(crate) fn check<B>(&self, request: &Request<B>) -> Result<Caller, Problem> {
        let headers = request.headers();
        let host = self.check_host(request)?;
        self.check_origin(headers, &host)?;
        let target_bytes = request.uri().path_and_query().map_or(0, |target| target.as_str().len());
        if target_bytes > URI_BYTES_MAX {
            let detail = format!("the target has {target_bytes} bytes, the limit is {URI_BYTES_MAX}");
            return Err(Problem::new(Kind::UriTooLong, detail));
        }
        if request.method() == Method::POST && !is_of_a2a(request.uri().path()) {
            check_content_type(headers)?;
        }
        match self.check_token(headers) {
            // Clients read there how to prove who they are; what they send already is meant for somebody else.
            Err(_) if request.uri().path() == card::PATH => Ok(Caller::Anonymous),
            checked => checked,
        }
    }

    fn check_host<B>(&self, request: &Request<B>) -> Result<String, Problem> {
        let named = single(request.headers(), &header::HOST)?;
        let target = request.uri().authority().map(axum::http::uri::Authority::as_str);
        let host =
            named.or(target).ok_or_else(|| Problem::new(Kind::HeadMalformed, "the request names no host"))?;
        for name in [Some(host), target].into_iter().flatten() {
            if !self.is_ours(&name.to_ascii_lowercase()) {
                let detail =
                    "this server answers to localhost, 127.0.0.1, [::1] and the hosts of its configuration";
                return Err(Problem::new(Kind::HostRefused, detail));
            }
        }
        Ok(host.to_ascii_lowercase())
    }

    fn is_ours(&self, authority: &str) -> bool {
        let host = without_port(authority);
        LOOPBACK_NAMES.contains(&host) || self.hosts.iter().any(|ours| ours == authority || ours == host)
    }

    /// The origin must be this server itself, under the name by which it was asked, or be configured.
    fn check_origin(&self, headers: &HeaderMap, host: &str) -> Result<(), Problem> {
        let Some(origin) = single(headers, &header::ORIGIN)? else { return Ok(()) };
        let origin = origin.to_ascii_lowercase();
        let own = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://")) == Some(host);
        if own || self.origins.contains(&origin) {
            return Ok(());
        }
        Err(Problem::new(Kind::OriginRefused, "pages of other sites may not ask this server"))
    }

    fn check_token(&self, headers: &HeaderMap) -> Result<Caller, Problem> {
        let Some(value) = single(headers, &header::AUTHORIZATION)? else { return Ok(Caller::Anonymous) };
        let given = value
            .split_once(' ')
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
            .map(|(_, token)| Digest::of(token.trim().as_bytes()));
        if given.is_some() && given == self.token {
            return Ok(Caller::SameUser);
        }
        Err(Problem::new(
            Kind::TokenRefused,
            "the token is not the one in the lock file of this server's database",
        ))
    }
}

/// Whether a path is that of the A2A facade, which checks content types itself, since it has errors of its own for
/// them. It takes no others.
pub(crate) fn is_of_a2a(path: &str) -> bool {
    path.strip_prefix("/a2a").is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// The text of a header that may stand once.
fn single<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a str>, Problem> {
    let mut values = headers.get_all(name).iter();
    let value = values.next();
    if values.next().is_some() {
        return Err(Problem::new(Kind::HeadMalformed, format!("the header {name} stands more than once")));
    }
    value
        .map(|value| value.to_str())
        .transpose()
        .map_err(|_| Problem::new(Kind::HeadMalformed, format!("the header {name} is not printable ASCII")))
}

fn without_port(authority: &str) -> &str {
    match authority.rsplit_once(':') {
        Some((host, port)) if !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        _ => authority,
    }
}

/// Forms of other pages can be sent without a question only as text/plain, urlencoded or multipart.
fn check_content_type(headers: &HeaderMap) -> Result<(), Problem> {
    let value = single(headers, &header::CONTENT_TYPE)?.unwrap_or_default();
    let media = value.split(';').next().unwrap_or_default().trim();
    if ["application/json", "application/a2a+json"].iter().any(|json| json.eq_ignore_ascii_case(media)) {
        return Ok(());
    }
    Err(Problem::new(Kind::ContentTypeUnsupported, "a POST needs Content-Type: application/json"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(method: &str, uri: &str, headers: &[(&str, &str)], expected: Result<Caller, Kind>) {
        let config = ServerConfig {
            hosts: vec!["Plans.Example".into(), "other.example:8443".into()],
            origins: vec!["https://console.example".into()],
            token: Some("s3cret".into()),
            ..ServerConfig::default()
        };
        let mut request = Request::builder().method(method).uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let answer = Guard::new(&config).check(&request.body(()).unwrap()).map_err(|problem| problem.kind());
        assert_eq!(answer, expected, "{method} {uri} {headers:?}");
    }

    #[test]
    fn only_our_own_names_are_answered() {
        for host in [
            "localhost",
            "LOCALHOST:7420",
            "127.0.0.1:1",
            "[::1]:80",
            "[::1]",
            "plans.example",
            "plans.example:99",
        ] {
            check("GET", "/", &[("host", host)], Ok(Caller::Anonymous));
        }
        check("GET", "/", &[("host", "other.example:8443")], Ok(Caller::Anonymous));
        for host in [
            "evil.example",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "other.example",
            "127.0.0.2",
            "::1",
            "localhost:80:80",
            "localhost:x",
            "",
        ] {
            check("GET", "/", &[("host", host)], Err(Kind::HostRefused));
        }
        check("GET", "/", &[], Err(Kind::HeadMalformed));
        check("GET", "/", &[("host", "localhost"), ("host", "localhost")], Err(Kind::HeadMalformed));
        check("GET", "/", &[("host", "loc\u{e9}")], Err(Kind::HeadMalformed));
        check("GET", "http://localhost/", &[], Ok(Caller::Anonymous));
        check("GET", "http://evil.example/", &[("host", "localhost")], Err(Kind::HostRefused));
    }

    #[test]
    fn pages_of_other_sites_are_refused() {
        let host = ("host", "localhost:7420");
        check("GET", "/", &[host, ("origin", "http://localhost:7420")], Ok(Caller::Anonymous));
        check("GET", "/", &[host, ("origin", "https://LOCALHOST:7420")], Ok(Caller::Anonymous));
        check("GET", "/", &[host, ("origin", "https://console.example")], Ok(Caller::Anonymous));
        for origin in [
            "http://localhost:3000",
            "http://127.0.0.1:7420",
            "null",
            "http://evil.example",
            "localhost:7420",
        ] {
            check("GET", "/", &[host, ("origin", origin)], Err(Kind::OriginRefused));
        }
    }

    #[test]
    fn posts_must_be_json() {
        let host = ("host", "localhost");
        check(
            "POST",
            "/",
            &[host, ("content-type", "application/json; charset=utf-8")],
            Ok(Caller::Anonymous),
        );
        check("POST", "/", &[host, ("content-type", "APPLICATION/A2A+JSON")], Ok(Caller::Anonymous));
        for media in [
            "text/plain",
            "application/x-www-form-urlencoded",
            "multipart/form-data",
            "application/jsonx",
            "",
        ] {
            check("POST", "/", &[host, ("content-type", media)], Err(Kind::ContentTypeUnsupported));
        }
        check("POST", "/", &[host], Err(Kind::ContentTypeUnsupported));
    }

    #[test]
    fn token_proves_the_same_user() {
        let host = ("host", "localhost");
        check("GET", "/", &[host, ("authorization", "bearer s3cret")], Ok(Caller::SameUser));
        for value in ["Bearer s3cre", "Bearer", "Basic s3cret", "Bearer S3CRET"] {
            check("GET", "/", &[host, ("authorization", value)], Err(Kind::TokenRefused));
            check("GET", card::PATH, &[host, ("authorization", value)], Ok(Caller::Anonymous));
        }
    }

    #[test]
    fn long_targets_are_refused() {
        let target = format!("/{}", "a".repeat(URI_BYTES_MAX));
        check("GET", &target, &[("host", "localhost")], Err(Kind::UriTooLong));
    }
}
