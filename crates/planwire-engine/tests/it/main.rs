//! What the engine promises, seen from outside.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

mod approvals;
mod asking;
mod away;
mod budgets;
mod documents;
mod ends;
mod example;
mod exec;
mod files;
mod golden;
mod house;
mod http;
mod leaving;
mod log_faults;
mod made;
mod models;
mod own_tools;
mod pauses;
mod plans;
mod policy;
mod questions;
mod recovery;
mod repeated_start;
mod secrets;
mod subplans;
mod succession;
mod supervised;
