//! Models of threads: the bus itself, its locks and threads replaced by those of a scheduler that tries orders in which
//! they might come.
//!
//! Only the feature `models` compiles them. A seed decides the order of steps and repeats it.
//!
//! - `search`: schedulers, and what is said of an order that breaks a promise
//! - `seeds`: how many seeds there are, and which
//! - `kit`, `reader`: a bus in a model, its store and who reads it
//! - `hand_over`, `waiting`, `handling`, `hints`: the models
//! - `planted`: bugs that they must find
#![expect(clippy::unwrap_used, reason = "a model that cannot go on has found something")]

mod hand_over;
mod handling;
mod hints;
mod kit;
mod planted;
mod reader;
mod search;
#[path = "../it/seeds.rs"]
mod seeds;
mod waiting;
