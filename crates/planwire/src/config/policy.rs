//! The file of the policy: TOML, read into the rules that the engine judges by.

use std::path::Path;

use planwire_engine::policy::rule::FolderRule;
use planwire_engine::policy::{
    ArgvPattern, Element, HostPattern, Otherwise, PathPattern, Pattern, PatternError, Policy, RULES_MAX,
    Rule, Section,
};

use super::file::{File, Member, Node, Value};
use super::layers::Problems;
use super::slot::TEXTS_MAX;
use crate::failure::Failure;

/// The lists of rules, and what they say of a call.
const LISTS: [&str; 3] = ["allow", "approve", "deny"];
/// What stands at the top of the file.
const TOP: [&str; 4] = ["approve", "deny", "own", "network"];
/// What a rule may ask of a call, and its name.
const RULE: [&str; 8] = ["name", "tool", "program", "argv", "env", "with", "host", "folder"];

/// Characters of the name of a rule: it stands in messages.
const NAME_CHARS_MAX: usize = 100;

/// Reads a policy.
///
/// # Errors
///
/// Exit code 2, with all problems and where they are.
pub(crate) fn read(path: &Path) -> Result<Policy, Failure> {
    let file = File::read(path).map_err(|why| {
        Failure::usage(why)
            .context(format!("failed to read the policy {}", path.display()))
            .hint("name it with --policy or in the configuration as engine.policy; docs/policy.md shows one")
    })?;
    let mut problems = Problems::default();
    let policy = match file.parse() {
        Ok(members) => Reading { file: &file, problems: &mut problems, rules: 0 }.policy(&members),
        Err(problem) => {
            problems.push(problem, None);
            Policy::default()
        }
    };
    problems.into_result().map(|()| policy)
}

struct Reading<'a> {
    file: &'a File,
    problems: &'a mut Problems,
    /// So far.
    rules: usize,
}

