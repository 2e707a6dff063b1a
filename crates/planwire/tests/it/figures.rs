//! The arithmetic of the benchmark: its own program is run by hand and has no tests, so these files are tested here.
//!
//! They are not tests within these files: cargo compiles a benchmark as a test that has none.
#![expect(dead_code, reason = "the benchmark uses what these files offer; here only their tests run")]

#[path = "../../benches/planwire/arguments.rs"]
mod arguments;
mod arguments_promises;
#[path = "../../benches/planwire/numbers.rs"]
mod numbers;
mod numbers_promises;
#[path = "../../benches/planwire/pairs.rs"]
mod pairs;
mod pairs_promises;
#[path = "../../benches/planwire/rivals/resp.rs"]
mod resp;
mod resp_promises;
#[path = "../../benches/planwire/row.rs"]
mod row;
mod row_promises;
