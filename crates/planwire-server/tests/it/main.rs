//! The promises of the server, over a real socket.

mod client;
mod connections;
mod guards;
mod pages;
mod plans;
mod publish;
mod served;
mod starting;
mod streams;
