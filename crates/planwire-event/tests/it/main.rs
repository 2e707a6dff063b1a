//! What a sequence of events means: promises of the lifecycle, of the folds and of EVENTS.md.

#![expect(clippy::unwrap_used, reason = "helpers of tests may stop a test where it cannot go on")]

mod cloud_events;
mod described;
mod events_md;
mod fixture;
mod lifecycle;
mod names;
mod sequences;
mod state;
mod tree;
