//! Processes that end at any instant, as by a power cut.
//!
//! - [`kill`]: a server under load is killed again and again; publishers and readers go on where they were
//! - [`effect`]: a process is killed between an event and its effect

mod effect;
mod kill;
