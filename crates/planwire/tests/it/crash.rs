//! Processes that end at any instant, as by a power cut.
//!
//! - [`kill`]: a server under load is killed again and again; publishers and readers go on where they were
//! - [`budgets`]: a tree never spends more than it may
//! - [`effect`]: a process is killed before an event is stored, or between the event and its effect
//! - [`talk`]: the same of a plan that asks, warns and tells how far it is
//! - [`doomed`]: the process that is killed at such a moment
//! - [`recovery`]: plans that are open when their process ends go on with the next
//! - [`succession`]: one of two servers is killed or stopped
//! - [`survivor`]: the plan that all of them run, and what is wanted of it

mod budgets;
mod doomed;
mod effect;
mod kill;
mod recovery;
mod succession;
mod survivor;
mod talk;
