//! Runs plan documents and publishes what happens.
//!
//! Five modules publish, each only what is its own: [`executor`], [`decision`] (the decision engine), [`tool_runner`],
//! [`spawner`] and [`question`]. **Invariant:** an event is durable before the effect that it announces begins, and what later
//! steps see is exactly what the events say.
//!
//! - [`document`], [`template`]: plan documents: from text to something that can be walked.
//! - [`engine`]: starts plans, ends them on request, and goes on with those that a former process left open, from
//!   `history`; [`orphans`] ends those that cannot go on.
//! - [`executor`]: one plan, from its first event to its last.
//! - [`decision`], [`tool_runner`], [`spawner`], [`question`]: the other four that publish.
//! - [`tool`], [`tool_set`], [`tools`], [`output`]: what a tool is; which an engine has; those of this crate; how large
//!   their output may be.
//! - [`progress`], [`keep`]: what a call says while it runs, and what lasts longer than it.
//! - [`program`], [`launcher`], [`tool_init`]: how programs start so that they can be ended with all that they start,
//!   within limits and a sandbox.
//! - [`policy`]: what the operator lets documents do.
//! - [`secrets`], [`redaction`]: values that tools get and events never have.
//! - [`budget`]: what the plans of a tree may use together.
//! - `work`: working folders of trees whose documents came over the network.
//! - [`stop`]: the request to end, handed down a tree; `pause`: the request to begin nothing new.
//! - [`moment`]: the moments around a publish, for tests of crashes.

mod base64;
pub mod budget;
mod catalog;
pub mod decision;
pub mod document;
pub mod engine;
pub mod executor;
mod failure;
mod history;
pub mod keep;
pub mod launcher;
pub mod moment;
pub mod orphans;
pub mod output;
mod pause;
pub mod policy;
pub mod program;
pub mod progress;
pub mod question;
pub mod redaction;
pub mod secrets;
pub mod shared;
pub mod spawner;
pub mod stop;
pub mod template;
pub mod tool;
pub mod tool_init;
pub mod tool_runner;
pub mod tool_set;
pub mod tools;
mod work;

pub use budget::{TreeLimits, WARN_PERCENT};
pub use engine::{Engine, EngineConfig, JoinError, Recovered, RecoveryError, ResumeError, Succession};
pub use launcher::{Launcher, LauncherConfig};
pub use moment::{AtMoment, Moment, Stage};
pub use policy::Policy;
pub use redaction::{Redactor, Rules};
pub use secrets::{Secrets, SecretsError};
pub use tool::Tool;
pub use tool_set::{ToolFamily, ToolSet};
