//! How messages and outputs name what was asked for.
//!
//! A URL is taken apart, made normal and cut before anybody sees it; a value of a secret in it, which may be all of
//! it, would not be found any more. Such a URL is named as it was given, with the marker in it.

use std::borrow::Cow;
use std::fmt;

use super::target::Target;
use crate::redaction::Redactor;

/// The name of a request, without values of secrets and without parts of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Shown {
    /// The server.
    server: String,
    /// The URL without its query.
    pub(super) resource: String,
    /// The whole URL.
    pub(super) url: String,
    /// The host, if it is not to be told.
    hidden_host: Option<String>,
}

impl Shown {
    /// Names `target`, which was `given` as a URL; `added` is the query that came in addition.
    pub(super) fn of(target: &Target, given: &str, added: &str, redactor: &Redactor) -> Self {
        match redactor.text(given.trim()) {
            Cow::Owned(marked) => Self::as_given(&marked, added, target, redactor),
            Cow::Borrowed(_) => {
                let url = target.url();
                let resource = before(&url, '?').to_owned();
                Self { server: target.authority(), resource, url, hidden_host: None }
            }
        }
    }

    /// Names the target of a `Location`.
    pub(super) fn redirected(&self, target: &Target, location: &str, redactor: &Redactor) -> Self {
        match self.hidden_host {
            // A relative one would complete the beginning of the value.
            Some(_) => Self::as_given(&redactor.text(location.trim()), "", target, redactor),
            None => Self::of(target, location, "", redactor),
        }
    }

    fn as_given(marked: &str, added: &str, target: &Target, redactor: &Redactor) -> Self {
        let url = format!("{}{added}", before(marked, '#'));
        let url = redactor.text(&url).into_owned();
        let resource = before(&url, '?').to_owned();
        Self { server: resource.clone(), resource, url, hidden_host: Some(target.host.clone()) }
    }

    /// What failed at the server.
    pub(super) fn failed(&self, why: impl fmt::Display) -> String {
        let why = why.to_string();
        let why = match &self.hidden_host {
            Some(host) => why.replace(host.as_str(), "the host"),
            None => why,
        };
        format!("{}: {why}", self.server)
    }
}

fn before(text: &str, mark: char) -> &str {
    text.split(mark).next().unwrap_or_default()
}
