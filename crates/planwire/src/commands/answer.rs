//! `planwire answer`: what a plan asks, and the answer to it.

use std::io::{BufRead as _, IsTerminal as _};

use planwire_bus::Published;
use planwire_event::answer::{self, TextError};
use planwire_event::state::{PlanState, QuestionRecord};
use planwire_event::vocabulary::{AnswerOutcome, InputReceived};
use planwire_event::{Event, Filter, IdGenerator, PlanId, Position, SystemClock};
use planwire_store::{EventRepository, PageLimits};
use serde_json::{Value, json};

use crate::access::Access;
use crate::args::AnswerArguments;
use crate::commands::events::unknown_plan;
use crate::failure::{Exit, Failure};
use crate::output::{Output, Paint, cut, escape, tell};
use crate::place::Place;
use crate::wiring::{House, OpenPlans, publish_failure};

/// How an answer came, for those who read it.
const VIA: &str = "cli";
/// Characters of what is to be approved that are shown of it.
const ARGUMENTS_CHARS_MAX: usize = 2_000;

/// Answers a question; without a value shows what is asked, and on a terminal asks it.
///
/// # Errors
///
/// If the plan is unknown, has ended or asks nothing, or the answer does not fit.
pub(crate) async fn answer(
    arguments: &AnswerArguments,
    place: &Place,
    output: Output,
) -> Result<Exit, Failure> {
    let repository = place.require_reader()?;
    let plan = fold(repository.as_ref(), &arguments.plan).await?;
    let plan = plan.ok_or_else(|| unknown_plan(&arguments.plan))?;
    drop(repository);
    if plan.is_ended() {
        return Err(Failure::failed(format!("plan {} has ended and asks nothing any more", plan.plan_id)));
    }
    let is_meant = |question: &&QuestionRecord| {
        arguments.request.as_ref().is_none_or(|request| *request == question.request_id)
    };
    let questions: Vec<&QuestionRecord> = plan.questions.iter().filter(is_meant).collect();
    if questions.is_empty() && (arguments.request.is_some() || arguments.value.is_some()) {
        let what = arguments.request.as_ref().map_or_else(String::new, |request| format!(" under {request}"));
        return Err(Failure::failed(format!("plan {} asks nothing{what}", plan.plan_id))
            .hint("somebody may have answered already: planwire events --plan ID --type InputReceived"));
    }
    let giver = Giver { arguments, place, output };
    match &arguments.value {
        Some(text) => giver.give(one(&plan, &questions)?, text).await,
        None if output.live && std::io::stdin().is_terminal() => giver.ask(&plan.plan_id, &questions).await,
        None => list(&plan, &questions, place, output),
    }
}

/// Folds the events of one plan.
async fn fold(repository: &dyn EventRepository, id: &PlanId) -> Result<Option<PlanState>, Failure> {
    let filter = Filter::plan(id.clone());
    let (mut plan, mut position): (Option<PlanState>, _) = (None, Position::ZERO);
    loop {
        let page = repository.read_after(position, &filter, PageLimits::default()).await?;
        for event in &page.events {
            match &mut plan {
                None => plan = PlanState::start(event),
                Some(plan) => plan.apply(event),
            }
        }
        if page.at_head {
            return Ok(plan);
        }
        position = page.scanned_to;
    }
}

fn one<'a>(plan: &PlanState, questions: &[&'a QuestionRecord]) -> Result<&'a QuestionRecord, Failure> {
    match questions {
        [question] => Ok(question),
        several => Err(Failure::usage(format!("plan {} asks {} questions", plan.plan_id, several.len()))
            .hint("name one with --request; without a value, `planwire answer` shows them")),
    }
}

fn list(
    plan: &PlanState,
    questions: &[&QuestionRecord],
    place: &Place,
    output: Output,
) -> Result<Exit, Failure> {
    if output.json {
        for question in questions {
            output.json(&serde_json::to_value(question).map_err(Failure::failed)?)?;
        }
        return Ok(Exit::Completed);
    }
    if questions.is_empty() {
        output.line(&format!("plan {} asks nothing at the moment", plan.plan_id))?;
    }
    for question in questions {
        for line in describe(question, output) {
            output.line(&line)?;
        }
        let request = match questions.len() {
            1 => String::new(),
            _ => format!(" --request {}", escape(&question.request_id)),
        };
        output.line(&format!("  {} VALUE{request}", command(&plan.plan_id, place)))?;
    }
    Ok(Exit::Completed)
}

/// The command that answers a question of `plan`, without the value.
pub(crate) fn command(plan: &PlanId, place: &Place) -> String {
    format!("planwire{} answer {plan}", place.flag())
}

/// A question in some lines.
fn describe(question: &QuestionRecord, output: Output) -> Vec<String> {
    let style = output.style;
    let mark = style.paint(Paint::Choice, "?");
    let step = if question.step.is_empty() { String::new() } else { format!("{}: ", escape(&question.step)) };
    let mut lines = vec![format!("{mark} {step}{}", style.paint(Paint::Strong, &escape(&question.question)))];
    if let Some(arguments) = &question.arguments {
        let text = serde_json::to_string_pretty(arguments).unwrap_or_default();
        lines.extend(cut(&text, ARGUMENTS_CHARS_MAX).lines().map(|line| format!("    {}", escape(line))));
    }
    let wanted = answer::wanted(question.kind, question.schema.as_ref());
    let until = question.expires_at.map(|at| format!(", until {at}")).unwrap_or_default();
    lines.push(style.paint(Paint::Faint, &format!("  {}{until}", escape(&wanted))));
    lines
}

