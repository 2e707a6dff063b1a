//! What a plan document says, once it is known to be sound: the form that the executor walks.
//!
//! Every expression is compiled, every reference resolved to a step, every subplan loaded. **Invariant:** a
//! [`Document`] has no cycle among its steps, no reference to a step it does not have, and no value out of its limits.

use std::sync::Arc;
use std::time::Duration;

use planwire_event::Digest;
use planwire_event::answer::AnswerSchema;
use planwire_event::expression::Expression;
use planwire_event::vocabulary::{FailureReason, QuestionKind};
use serde_json::Value;

use crate::budget::TreeLimits;
use crate::template::Template;

/// Steps of one document.
pub const STEPS_MAX: usize = 500;
/// Secret inputs of one document.
pub const SECRET_INPUTS_MAX: usize = 10;
/// Inputs, outputs, artifacts or options of one document or decision.
pub const MEMBERS_MAX: usize = 100;
/// Steps, or children of a `for_each`, of one plan that may run at a time, whatever a document asks for. A
/// thousand open subplans take 24 MiB, what the log keeps of their events included.
pub const PARALLEL_MAX: usize = 1_000;
/// Steps of one plan that run at a time when its document does not say.
pub const PARALLEL_DEFAULT: usize = 8;
/// Levels of plans below a root: the default and the most that a document may ask for.
pub const DEPTH_MAX: u32 = 16;
/// Children of one `for_each`.
pub const ITEMS_MAX: usize = 10_000;
/// Attempts of one tool step, the first included.
pub const ATTEMPTS_MAX: u32 = 10;
/// Time of one attempt of a tool when its step does not say.
pub const TOOL_TIMEOUT_DEFAULT: Duration = Duration::from_secs(60);
/// Longest time of one attempt of a tool.
pub const TOOL_TIMEOUT_MAX: Duration = Duration::from_secs(3600);
/// Time of a plan when its document does not say.
pub const PLAN_TIMEOUT_DEFAULT: Duration = Duration::from_secs(3600);
/// Longest time of a plan.
pub const PLAN_TIMEOUT_MAX: Duration = Duration::from_secs(7 * 24 * 3600);
/// Pause before the second attempt when a step does not say.
pub const BACKOFF_DEFAULT: Duration = Duration::from_millis(200);
/// Tool calls of a plan and all below it that a document may ask for.
pub const TREE_CALLS_MAX: u64 = 1_000_000;
/// Tokens of a plan and all below it that a document may ask for.
pub const TREE_TOKENS_MAX: u64 = 1_000_000_000_000;
/// Tool calls or subplans of a plan and all below it that run at a time, that a document may ask for.
pub const TREE_PARALLEL_MAX: usize = 10_000;
/// Longest pause between two attempts.
pub const BACKOFF_MAX: Duration = Duration::from_secs(30);

/// Time to answer a question when its step does not say.
pub const EXPIRES_DEFAULT: Duration = Duration::from_secs(24 * 3600);
/// Longest time to answer a question.
pub const EXPIRES_MAX: Duration = Duration::from_secs(30 * 24 * 3600);

const _: () = assert!(PARALLEL_DEFAULT <= PARALLEL_MAX);
const _: () = assert!(TOOL_TIMEOUT_DEFAULT.as_secs() <= TOOL_TIMEOUT_MAX.as_secs());

/// A document together with the text that is stored of it.
#[derive(Clone, Debug)]
pub struct Resolved {
    /// The sound document.
    pub document: Arc<Document>,
    /// Normal form as JSON, subplans inlined; `Document::from_body` reads it back.
    pub body: Arc<str>,
    /// SHA-256 of `body`.
    pub digest: Digest,
}

/// A sound plan document.
#[derive(Debug)]
pub struct Document {
    /// `plan:`, the name of the plan.
    pub name: String,
    /// `goal:`, one line for people.
    pub goal: String,
    /// Inputs in the document's order.
    pub inputs: Vec<Input>,
    /// How much may happen at a time, how deep and for how long.
    pub limits: Limits,
    /// Steps in the document's order; `Step::needs` holds indices into this list.
    pub steps: Vec<Step>,
    /// Outputs in the document's order, evaluated when all steps are done.
    pub outputs: Vec<(String, Template)>,
    /// Artifacts in the document's order, published before the plan completes.
    pub artifacts: Vec<Artifact>,
    /// Levels of plans below this one, as far as they are written; 0 without subplans.
    pub levels: u32,
}

