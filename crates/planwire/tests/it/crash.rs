//! Processes that end at any instant, as by a power cut.
//!
//! - [`kill`]: a server under load is killed again and again; publishers and readers go on where they were
//! - [`effect`]: a process is killed between an event and its effect
//! - [`orphans`]: plans that are open when their process ends

mod effect;
mod kill;
mod orphans;
