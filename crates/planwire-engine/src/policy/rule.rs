//! What a rule asks of a call.

use std::path::{Path, PathBuf};

use planwire_event::vocabulary::Object;
use serde_json::Value;

use super::pattern::{ArgvPattern, HostPattern, PathPattern, Pattern, PatternError};
use super::places::real;
use super::reach::{Below, Place, Program, Reach};

/// A call that is judged.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// The name of the tool.
    pub tool: &'a str,
    /// The arguments as the tool gets them.
    pub arguments: &'a Object,
    /// What it would touch.
    pub reach: &'a Reach,
    /// The working folder of its plan.
    pub folder: &'a Place,
}

/// How much of a call has to fit a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fit {
    /// Anything that it touches, under any of its names: for rules that take away.
    Any,
    /// Everything that it touches, as what it is in the end: for rules that give.
    All,
}

/// A rule: it matches a call that fits all that it asks for. One that asks for nothing matches every call.
#[derive(Clone, Debug)]
pub struct Rule {
    /// What messages call it.
    pub name: String,
    /// One of these tools; empty: any.
    pub tools: Vec<Pattern>,
    /// One of these programs; empty: any, or none.
    pub programs: Vec<PathPattern>,
    /// `argv` behind the program.
    pub argv: Option<ArgvPattern>,
    /// Arguments by name; each has to be there and to fit one of its patterns.
    pub with: Vec<(String, Vec<Pattern>)>,
    /// One of these servers; empty: any, or none.
    pub hosts: Vec<HostPattern>,
    /// In one of these folders; empty: anywhere.
    pub folders: Vec<FolderRule>,
    /// Names of variables of the environment. A rule that takes away asks for a call that sets one of them; one that
    /// gives covers calls that set no others, or that set any if it is empty and leaves programs and arguments open.
    pub variables: Vec<Pattern>,
}

/// A folder that a rule names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FolderRule(Named);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Named {
    /// As it is written, and what that meant when it was read.
    Path { written: PathBuf, real: PathBuf },
    /// The working folder of the plan that calls.
    Working,
}

impl FolderRule {
    /// The folder at an absolute path; what it means is looked up now. `.` is the working folder of whichever plan calls;
    /// that is nothing that a rule gives where it is the root of all files, which nobody has chosen to work in.
    ///
    /// # Errors
    ///
    /// [`PatternError`] if the path is neither.
    pub fn at(path: &str) -> Result<Self, PatternError> {
        if path == "." {
            return Ok(Self(Named::Working));
        }
        let written = PathBuf::from(path);
        if !written.is_absolute() {
            return Err(PatternError::NotAbsolute);
        }
        let real = real(&written);
        Ok(Self(Named::Path { written, real }))
    }

    /// `working`: the working folder of the plan that calls.
    fn fits(&self, place: &Place, working: &Place, fit: Fit) -> bool {
        let (names, real) = match &self.0 {
            Named::Path { written, real } => (std::slice::from_ref(written), real),
            Named::Working => match working.names.split_last() {
                Some((real, names)) => (names, real),
                None => return false,
            },
        };
        let Some(itself) = place.names.last() else { return false };
        let holds = |path: &Path| names.iter().chain([real]).any(|folder| path.starts_with(folder));
        match fit {
            Fit::All => itself.starts_with(real) && (self.0 != Named::Working || real != Path::new("/")),
            Fit::Any => {
                let goes_there = place.with_all_below == Below::Everything && real.starts_with(itself);
                goes_there || place.names.iter().any(|name| holds(name))
            }
        }
    }
}

impl Rule {
    /// A rule of this name that matches every call.
    pub fn named(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            tools: Vec::new(),
            programs: Vec::new(),
            argv: None,
            with: Vec::new(),
            hosts: Vec::new(),
            folders: Vec::new(),
            variables: Vec::new(),
        }
    }

    pub(super) fn matches(&self, call: &Subject<'_>, fit: Fit) -> bool {
        let reach = call.reach;
        let is_program = |program: &Program| self.programs.iter().any(|rule| has_name(rule, program, fit));
        (self.tools.is_empty() || self.tools.iter().any(|tool| tool.matches(call.tool)))
            && (self.programs.is_empty() || fit.of(&reach.programs, is_program))
            && (self.hosts.is_empty()
                || fit.of(&reach.hosts, |host| {
                    self.hosts.iter().any(|rule| rule.matches(&host.name, host.port))
                }))
            && (self.folders.is_empty()
                || fit.of(&reach.places, |place| {
                    self.folders.iter().any(|rule| rule.fits(place, call.folder, fit))
                }))
            && self.argv.as_ref().is_none_or(|argv| has_argv(argv, call.arguments))
            && self.with.iter().all(|(name, patterns)| has_argument(call.arguments, name, patterns))
            && match fit {
                Fit::Any => {
                    self.variables.is_empty() || reach.variables.iter().any(|name| self.has_variable(name))
                }
                Fit::All => self.covers_steering(reach),
            }
    }

    /// Whether nothing steers the programs of a call that a rule which gives does not speak of. One that gives any
    /// program with any arguments gives that too: they can steer each other as they like.
    fn covers_steering(&self, reach: &Reach) -> bool {
        let is_open = self.programs.is_empty() && self.argv.is_none() && self.with.is_empty();
        let covers_variables = (is_open && self.variables.is_empty())
            || reach.variables.iter().all(|name| self.has_variable(name));
        covers_variables && (is_open || reach.steering.iter().all(|argument| self.names(argument)))
    }

    fn has_variable(&self, name: &str) -> bool {
        self.variables.iter().any(|pattern| pattern.matches(name))
    }

    fn names(&self, argument: &str) -> bool {
        self.with.iter().any(|(name, _)| name == argument) || (argument == "cwd" && !self.folders.is_empty())
    }
}

impl Fit {
    fn of<T>(self, things: &[T], fits: impl Fn(&T) -> bool) -> bool {
        match self {
            Self::Any => things.iter().any(fits),
            // Of nothing, nothing is known.
            Self::All => !things.is_empty() && things.iter().all(fits),
        }
    }
}

fn has_name(rule: &PathPattern, program: &Program, fit: Fit) -> bool {
    match fit {
        Fit::Any => program.names.iter().any(|name| rule.matches(name)),
        Fit::All => program.names.last().is_some_and(|itself| rule.matches_itself(itself)),
    }
}

fn has_argv(pattern: &ArgvPattern, arguments: &Object) -> bool {
    let Some(Value::Array(argv)) = arguments.get("argv") else { return false };
    let texts: Vec<String> = argv.iter().skip(1).map(text).collect();
    pattern.matches(&texts)
}

fn has_argument(arguments: &Object, name: &str, patterns: &[Pattern]) -> bool {
    let Some(value) = arguments.get(name) else { return false };
    let value = text(value);
    patterns.iter().any(|pattern| pattern.matches(&value))
}

/// A value as patterns see it: a text as it is, anything else as JSON.
fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
