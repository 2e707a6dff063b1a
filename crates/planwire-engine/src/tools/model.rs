//! `model`: lets a language model choose between options, over the chat completions API that OpenAI made and most
//! servers of models speak (`POST {base_url}/chat/completions`).
//!
//! A decision step with `model:` calls it; what it gives is one of the options or a failure. **Invariants:** a model is
//! told what the arguments say and nothing else; what it answers is data that is checked, never run.
//!
//! - `request`: what the model is told.
//! - `answer`: what it gave, checked against the options.

mod answer;
mod request;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use futures_util::future::BoxFuture;
use planwire_event::cost::Cost;
use planwire_event::vocabulary::{Object, Usage};
use serde_json::Value;
use tokio::time::sleep;

use super::http::{AddressError, AllowPrivate, Http, HttpConfig, Roots, reach_of};
use crate::policy::Reach;
use crate::secrets::Secrets;
use crate::tool::{Argument, Parameters, Tool, ToolContext, ToolError, ToolOutput, read_arguments};
use answer::Reply;
use request::Asked;

/// The name of the tool.
pub const NAME: &str = "model";

/// Tokens of an answer when the configuration does not say.
pub const ANSWER_TOKENS_DEFAULT: u32 = 1024;
/// Bytes of question, options and context together.
pub const ASKED_BYTES_MAX: usize = 256 * 1024;
/// Longest time that a server may ask to wait for (`Retry-After`) and is waited for within a call.
pub const RETRY_AFTER_MAX: Duration = Duration::from_secs(60);
/// Shortest pause before a server that asked for time is asked again.
pub const RETRY_AFTER_MIN: Duration = Duration::from_millis(100);

/// A model that can be asked.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelConfig {
    /// Address of the API up to the version, such as `https://api.example.com/v1`.
    pub base_url: String,
    /// The model's name there.
    pub model: String,
    /// The secret that is sent as bearer token; `None`: no token.
    pub secret: Option<String>,
    /// Tokens of one answer, its reasoning among them. Default: [`ANSWER_TOKENS_DEFAULT`].
    pub answer_tokens_max: u32,
    /// From 0 to 2; `None`: as the server has it.
    pub temperature: Option<f64>,
    /// How the form of an answer is asked for. Default: [`AnswerFormat::JsonSchema`].
    pub format: AnswerFormat,
    /// What it costs; `None`: not known.
    pub price: Option<Price>,
}

impl ModelConfig {
    /// A model without token, with all defaults.
    pub fn new(base_url: impl Into<String>, model: impl Into<String>) -> Self {
        Self {
            base_url: base_url.into(),
            model: model.into(),
            secret: None,
            answer_tokens_max: ANSWER_TOKENS_DEFAULT,
            temperature: None,
            format: AnswerFormat::default(),
            price: None,
        }
    }
}

/// How a server is told which form an answer must have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AnswerFormat {
    /// `response_format: json_schema`, strict: the server lets the model write nothing else.
    #[default]
    JsonSchema,
    /// `response_format: json_object`.
    JsonObject,
    /// In words alone.
    Words,
}

impl AnswerFormat {
    /// Its name in configurations.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::JsonSchema => "json_schema",
            Self::JsonObject => "json_object",
            Self::Words => "words",
        }
    }
}

/// What a model costs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Price {
    /// For a million tokens that go in.
    pub input: Cost,
    /// For a million tokens that come out.
    pub output: Cost,
    /// The currency, such as `USD`.
    pub currency: String,
}

impl Price {
    /// What some tokens cost, rounded up to a billionth.
    fn of(&self, input_tokens: u64, output_tokens: u64) -> Cost {
        const MILLION: u128 = 1_000_000;
        let part = |price: Cost, tokens: u64| u128::from(price.billionths()) * u128::from(tokens);
        let sum = part(self.input, input_tokens).saturating_add(part(self.output, output_tokens));
        Cost::from_billionths(u64::try_from(sum.div_ceil(MILLION)).unwrap_or(u64::MAX))
    }
}

/// The tool `model`.
#[derive(Debug)]
pub struct Model {
    models: BTreeMap<String, Reached>,
    secrets: Secrets,
}

/// A model, and how its server is reached.
#[derive(Debug)]
struct Reached {
    config: ModelConfig,
    http: Http,
}

