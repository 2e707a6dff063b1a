//! The names of members: a ProtoJSON reader takes each by its name in JSON and by that in the proto file.
//!
//! Both become the name in JSON once, before anything is read, so that checks, identity and history of a message see
//! one form. What `data` and `metadata` hold is the client's own and stays as it is.

use serde_json::{Map, Value};

/// A name in the proto file and that in JSON, where they differ.
type Names = &'static [(&'static str, &'static str)];

/// Of the parameters of a method.
const PARAMETERS: Names = &[
    ("context_id", "contextId"),
    ("history_length", "historyLength"),
    ("include_artifacts", "includeArtifacts"),
    ("page_size", "pageSize"),
    ("page_token", "pageToken"),
    ("status_timestamp_after", "statusTimestampAfter"),
];

const CONFIGURATION: Names = &[
    ("accepted_output_modes", "acceptedOutputModes"),
    ("history_length", "historyLength"),
    ("push_notification_config", "pushNotificationConfig"),
    ("return_immediately", "returnImmediately"),
    ("task_push_notification_config", "taskPushNotificationConfig"),
];

const MESSAGE: Names = &[
    ("context_id", "contextId"),
    ("message_id", "messageId"),
    ("reference_task_ids", "referenceTaskIds"),
    ("task_id", "taskId"),
];

const PART: Names = &[("media_type", "mediaType")];

/// The name in JSON of a parameter.
pub(crate) fn of_parameter(name: &str) -> &str {
    PARAMETERS.iter().find(|(proto, _)| *proto == name).map_or(name, |(_, json)| json)
}

/// Gives every member its name in JSON; the paths of those that are there under both names.
pub(super) fn unify(params: &mut Map<String, Value>) -> Vec<String> {
    let mut twice = Vec::new();
    of_object(params, PARAMETERS, "", &mut twice);
    if let Some(Value::Object(configuration)) = params.get_mut("configuration") {
        of_object(configuration, CONFIGURATION, "configuration.", &mut twice);
    }
    if let Some(Value::Object(message)) = params.get_mut("message") {
        of_object(message, MESSAGE, "message.", &mut twice);
        let parts = message.get_mut("parts").and_then(Value::as_array_mut);
        for (at, part) in parts.into_iter().flatten().enumerate() {
            if let Value::Object(part) = part {
                of_object(part, PART, &format!("message.parts[{at}]."), &mut twice);
            }
        }
    }
    twice
}

fn of_object(object: &mut Map<String, Value>, names: Names, path: &str, twice: &mut Vec<String>) {
    for (proto, json) in names {
        // Null is the same as absent.
        let Some(value) = object.remove(*proto).filter(|value| !value.is_null()) else { continue };
        if object.get(*json).is_some_and(|known| !known.is_null()) {
            twice.push(format!("{path}{json}"));
        } else {
            object.insert((*json).to_owned(), value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn check(params: Value, expected: Value, expected_twice: &[&str]) {
        let Value::Object(mut params) = params else { panic!() };
        let twice = unify(&mut params);
        assert_eq!(Value::Object(params), expected);
        assert_eq!(twice, expected_twice);
    }

    #[test]
    fn names_of_the_proto_file_become_those_of_json() {
        for names in [PARAMETERS, CONFIGURATION, MESSAGE, PART] {
            for (proto, json) in names {
                let spelled: String = json
                    .chars()
                    .map(|letter| match letter.is_ascii_uppercase() {
                        true => format!("_{}", letter.to_ascii_lowercase()),
                        false => letter.to_string(),
                    })
                    .collect();
                assert_eq!(*proto, spelled);
            }
        }
        check(
            json!({
                "page_size": 3, "task_id": "not ours", "configuration": { "return_immediately": true },
                "message": { "task_id": "t", "messageId": "m", "parts": [{ "media_type": "a/b" }, 7] },
            }),
            json!({
                "pageSize": 3, "task_id": "not ours", "configuration": { "returnImmediately": true },
                "message": { "taskId": "t", "messageId": "m", "parts": [{ "mediaType": "a/b" }, 7] },
            }),
            &[],
        );
    }

    #[test]
    fn contents_keep_their_names() {
        let contents = json!({ "task_id": 1, "media_type": { "message_id": 2 } });
        let params = json!({
            "metadata": contents,
            "message": {
                "metadata": contents, "task_ids": 1,
                "parts": [{ "data": contents, "metadata": contents }],
            },
        });
        check(params.clone(), params, &[]);
    }

    #[test]
    fn a_member_under_both_names_is_told() {
        check(
            json!({
                "page_size": 1, "pageSize": 1, "context_id": null, "historyLength": null, "history_length": 2,
                "message": { "task_id": "a", "taskId": "b", "parts": [{ "mediaType": "", "media_type": "" }] },
            }),
            json!({
                "pageSize": 1, "historyLength": 2,
                "message": { "taskId": "b", "parts": [{ "mediaType": "" }] },
            }),
            &["pageSize", "message.taskId", "message.parts[0].mediaType"],
        );
    }
}
