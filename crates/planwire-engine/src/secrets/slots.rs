//! Where the values of secrets belong in the arguments of one call.
//!
//! The places come from the document, never from what stands at them: a response that holds a marker, passed on as an
//! argument, stays a marker.

use planwire_event::vocabulary::Object;
use serde_json::Value;

use super::{Secrets, input_of};
use crate::tool::ToolError;

/// Places in arguments and the secrets that belong there. Holds names, no values.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Slots(pub(crate) Vec<Slot>);

/// One place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Slot {
    /// The way from the arguments to the place.
    pub(crate) path: Vec<Key>,
    /// What the text there is made of.
    pub(crate) pieces: Vec<SlotPiece>,
}

/// One step down into a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Key {
    /// Into a member of an object.
    Member(String),
    /// Into an item of a list.
    Item(usize),
}

/// A piece of a text with secrets in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum SlotPiece {
    /// As it is.
    Text(String),
    /// The value of the secret of this name.
    Secret(String),
}

impl Slots {
    /// The arguments as the tool gets them.
    pub(crate) fn fill(&self, arguments: Object, secrets: &Secrets) -> Result<Object, ToolError> {
        let mut value = Value::Object(arguments);
        for slot in &self.0 {
            let mut text = String::new();
            for piece in &slot.pieces {
                match piece {
                    SlotPiece::Text(piece) => text.push_str(piece),
                    SlotPiece::Secret(name) => {
                        text.push_str(secrets.value(name).ok_or_else(|| unknown(name))?);
                    }
                }
            }
            let place = slot.path.iter().try_fold(&mut value, |value, key| match key {
                Key::Member(name) => value.get_mut(name),
                Key::Item(at) => value.get_mut(at),
            });
            match place {
                Some(place) => *place = Value::String(text),
                None => return Err(ToolError::argument("an argument with a secret has no place")),
            }
        }
        match value {
            Value::Object(arguments) => Ok(arguments),
            _ => Err(ToolError::argument("the arguments are no object")),
        }
    }
}

fn unknown(name: &str) -> ToolError {
    let message = match input_of(name) {
        Some(input) => format!(
            "the value of the secret input {input} was not stored, and the process that had it has ended: start the \
             plan again, or configure the value in engine.secrets"
        ),
        None => format!("there is no secret named {name}"),
    };
    ToolError::new("unknown_secret", message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn values_come_to_their_places_and_markers_elsewhere_stay() {
        let secrets = Secrets::new([("TOKEN".to_owned(), "abcdef".to_owned())]).unwrap();
        let slots = Slots(vec![Slot {
            path: vec![Key::Member("list".to_owned()), Key::Item(1)],
            pieces: vec![SlotPiece::Text("Bearer ".to_owned()), SlotPiece::Secret("TOKEN".to_owned())],
        }]);
        let Value::Object(shown) = json!({"list": ["***TOKEN***", "Bearer ***TOKEN***"]}) else { panic!() };
        let filled = slots.fill(shown.clone(), &secrets).unwrap();
        assert_eq!(Value::Object(filled), json!({"list": ["***TOKEN***", "Bearer abcdef"]}));
        assert_eq!(slots.fill(shown, &Secrets::none()).unwrap_err().code, "unknown_secret");
        assert_eq!(slots.fill(Object::new(), &secrets).unwrap_err().code, "bad_argument");
    }
}
