//! What the engine promises, seen from outside.

mod documents;
mod exec;
mod files;
mod house;
mod plans;
