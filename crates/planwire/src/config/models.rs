//! `[engine.models]`: language models that decide in plans, by the names that documents use.

use planwire_engine::tools::model::{ANSWER_TOKENS_DEFAULT, AnswerFormat, ModelConfig, Price};
use planwire_event::cost::Cost;

use super::file::{File, Member, Value, quoted};
use super::keys::MODEL;
use super::layers::Problems;
use super::tables::{entry, text};
use super::texts::is_url;

/// Tokens of one answer that a configuration may allow.
const ANSWER_TOKENS_MAX: i128 = 1_000_000;
/// Models of one configuration.
const MODELS_MAX: usize = 100;
/// The currency of prices when nobody says another.
const CURRENCY_DEFAULT: &str = "USD";

/// A model by its name.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ModelEntry {
    /// The name in `model:`.
    pub(crate) name: String,
    /// How it is asked.
    pub(crate) config: ModelConfig,
    /// The line of the file that says so.
    pub(crate) line: usize,
    /// The byte at which its name stands.
    pub(crate) offset: usize,
    /// The byte at which the name of its secret stands.
    pub(crate) secret_offset: usize,
}

/// Reads `[engine.models]`.
pub(crate) fn models(file: &File, members: &[Member], problems: &mut Problems) -> Vec<ModelEntry> {
    if let Some(member) = members.get(MODELS_MAX) {
        problems.push(file.problem(member.offset, &format!("more than {MODELS_MAX} models")), None);
        return Vec::new();
    }
    members.iter().filter_map(|member| model(file, member, problems)).collect()
}

fn model(file: &File, member: &Member, problems: &mut Problems) -> Option<ModelEntry> {
    let place = format!("model {}", quoted(&member.name));
    if !is_name(&member.name) {
        let problem = file.problem(member.offset, &format!("{} is no name of a model", quoted(&member.name)));
        problems.push(problem, Some("letters, digits, - and _".into()));
        return None;
    }
    let Value::Table(said) = &member.node.value else {
        let misfit = member.node.misfit("a table");
        problems.misfit_in(file, &member.name, &misfit);
        return None;
    };
    let before = problems.len();
    let mut read = Read { file, problems, config: ModelConfig::new("", ""), price: Priced::default() };
    let mut secret_offset = member.offset;
    for said in said {
        if let Some(name) = entry(file, said, &MODEL, &place, read.problems).map(|entry| entry.name) {
            read.take(name, said);
            if name == "secret" {
                secret_offset = said.node.offset;
            }
        }
    }
    let Read { config, price, .. } = read;
    if problems.len() > before {
        return None;
    }
    for (name, value) in [("base_url", &config.base_url), ("model", &config.model)] {
        if value.is_empty() {
            let example = "base_url = \"https://api.example.com/v1\", model = \"small\"";
            let problem = file.problem(member.offset, &format!("{place} must have '{name}'"));
            problems.push(problem, Some(example.into()));
            return None;
        }
    }
    let config = ModelConfig { price: price.into_price(), ..config };
    let (line, offset) = (file.line(member.offset), member.offset);
    Some(ModelEntry { name: member.name.clone(), config, line, offset, secret_offset })
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}

#[derive(Default)]
struct Priced {
    input: Option<Cost>,
    output: Option<Cost>,
    currency: Option<String>,
}

impl Priced {
    /// A price that is not said is none.
    fn into_price(self) -> Option<Price> {
        self.input.or(self.output)?;
        Some(Price {
            input: self.input.unwrap_or_default(),
            output: self.output.unwrap_or_default(),
            currency: self.currency.unwrap_or_else(|| CURRENCY_DEFAULT.to_owned()),
        })
    }
}

/// A model that is being read.
struct Read<'a> {
    file: &'a File,
    problems: &'a mut Problems,
    config: ModelConfig,
    price: Priced,
}

impl Read<'_> {
    fn take(&mut self, name: &str, said: &Member) {
        let config = &mut self.config;
        match name {
            "base_url" => match text(self.file, said, self.problems) {
                Some(url) if is_url(&url) => config.base_url = url,
                Some(_) => self.misfit(said, "an http or https address without query"),
                None => {}
            },
            "model" => config.model = text(self.file, said, self.problems).unwrap_or_default(),
            "secret" => config.secret = text(self.file, said, self.problems),
            "answer_tokens_max" => match said.node.value {
                Value::Integer(tokens @ 1..=ANSWER_TOKENS_MAX) => {
                    config.answer_tokens_max = u32::try_from(tokens).unwrap_or(ANSWER_TOKENS_DEFAULT);
                }
                _ => self.misfit(said, &format!("tokens, 1 to {ANSWER_TOKENS_MAX}")),
            },
            "temperature" => match decimal(&said.node.value).and_then(|text| text.parse::<f64>().ok()) {
                Some(temperature) if (0.0..=2.0).contains(&temperature) => {
                    config.temperature = Some(temperature);
                }
                _ => self.misfit(said, "a number from 0 to 2"),
            },
            "format" => match text(self.file, said, self.problems).as_deref() {
                Some("json_schema") => config.format = AnswerFormat::JsonSchema,
                Some("json_object") => config.format = AnswerFormat::JsonObject,
                Some("words") => config.format = AnswerFormat::Words,
                Some(_) => self.misfit(said, "json_schema, json_object or words"),
                None => {}
            },
            "input_price" => self.price.input = self.price_of(said),
            "output_price" => self.price.output = self.price_of(said),
            _ => self.price.currency = text(self.file, said, self.problems),
        }
    }

    fn price_of(&mut self, said: &Member) -> Option<Cost> {
        let price = decimal(&said.node.value).and_then(|text| text.parse().ok());
        if price.is_none() {
            self.misfit(said, "a price for a million tokens, such as 0.15");
        }
        price
    }

    fn misfit(&mut self, said: &Member, wanted: &str) {
        let misfit = said.node.misfit(wanted);
        self.problems.misfit_in(self.file, &said.name, &misfit);
    }
}

/// A number as it is written.
fn decimal(value: &Value) -> Option<String> {
    match value {
        Value::Integer(integer) => Some(integer.to_string()),
        Value::Text(text) | Value::Other(text) => Some(text.clone()),
        Value::Bool(_) | Value::List(_) | Value::Table(_) => None,
    }
}
