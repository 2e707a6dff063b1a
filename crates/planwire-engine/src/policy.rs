//! What the operator lets documents do: rules, and the verdict on one call.
//!
//! ```text
//!   call -> what it would reach (program, host, folder, as the tool itself will find them) -> Policy::judge -> Verdict
//! ```
//!
//! Rules have no order: whatever denies wins, then whatever wants approval, then whatever allows, then the default. So
//! a rule that is added can be understood without the others. **Invariants:** judging does no I/O and decides by
//! nothing but the call and the rules; a rule that takes away matches if anything of a call fits it, one that gives
//! matches only if everything does; what stands for all documents only takes away.
//!
//! - `pattern`: texts, paths, hosts and lists of arguments that fit.
//! - [`rule`]: what a rule asks of a call.
//! - [`reach`]: what a call would touch; `places` finds out which files those are.
//! - [`forecast`]: what it makes of a document that nobody has started.
//! - `gate`: asks the policy on behalf of one call, also in its midst.

pub mod forecast;
pub(crate) mod gate;
mod pattern;
mod places;
pub mod reach;
pub mod rule;

pub use gate::Gate;
pub use pattern::{ArgvPattern, Element, HostPattern, PATTERN_CHARS_MAX, PathPattern, Pattern, PatternError};
pub use reach::{Host, Place, Program, Reach};
pub use rule::{FolderRule, Rule, Subject};

use rule::Fit;

/// `code` of a call that the policy denied.
pub const DENIED: &str = "denied";

/// Rules of one policy.
pub const RULES_MAX: usize = 1_000;

/// Whose document asks for a call. Subplans are what their root is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Source {
    /// The operator's: registered, or named on the command line.
    #[default]
    Own,
    /// It came over the network from somebody who need not be the operator.
    Received,
}

/// What holds where no rule speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Otherwise {
    /// The call is made.
    Allow,
    /// It is not.
    Deny,
}

/// What holds for the documents of one source.
#[derive(Clone, Debug)]
pub struct Section {
    /// What holds where no rule speaks.
    pub otherwise: Otherwise,
    /// Calls that are made.
    pub allow: Vec<Rule>,
    /// Calls that are made if a person approves.
    pub approve: Vec<Rule>,
    /// Calls that are not made.
    pub deny: Vec<Rule>,
}

impl Section {
    const fn of(otherwise: Otherwise) -> Self {
        Self { otherwise, allow: Vec::new(), approve: Vec::new(), deny: Vec::new() }
    }
}

/// What documents may do.
///
/// The default lets the operator's documents do everything, and those that come over the network nothing.
///
/// ```
/// use planwire_engine::policy::reach::Below;
/// use planwire_engine::policy::{Pattern, Place, Policy, Reach, Rule, Source, Subject, Verdict};
///
/// let mut policy = Policy::default();
/// policy.deny.push(Rule { tools: vec![Pattern::text("file.w*").unwrap()], ..Rule::named("nothing is written") });
/// let (arguments, reach) = (Default::default(), Reach::default());
/// let folder = Place::at("/work".as_ref(), Below::Nothing);
/// let call = Subject { tool: "file.write", arguments: &arguments, reach: &reach, folder: &folder };
/// assert_eq!(policy.judge(Source::Own, &call), Verdict::Deny { rule: Some("nothing is written".into()) });
/// ```
#[derive(Clone, Debug)]
pub struct Policy {
    /// Calls of any document that are not made.
    pub deny: Vec<Rule>,
    /// Calls of any document that a person has to approve, if they may be made at all.
    pub approve: Vec<Rule>,
    /// What holds for the operator's documents.
    pub own: Section,
    /// What holds for those that came over the network.
    pub received: Section,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            deny: Vec::new(),
            approve: Vec::new(),
            own: Section::of(Otherwise::Allow),
            received: Section::of(Otherwise::Deny),
        }
    }
}

/// What becomes of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is made.
    Allow,
    /// It is made if a person approves.
    Approve {
        /// The rule that wants it.
        rule: String,
    },
    /// It is not made.
    Deny {
        /// The rule that says so; `None`: no rule allows it.
        rule: Option<String>,
    },
}

impl Policy {
    /// Says what becomes of a call that a document of `source` asks for.
    #[must_use]
    pub fn judge(&self, source: Source, call: &Subject<'_>) -> Verdict {
        let section = self.section(source);
        let first = |rules: &[Rule], fit| {
            rules.iter().find(|rule| rule.matches(call, fit)).map(|rule| rule.name.clone())
        };
        if let Some(rule) = first(&self.deny, Fit::Any).or_else(|| first(&section.deny, Fit::Any)) {
            return Verdict::Deny { rule: Some(rule) };
        }
        let wanted = first(&section.approve, Fit::Any);
        let is_given = section.otherwise == Otherwise::Allow
            || first(&section.allow, Fit::All).is_some()
            // What gives after a question must fit as a whole, like what gives without one.
            || first(&section.approve, Fit::All).is_some();
        if !is_given {
            return Verdict::Deny { rule: None };
        }
        match first(&self.approve, Fit::Any).or(wanted) {
            Some(rule) => Verdict::Approve { rule },
            None => Verdict::Allow,
        }
    }

    /// Says what the rules that take away make of something that a call turns out to reach while it runs, as the
    /// address of a host whose name was judged already.
    #[must_use]
    pub fn judge_further(&self, source: Source, call: &Subject<'_>) -> Verdict {
        let section = self.section(source);
        let first = |everybody: &[Rule], own: &[Rule]| {
            let mut rules = everybody.iter().chain(own);
            rules.find(|rule| rule.matches(call, Fit::Any)).map(|rule| rule.name.clone())
        };
        match (first(&self.deny, &section.deny), first(&self.approve, &section.approve)) {
            (Some(rule), _) => Verdict::Deny { rule: Some(rule) },
            (None, Some(rule)) => Verdict::Approve { rule },
            (None, None) => Verdict::Allow,
        }
    }

    /// Whether documents of `source` may do everything, so that nothing needs to be judged.
    #[must_use]
    pub fn is_open(&self, source: Source) -> bool {
        let section = self.section(source);
        section.otherwise == Otherwise::Allow && self.restrictions(section).next().is_none()
    }

    /// Whether people may have to be asked about calls of documents of `source`.
    #[must_use]
    pub fn may_ask(&self, source: Source) -> bool {
        !self.approve.is_empty() || !self.section(source).approve.is_empty()
    }

    fn restrictions<'a>(&'a self, section: &'a Section) -> impl Iterator<Item = &'a Rule> {
        [&self.deny, &self.approve, &section.deny, &section.approve].into_iter().flatten()
    }

    const fn section(&self, source: Source) -> &Section {
        match source {
            Source::Own => &self.own,
            Source::Received => &self.received,
        }
    }
}

#[cfg(test)]
mod tests;
