//! Where a redirect leads, and what goes there along with it.

use bytes::Bytes;
use hyper::header::{self, HeaderMap, HeaderName};
use hyper::{Method, Response, StatusCode};

use super::arguments::Request;
use super::shown::Shown;
use super::target::Target;
use crate::redaction::Redactor;
use crate::tool::ToolError;

/// Headers that go along to another server: none of them says who asks.
const PORTABLE: [HeaderName; 3] = [header::ACCEPT, header::ACCEPT_LANGUAGE, header::USER_AGENT];

/// The next request.
pub(super) struct Next {
    pub(super) target: Target,
    pub(super) shown: Shown,
    pub(super) method: Method,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

/// The request that a response leads to; `None` if it is no redirect.
pub(super) fn next<B>(
    request: &Request,
    response: &Response<B>,
    redactor: &Redactor,
) -> Result<Option<Next>, ToolError> {
    let status = response.status();
    let keeps_method = match status {
        StatusCode::MOVED_PERMANENTLY | StatusCode::FOUND => {
            matches!(request.method, Method::GET | Method::HEAD)
        }
        StatusCode::SEE_OTHER => request.method == Method::HEAD,
        StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT => true,
        _ => return Ok(None),
    };
    let Some(location) = response.headers().get(header::LOCATION) else { return Ok(None) };
    let refused = |why: &str| {
        let message = format!("{} leads elsewhere ({}): {why}", request.named(), status.as_u16());
        ToolError::new("redirect_refused", message)
    };
    let location = location.to_str().map_err(|_| refused("its Location is no URL"))?;
    let target = request.target.join(location).map_err(|error| refused(&error.message))?;
    if request.target.is_tls && !target.is_tls {
        return Err(refused("from https to http"));
    }
    let mut headers = request.headers.clone();
    let mut body = request.body.clone();
    if !keeps_method {
        body = Bytes::new();
        headers.remove(header::CONTENT_TYPE);
    }
    if !target.is_same_origin(&request.target) {
        if !body.is_empty() {
            return Err(refused("another server would get the body of the request"));
        }
        let portable = |(name, value)| PORTABLE.contains(&name).then_some((name, value));
        headers = request
            .headers
            .clone()
            .into_iter()
            .filter_map(|(name, value)| portable((name?, value)))
            .collect();
    }
    let method = if keeps_method { request.method.clone() } else { Method::GET };
    let shown = request.shown.redirected(&target, location, redactor);
    Ok(Some(Next { target, shown, method, headers, body }))
}