/// A value that the plan is started with.
#[derive(Clone, Debug)]
pub struct Input {
    /// Its name in `inputs.NAME`.
    pub name: String,
    /// What values it takes.
    pub kind: InputKind,
    /// The value when none is given; `None`: the input is required.
    pub default: Option<Value>,
    /// Whether the value is a secret, which only tools get: a text without default.
    pub secret: bool,
    /// For people.
    pub description: Option<String>,
}

/// Types of inputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InputKind {
    /// Text.
    String,
    /// An integer of 64 bits.
    Int,
    /// Any number.
    Number,
    /// true or false.
    Bool,
    /// A path as text; made absolute against the working folder.
    Path,
    /// A list of anything.
    List,
    /// An object of anything.
    Object,
}

/// Limits of one plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Steps of this plan that run at a time.
    pub parallel: usize,
    /// Levels of plans below this one.
    pub depth: u32,
    /// Time from the plan's start to its end.
    pub timeout: Duration,
    /// What the plan and all below it may use.
    pub tree: TreeLimits,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            parallel: PARALLEL_DEFAULT,
            depth: DEPTH_MAX,
            timeout: PLAN_TIMEOUT_DEFAULT,
            tree: TreeLimits::NONE,
        }
    }
}

/// One step of a plan.
#[derive(Debug)]
pub struct Step {
    /// Its name in `steps.ID`.
    pub id: String,
    /// Indices of the steps that must be done before: by reference and by `after`; ascending, without repetition.
    pub needs: Vec<usize>,
    /// The step is skipped when this is false.
    pub when: Option<Expression>,
    /// What the step does.
    pub kind: StepKind,
    /// How its failure is dealt with; `None`: it fails the plan. Never set on a decision.
    pub on_error: Option<Recovery>,
}

/// What a step does.
#[derive(Debug)]
pub enum StepKind {
    /// Calls a tool.
    Tool(ToolStep),
    /// Decides between options, by a rule.
    Decide(Decision),
    /// Lets a model decide between options.
    AskModel(ModelDecision),
    /// Runs a plan below this one, once or for each item of a list.
    Subplan(SubplanStep),
    /// Asks people, for something or for leave, and waits for the answer.
    Ask(Ask),
    /// Ends the plan.
    Fail(Fail),
    /// Leaves something for people.
    Artifact(Artifact),
}

impl StepKind {
    /// The tool that the step calls, if it calls one.
    #[must_use]
    pub const fn call(&self) -> Option<&ToolStep> {
        match self {
            Self::Tool(tool) => Some(tool),
            Self::AskModel(decision) => Some(&decision.call),
            Self::Decide(_) | Self::Subplan(_) | Self::Ask(_) | Self::Fail(_) | Self::Artifact(_) => None,
        }
    }
}

/// A question to people.
#[derive(Debug)]
pub struct Ask {
    /// Evaluates to the question.
    pub question: Template,
    /// What is asked for.
    pub kind: QuestionKind,
    /// JSON Schema of the answer; `None`: anything.
    pub schema: Option<Value>,
    /// The same, for checking answers.
    pub answer: Arc<AnswerSchema>,
    /// Time to answer.
    pub expires: Duration,
    /// What an approval without tool is about; evaluates to an object.
    pub arguments: Option<Template>,
}

/// The end of a plan, as its document wants it.
#[derive(Debug)]
pub struct Fail {
    /// Evaluates to the message.
    pub text: Template,
    /// The reason of the plan's end.
    pub reason: FailureReason,
}

/// A call of a tool, with its attempts.
#[derive(Debug)]
pub struct ToolStep {
    /// Name of the tool, such as `file.list`.
    pub tool: String,
    /// Arguments; evaluates to an object. `attempt` is among its variables.
    pub with: Template,
    /// Asked before the first attempt; all attempts then have the arguments that were approved.
    pub approve: Option<Ask>,
    /// Time of one attempt.
    pub timeout: Duration,
    /// How often it is tried.
    pub retry: Retry,
    /// Whether running it twice does no harm.
    pub idempotent: bool,
    /// What a call used; evaluates to an object. `output` and `attempt` are among its variables.
    pub usage: Option<Template>,
    /// What a call uses at most; evaluates to an object with `tokens` and `cost`. `attempt` is among its variables.
    pub reserve: Option<Template>,
}

