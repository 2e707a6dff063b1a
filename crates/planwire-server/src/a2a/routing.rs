//! Which message starts what, or is answered at once.
//!
//! In this order: the skill that the message names, the routes of the configuration, a document that the message
//! brings along (if that is allowed), the only registered document. **Invariant:** expressions are compiled once, when
//! the server starts, and evaluated within the budget of [`planwire_event::expression`].

use planwire_bus::{CatalogEntry, DocumentSource};
use planwire_event::expression::{CompileError, Expression, Purpose, Variables};
use planwire_event::vocabulary::Object;
use serde_json::{Map, Value, json};

use super::config::{ROUTES_MAX, Route, Then};
use super::error::{A2aError, ErrorKind};
use super::wire::{Content, Message, Part, Role};

/// The only variable of an expression.
const VARIABLE: &str = "message";

/// Skills that an error names.
const SKILLS_NAMED_MAX: usize = 20;

/// Inputs that take the text of a message where nothing else gives them, in this order.
const TEXT_INPUTS: [&str; 2] = ["message", "text"];

/// Why a route cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RouteError {
    /// There are too many.
    #[error("there are {count} routes, the limit is {ROUTES_MAX}")]
    TooMany {
        /// How many.
        count: usize,
    },
    /// An expression is none.
    #[error("route {index}, {member}: {source}")]
    Expression {
        /// Which route, from 0.
        index: usize,
        /// Which of its expressions: `when`, `answer` or `inputs.NAME`.
        member: String,
        /// What is wrong with it, and where.
        source: CompileError,
    },
}

/// The routes of a server, compiled.
#[derive(Debug, Default)]
pub(crate) struct Routes(Vec<Compiled>);

#[derive(Debug)]
struct Compiled {
    when: Option<Expression>,
    then: CompiledThen,
}

#[derive(Debug)]
enum CompiledThen {
    Plan { name: String, inputs: Vec<(String, Expression)> },
    Answer(Expression),
}

/// What becomes of a message.
#[derive(Clone, Debug)]
pub(crate) enum Target {
    Start { document: DocumentSource, inputs: Object },
    Answer(Part),
}

/// What routing may know of the server.
pub(crate) struct Offer<'a> {
    pub(crate) catalog: &'a [CatalogEntry],
    /// Whether messages may bring documents along.
    pub(crate) inline: bool,
}

impl Routes {
    pub(crate) fn compile(routes: &[Route]) -> Result<Self, RouteError> {
        if routes.len() > ROUTES_MAX {
            return Err(RouteError::TooMany { count: routes.len() });
        }
        routes
            .iter()
            .enumerate()
            .map(|(index, route)| compiled(index, route))
            .collect::<Result<_, _>>()
            .map(Self)
    }

    /// What becomes of `message`.
    ///
    /// # Errors
    ///
    /// InvalidParams if nothing is meant for it, or it lacks what its route takes from it; ContentTypeNotSupported if it
    /// brings a file that nothing takes; InvalidAgentResponse if its route gives something that is no answer.
    pub(crate) fn target(&self, message: &Message, offer: &Offer<'_>) -> Result<Target, A2aError> {
        let skill = skill(message);
        if let Some(entry) = offer.catalog.iter().find(|entry| entry.name == skill) {
            return registered(message, entry);
        }
        if !self.0.is_empty() {
            let variable = variable(message, skill);
            let variables = Variables::new().with(VARIABLE, &variable);
            if let Some(route) = self.0.iter().find(|route| route.holds(&variables)) {
                return route.then.target(message, &variables, offer);
            }
        }
        if !skill.is_empty() {
            return Err(A2aError::field("message.metadata.skillId", skills(offer, "there is no such skill")));
        }
        if let Some(document) = document(message) {
            if !offer.inline {
                let description = "brings a plan document along; only registered ones may be started here";
                return Err(A2aError::field("message.parts", description));
            }
            return inline(message, document);
        }
        match offer.catalog {
            [only] => registered(message, only),
            _ => {
                let description = skills(offer, "nothing says which skill is meant: name it in skillId");
                Err(A2aError::field("message.metadata", description))
            }
        }
    }
}

