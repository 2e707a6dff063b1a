//! Every answer that a test gets, against `/openapi.json`: an answer that is not described fails the test that got it.

use std::sync::LazyLock;

use serde_json::Value;

use crate::client::Answer;

static DOCUMENT: LazyLock<Value> =
    LazyLock::new(|| serde_json::from_slice(planwire_server::openapi_json()).unwrap());

/// Checks status and media type of an answer, and the kind of a problem. What is not described at all, as a path that
/// leads nowhere, is not checked.
pub(crate) fn check(method: &str, target: &str, answer: &Answer) {
    let path = target.split('?').next().unwrap();
    let Some(operation) = operation(method, path) else { return };
    let asked = format!("{method} {target}: {answer:?}");
    let described = &operation["responses"][answer.status.to_string()];
    assert!(described.is_object(), "the status is not described: {asked}");
    let Some(media_type) = answer.header("content-type") else { return };
    let contents = described["content"].as_object().unwrap();
    let bare = media_type.split(';').next().unwrap();
    let content = contents.get(bare).or_else(|| contents.get("*/*"));
    let content = content.unwrap_or_else(|| panic!("the media type is not described: {asked}"));
    if bare == "application/problem+json" {
        let kinds = content["schema"]["properties"]["type"]["enum"].as_array().unwrap();
        assert!(kinds.contains(&answer.json()["type"]), "the problem is not described: {asked}");
    }
}

/// The operation of the path that fits; one without parameters goes first.
fn operation(method: &str, path: &str) -> Option<&'static Value> {
    let paths = DOCUMENT["paths"].as_object().unwrap();
    let exact = paths.get(path);
    let found =
        exact.or_else(|| paths.iter().find(|(described, _)| fits(described, path)).map(|(_, item)| item));
    found?.get(method.to_ascii_lowercase())
}

fn fits(described: &str, path: &str) -> bool {
    let (described, path): (Vec<_>, Vec<_>) = (described.split('/').collect(), path.split('/').collect());
    described.len() == path.len()
        && described.iter().zip(path).all(|(described, segment)| match described.split_once('}') {
            Some((_, verb)) => {
                !segment.is_empty() && segment.ends_with(verb) && (segment.contains(':') != verb.is_empty())
            }
            None => *described == segment,
        })
}
