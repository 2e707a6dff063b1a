//! The promises of the server, over a real socket.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, helpers of tests too")]

mod client;
mod connections;
mod guards;
mod pages;
mod plans;
mod publish;
mod served;
mod starting;
mod streams;
