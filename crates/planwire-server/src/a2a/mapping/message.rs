//! What an event says to people, as a message of the agent or of the user.

use planwire_event::vocabulary::{
    AnswerOutcome, DecisionMade, Failure, InputReceived, InputRequested, PauseRequested, PlanCompleted,
    PlanFailed, PlanStarted, QuestionKind, ResumeRequested, SubplanCompleted, SubplanSpawned,
};
use planwire_event::{EventType, StoredEvent};
use serde_json::{Value, json};

use super::Links;
use crate::a2a::fold::About;
use crate::a2a::wire::{Content, EXTENSION, Message, Metadata, Part, Role};

/// Bytes of what our extension says about a message; ours are much smaller.
const NOTE_BYTES_MAX: usize = 2 * 1024;

/// Characters of a line about something.
const LINE_CHARS_MAX: usize = 500;

/// The message in the status of the update that `stored` becomes, if it says something to people.
pub(crate) fn of_status(stored: &StoredEvent, about: &About) -> Option<Message> {
    let event = &stored.event;
    match event.event_type() {
        EventType::DecisionMade => event.read().map(|made| agent(stored, about, decision(&made))),
        EventType::SubplanSpawned => event.read().map(|spawned: SubplanSpawned| {
            let text = line(&format!("Subplan {} started", spawned.name));
            referring(agent(stored, about, text), spawned.child_plan_id.as_str())
        }),
        EventType::SubplanCompleted => event.read().map(|ended: SubplanCompleted| {
            let text = line(&match &ended.error {
                None => format!("Subplan {} completed", ended.child_plan_id),
                Some(error) => format!("Subplan {} failed: {}", ended.child_plan_id, error.message),
            });
            referring(agent(stored, about, text), ended.child_plan_id.as_str())
        }),
        EventType::InputRequested => event.read().map(|asked| question(stored, about, asked)),
        EventType::InputReceived => event.read().and_then(|received: InputReceived| {
            let text = match received.outcome {
                AnswerOutcome::Answered => return None,
                AnswerOutcome::Expired => "Nobody answered in time",
                AnswerOutcome::Withdrawn => "The question is withdrawn",
            };
            Some(agent(stored, about, text.to_owned()))
        }),
        EventType::PauseRequested => event.read().map(|PauseRequested { requested_by, reason }| {
            agent(stored, about, request(&requested_by, "pause", &reason))
        }),
        EventType::ResumeRequested => event.read().map(|ResumeRequested { requested_by, reason }| {
            agent(stored, about, request(&requested_by, "go on", &reason))
        }),
        EventType::PlanCompleted => {
            Some(completed(stored, about, event.read::<PlanCompleted>().unwrap_or_default()))
        }
        EventType::PlanFailed => {
            let error = event.read().map(|failed: PlanFailed| failed.error);
            Some(agent(stored, about, failure(about, error)))
        }
        _ => None,
    }
}

/// The message that `stored` is in the history: what the user said at the start, a question, or an answer.
pub(crate) fn of_history(stored: &StoredEvent, about: &About) -> Option<Message> {
    let event = &stored.event;
    match event.event_type() {
        EventType::PlanStarted => {
            event.read::<PlanStarted>()?.origin?.message.map(|said| user(stored, about, said))
        }
        EventType::InputRequested => event.read().map(|asked| question(stored, about, asked)),
        EventType::InputReceived => {
            let received = event.read::<InputReceived>()?;
            if let Some(said) = received.message {
                return Some(user(stored, about, said));
            }
            let about_it = json!({
                "requestId": received.request_id,
                "answeredBy": received.answered_by,
                "via": received.via,
            });
            let role = Role::User;
            Some(noted(
                Message { role, ..of_parts(stored, about, vec![value_part(received.value)]) },
                about_it,
            ))
        }
        _ => None,
    }
}

/// The same message without its content, for which it gives the address. What our extension says about it stays, so
/// that a question can be answered by its name; metadata of users go, with the extensions that they belong to.
pub(crate) fn shortened(mut message: Message, stored: &StoredEvent, links: Links<'_>) -> Message {
    let text = message.parts.iter().find_map(|part| match &part.content {
        Content::Text(text) => Some(Part::text(line(text))),
        _ => None,
    });
    message.parts = text.into_iter().chain([event_part(stored, links)]).collect();
    let note = message.metadata.take().and_then(|mut metadata| metadata.remove(EXTENSION));
    message.extensions.clear();
    match note.filter(|note| note.to_string().len() <= NOTE_BYTES_MAX) {
        Some(note) => noted(message, note),
        None => message,
    }
}

/// The address of an event, in place of what it holds.
pub(crate) fn event_part(stored: &StoredEvent, links: Links<'_>) -> Part {
    let content = Content::Url(links.event(stored.event.event_id()));
    Part { media_type: Some("application/json".into()), ..content.into() }
}