fn compiled(index: usize, route: &Route) -> Result<Compiled, RouteError> {
    let compile =
        |member: &str, source: &str| {
            Expression::compile(source, &[VARIABLE], Purpose::Document)
                .map_err(|source| RouteError::Expression { index, member: member.to_owned(), source })
        };
    let when = route.when.as_deref().map(|source| compile("when", source)).transpose()?;
    let then = match &route.then {
        Then::Answer(source) => CompiledThen::Answer(compile("answer", source)?),
        Then::Plan { name, inputs } => {
            let inputs = inputs
                .iter()
                .map(|(name, source)| Ok((name.clone(), compile(&format!("inputs.{name}"), source)?)))
                .collect::<Result<_, _>>()?;
            CompiledThen::Plan { name: name.clone(), inputs }
        }
    };
    Ok(Compiled { when, then })
}

impl Compiled {
    /// A condition that names what the message does not have, or is no yes or no, does not hold.
    fn holds(&self, variables: &Variables<'_>) -> bool {
        let Some(when) = &self.when else { return true };
        match when.evaluate(variables) {
            Ok(Value::Bool(holds)) => holds,
            Ok(_) => {
                tracing::warn!(
                    when = when.source(),
                    "the condition of a route gives no bool; it does not hold"
                );
                false
            }
            Err(error) => {
                tracing::debug!(
                    error = &error as &dyn std::error::Error,
                    "the condition of a route does not hold"
                );
                false
            }
        }
    }
}

impl CompiledThen {
    fn target(
        &self,
        message: &Message,
        variables: &Variables<'_>,
        offer: &Offer<'_>,
    ) -> Result<Target, A2aError> {
        match self {
            Self::Answer(expression) => answer(expression, variables).map(Target::Answer),
            Self::Plan { name, inputs } if inputs.is_empty() => {
                match offer.catalog.iter().find(|entry| entry.name == *name) {
                    Some(entry) => registered(message, entry),
                    None => Ok(start(name, Object::new())),
                }
            }
            Self::Plan { name, inputs } => {
                let mut values = Object::new();
                for (input, expression) in inputs {
                    let value = expression.evaluate(variables).map_err(|error| {
                        A2aError::field("message", format!("does not give the input '{input}': {error}"))
                    })?;
                    values.insert(input.clone(), value);
                }
                Ok(start(name, values))
            }
        }
    }
}

/// The part that an answer consists of.
fn answer(expression: &Expression, variables: &Variables<'_>) -> Result<Part, A2aError> {
    let failed = |what: String| {
        tracing::error!(answer = expression.source(), what, "a route gives no answer");
        A2aError::new(
            ErrorKind::InvalidAgentResponse,
            format!("the route of this message gives no answer: {what}"),
        )
    };
    match expression.evaluate(variables) {
        Ok(Value::String(text)) => Ok(Part::text(text)),
        Ok(data @ (Value::Object(_) | Value::Array(_))) => Ok(Content::Data(data).into()),
        Ok(_) => Err(failed("it gives neither a text nor an object nor a list".into())),
        Err(error) => Err(failed(error.to_string())),
    }
}

fn start(name: &str, inputs: Object) -> Target {
    Target::Start { document: DocumentSource::Registered(name.to_owned()), inputs }
}

/// Starts a registered document with what the message says by default.
fn registered(message: &Message, entry: &CatalogEntry) -> Result<Target, A2aError> {
    let is_text = |name: &str| entry.inputs["properties"][name]["type"] == "string";
    let inputs = default_inputs(message, None, is_text)?;
    Ok(start(&entry.name, inputs))
}

/// Starts the document that the message brings along.
fn inline(message: &Message, document: &Map<String, Value>) -> Result<Target, A2aError> {
    let is_text = |name: &str| document.get("inputs").is_some_and(|inputs| inputs[name]["type"] == "string");
    let inputs = default_inputs(message, Some(document), is_text)?;
    let text = serde_json::to_string(document).unwrap_or_default();
    let document = DocumentSource::Received { text, name: "message".into() };
    Ok(Target::Start { document, inputs })
}

