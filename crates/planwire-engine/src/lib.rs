//! Runs plan documents and publishes what happens.
//!
//! Five modules publish, each only what is its own: [`executor`], [`decision`] (the decision engine), [`tool_runner`],
//! [`spawner`] and [`question`]. **Invariant:** an event is durable before the effect that it announces begins, and what later
//! steps see is exactly what the events say.
//!
//! - [`document`], [`template`]: plan documents: from text to something that can be walked.
//! - [`engine`]: starts plans, ends them on request, and ends what a former process left open ([`orphans`]).
//! - [`executor`]: one plan, from its first event to its last.
//! - [`decision`], [`tool_runner`], [`spawner`], [`question`]: the other four that publish.
//! - [`tool`], [`tools`], [`output`]: what a tool is; those that there are; how large their output may be.
//! - [`secrets`], [`redaction`]: values that tools get and events never have.
//! - [`stop`]: the request to end, handed down a tree.
//! - [`effect`]: the moment between an event and its effect, for tests of crashes.

mod base64;
mod catalog;
pub mod decision;
pub mod document;
pub mod effect;
pub mod engine;
pub mod executor;
mod failure;
pub mod orphans;
pub mod output;
pub mod question;
pub mod redaction;
pub mod secrets;
pub mod shared;
pub mod spawner;
pub mod stop;
pub mod template;
pub mod tool;
pub mod tool_runner;
pub mod tools;

pub use effect::{BeforeEffect, EffectPoint, Module};
pub use engine::{Engine, EngineConfig};
pub use redaction::Redactor;
pub use secrets::{Secrets, SecretsError};
pub use tool::{Tool, ToolSet};
