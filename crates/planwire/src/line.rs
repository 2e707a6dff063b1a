//! One event as one line for people.

use planwire_event::StoredEvent;
use planwire_event::vocabulary::{
    AnswerOutcome, ArtifactPart, ArtifactProduced, CancelRequested, DecisionMade, Failure as EventFailure,
    InputReceived, InputRequested, LimitWarned, PauseRequested, PlanAdopted, PlanCompleted, PlanFailed,
    PlanStarted, ResumeRequested, SubplanCompleted, SubplanSpawned, ToolCalled, ToolCompleted, ToolProgress,
};

use crate::output::{Paint, Style, cut, duration, escape};
use crate::watch::usage;

/// Characters of a payload that a line shows.
const SUMMARY_CHARS_MAX: usize = 160;

/// What an event says, in few words.
#[derive(Debug)]
pub(crate) struct Summary {
    /// One character.
    pub(crate) glyph: &'static str,
    /// What it means.
    pub(crate) paint: Paint,
    /// The words, safe for a terminal.
    pub(crate) text: String,
}

/// Says what an event says.
pub(crate) fn summarise(stored: &StoredEvent) -> Summary {
    let (glyph, paint, text) = known(stored).unwrap_or_else(|| {
        let event = &stored.event;
        if event.payload().removed_digest().is_some() {
            return ("∅", Paint::Faint, format!("{}: its payload was removed", event.event_type()));
        }
        ("·", Paint::Plain, format!("{} {}", event.event_type(), event.payload().as_str()))
    });
    Summary { glyph, paint, text: cut(&escape(&text), SUMMARY_CHARS_MAX) }
}

fn known(stored: &StoredEvent) -> Option<(&'static str, Paint, String)> {
    let event = &stored.event;
    if let Some(called) = event.read::<ToolCalled>() {
        let again = if called.attempt > 1 { format!(", attempt {}", called.attempt) } else { String::new() };
        return Some(("→", Paint::Plain, format!("{} calls {}{again}", called.step, called.tool)));
    }
    if let Some(done) = event.read::<ToolCompleted>() {
        let took = duration(done.duration_ms);
        return Some(match done.error {
            None => ("✓", Paint::Good, format!("{} done in {took}", done.step)),
            Some(error) => {
                ("✗", Paint::Warning, format!("{} failed after {took}: {}", done.step, told(&error)))
            }
        });
    }
    if let Some(said) = event.read::<ToolProgress>() {
        return Some(("…", Paint::Faint, format!("{}: {}", said.call_id, said.text)));
    }
    if let Some(made) = event.read::<DecisionMade>() {
        let text = format!("{} {}: {} ({})", made.step, made.question, made.chosen, made.rationale);
        return Some(("?", Paint::Choice, text));
    }
    if let Some(spawned) = event.read::<SubplanSpawned>() {
        return Some(("+", Paint::Plain, format!("{} spawns {}", spawned.step, spawned.name)));
    }
    if let Some(ended) = event.read::<SubplanCompleted>() {
        let took = duration(ended.duration_ms);
        return Some(match ended.error {
            None => ("✓", Paint::Good, format!("subplan {} completed in {took}", ended.child_plan_id)),
            Some(error) => {
                ("✗", Paint::Warning, format!("subplan {} failed: {}", ended.child_plan_id, told(&error)))
            }
        });
    }
    known_of_plan(stored)
}

fn known_of_plan(stored: &StoredEvent) -> Option<(&'static str, Paint, String)> {
    let event = &stored.event;
    if let Some(started) = event.read::<PlanStarted>() {
        return Some(("▶", Paint::Strong, format!("{} starts: {}", started.name, started.goal)));
    }
    if let Some(completed) = event.read::<PlanCompleted>() {
        return Some(("✔", Paint::Good, format!("plan completed in {}", duration(completed.duration_ms))));
    }
    if let Some(failed) = event.read::<PlanFailed>() {
        let text = format!("plan failed ({}): {}", failed.reason.as_str(), told(&failed.error));
        return Some(("✘", Paint::Bad, text));
    }
    if let Some(artifact) = event.read::<ArtifactProduced>() {
        let size = match &artifact.part {
            ArtifactPart::Text(text) => format!("{} bytes", text.len()),
            ArtifactPart::Blob { size_bytes, .. } => format!("{size_bytes} bytes"),
            ArtifactPart::Url(url) => url.clone(),
            ArtifactPart::Data(_) => "data".to_owned(),
        };
        return Some((
            "◆",
            Paint::Strong,
            format!("artifact {} ({}, {size})", artifact.name, artifact.media_type),
        ));
    }
    if let Some(asked) = event.read::<InputRequested>() {
        let question = &asked.question;
        return Some(match asked.for_plan_id {
            Some(plan) => ("?", Paint::Choice, format!("plan {plan} below asks: {question}")),
            None if asked.step.is_empty() => ("?", Paint::Choice, format!("asks: {question}")),
            None => ("?", Paint::Choice, format!("{} asks: {question}", asked.step)),
        });
    }
    if let Some(answer) = event.read::<InputReceived>() {
        return Some(answered(&answer));
    }
    requested(stored)
}

