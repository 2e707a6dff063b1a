//! From nodes to decisions: those that are steps, and those about failures.

use planwire_event::expression::Expression;

use super::diagnostic::{did_you_mean, quoted};
use super::keys;
use super::model::{Choice, Decision, MEMBERS_MAX, Outcome, Recovery};
use super::node::{Key, Node, NodeValue};
use super::parse::PLAN_VARIABLES;
use super::reading::{Fields, Reading, sound};

const ERROR_VARIABLES: [&str; 5] = ["inputs", "steps", "now", "plan", "error"];

impl Reading<'_, '_> {
    pub(super) fn decision(&mut self, fields: &Fields<'_>, what: &str) -> Option<Decision> {
        self.without_model(fields);
        let choices = self.choices(fields, what)?;
        self.rule(fields, what, choices, &PLAN_VARIABLES)
    }

    /// The options of a decision step.
    pub(super) fn choices(&mut self, fields: &Fields<'_>, what: &str) -> Option<Vec<Choice>> {
        let options = self.options(fields, what);
        let mut choices = Vec::new();
        for (key, node) in options? {
            let description = match &node.value {
                NodeValue::Text(..) => self.text(node, "an option"),
                _ => self.description(node, &key.name, &keys::OPTION),
            };
            choices.push(Choice {
                name: key.name.clone(),
                description: description.unwrap_or_default().to_owned(),
            });
        }
        Some(choices)
    }

    fn options<'n>(&mut self, fields: &Fields<'n>, what: &str) -> Option<&'n [(Key, Node)]> {
        let Some(node) = fields.get("options") else {
            let hint = "add options: with a name and a description for each";
            self.problem_with(fields.place, format!("the decision of {what} has no options"), hint);
            return None;
        };
        let options = self.named(node, "'options'", MEMBERS_MAX);
        if options.len() < 2 && matches!(&node.value, NodeValue::Map(members) if members.len() < 2) {
            let message = format!("the decision of {what} needs two options or more");
            self.problem_with(node.place, message, "with one option there is nothing to decide");
            return None;
        }
        Some(options)
    }

    fn description<'n>(&mut self, node: &'n Node, name: &str, known: &[&str]) -> Option<&'n str> {
        let what = format!("option '{name}'");
        let fields = self.fields(node, &what, known)?;
        let Some(node) = fields.get("description") else {
            self.problem(fields.place, format!("{what} has no description"));
            return None;
        };
        self.text(node, "'description'")
    }

    pub(super) fn question<'n>(&mut self, fields: &Fields<'n>, what: &str) -> Option<&'n str> {
        match fields.get("decide") {
            Some(node) => self.text(node, "'decide'"),
            None => {
                self.problem_with(
                    fields.place,
                    format!("the decision of {what} has no question"),
                    "add decide: with the question",
                );
                None
            }
        }
    }

    /// Question, rule and rationale; the same for a decision and for a recovery.
    fn rule(
        &mut self,
        fields: &Fields<'_>,
        what: &str,
        options: Vec<Choice>,
        variables: &[&str],
    ) -> Option<Decision> {
        let question = self.question(fields, what);
        let choose = match fields.get("choose") {
            Some(node) => self.expression(node, "'choose'", variables).filter(|choose| {
                let names: Vec<&str> = options.iter().map(|option| option.name.as_str()).collect();
                self.gives_options(node, choose, &names)
            }),
            None => {
                let names: Vec<&str> = options.iter().map(|option| option.name.as_str()).collect();
                let hint = format!(
                    "add choose: with an expression that gives one of {}, or model: with the name of a model",
                    names.join(", ")
                );
                self.problem_with(fields.place, format!("the decision of {what} has no rule"), hint);
                None
            }
        };
        let rationale = fields.get("rationale").map(|node| {
            self.text(node, "'rationale'")?;
            self.template(node, variables)
        });
        Some(Decision {
            question: question?.to_owned(),
            options,
            choose: choose?,
            rationale: sound(rationale)?,
        })
    }

    /// Whether all texts that a rule names literally are options.
    fn gives_options(&mut self, node: &Node, choose: &Expression, options: &[&str]) -> bool {
        let NodeValue::Text(text, style) = &node.value else { return true };
        let strange: Vec<_> = choose
            .literal_results()
            .iter()
            .filter(|(result, _)| !options.contains(&result.as_str()))
            .collect();
        for (result, offset) in &strange {
            let place = self.source.place_in(text, *style, node.place, *offset);
            let hint = did_you_mean(result, options.iter().copied(), "options");
            self.problem_maybe(place, format!("there is no option {}", quoted(result)), hint);
        }
        strange.is_empty()
    }

    pub(super) fn recovery(&mut self, node: &Node, what: &str) -> Option<Recovery> {
        let fields = self.fields(node, "'on_error'", &keys::ON_ERROR)?;
        let what = format!("'on_error' of {what}");
        let options = self.options(&fields, &what)?;
        let (mut choices, mut outcomes) = (Vec::new(), Vec::new());
        for (key, node) in options {
            let description = self.description(node, &key.name, &keys::RECOVERY_OPTION);
            choices.push(Choice {
                name: key.name.clone(),
                description: description.unwrap_or_default().to_owned(),
            });
            outcomes.push(self.outcome(key, node));
        }
        let decision = self.rule(&fields, &what, choices, &ERROR_VARIABLES);
        Some(Recovery { decision: decision?, outcomes: outcomes.into_iter().collect::<Option<_>>()? })
    }

    fn outcome(&mut self, key: &Key, node: &Node) -> Option<Outcome> {
        let NodeValue::Map(members) = &node.value else { return None };
        let member = |name: &str| members.iter().find(|(key, _)| key.name == name);
        match (member("output"), member("fail")) {
            (Some((_, node)), None) => self.template(node, &ERROR_VARIABLES).map(Outcome::Output),
            (None, Some((_, node))) => {
                if self.boolean(node, "'fail'")? {
                    return Some(Outcome::Fail);
                }
                self.problem_with(
                    node.place,
                    "'fail' can only be true",
                    "give the option an output: instead",
                );
                None
            }
            _ => {
                let message = format!("option '{}' must have one of 'output' and 'fail'", key.name);
                self.problem_with(
                    key.place,
                    message,
                    "output: {..} goes on with that output, fail: true fails the plan",
                );
                None
            }
        }
    }
}
