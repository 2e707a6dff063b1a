//! From nodes to questions to people, and to steps that end the plan.

use std::sync::Arc;
use std::time::Duration;

use planwire_event::answer::{AnswerSchema, approval_schema};
use planwire_event::vocabulary::{FailureReason, QuestionKind};
use serde_json::{Value, json};

use super::diagnostic::{did_you_mean, quoted};
use super::keys;
use super::model::{Ask, EXPIRES_DEFAULT, EXPIRES_MAX, Fail, InputKind};
use super::node::{Node, NodeValue};
use super::parse::PLAN_VARIABLES;
use super::reading::{Fields, Reading, sound};
use crate::template::Template;

impl Ask {
    /// The approval that the policy wants: no document says it, and its text comes with the call.
    pub(crate) fn by_policy() -> Self {
        let schema = approval_schema();
        let answer =
            AnswerSchema::compile(&schema).expect("the schema of approvals is a constant, and sound");
        Self {
            question: Template::Literal(Value::String(String::new())),
            kind: QuestionKind::Approval,
            schema: Some(schema),
            answer: Arc::new(answer),
            expires: EXPIRES_DEFAULT,
            arguments: None,
        }
    }
}

impl Reading<'_, '_> {
    pub(super) fn ask(&mut self, fields: &Fields<'_>, what: &str) -> Option<Ask> {
        let (_, node) = fields.raw("ask")?;
        let question = self.text(node, "'ask'").and_then(|_| self.template(node, &PLAN_VARIABLES));
        let kind = match fields.get("kind") {
            Some(node) => self.choice(node, "'kind'", &keys::ASK_KINDS)?,
            None => 0,
        };
        let kind = [QuestionKind::Input, QuestionKind::Auth][kind];
        let expires = self.expires(fields);
        let schema = match (fields.get("answer"), fields.get("schema")) {
            (Some(_), Some(node)) => {
                let message = format!("{what} has both 'answer' and 'schema'");
                self.problem_with(
                    node.place,
                    message,
                    "answer is the short form of schema: keep one of them",
                );
                return None;
            }
            (Some(node), None) => Some(self.answer(node)?),
            // `true` would be a schema too, but one that says nothing of what to show.
            (None, Some(node)) => {
                self.members(node, "'schema'")?;
                Some(node.to_value())
            }
            (None, None) if kind == QuestionKind::Input => Some(json!({"type": "string"})),
            (None, None) => None,
        };
        let place = fields.get("schema").or(fields.get("answer")).map_or(fields.place, |node| node.place);
        let anything = Value::Bool(true);
        let answer = match AnswerSchema::compile(schema.as_ref().unwrap_or(&anything)) {
            Ok(answer) => Arc::new(answer),
            Err(error) => {
                self.problem_with(
                    place,
                    error.to_string(),
                    "write JSON Schema 2020-12, or use answer: { type: .. }",
                );
                return None;
            }
        };
        Some(Ask { question: question?, kind, schema, answer, expires: expires?, arguments: None })
    }

    /// `approve`: on a tool step, or alone.
    pub(super) fn approval(&mut self, fields: &Fields<'_>) -> Option<Ask> {
        let (_, node) = fields.raw("approve")?;
        let question = self.text(node, "'approve'").and_then(|_| self.template(node, &PLAN_VARIABLES));
        let expires = self.expires(fields);
        let arguments = fields.get("arguments").map(|node| {
            self.members(node, "'arguments'")?;
            self.template(node, &PLAN_VARIABLES)
        });
        let schema = approval_schema();
        let answer = Arc::new(AnswerSchema::compile(&schema).ok()?);
        Some(Ask {
            question: question?,
            kind: QuestionKind::Approval,
            schema: Some(schema),
            answer,
            expires: expires?,
            arguments: sound(arguments)?,
        })
    }

    fn expires(&mut self, fields: &Fields<'_>) -> Option<Duration> {
        match fields.get("expires") {
            Some(node) => self.duration(node, "'expires'", EXPIRES_MAX),
            None => Some(EXPIRES_DEFAULT),
        }
    }

    /// The schema that `answer` is the short form of.
    fn answer(&mut self, node: &Node) -> Option<Value> {
        let fields = self.fields(node, "'answer'", &keys::ANSWER)?;
        let mut schema = json!({});
        let mut kind = None;
        if let Some(node) = fields.get("type") {
            let at = self.choice(node, "'type'", &keys::ANSWER_TYPES)?;
            kind = InputKind::of_name(keys::ANSWER_TYPES[at]);
            schema["type"] = json!(["string", "integer", "number", "boolean", "array", "object"][at]);
        }
        if let Some(node) = fields.get("enum") {
            let NodeValue::List(items) = &node.value else {
                self.problem(node.place, format!("'enum' must be a list, not {}", node.kind()));
                return None;
            };
            if items.is_empty() {
                self.problem(node.place, "'enum' is empty");
                return None;
            }
            for item in items {
                if let Some(kind) = kind.filter(|kind| !kind.accepts(&item.to_value())) {
                    let message =
                        format!("an entry of 'enum' must be {}, not {}", kind.wanted(), item.kind());
                    self.problem(item.place, message);
                }
            }
            schema["enum"] = node.to_value();
        } else if kind.is_none() {
            let hint = format!("types: {}", keys::ANSWER_TYPES.join(", "));
            self.problem_with(node.place, "'answer' has neither 'type' nor 'enum'", hint);
            return None;
        }
        if let Some(node) = fields.get("description") {
            schema["description"] = json!(self.text(node, "'description'")?);
        }
        Some(schema)
    }

    pub(super) fn fail(&mut self, fields: &Fields<'_>) -> Option<Fail> {
        let (_, node) = fields.raw("fail")?;
        let text = self.text(node, "'fail'").and_then(|_| self.template(node, &PLAN_VARIABLES));
        let reason = match fields.get("reason") {
            Some(node) => self.choice(node, "'reason'", &keys::FAIL_REASONS)?,
            None => 0,
        };
        let reason = [FailureReason::Error, FailureReason::Rejected][reason];
        Some(Fail { text: text?, reason })
    }

    /// The place of a text in a list of words.
    fn choice(&mut self, node: &Node, what: &str, words: &[&str]) -> Option<usize> {
        let text = self.text(node, what)?;
        let at = words.iter().position(|word| *word == text);
        if at.is_none() {
            let hint = did_you_mean(text, words.iter().copied(), "words");
            self.problem_maybe(node.place, format!("{what} cannot be {}", quoted(text)), hint);
        }
        at
    }
}