/// What somebody asks of a plan, or its owner says of it.
fn requested(stored: &StoredEvent) -> Option<(&'static str, Paint, String)> {
    let event = &stored.event;
    let why = |reason: &str| if reason.is_empty() { String::new() } else { format!(": {reason}") };
    let asked = |by: &str, what: &str, reason: &str| {
        Some(("!", Paint::Warning, format!("{by} asks {what}{}", why(reason))))
    };
    if let Some(request) = event.read::<CancelRequested>() {
        return asked(&request.requested_by, "for the end", &request.reason);
    }
    if let Some(request) = event.read::<PauseRequested>() {
        return asked(&request.requested_by, "for a pause", &request.reason);
    }
    if let Some(request) = event.read::<ResumeRequested>() {
        return asked(&request.requested_by, "to go on", &request.reason);
    }
    if let Some(adopted) = event.read::<PlanAdopted>() {
        return Some(("·", Paint::Plain, format!("another executor goes on{}", why(&adopted.reason))));
    }
    let warned = event.read::<LimitWarned>()?;
    Some(("!", Paint::Warning, usage::limit(&warned)))
}

fn answered(answer: &InputReceived) -> (&'static str, Paint, String) {
    let (value, by) = (&answer.value, &answer.answered_by);
    let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    match answer.outcome {
        AnswerOutcome::Answered if answer.via.is_empty() => {
            ("!", Paint::Choice, format!("{by} answers: {value}"))
        }
        AnswerOutcome::Answered => ("!", Paint::Choice, format!("{by} answers by {}: {value}", answer.via)),
        AnswerOutcome::Expired => ("✗", Paint::Warning, "nobody answered in time".to_owned()),
        AnswerOutcome::Withdrawn => ("·", Paint::Plain, "the question is withdrawn".to_owned()),
    }
}

fn told(error: &EventFailure) -> String {
    format!("{}: {}", error.code, error.message)
}

/// The time of day of an event, with milliseconds.
fn time_of_day(stored: &StoredEvent) -> String {
    stored.event.timestamp().to_string().chars().skip(11).take(12).collect()
}

/// A line of `run`, indented by the depth of the plan; `label` names the plan.
pub(crate) fn in_tree(stored: &StoredEvent, label: &str, style: Style) -> String {
    let summary = summarise(stored);
    let indent = "  ".repeat(usize::try_from(stored.depth).unwrap_or(0));
    format!(
        "{} {indent}{} {} {}",
        style.paint(Paint::Faint, &time_of_day(stored)),
        style.paint(summary.paint, summary.glyph),
        style.paint(Paint::Faint, &format!("[{}]", escape(label))),
        summary.text
    )
}

/// A line of `events`: with position and plan, for those who look for something.
pub(crate) fn in_log(stored: &StoredEvent, style: Style) -> String {
    let summary = summarise(stored);
    format!(
        "{:>6} {} {} {} {}",
        stored.position,
        style.paint(Paint::Faint, &time_of_day(stored)),
        style.paint(Paint::Faint, stored.plan_id().as_str()),
        style.paint(summary.paint, &format!("{} {:<16}", summary.glyph, stored.event.event_type())),
        summary.text
    )
}

#[cfg(test)]
mod tests {
    use planwire_event::IdGenerator;

    use super::*;

    fn check(event_type: &str, payload: &str, expected: &str) {
        let line = format!(
            r#"{{"event_id":"01JD0000000000000000000007","event_type":"{event_type}","plan_id":"p","timestamp":"2026-11-22T14:20:01.123456Z","payload":{payload},"cursor":"7Q4M2K9A-0000000000000007","seq":2,"root_plan_id":"r","parent_plan_id":"r","depth":1,"recorded_at":"2026-11-22T14:20:01.123456Z"}}"#
        );
        let stored = crate::client::wire::read_event(&line, &IdGenerator::system()).unwrap();
        assert_eq!(in_tree(&stored, "n", Style::default()), format!("14:20:01.123   {expected}"));
        assert!(in_log(&stored, Style::default()).starts_with("     7 14:20:01.123 p "));
    }

