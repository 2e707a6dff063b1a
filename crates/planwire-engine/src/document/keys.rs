//! The keys of plan documents: one table for the parser, the JSON Schema and the messages.

pub(super) const DOCUMENT: [&str; 7] = ["plan", "goal", "inputs", "limits", "steps", "outputs", "artifacts"];
pub(super) const INPUT: [&str; 4] = ["type", "default", "secret", "description"];
pub(super) const INPUT_TYPES: [&str; 7] = ["string", "int", "number", "bool", "path", "list", "object"];
pub(super) const LIMITS: [&str; 8] =
    ["parallel", "depth", "timeout", "tool_calls", "tokens", "cost", "parallel_calls", "parallel_plans"];
pub(super) const RESERVE: [&str; 2] = ["tokens", "cost"];
pub(super) const TOOL_STEP: [&str; 12] = [
    "tool",
    "with",
    "approve",
    "expires",
    "timeout",
    "retry",
    "idempotent",
    "usage",
    "reserve",
    "when",
    "after",
    "on_error",
];
pub(super) const DECIDE_STEP: [&str; 12] = [
    "decide",
    "options",
    "choose",
    "rationale",
    "model",
    "context",
    "otherwise",
    "timeout",
    "retry",
    "reserve",
    "when",
    "after",
];
pub(super) const PLAN_STEP: [&str; 7] = ["plan", "with", "for_each", "parallel", "when", "after", "on_error"];
pub(super) const ASK_STEP: [&str; 8] =
    ["ask", "kind", "answer", "schema", "expires", "when", "after", "on_error"];
pub(super) const ASK_KINDS: [&str; 2] = ["input", "auth"];
pub(super) const ANSWER: [&str; 3] = ["type", "enum", "description"];
pub(super) const ANSWER_TYPES: [&str; 6] = ["string", "int", "number", "bool", "list", "object"];
pub(super) const APPROVE_STEP: [&str; 6] = ["approve", "arguments", "expires", "when", "after", "on_error"];
pub(super) const FAIL_STEP: [&str; 4] = ["fail", "reason", "when", "after"];
pub(super) const FAIL_REASONS: [&str; 2] = ["error", "rejected"];
pub(super) const ARTIFACT_STEP: [&str; 3] = ["artifact", "when", "after"];
pub(super) const RETRY: [&str; 4] = ["attempts", "backoff", "max_backoff", "when"];
pub(super) const OPTION: [&str; 1] = ["description"];
pub(super) const ON_ERROR: [&str; 4] = ["decide", "options", "choose", "rationale"];
pub(super) const RECOVERY_OPTION: [&str; 3] = ["description", "output", "fail"];
pub(super) const ARTIFACT: [&str; 7] = ["name", "media_type", "text", "data", "url", "base64", "chunks"];
/// The members of an artifact of which it has one.
pub(super) const ARTIFACT_PARTS: [&str; 5] = ["text", "data", "url", "base64", "chunks"];

/// Members of `steps.ID` for every step; each kind of step adds its own.
pub(super) const STEP_MEMBERS: [&str; 4] = ["ok", "skipped", "recovered", "error"];
pub(super) const PLAN_MEMBERS: [&str; 2] = ["id", "name"];
pub(super) const ERROR_MEMBERS: [&str; 2] = ["code", "message"];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const MANUAL: &str = include_str!("../../../../docs/plans.md");
    /// What the manual says once of all steps.
    const OF_ALL_STEPS: [&str; 2] = ["when", "after"];

    /// The first column of the tables of a section whose header begins with `key`.
    fn told(heading: &str) -> BTreeSet<&'static str> {
        let mut lines =
            MANUAL.lines().skip_while(|line| line.trim_start_matches('#').trim() != heading).skip(1);
        let section: Vec<&str> = lines.by_ref().take_while(|line| !line.starts_with('#')).collect();
        let tables = section.split(|line| !line.starts_with('|'));
        let tables = tables.filter(|table| table.first().is_some_and(|header| header.starts_with("| key |")));
        let rows = tables.flat_map(|table| table.iter().skip(2));
        rows.filter_map(|row| row.split('`').nth(1)).collect()
    }

    fn check(heading: &str, keys: &[&[&'static str]]) {
        let known: BTreeSet<&str> = keys
            .iter()
            .flat_map(|keys| keys.iter())
            .copied()
            .filter(|key| !OF_ALL_STEPS.contains(key))
            .collect();
        assert_eq!(told(heading), known, "the keys of {heading} in docs/plans.md and in the parser");
    }

    #[test]
    fn manual_tells_each_key_of_the_parser_and_no_other() {
        check("The plan", &[&DOCUMENT]);
        check("Inputs", &[&INPUT]);
        check("Limits", &[&LIMITS]);
        check("Artifacts", &[&ARTIFACT]);
        assert_eq!(told("Steps"), OF_ALL_STEPS.into_iter().collect());
        check("Tool steps", &[&TOOL_STEP]);
        check("Usage", &[&RESERVE]);
        check("Recovery", &[&ON_ERROR, &RECOVERY_OPTION]);
        check("Subplans", &[&PLAN_STEP]);
        check("Questions", &[&ASK_STEP, &ANSWER]);
        check("Approvals", &[&APPROVE_STEP]);
        check("Ends", &[&FAIL_STEP]);
        check("Artifact steps", &[&ARTIFACT_STEP]);
        let mut retry = told("Retries");
        assert!(retry.remove("when"), "the condition of a retry is not that of all steps");
        assert_eq!(retry, RETRY.into_iter().filter(|key| *key != "when").collect());
        let decisions: BTreeSet<&str> =
            told("Decisions").union(&told("Decisions by a model")).copied().collect();
        let known = DECIDE_STEP.into_iter().chain(OPTION).filter(|key| !OF_ALL_STEPS.contains(key)).collect();
        assert_eq!(decisions, known);
    }
}
