//! What a tool gets where the event of its call shows less.
//!
//! Rules take known tokens and what key names name out of events, not out of calls. **Invariant:** a tool never gets a
//! marker in the place of something that was taken out of its event.

use planwire_event::Payload;
use planwire_event::vocabulary::Object;
use serde_json::Value;

use super::run::Run;
use crate::redaction::{Edges, Redactor};
use crate::secrets::MARK;

impl Run {
    /// The arguments, in normal form, of which an event says `said`, and which are made as `made` now; `None` if `said`
    /// has lost a part that cannot be made again, since something else is redacted than was then.
    pub(super) fn meant(&self, made: &Object, said: &Object) -> Option<Object> {
        meant(self.redactor(), made, said)
    }

    /// The arguments as the tool gets them, but for its secrets: values that came here in another way stay markers.
    pub(super) fn given(&self, meant: Object) -> Object {
        let mut value = Value::Object(meant);
        self.redactor().of_values().value(&mut value, Edges::Whole);
        match value {
            Value::Object(given) => given,
            _ => Object::new(),
        }
    }
}

fn meant(redactor: &Redactor, made: &Object, said: &Object) -> Option<Object> {
    let meant = Payload::of(made).ok()?.to_value();
    let mut shown = meant.clone();
    redactor.value(&mut shown, Edges::Whole);
    match meant {
        Value::Object(meant) if shown.as_object() == Some(said) => Some(meant),
        // The log is obeyed where it says all.
        _ if !Payload::of(said).ok()?.as_str().contains(MARK) => Some(said.clone()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::redaction::Rules;
    use crate::secrets::Secrets;

    #[test]
    fn arguments_of_which_an_event_lost_a_part_are_those_that_it_was_made_of() {
        let object = |value: Value| value.as_object().cloned().unwrap();
        let made = object(json!({"password": "hunter2", "count": 1.0}));
        let said = object(json!({"password": "***password***", "count": 1}));
        let other = object(json!({"password": "***password***", "count": 2}));
        let standard = Secrets::none();
        let none = Secrets::none().with_rules(&Rules::none()).unwrap();
        let meant = |secrets: &Secrets, said| meant(secrets.redactor(), &made, said);
        assert_eq!(meant(&standard, &said), Some(object(json!({"password": "hunter2", "count": 1}))));
        assert_eq!(meant(&standard, &other), None, "something else was meant");
        assert_eq!(meant(&none, &said), None, "what is redacted has changed since");
        let plain = object(json!({"password": "hunter2", "count": 3}));
        assert_eq!(meant(&standard, &plain), Some(plain.clone()), "the log is obeyed");
    }
}