    #[test]
    fn every_type_has_its_line() {
        check("PlanStarted", r#"{"name":"a","goal":"g"}"#, "▶ [n] a starts: g");
        check("PlanCompleted", r#"{"duration_ms":1500}"#, "✔ [n] plan completed in 1.5 s");
        check(
            "PlanFailed",
            r#"{"reason":"cancelled","error":{"code":"c","message":"m"}}"#,
            "✘ [n] plan failed (cancelled): c: m",
        );
        check(
            "DecisionMade",
            r#"{"decision_id":"d","decision_type":"choice","step":"s","question":"Q?","options":[],"chosen":"a","rationale":"r","decided_by":"rule"}"#,
            "? [n] s Q?: a (r)",
        );
        check(
            "ToolCalled",
            r#"{"call_id":"1","step":"s","tool":"t","attempt":2}"#,
            "→ [n] s calls t, attempt 2",
        );
        check(
            "ToolCompleted",
            r#"{"call_id":"1","step":"s","ok":true,"duration_ms":3}"#,
            "✓ [n] s done in 3 ms",
        );
        check(
            "ToolCompleted",
            r#"{"call_id":"1","step":"s","ok":false,"error":{"code":"c","message":"m"}}"#,
            "✗ [n] s failed after 0 ms: c: m",
        );
        check("SubplanSpawned", r#"{"child_plan_id":"c","name":"x","step":"s"}"#, "+ [n] s spawns x");
        check("SubplanCompleted", r#"{"child_plan_id":"c","ok":true}"#, "✓ [n] subplan c completed in 0 ms");
        check(
            "SubplanCompleted",
            r#"{"child_plan_id":"c","ok":false,"error":{"code":"c","message":"m"}}"#,
            "✗ [n] subplan c failed: c: m",
        );
        check(
            "CancelRequested",
            r#"{"requested_by":"me","reason":"enough"}"#,
            "! [n] me asks for the end: enough",
        );
        check("PauseRequested", r#"{"requested_by":"me"}"#, "! [n] me asks for a pause");
        check("ResumeRequested", r#"{"requested_by":"me","reason":"r"}"#, "! [n] me asks to go on: r");
        check(
            "PlanAdopted",
            r#"{"executor_id":"e","previous":"d","reason":"it is gone"}"#,
            "· [n] another executor goes on: it is gone",
        );
        check(
            "LimitWarned",
            r#"{"limit":"tool_calls","used":8,"max":10}"#,
            "! [n] tool calls nearly used up: 8 of 10",
        );
        check("ToolProgress", r#"{"call_id":"list-1","text":"a\u0007"}"#, r"… [n] list-1: a\u{7}");
        check(
            "ArtifactProduced",
            r#"{"artifact_id":"a","name":"r.md","media_type":"text/markdown","part":{"text":"abc"}}"#,
            "◆ [n] artifact r.md (text/markdown, 3 bytes)",
        );
    }

    #[test]
    fn questions_say_who_asks_and_who_answered() {
        let asked = |more: &str| format!(r#"{{"request_id":"q","kind":"input","question":"Which?"{more}}}"#);
        check("InputRequested", &asked(r#","step":"s""#), "? [n] s asks: Which?");
        check("InputRequested", &asked(""), "? [n] asks: Which?");
        check("InputRequested", &asked(r#","for_plan_id":"c""#), "? [n] plan c below asks: Which?");
        let received = |more: &str| format!(r#"{{"request_id":"q","answered_by":"ann"{more}}}"#);
        check("InputReceived", &received(r#","value":"a","via":"page""#), "! [n] ann answers by page: a");
        check("InputReceived", &received(r#","value":[1]"#), "! [n] ann answers: [1]");
        check("InputReceived", &received(r#","outcome":"expired""#), "✗ [n] nobody answered in time");
        check("InputReceived", &received(r#","outcome":"withdrawn""#), "· [n] the question is withdrawn");
    }

    #[test]
    fn custom_payloads_are_shown_safely_and_cut() {
        check("acme.hit", r#"{"a":1}"#, r#"· [n] acme.hit {"a":1}"#);
        check("acme.hit", r#"{"a":"\u009b31m"}"#, r#"· [n] acme.hit {"a":"\u{9b}31m"}"#);
        let long = format!(r#"{{"a":"{}"}}"#, "x".repeat(500));
        let shown = format!("acme.hit {{\"a\":\"{}", "x".repeat(144));
        check("acme.hit", &long, &format!("· [n] {}…", cut(&shown, 159).trim_end_matches('…')));
    }
}