/// The objects of the data parts together, later ones win; and the text, where the document takes it.
fn default_inputs(
    message: &Message,
    document: Option<&Map<String, Value>>,
    is_text: impl Fn(&str) -> bool,
) -> Result<Object, A2aError> {
    refuse_files(message)?;
    let mut inputs = Object::new();
    for (at, part) in message.parts.iter().enumerate() {
        match &part.content {
            Content::Data(Value::Object(object)) if Some(object) != document => inputs.extend(object.clone()),
            // There are no others any more.
            Content::Data(Value::Object(_)) | Content::Text(_) | Content::Raw(_) | Content::Url(_) => {}
            Content::Data(_) => {
                let field = format!("message.parts[{at}].data");
                return Err(A2aError::field(
                    field,
                    "must be an object: its members are the inputs of the plan",
                ));
            }
        }
    }
    let text = text(message);
    let takes_text = TEXT_INPUTS.into_iter().find(|name| is_text(name) && !inputs.contains_key(*name));
    if let (Some(name), Some(text)) = (takes_text, text) {
        inputs.insert(name.to_owned(), text.into());
    }
    Ok(inputs)
}

/// Refuses files where nothing takes them: they would be dropped in silence.
pub(crate) fn refuse_files(message: &Message) -> Result<(), A2aError> {
    let is_file = |part: &Part| matches!(part.content, Content::Raw(_) | Content::Url(_));
    let Some(at) = message.parts.iter().position(is_file) else { return Ok(()) };
    let message =
        format!("message.parts[{at}] is a file, which nothing takes here; there are texts and data");
    Err(A2aError::new(ErrorKind::ContentTypeNotSupported, message))
}

/// The first data part that is a whole plan document.
fn document(message: &Message) -> Option<&Map<String, Value>> {
    message.parts.iter().find_map(|part| match &part.content {
        Content::Data(Value::Object(object))
            if object.contains_key("plan") && object.contains_key("steps") =>
        {
            Some(object)
        }
        _ => None,
    })
}

/// The text parts, one per line; none if there are none.
pub(crate) fn text(message: &Message) -> Option<String> {
    let texts: Vec<_> = message
        .parts
        .iter()
        .filter_map(|part| match &part.content {
            Content::Text(text) => Some(text.as_str()),
            _ => None,
        })
        .collect();
    (!texts.is_empty()).then(|| texts.join("\n"))
}

/// The skill that a message names; empty if none.
fn skill(message: &Message) -> &str {
    let named = |name| message.metadata.as_ref().and_then(|metadata| metadata.get(name)?.as_str());
    named("skillId").or_else(|| named("skill")).unwrap_or_default()
}

/// The message as expressions see it: members that do not apply are empty, so that they can be compared.
fn variable(message: &Message, skill: &str) -> Value {
    let mut data = Map::new();
    for part in &message.parts {
        if let Content::Data(Value::Object(object)) = &part.content {
            data.extend(object.clone());
        }
    }
    let parts: Vec<_> = message.parts.iter().map(part_variable).collect();
    let role = match message.role {
        Role::User => "user",
        Role::Agent => "agent",
        Role::Unspecified => "",
    };
    json!({
        "id": message.message_id,
        "text": text(message).unwrap_or_default(),
        "data": data,
        "parts": parts,
        "role": role,
        "context_id": message.context_id.as_deref().unwrap_or_default(),
        "task_id": message.task_id.as_deref().unwrap_or_default(),
        "metadata": message.metadata.clone().unwrap_or_default(),
        "skill": skill,
    })
}

fn part_variable(part: &Part) -> Value {
    let (kind, text, data, raw, url) = match &part.content {
        Content::Text(text) => ("text", text.as_str(), &Value::Null, "", ""),
        Content::Data(data) => ("data", "", data, "", ""),
        Content::Raw(raw) => ("file", "", &Value::Null, raw.as_str(), ""),
        Content::Url(url) => ("url", "", &Value::Null, "", url.as_str()),
    };
    json!({
        "kind": kind,
        "text": text,
        "data": data,
        "raw": raw,
        "url": url,
        "filename": part.filename.as_deref().unwrap_or_default(),
        "media_type": part.media_type.as_deref().unwrap_or_default(),
    })
}

/// What is wrong, and the skills that there are.
fn skills(offer: &Offer<'_>, what: &str) -> String {
    let names: Vec<_> =
        offer.catalog.iter().take(SKILLS_NAMED_MAX).map(|entry| entry.name.as_str()).collect();
    let more = if offer.catalog.len() > SKILLS_NAMED_MAX { ", .." } else { "" };
    match *names {
        [] => format!("{what}; no document is registered here"),
        _ => format!("{what}; there are {}{more}", names.join(", ")),
    }
}

#[cfg(test)]
mod tests;
