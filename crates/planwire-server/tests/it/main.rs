//! The promises of the server, over a real socket.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, helpers of tests too")]

mod a2a_card;
mod a2a_desk;
mod a2a_errors;
mod a2a_lists;
mod a2a_messages;
mod a2a_methods;
mod a2a_pauses;
mod a2a_routes;
mod a2a_sizes;
mod a2a_stream;
mod answers;
mod client;
mod connections;
mod described;
mod guards;
mod openapi;
mod pages;
mod plans;
mod publish;
mod served;
mod starting;
mod streams;
