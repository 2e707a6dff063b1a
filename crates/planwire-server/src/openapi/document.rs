//! The document, made of the operations.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::Schemas;
use super::operation::{Answer, Content, Operation};
use super::routes::Described;
use crate::config::{HEAD_BYTES_MAX, HEADERS_MAX};
use crate::guard;
use crate::problem::{Kind, TYPE_PREFIX};

const ABOUT: &str = "The durable event log of plan execution. Answers that are no success are problem+json (RFC 9457) \
    whose `type` never changes its meaning. Every POST needs a JSON `Content-Type`, also one without a body. Requests \
    must name one of the server's own hosts, and no foreign origin.";

/// The document of all operations.
pub(super) fn of(operations: &[Described]) -> Value {
    let mut schemas = Schemas::new();
    let mut paths: BTreeMap<&str, Map<String, Value>> = BTreeMap::new();
    for described in operations {
        let operation = operation(described, &mut schemas);
        paths.entry(described.path).or_default().insert(described.method.to_owned(), operation);
    }
    let mut components = schemas.finish();
    components.insert("Problem".into(), problem());
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Planwire",
            "version": env!("CARGO_PKG_VERSION"),
            "description": ABOUT,
            "license": {"name": "MIT OR Apache-2.0", "identifier": "MIT OR Apache-2.0"},
        },
        "jsonSchemaDialect": "https://json-schema.org/draft/2020-12/schema",
        "servers": [{"url": "/"}],
        "security": [{}, {"lockFileToken": []}],
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {
                "lockFileToken": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "The token in the lock file of the server's database: proves the user who runs it.",
                },
            },
        },
    })
}

fn operation(described: &Described, schemas: &mut Schemas) -> Value {
    let Operation { id, summary, description, parameters, body, answers, faults, problems } =
        described.operation;
    let parameters: Vec<_> =
        parameters.iter().copied().flatten().map(|parameter| parameter.to_json(schemas)).collect();
    let mut responses: BTreeMap<String, Value> = answers
        .iter()
        .chain(*faults)
        .map(|answer| (answer.status.to_string(), self::answer(answer, schemas)))
        .collect();
    // It is answered before anything of ours is asked, so it has no body.
    let heads = format!("The head has more than {HEAD_BYTES_MAX} bytes or {HEADERS_MAX} fields.");
    responses.insert("431".into(), json!({ "description": heads }));
    for (status, kinds) in by_status(problems, described) {
        join(responses.entry(status.to_string()).or_default(), problem_answer(&kinds));
    }
    let mut json = json!({
        "operationId": id,
        "summary": summary,
        "description": description,
        "parameters": parameters,
        "responses": responses,
    });
    if let Some(body) = body {
        let content = contents(&[body.content], schemas);
        json["requestBody"] = json!({ "required": body.required, "content": content });
    }
    json
}

/// Adds what else a status may mean.
fn join(response: &mut Value, more: Value) {
    match (response, more) {
        (Value::Object(members), Value::Object(more)) => {
            for (name, value) in more {
                join(members.entry(name).or_insert(Value::Null), value);
            }
        }
        (Value::String(text), Value::String(more)) => *text = format!("{text}\n{more}"),
        (response, more) => *response = more,
    }
}

fn answer(answer: &Answer, schemas: &mut Schemas) -> Value {
    let mut json = json!({ "description": answer.description });
    if !answer.contents.is_empty() {
        json["content"] = contents(answer.contents, schemas);
    }
    for (name, description) in answer.headers {
        json["headers"][name] = json!({ "description": description, "schema": {"type": "string"} });
    }
    json
}

fn contents(contents: &[Content], schemas: &mut Schemas) -> Value {
    let by_type = contents
        .iter()
        .map(|content| (content.media_type.to_owned(), json!({ "schema": (content.schema)(schemas) })));
    Value::Object(by_type.collect())
}

/// The kinds that the operation may answer with, by status, each once.
fn by_status(problems: &[&[Kind]], described: &Described) -> BTreeMap<u16, Vec<Kind>> {
    let facade = guard::is_of_a2a(described.path);
    let of_post = if described.method == "post" && !facade { guard::PROBLEMS_OF_POST } else { &[] };
    // What stands in place of a parameter may lead to no route at all.
    let of_path: &[Kind] = if described.path.contains('{') && !facade { &[Kind::RouteUnknown] } else { &[] };
    // The facade has errors of its own for what is not let in.
    let of_guard = if facade { &[] } else { guard::PROBLEMS };
    let mut found: BTreeMap<u16, Vec<Kind>> = BTreeMap::new();
    for kind in [of_guard, of_post, of_path].iter().chain(problems).copied().flatten() {
        let kinds = found.entry(kind.status()).or_default();
        if !kinds.contains(kind) {
            kinds.push(*kind);
        }
    }
    found
}

