//! Why a step or a plan failed, as its events will say it.

use planwire_event::PayloadError;
use planwire_event::vocabulary::{Failure, FailureReason, LimitHit};

use crate::budget::amounts::Refusal;
use crate::document::made::MadeError;
use crate::redaction::Redactor;
use crate::stop::StopReason;
use crate::template::TemplateError;
use crate::tool::ToolError;

/// Characters of one message in an event.
pub(crate) const MESSAGE_CHARS_MAX: usize = 4_000;

/// `code` of what used more than it may.
const LIMIT_EXCEEDED: &str = "limit_exceeded";

/// Why a step failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StepFailure {
    pub(crate) code: String,
    pub(crate) message: String,
    /// The reason of the plan's end, if nothing recovers from the failure.
    pub(crate) reason: FailureReason,
    /// The limit of this plan, or of one above or below, of which more was asked for than is left.
    pub(crate) limit: Option<Box<LimitHit>>,
}

impl StepFailure {
    pub(crate) fn new(code: &str, message: impl Into<String>) -> Self {
        Self { code: code.into(), message: message.into(), reason: FailureReason::Error, limit: None }
    }

    /// A limit for a plan and all below it does not allow for what was asked.
    pub(crate) fn refused(refusal: &Refusal) -> Self {
        Self { limit: Some(Box::new(refusal.hit())), ..Self::limit(refusal.message()) }
    }

    /// The plan used more than it may.
    pub(crate) fn limit(message: impl Into<String>) -> Self {
        Self { reason: FailureReason::LimitExceeded, ..Self::new(LIMIT_EXCEEDED, message) }
    }

    /// What an event says of a subplan that failed, or of a step that a decision let fail. It has the code alone.
    pub(crate) fn of_plan(failure: Failure, limit: Option<LimitHit>) -> Self {
        let reason = match failure.code.as_str() {
            LIMIT_EXCEEDED => FailureReason::LimitExceeded,
            _ => FailureReason::Error,
        };
        Self { reason, limit: limit.map(Box::new), ..Self::from(failure) }
    }

    /// An expression has no value.
    pub(crate) fn expression(what: &str, error: impl std::fmt::Display) -> Self {
        Self::new("expression", format!("{what}: {error}"))
    }

    /// What an event would say has no normal form.
    pub(crate) fn payload(what: &str, error: &PayloadError) -> Self {
        Self::new("bad_value", format!("{what}: {error}"))
    }

    /// What a step gave is no plan that may be started.
    pub(crate) fn document(error: &MadeError) -> Self {
        Self::new("bad_document", format!("plan: {error}"))
    }

    /// Says where it happened.
    pub(crate) fn within(self, place: &str) -> Self {
        Self { message: format!("{place}: {}", self.message), ..self }
    }

    /// As an event of `step` says it.
    pub(crate) fn into_failure(self, redactor: &Redactor, step: Option<&str>) -> Failure {
        failure(redactor, self.code, &self.message, step)
    }

    /// As expressions see it.
    pub(crate) fn to_value(&self, redactor: &Redactor) -> serde_json::Value {
        serde_json::json!({"code": self.code, "message": text(redactor, &self.message)})
    }
}

impl From<ToolError> for StepFailure {
    fn from(error: ToolError) -> Self {
        Self::new(&error.code, error.message)
    }
}

impl From<Failure> for StepFailure {
    fn from(failure: Failure) -> Self {
        Self::new(&failure.code, failure.message)
    }
}

impl From<TemplateError> for StepFailure {
    fn from(error: TemplateError) -> Self {
        Self::new("expression", error.to_string())
    }
}

/// Makes a failure whose message every store takes.
pub(crate) fn failure(
    redactor: &Redactor,
    code: impl Into<String>,
    message: &str,
    step: Option<&str>,
) -> Failure {
    Failure { code: code.into(), message: text(redactor, message), step: step.map(Into::into) }
}

/// A text that every store takes: no U+0000, and not too long. No cut goes through the value of a secret.
pub(crate) fn text(redactor: &Redactor, text: &str) -> String {
    text_within(redactor, text, MESSAGE_CHARS_MAX)
}

/// As [`text`], of at most `chars_max` characters.
pub(crate) fn text_within(redactor: &Redactor, text: &str, chars_max: usize) -> String {
    let text = redactor.text(text);
    let mut kept: String = text
        .chars()
        .take(chars_max)
        .map(|char| if char == '\0' { char::REPLACEMENT_CHARACTER } else { char })
        .collect();
    if kept.len() < text.len() && text.chars().nth(chars_max).is_some() {
        kept.push_str("...");
    }
    kept
}

/// How a plan ends that was asked to.
pub(crate) fn of_stop(redactor: &Redactor, reason: &StopReason) -> (FailureReason, Failure) {
    let (kind, message) = match reason {
        StopReason::Cancelled { by, reason } if reason.is_empty() => {
            (FailureReason::Cancelled, format!("cancelled by {by}"))
        }
        StopReason::Cancelled { by, reason } => {
            (FailureReason::Cancelled, format!("cancelled by {by}: {reason}"))
        }
        StopReason::TimedOut => (FailureReason::TimedOut, "the plan took longer than its timeout".into()),
        StopReason::ParentEnds(why) => (FailureReason::Cancelled, format!("its parent ends: {why}")),
        StopReason::Interrupted(why) => (FailureReason::Interrupted, format!("its executor ended: {why}")),
    };
    (kind, failure(redactor, kind.as_str(), &message, None))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_bounded_and_hold_no_nul() {
        let text = |message: &str| text(&Redactor::default(), message);
        assert_eq!(text("a\0b"), "a\u{fffd}b");
        assert_eq!(text(&"é".repeat(MESSAGE_CHARS_MAX)).chars().count(), MESSAGE_CHARS_MAX);
        assert!(text(&"é".repeat(MESSAGE_CHARS_MAX + 1)).ends_with("é..."));
    }

    #[test]
    fn every_way_to_stop_has_its_reason() {
        let cancelled = |reason: &str| StopReason::Cancelled { by: "me".into(), reason: reason.into() };
        for (stop, kind, message) in [
            (cancelled(""), "cancelled", "cancelled by me"),
            (cancelled("late"), "cancelled", "cancelled by me: late"),
            (StopReason::TimedOut, "timed_out", "the plan took longer than its timeout"),
            (StopReason::ParentEnds("why".into()), "cancelled", "its parent ends: why"),
            (StopReason::Interrupted("SIGTERM".into()), "interrupted", "its executor ended: SIGTERM"),
        ] {
            let (reason, failure) = of_stop(&Redactor::default(), &stop);
            assert_eq!((reason.as_str(), failure.message.as_str()), (kind, message));
        }
    }
}