/// How often a tool is tried, and when again.
#[derive(Debug)]
pub struct Retry {
    /// Attempts in all, at least 1.
    pub attempts: u32,
    /// Pause before the second attempt; it doubles with each further one.
    pub backoff: Duration,
    /// The pause never exceeds this.
    pub max_backoff: Duration,
    /// Tried again only if this is true; `error` and `attempt` are among its variables.
    pub when: Option<Expression>,
}

impl Default for Retry {
    fn default() -> Self {
        Self { attempts: 1, backoff: BACKOFF_DEFAULT, max_backoff: BACKOFF_MAX, when: None }
    }
}

impl Retry {
    /// Pause after the failed attempt number `attempt` (1, 2, ..).
    #[must_use]
    pub fn pause_after(&self, attempt: u32) -> Duration {
        let factor = 2_u32.saturating_pow(attempt.saturating_sub(1));
        self.backoff.saturating_mul(factor).min(self.max_backoff)
    }
}

/// A decision by rule.
#[derive(Debug)]
pub struct Decision {
    /// The question, for people.
    pub question: String,
    /// Two options or more, in the document's order.
    pub options: Vec<Choice>,
    /// Gives the name of an option.
    pub choose: Expression,
    /// Why; default: the expression and its value.
    pub rationale: Option<Template>,
}

/// A decision by a model: a call of the tool `model`, and the option that it chose.
#[derive(Debug)]
pub struct ModelDecision {
    /// The question, for people and for the model.
    pub question: String,
    /// Two options or more, in the document's order.
    pub options: Vec<Choice>,
    /// What the model is told, how long it may take, and how often it is asked.
    pub call: ToolStep,
    /// The option that is taken if the model cannot be asked or chooses none; `None`: the step fails.
    pub otherwise: Option<String>,
}

/// An option of a decision.
#[derive(Clone, Debug)]
pub struct Choice {
    /// What `choose` must give to take it.
    pub name: String,
    /// For people.
    pub description: String,
}

/// The decision about a failed step; `error` is among the variables of its expressions.
#[derive(Debug)]
pub struct Recovery {
    /// Question, options, rule and rationale.
    pub decision: Decision,
    /// What each option means, in the order of `decision.options`.
    pub outcomes: Vec<Outcome>,
}

impl Recovery {
    /// What the option called `name` means.
    #[must_use]
    pub fn outcome(&self, name: &str) -> Option<&Outcome> {
        let at = self.decision.options.iter().position(|option| option.name == name)?;
        self.outcomes.get(at)
    }
}

/// What becomes of a failed step.
#[derive(Debug)]
pub enum Outcome {
    /// It counts as ok with this output.
    Output(Template),
    /// It fails the plan.
    Fail,
}

/// A plan below this one.
#[derive(Debug)]
pub struct SubplanStep {
    /// Where the child's document comes from.
    pub plan: SubplanSource,
    /// Inputs of the child; evaluates to an object. `item` and `index` are among its variables with `for_each`.
    pub with: Template,
    /// One child for each item of a list; `None`: one child.
    pub for_each: Option<ForEach>,
}

/// Where the document of a subplan comes from.
#[derive(Debug)]
pub enum SubplanSource {
    /// It stands in the document that starts it, or in a file that it names.
    Written(Resolved),
    /// It is made at run time: evaluates to a document, as an object or as a text in YAML or JSON. `item` and `index`
    /// are among its variables with `for_each`.
    Made(Box<Expression>),
}

impl SubplanSource {
    /// The document, if it is written.
    #[must_use]
    pub const fn written(&self) -> Option<&Resolved> {
        match self {
            Self::Written(document) => Some(document),
            Self::Made(_) => None,
        }
    }
}

/// Repetition of a subplan.
#[derive(Debug)]
pub struct ForEach {
    /// Gives a list of at most [`ITEMS_MAX`] items.
    pub items: Expression,
    /// Children that run at a time.
    pub parallel: usize,
}

/// Something that the plan leaves for people.
#[derive(Debug)]
pub struct Artifact {
    /// Its key in the document.
    pub id: String,
    /// Name, such as `report.md`.
    pub name: Template,
    /// IANA media type.
    pub media_type: String,
    /// What it holds.
    pub part: ArtifactPart,
}

/// What an artifact holds.
#[derive(Debug)]
pub enum ArtifactPart {
    /// Evaluates to text.
    Text(Template),
    /// Evaluates to any value.
    Data(Template),
    /// Evaluates to an address.
    Url(Template),
    /// Evaluates to base64 of its bytes.
    Bytes(Template),
    /// Evaluates to a list of texts, of which each is published as an event of its own.
    Chunks(Template),
}