fn problem_answer(kinds: &[Kind]) -> Value {
    let lines: Vec<_> = kinds.iter().map(|kind| format!("- `{}`: {}", kind.slug(), kind.title())).collect();
    let types: Vec<_> = kinds.iter().map(|kind| format!("{TYPE_PREFIX}{}", kind.slug())).collect();
    let schema = json!({
        "allOf": [{"$ref": "#/components/schemas/Problem"}],
        "properties": {"type": {"enum": types}},
    });
    let mut json = json!({
        "description": lines.join("\n"),
        "content": {"application/problem+json": {"schema": schema}},
    });
    if kinds.iter().any(|kind| kind.retry_after_s().is_some()) {
        json["headers"]["Retry-After"] = json!({"description": "Seconds after which to ask again.", "schema": {"type": "integer", "minimum": 0}});
    }
    if kinds.contains(&Kind::TokenRefused) {
        json["headers"]["WWW-Authenticate"] = json!({"schema": {"type": "string"}});
    }
    json
}

/// The schema of every problem.
fn problem() -> Value {
    let types: Vec<_> = Kind::ALL.iter().map(|kind| format!("{TYPE_PREFIX}{}", kind.slug())).collect();
    json!({
        "title": "A problem",
        "description": "An answer that is no success (RFC 9457). A kind may have members of its own besides.",
        "type": "object",
        "properties": {
            "type": {"description": "The kind of problem.", "type": "string", "enum": types},
            "title": {"description": "The kind in words.", "type": "string"},
            "status": {"description": "The HTTP status.", "type": "integer"},
            "detail": {"description": "What is special about this occurrence.", "type": "string"},
        },
        "required": ["type", "title", "status", "detail"],
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::openapi::Place;

    fn operations() -> Vec<Described> {
        crate::routes::all().operations
    }

    #[test]
    fn operations_have_names_of_their_own() {
        let operations = operations();
        let names: BTreeSet<_> = operations.iter().map(|described| described.operation.id).collect();
        assert_eq!(names.len(), operations.len());
    }

    #[test]
    fn parameters_in_a_path_are_those_that_are_described() {
        for described in operations() {
            let parts = described.path.split(['/', ':']).filter_map(|part| part.strip_prefix('{'));
            let in_path: BTreeSet<_> = parts.map(|part| part.trim_end_matches('}')).collect();
            let all = || described.operation.parameters.iter().copied().flatten();
            let of_path = all().filter(|parameter| parameter.place == Place::Path);
            assert_eq!(
                of_path.map(|parameter| parameter.name).collect::<BTreeSet<_>>(),
                in_path,
                "{described:?}"
            );
            assert_eq!(all().map(|parameter| parameter.name).collect::<BTreeSet<_>>().len(), all().count());
        }
    }

    #[test]
    fn each_kind_of_problem_belongs_to_an_operation() {
        let operations = operations();
        let described: Vec<_> = operations
            .iter()
            .flat_map(|described| by_status(described.operation.problems, described).into_values().flatten())
            // No path that is described takes the method of this one.
            .chain([Kind::MethodNotAllowed])
            .collect();
        for kind in Kind::ALL {
            assert!(described.contains(kind), "no operation has {kind:?}");
        }
    }

    #[test]
    fn every_reference_is_answered_in_the_document() {
        fn check(document: &Value, value: &Value) {
            match value {
                Value::Object(members) => {
                    if let Some(Value::String(target)) = members.get("$ref") {
                        let target = target.strip_prefix('#').expect("references stay inside");
                        assert!(document.pointer(target).is_some(), "{target}");
                    }
                    members.values().for_each(|member| check(document, member));
                }
                Value::Array(items) => items.iter().for_each(|item| check(document, item)),
                _ => {}
            }
        }
        let document = of(&operations());
        check(&document, &document);
    }

    #[test]
    fn what_is_read_and_what_is_written_have_names_of_their_own() {
        let document = of(&operations());
        let schemas = document["components"]["schemas"].as_object().expect("there are schemas");
        // A second type of the same name would have got a number.
        let numbered: Vec<_> = schemas.keys().filter(|name| name.ends_with(char::is_numeric)).collect();
        assert!(numbered.is_empty(), "{numbered:?}");
    }
}