impl Model {
    /// A tool that asks these models, by the names that documents use. Their servers may have private addresses: the
    /// configuration names them. The tokens are among `secrets`.
    ///
    /// # Errors
    ///
    /// [`AddressError`] if a base address has no host.
    pub fn new(
        models: impl IntoIterator<Item = (String, ModelConfig)>,
        secrets: Secrets,
        roots: &Roots,
    ) -> Result<Self, AddressError> {
        let models = models.into_iter().map(|(name, config)| {
            let allow_private = AllowPrivate::parse([host_of(&config.base_url)])?;
            let roots = roots.clone();
            let http = Http::new(HttpConfig { allow_private, roots, ..HttpConfig::default() });
            Ok((name, Reached { config, http }))
        });
        Ok(Self { models: models.collect::<Result<_, AddressError>>()?, secrets })
    }

    async fn ask(&self, asked: Asked, context: &ToolContext) -> Result<ToolOutput, ToolError> {
        let reached = self.models.get(&asked.model).ok_or_else(|| {
            let known: Vec<&str> = self.models.keys().map(String::as_str).collect();
            let message =
                format!("no model '{}' is configured; there are: {}", asked.model, known.join(", "));
            ToolError::new("unknown_model", message)
        })?;
        let request = request::of(&asked, &reached.config, &self.secrets)?;
        loop {
            let response = tokio::select! {
                biased;
                _ = context.stop.wait() => return Err(ToolError::stopped()),
                response = reached.http.call(request.clone(), context.clone()) => response?,
            };
            match Reply::of(&response.value)? {
                Reply::Body(body) => return answer::read(&asked, &reached.config, body),
                // The time of the call goes on meanwhile.
                Reply::Later(pause) => tokio::select! {
                    () = sleep(pause.max(RETRY_AFTER_MIN)) => {}
                    // Whoever was only told to wait has used nothing.
                    _ = context.stop.wait() => return Err(ToolError::stopped().with_usage(Usage::default())),
                },
            }
        }
    }
}

/// The host of an address, with its brackets taken off.
fn host_of(base_url: &str) -> &str {
    let rest = base_url.split_once("://").map_or(base_url, |(_, rest)| rest);
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    if let Some(bracketed) = authority.strip_prefix('[') {
        return bracketed.split(']').next().unwrap_or_default();
    }
    authority.split(':').next().unwrap_or_default()
}

impl Tool for Model {
    fn name(&self) -> &str {
        NAME
    }

    fn purpose(&self) -> &str {
        "lets a language model choose between options"
    }

    fn arguments(&self) -> Parameters {
        Parameters::listed(
            const {
                &[
                    Argument::required(
                        "model",
                        "text",
                        "which model is asked, as the configuration names it",
                    ),
                    Argument::required("question", "text", "what is to be decided"),
                    Argument::required("options", "object of texts", "what each option means, by its name"),
                    Argument::optional("context", "anything", "what the model should know for it"),
                ]
            },
        )
    }

    fn reports_usage(&self) -> bool {
        true
    }

    fn reach(&self, arguments: &Object, _folder: &Path) -> Reach {
        let model = arguments.get("model").and_then(Value::as_str).and_then(|name| self.models.get(name));
        model.map_or_else(Reach::default, |model| reach_of(&model.config.base_url))
    }

    fn call(&self, arguments: Object, context: ToolContext) -> BoxFuture<'_, Result<ToolOutput, ToolError>> {
        Box::pin(async move {
            let asked: Asked = read_arguments(arguments)?;
            self.ask(asked, &context).await
        })
    }
}

/// The beginning of a text on one line, for a message.
fn excerpt(text: &str) -> String {
    const CHARS_MAX: usize = 300;
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let kept: String = line.chars().take(CHARS_MAX).collect();
    if kept.len() < line.len() { kept + "..." } else { kept }
}

/// A member of a member ... of a value.
fn at<'a>(value: &'a Value, path: &str) -> &'a Value {
    value.pointer(path).unwrap_or(&Value::Null)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_is_what_stands_before_port_and_path() {
        for (url, host) in [
            ("https://api.example.com/v1", "api.example.com"),
            ("http://127.0.0.1:8080/v1", "127.0.0.1"),
            ("http://[::1]:80", "::1"),
            ("nothing", "nothing"),
        ] {
            assert_eq!(host_of(url), host);
        }
    }
}
