//! `tool-init` alone, for programs that embed the engine and cannot start themselves anew; see
//! [`planwire_engine::tool_init`].

use std::process::ExitCode;

fn main() -> ExitCode {
    planwire_engine::tool_init::intercept(std::env::args_os()).unwrap_or(ExitCode::from(2))
}
