//! The A2A facade: plans as tasks of the Agent2Agent protocol 1.0, over JSON-RPC and REST.
//!
//! A reader and publisher of the bus like any other. **Invariant:** one event of a plan is exactly one update of its
//! task, and the state in it is that of the plan after the event, so that every client sees the same.
//!
//! - `wire`: what goes over the wire.

pub(crate) mod wire;
