//! `secret("NAME")` and secret inputs: which secrets the steps of a document name, and where they may.

use std::collections::BTreeSet;

use planwire_event::expression::CompileErrorKind;

use super::diagnostic::{did_you_mean, quoted};
use super::model::{Document, StepKind, SubplanSource, SubplanStep};
use super::node::Node;
use super::reading::{Reading, Written};
use crate::secrets::{input_of, is_name, name_of_input};
use crate::template::Template;

const FUNCTION: &str = "secret";
const HOW: &str =
    "it stands alone in its ${..}, such as \"Bearer ${secret('TOKEN')}\" in the with: of a tool step";

impl Document {
    /// The names of the configured secrets that tool steps of this document and of its subplans use.
    #[must_use]
    pub fn secrets(&self) -> BTreeSet<&str> {
        let mut names = BTreeSet::new();
        for step in &self.steps {
            match &step.kind {
                StepKind::Tool(tool) => tool.with.each_secret(&mut |name| {
                    if input_of(name).is_none() {
                        names.insert(name);
                    }
                }),
                StepKind::Subplan(SubplanStep { plan: SubplanSource::Written(plan), .. }) => {
                    names.extend(plan.document.secrets());
                }
                // What is made at run time may name none.
                StepKind::Subplan(_)
                | StepKind::Decide(_)
                | StepKind::AskModel(_)
                | StepKind::Ask(_)
                | StepKind::Fail(_)
                | StepKind::Artifact(_) => {}
            }
        }
        names
    }

    /// The names of the inputs that are secrets, in the document's order.
    pub fn secret_inputs(&self) -> impl Iterator<Item = &str> {
        self.inputs.iter().filter(|input| input.secret).map(|input| input.name.as_str())
    }
}

impl Reading<'_, '_> {
    /// The arguments of a tool: the one template that may name secrets.
    pub(super) fn arguments(&mut self, node: &Node, variables: &[&str]) -> Option<Template> {
        self.secrets_allowed = true;
        let template = self.template(node, variables);
        self.secrets_allowed = false;
        template
    }

    /// The secret that an expression names and nothing else; `None` if it is any other expression, `Some(None)` if it
    /// has a problem.
    #[expect(clippy::option_option, reason = "a secret or not, sound or not")]
    pub(super) fn secret(&mut self, source: &str, written: Written<'_>) -> Option<Option<String>> {
        if let Some(input) = self.secret_input(source) {
            return Some(Some(input));
        }
        let name = named(source)?;
        let place = written.place_of(self.source, source.len() - source.trim_start().len());
        if !self.secrets_allowed {
            self.problem_with(place, "a secret can only be used by a tool", HOW);
            return Some(None);
        }
        if !is_name(name) {
            let message = format!("{} is no name of a secret", quoted(name));
            self.problem_with(place, message, "names are letters, digits and _, such as API_TOKEN");
            return Some(None);
        }
        let known = self.loader.tools.and_then(|tools| tools.secrets());
        if let Some(known) = known.filter(|known| !known.contains(name)) {
            let hint = did_you_mean(name, known.names(), "secrets");
            self.problem_maybe(place, format!("unknown secret {}", quoted(name)), hint);
            return Some(None);
        }
        Some(Some(name.to_owned()))
    }

    /// The secret input that an expression names and nothing else, where it may: elsewhere it is a reference to nothing.
    fn secret_input(&self, source: &str) -> Option<String> {
        let input = source.trim().strip_prefix("inputs.").filter(|_| self.secrets_allowed)?;
        self.secret_inputs.contains(input).then(|| name_of_input(input))
    }

    /// `secret` was used as if it had a value.
    pub(super) fn secret_in_expression(&mut self, source: &str, offset: usize, written: Written<'_>) {
        // The parser names the bracket.
        let offset = source.get(..offset).and_then(|before| before.rfind(FUNCTION)).unwrap_or(offset);
        let place = written.place_of(self.source, offset);
        self.problem_with(place, "a secret has no value in expressions", HOW);
    }
}

/// Whether what does not compile is the use of a secret.
pub(super) fn is_secret(kind: &CompileErrorKind) -> bool {
    matches!(kind, CompileErrorKind::UnknownFunction { name, .. } if name == FUNCTION)
}

/// What stands between the quotes of `secret("..")`.
fn named(source: &str) -> Option<&str> {
    let arguments =
        source.trim().strip_prefix(FUNCTION)?.trim_start().strip_prefix('(')?.strip_suffix(')')?.trim();
    let quote = arguments.chars().next().filter(|quote| matches!(quote, '"' | '\''))?;
    let name = arguments.strip_prefix(quote)?.strip_suffix(quote)?;
    (!name.contains(['"', '\''])).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::named;

    #[test]
    fn only_a_literal_name_alone_names_a_secret() {
        for source in ["secret('A')", " secret ( \"A\" ) "] {
            assert_eq!(named(source), Some("A"));
        }
        for source in
            ["secret(A)", "secret('A') + 'x'", "secrets('A')", "secret('A' + 'B')", "secret(", "'a'"]
        {
            assert_eq!(named(source), None);
        }
    }
}