fn of_parts(stored: &StoredEvent, about: &About, parts: Vec<Part>) -> Message {
    Message {
        message_id: stored.event.event_id().to_string(),
        context_id: Some(about.context_id.to_string()),
        task_id: Some(about.plan.to_string()),
        role: Role::Agent,
        parts,
        ..Message::default()
    }
}

/// What a user said, as it came or, if it was no message, as the content of one.
fn user(stored: &StoredEvent, about: &About, said: Value) -> Message {
    let mut message = serde_json::from_value::<Message>(said.clone()).unwrap_or_default();
    if message.parts.is_empty() {
        message.parts = vec![value_part(said)];
    }
    if message.message_id.is_empty() {
        message.message_id = stored.event.event_id().to_string();
    }
    if message.role == Role::Unspecified {
        message.role = Role::User;
    }
    message.context_id = Some(about.context_id.to_string());
    message.task_id = Some(about.plan.to_string());
    message
}

fn agent(stored: &StoredEvent, about: &About, text: String) -> Message {
    of_parts(stored, about, vec![Part::text(text)])
}

fn referring(mut message: Message, task: &str) -> Message {
    message.reference_task_ids.push(task.to_owned());
    message
}

/// Adds what our extension says about a message.
fn noted(mut message: Message, note: Value) -> Message {
    message.metadata = Some(Metadata::from_iter([(EXTENSION.to_owned(), note)]));
    message.extensions.push(EXTENSION.to_owned());
    message
}

fn decision(made: &DecisionMade) -> String {
    let why = if made.rationale.is_empty() { String::new() } else { format!(" ({})", made.rationale) };
    line(&format!("{} {}{why}", made.question, made.chosen))
}

fn request(requested_by: &str, what: &str, reason: &str) -> String {
    let why = if reason.is_empty() { String::new() } else { format!(": {reason}") };
    line(&format!("{requested_by} asked the task to {what}{why}"))
}

fn failure(about: &About, error: Option<Failure>) -> String {
    match error {
        Some(error) if !error.message.is_empty() => error.message,
        Some(error) if !error.code.is_empty() => error.code,
        _ => line(&format!("{} failed", about.name)),
    }
}

/// The question as text; what is to be approved and what an answer must be as data.
fn question(stored: &StoredEvent, about: &About, asked: InputRequested) -> Message {
    let text = if asked.question.is_empty() {
        match asked.kind {
            QuestionKind::Input => "Input is needed".to_owned(),
            QuestionKind::Approval => "Approval is needed".to_owned(),
            QuestionKind::Auth => "Access is needed".to_owned(),
        }
    } else {
        asked.question
    };
    let mut note = json!({ "requestId": asked.request_id, "kind": asked.kind });
    let mut data = Metadata::new();
    let known = [
        ("step", (!asked.step.is_empty()).then(|| Value::from(asked.step))),
        ("forPlanId", asked.for_plan_id.as_ref().map(|plan| Value::from(plan.as_str()))),
        ("expiresAt", asked.expires_at.map(|at| Value::from(crate::a2a::wire::timestamp(at)))),
        ("argumentsDigest", asked.arguments_digest.map(Value::from)),
    ];
    for (name, value) in known.into_iter().filter_map(|(name, value)| Some((name, value?))) {
        note[name] = value;
    }
    data.extend(asked.arguments.map(|arguments| ("arguments".to_owned(), Value::Object(arguments))));
    data.extend(asked.schema.map(|schema| ("schema".to_owned(), schema)));
    let mut parts = vec![Part::text(text)];
    if !data.is_empty() {
        parts.push(Content::Data(Value::Object(data)).into());
    }
    let message = noted(of_parts(stored, about, parts), note);
    match asked.for_plan_id {
        Some(plan) => referring(message, plan.as_str()),
        None => message,
    }
}

fn completed(stored: &StoredEvent, about: &About, payload: PlanCompleted) -> Message {
    let text = match payload.outputs.get("message") {
        Some(Value::String(text)) if !text.is_empty() => text.clone(),
        _ => line(&format!("{} completed", about.name)),
    };
    let mut parts = vec![Part::text(text)];
    if !payload.outputs.is_empty() {
        parts.push(Content::Data(Value::Object(payload.outputs)).into());
    }
    of_parts(stored, about, parts)
}

fn value_part(value: Value) -> Part {
    match value {
        Value::String(text) => Part::text(text),
        other => Content::Data(other).into(),
    }
}

/// One line of bounded length.
fn line(text: &str) -> String {
    let mut words = String::new();
    for word in text.split_whitespace() {
        if !words.is_empty() {
            words.push(' ');
        }
        words.push_str(word);
    }
    match words.char_indices().nth(LINE_CHARS_MAX) {
        None => words,
        Some((end, _)) => format!("{}…", &words[..end]),
    }
}