/// Gives answers.
struct Giver<'a> {
    arguments: &'a AnswerArguments,
    place: &'a Place,
    output: Output,
}

impl Giver<'_> {
    /// Asks each question on the terminal, again as long as the answer does not fit. An empty line passes one over.
    async fn ask(&self, plan: &PlanId, questions: &[&QuestionRecord]) -> Result<Exit, Failure> {
        if questions.is_empty() {
            self.output.line(&format!("plan {plan} asks nothing at the moment"))?;
        }
        for question in questions {
            for line in describe(question, self.output) {
                self.output.line(&line)?;
            }
            while let Some(text) = self.read()? {
                match self.give(question, &text).await {
                    Err(failure) if failure.exit == Exit::Usage => tell(&failure.to_string()),
                    given => {
                        given?;
                        break;
                    }
                }
            }
        }
        Ok(Exit::Completed)
    }

    /// A line that somebody types; none if it is empty.
    fn read(&self) -> Result<Option<String>, Failure> {
        self.output.raw("> ")?;
        let mut line = String::new();
        // Nothing else goes on here meanwhile.
        std::io::stdin().lock().read_line(&mut line).map_err(Failure::failed)?;
        let text = line.trim_end_matches(['\r', '\n']);
        Ok((!text.is_empty()).then(|| text.to_owned()))
    }

    async fn give(&self, question: &QuestionRecord, text: &str) -> Result<Exit, Failure> {
        let value = self.value_of(question, text)?;
        let answered_by = self.arguments.by.clone();
        let answered_by =
            answered_by.or_else(|| std::env::var("USER").ok()).unwrap_or_else(|| "unknown".into());
        let received = InputReceived {
            request_id: question.request_id.clone(),
            outcome: AnswerOutcome::Answered,
            value,
            answered_by,
            via: VIA.to_owned(),
            arguments_digest: question.arguments_digest.clone(),
            message: None,
        };
        let origin = question.for_plan_id.as_ref().unwrap_or(&self.arguments.plan);
        let (taken, served) = match Access::open_log(self.place).await? {
            Access::Server(client) => {
                let body = json!({
                    "request_id": received.request_id,
                    "value": received.value,
                    "answered_by": received.answered_by,
                    "via": received.via,
                    "arguments_digest": received.arguments_digest,
                    "event_id": IdGenerator::system().next_id(),
                });
                (client.post(&format!("/v1/plans/{origin}/answer"), &body).await?, true)
            }
            Access::Here(house) => {
                let published = publish(&house, origin, &received).await;
                house.end(None, OpenPlans::Left).await;
                (taken(origin, &received.request_id, &published?), false)
            }
        };
        self.tell(question, &taken, served)
    }

    fn value_of(&self, question: &QuestionRecord, text: &str) -> Result<Value, Failure> {
        let unfit = |what: String| {
            Failure::usage(what).hint("without a value, `planwire answer` shows what is asked")
        };
        if !self.arguments.as_json {
            return answer::from_text(question.kind, question.schema.as_ref(), text).or_else(|error| {
                match error {
                    // A question whose schema nobody understands must be answerable all the same.
                    TextError::Schema(_) => Ok(Value::String(text.to_owned())),
                    error => Err(unfit(error.to_string())),
                }
            });
        }
        let value: Value = serde_json::from_str(text)
            .map_err(|error| Failure::usage(format!("the answer is not JSON: {error}")))?;
        match answer::check(question.schema.as_ref(), &value) {
            Ok(errors) if !errors.is_empty() => {
                let errors: Vec<_> = errors.iter().map(ToString::to_string).collect();
                Err(unfit(format!("the answer does not fit: {}", errors.join("; "))))
            }
            _ => Ok(value),
        }
    }

    fn tell(&self, question: &QuestionRecord, taken: &Value, served: bool) -> Result<Exit, Failure> {
        if self.output.json {
            self.output.json(taken)?;
        } else {
            let more = if served { "" } else { ", but nobody runs the plan here (see `planwire end`)" };
            self.output.line(&format!("answered: {}{more}", escape(&question.question)))?;
        }
        Ok(Exit::Completed)
    }
}

async fn publish(house: &House, origin: &PlanId, received: &InputReceived) -> Result<Published, Failure> {
    let event = Event::of(&house.ids, &SystemClock, origin.clone(), received)
        .map_err(|error| Failure::new(Exit::Usage, error))?;
    house.publisher().publish(event).await.map_err(publish_failure)
}

/// As a server says it.
fn taken(origin: &PlanId, request_id: &str, published: &Published) -> Value {
    json!({
        "plan_id": origin,
        "request_id": request_id,
        "event_id": published.event_id,
        "position": published.position,
        "cursor": published.cursor,
        "seq": published.seq,
        "duplicate": published.duplicate,
    })
}
