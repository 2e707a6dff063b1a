//! From nodes to decisions that a model makes.

use std::time::Duration;

use planwire_event::expression::{Expression, Purpose};
use serde_json::{Map, Value, json};

use super::diagnostic::did_you_mean;
use super::diagnostic::quoted;
use super::model::{Choice, ModelDecision, Retry, TOOL_TIMEOUT_DEFAULT, TOOL_TIMEOUT_MAX, ToolStep};
use super::parse::PLAN_VARIABLES;
use super::reading::{Fields, Reading, sound};
use super::steps::RETRY_VARIABLES;
use crate::template::Template;
use crate::tools::model;

/// Attempts of a model when its step does not say: a model may answer nonsense once.
const ATTEMPTS_DEFAULT: u32 = 3;
/// Pause before the second attempt when a step does not say.
const BACKOFF_DEFAULT: Duration = Duration::from_secs(1);

/// Keys that only a decision by a model has.
const MODEL_KEYS: [&str; 5] = ["context", "otherwise", "timeout", "retry", "reserve"];

impl Reading<'_, '_> {
    /// Reports the keys that a decision by rule has not.
    pub(super) fn without_model(&mut self, fields: &Fields<'_>) {
        for name in MODEL_KEYS {
            if let Some((key, _)) = fields.raw(name) {
                let hint = "give it model: with the name of a model, in place of choose:";
                self.problem_with(key.place, format!("'{name}' is only for decisions by a model"), hint);
            }
        }
    }

    /// A decision step with `model:`.
    pub(super) fn model_decision(&mut self, fields: &Fields<'_>, what: &str) -> Option<ModelDecision> {
        let options = self.choices(fields, what)?;
        for name in ["choose", "rationale"] {
            if let Some((key, _)) = fields.raw(name) {
                let message = format!("{what} has both 'model' and '{name}'");
                self.problem_with(key.place, message, "either a rule decides or a model does");
                return None;
            }
        }
        let question = self.question(fields, what);
        let (_, node) = fields.raw("model")?;
        let name = self.text(node, "'model'")?;
        self.check_tool_is_there(node.place);
        let context = match fields.get("context") {
            Some(node) => self.template(node, &PLAN_VARIABLES),
            None => Some(Template::Literal(Value::Null)),
        };
        let otherwise = match fields.get("otherwise") {
            Some(node) => {
                let named = self.text(node, "'otherwise'")?;
                if !options.iter().any(|option| option.name == named) {
                    let known = options.iter().map(|option| option.name.as_str());
                    let hint = did_you_mean(named, known, "options");
                    self.problem_maybe(node.place, format!("there is no option {}", quoted(named)), hint);
                    return None;
                }
                Some(named.to_owned())
            }
            None => None,
        };
        let timeout = match fields.get("timeout") {
            Some(node) => self.duration(node, "'timeout'", TOOL_TIMEOUT_MAX),
            None => Some(TOOL_TIMEOUT_DEFAULT),
        };
        let retry = match fields.get("retry") {
            Some(node) => self.retry(node),
            None => Some(Retry { attempts: ATTEMPTS_DEFAULT, backoff: BACKOFF_DEFAULT, ..Retry::default() }),
        };
        // What a server does not take once it does not take again, whatever the step says of attempts alone.
        let retry = retry.map(|retry| Retry { when: retry.when.or_else(worth_another), ..retry });
        let question = question?;
        let with = arguments(name, question, &options, context?);
        let reserve = fields.get("reserve").map(|node| self.reserve(node));
        let call = ToolStep {
            tool: model::NAME.to_owned(),
            with,
            approve: None,
            timeout: timeout?,
            retry: retry?,
            // Asked twice, it answers twice, and that is all.
            idempotent: true,
            usage: None,
            reserve: sound(reserve)?,
        };
        Some(ModelDecision { question: question.to_owned(), options, call, otherwise })
    }

    fn check_tool_is_there(&mut self, place: super::source::Place) {
        let is_missing = self.loader.tools.is_some_and(|tools| tools.get(model::NAME).is_none());
        if is_missing {
            let hint = "name one in the configuration: [engine.models.default] with base_url and model";
            self.problem_with(place, "no model is configured that could decide", hint);
        }
    }
}

/// Whether a failure may pass, where a document does not say.
fn worth_another() -> Option<Expression> {
    Expression::compile("error.code != 'model_rejected'", &RETRY_VARIABLES, Purpose::Document).ok()
}

/// The arguments of the call: what the model is told.
fn arguments(model: &str, question: &str, options: &[Choice], context: Template) -> Template {
    let described: Map<String, Value> =
        options.iter().map(|option| (option.name.clone(), json!(option.description))).collect();
    let literal = |name: &str, value: Value| (name.to_owned(), Template::Literal(value));
    let mut members = vec![
        literal("model", json!(model)),
        literal("question", json!(question)),
        literal("options", Value::Object(described)),
    ];
    if !matches!(context, Template::Literal(Value::Null)) {
        members.push(("context".to_owned(), context));
    }
    Template::Object(members)
}
