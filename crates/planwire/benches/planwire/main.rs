//! Measures what Planwire promises of its speed, each figure beside what the machine itself can do at that moment.
//!
//! `cargo xtask bench [--quick] [--json FILE] [--folder DIR] [ROW..]`
//!
//! - [`arguments`], [`setting`]: what was asked for, and how much of it
//! - [`blocks`], [`numbers`], [`row`]: blocks that alternate between limit and product, their medians, the table
//! - [`raw_log`], [`loopback`]: the limits: files and sockets without the product
//! - [`product`], [`sse_client`]: the product, and a client that reads its streams
//! - [`publish`], [`burst`], [`memory`], [`live`], [`replay`], [`engine`], [`a2a`]: the rows
//!
//! **Invariant:** the limit is measured in the same run, on the same filesystem, between the blocks of the product;
//! a block during which the disk changed its state is thrown away, and the output says so.
#![expect(clippy::print_stdout, reason = "a benchmark tells its figures on standard output")]

mod a2a;
mod arguments;
mod blocks;
mod burst;
mod engine;
mod live;
mod loopback;
mod memory;
mod numbers;
mod product;
mod publish;
mod raw_log;
mod replay;
mod row;
mod setting;
mod sse_client;

use std::process::ExitCode;

use anyhow::{Context, Result};

use crate::arguments::{Arguments, Asked};
use crate::row::Row;
use crate::setting::Setting;

/// What measures one family of rows.
type Family = fn(&Setting) -> Result<Vec<Row>>;

/// The families in the order in which they run, by the name under which they are asked for.
const FAMILIES: [(&str, Family); 10] = [
    ("publish-1", publish::one_in_flight),
    ("publish-64", publish::sixty_four),
    ("bulk", publish::bulk),
    ("live", live::at_200_per_second),
    ("live-full", live::at_full_speed),
    ("engine", engine::steps_in_sequence),
    ("burst", burst::to_a_thousand),
    ("memory", memory::idle_clients),
    ("replay", replay::from_the_store),
    ("a2a", a2a::to_one_client),
];

fn main() -> ExitCode {
    let names: Vec<&str> = FAMILIES.iter().map(|(name, _)| *name).collect();
    let done = match Arguments::parse(std::env::args().skip(1), &names) {
        Ok(Asked::Measure(arguments)) => measure(&arguments),
        Ok(Asked::Serve(folder)) => memory::serve(&folder),
        Ok(Asked::Help) => {
            println!("{}", arguments::usage(&names));
            return ExitCode::SUCCESS;
        }
        Err(message) => {
            println!("error: {message}\n\n{}", arguments::usage(&names));
            return ExitCode::from(2);
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn measure(arguments: &Arguments) -> Result<()> {
    setting::allow_many_files();
    let setting = Setting::new(arguments)?;
    println!("{}", setting.describe());
    let mut rows = Vec::new();
    for (name, family) in FAMILIES.iter().filter(|(name, _)| arguments.wants(name)) {
        println!("\n{name}");
        rows.extend(family(&setting).with_context(|| format!("failed to measure {name}"))?);
    }
    let load = setting::load();
    println!("\n{}\nload {load} at the end", row::table(&rows));
    if let Some(file) = &arguments.json {
        let json = serde_json::json!({ "setting": setting.to_json(), "load_at_end": load, "rows": row::to_json(&rows) });
        std::fs::write(file, format!("{json:#}\n"))
            .with_context(|| format!("failed to write {}", file.display()))?;
        println!("written: {}", file.display());
    }
    Ok(())
}