impl Reading<'_> {
    fn policy(&mut self, members: &[Member]) -> Policy {
        let mut policy = Policy::default();
        for member in members {
            match member.name.as_str() {
                "deny" => policy.deny = self.rules(member),
                "approve" => policy.approve = self.rules(member),
                "own" => self.section(member, &mut policy.own),
                "network" => self.section(member, &mut policy.received),
                "allow" => {
                    let problem = self.file.problem(member.offset, "what is allowed is said for whom");
                    let hint = "write [[own.allow]] for your own documents, [[network.allow]] for those that come \
                                over the network";
                    self.problems.push(problem, Some(hint.to_owned()));
                }
                _ => self.problems.unknown_key(self.file, member, "the top of the file", TOP),
            }
        }
        policy
    }

    /// `[own]` or `[network]`.
    fn section(&mut self, section: &Member, into: &mut Section) {
        let Value::Table(members) = &section.node.value else {
            return self.misfit(section, "a table");
        };
        let place = format!("[{}]", section.name);
        for member in members {
            match member.name.as_str() {
                "allow" => into.allow = self.rules(member),
                "approve" => into.approve = self.rules(member),
                "deny" => into.deny = self.rules(member),
                "default" if section.name == "own" => match &member.node.value {
                    Value::Text(text) if text == "allow" => into.otherwise = Otherwise::Allow,
                    Value::Text(text) if text == "deny" => into.otherwise = Otherwise::Deny,
                    _ => self.misfit(member, "'allow' or 'deny'"),
                },
                "default" => {
                    let message = "what no rule allows is always denied to documents from the network";
                    let problem = self.file.problem(member.offset, message);
                    self.problems
                        .push(problem, Some("a [[network.allow]] without anything allows all".to_owned()));
                }
                _ => {
                    let known = LISTS.into_iter().chain((section.name == "own").then_some("default"));
                    self.problems.unknown_key(self.file, member, &place, known);
                }
            }
        }
    }

    /// A list of rules.
    fn rules(&mut self, list: &Member) -> Vec<Rule> {
        let Value::List(nodes) = &list.node.value else {
            self.misfit(list, "a list of tables, as [[..]] begins one");
            return Vec::new();
        };
        self.rules += nodes.len();
        if self.rules > RULES_MAX {
            let problem = self.file.problem(list.offset, &format!("more than {RULES_MAX} rules"));
            self.problems.push(problem, None);
            return Vec::new();
        }
        nodes.iter().filter_map(|node| self.rule(list, node)).collect()
    }

    fn rule(&mut self, list: &Member, node: &Node) -> Option<Rule> {
        let Value::Table(members) = &node.value else {
            let misfit = node.misfit("a table");
            self.problems.misfit_in(self.file, &list.name, &misfit);
            return None;
        };
        let file = self.file.path.file_name().unwrap_or_default().to_string_lossy();
        let mut rule = Rule::named(format!("{file}:{}", self.file.line(node.offset)));
        for member in members {
            match member.name.as_str() {
                "name" => rule.name = self.name(member)?,
                "tool" => rule.tools = self.several(member, Pattern::text)?,
                "program" => rule.programs = self.several(member, PathPattern::at)?,
                "host" => rule.hosts = self.several(member, HostPattern::parse)?,
                "folder" => rule.folders = self.several(member, FolderRule::at)?,
                "argv" => rule.argv = Some(self.argv(member)?),
                "env" => rule.variables = self.several(member, Pattern::text)?,
                "with" => rule.with = self.with(member)?,
                _ => self.problems.unknown_key(self.file, member, "a rule", RULE),
            }
        }
        Some(rule)
    }

    fn name(&mut self, member: &Member) -> Option<String> {
        match &member.node.value {
            Value::Text(text)
                if !text.trim().is_empty()
                    && !text.contains(char::is_control)
                    && text.chars().count() <= NAME_CHARS_MAX =>
            {
                Some(text.clone())
            }
            _ => {
                self.misfit(member, &format!("text on one line, at most {NAME_CHARS_MAX} characters"));
                None
            }
        }
    }

    /// One text or a list of them, of which one has to fit.
    fn several<T>(&mut self, member: &Member, read: fn(&str) -> Result<T, PatternError>) -> Option<Vec<T>> {
        self.alternatives(&member.name, &member.node, read)
    }

    fn alternatives<T>(
        &mut self,
        name: &str,
        node: &Node,
        read: fn(&str) -> Result<T, PatternError>,
    ) -> Option<Vec<T>> {
        let nodes = match &node.value {
            Value::Text(_) => std::slice::from_ref(node),
            Value::List(nodes) if (1..=TEXTS_MAX).contains(&nodes.len()) => nodes.as_slice(),
            _ => {
                self.problems.misfit_in(self.file, name, &node.misfit("text or a list of texts"));
                return None;
            }
        };
        // All that is wrong is said, not only the first.
        let read: Vec<Option<T>> = nodes.iter().map(|node| self.pattern(name, node, read)).collect();
        read.into_iter().collect()
    }

    fn pattern<T>(
        &mut self,
        name: &str,
        node: &Node,
        read: fn(&str) -> Result<T, PatternError>,
    ) -> Option<T> {
        let Value::Text(text) = &node.value else {
            self.problems.misfit_in(self.file, name, &node.misfit("text or a list of texts"));
            return None;
        };
        match read(text) {
            Ok(pattern) => Some(pattern),
            Err(error) => {
                let message = format!("'{name}' cannot be {}: {error}", super::file::quoted(text));
                let hint = match (&error, name) {
                    (PatternError::NotAbsolute, "program") => {
                        Some("write the whole path, as `command -v` prints it".to_owned())
                    }
                    (PatternError::NotAbsolute, _) => {
                        Some("write the whole path, or '.' for the working folder of the plan".to_owned())
                    }
                    _ => None,
                };
                self.problems.push(self.file.problem(node.offset, &message), hint);
                None
            }
        }
    }

    /// What stands behind the program: one element for each argument.
    fn argv(&mut self, member: &Member) -> Option<ArgvPattern> {
        let Value::List(nodes) = &member.node.value else {
            self.misfit(member, "a list, one element for each argument behind the program");
            return None;
        };
        if nodes.len() > TEXTS_MAX {
            self.misfit(member, &format!("a list of at most {TEXTS_MAX}"));
            return None;
        }
        let element = |node: &Node| match &node.value {
            Value::Text(text) if text == "**" => Some(Element::Rest),
            _ => self.alternatives("argv", node, Pattern::text).map(Element::One),
        };
        let elements: Vec<Option<Element>> = nodes.iter().map(element).collect();
        elements.into_iter().collect::<Option<_>>().map(ArgvPattern::new)
    }

    /// Arguments by name.
    fn with(&mut self, member: &Member) -> Option<Vec<(String, Vec<Pattern>)>> {
        let Value::Table(members) = &member.node.value else {
            self.misfit(member, "a table of arguments, as { method = 'GET' }");
            return None;
        };
        let one = |member: &Member| {
            let patterns = self.alternatives(&member.name, &member.node, Pattern::text)?;
            Some((member.name.clone(), patterns))
        };
        let read: Vec<_> = members.iter().map(one).collect();
        read.into_iter().collect()
    }

    fn misfit(&mut self, member: &Member, wanted: &str) {
        let misfit = member.node.misfit(wanted);
        self.problems.misfit_in(self.file, &member.name, &misfit);
    }
}
