//! Measures what Planwire promises of its speed, each figure beside what the machine itself can do at that moment.
//!
//! `cargo xtask bench [--against] [--quick] [--json FILE] [--folder DIR] [ROW..]`
//!
//! - [`arguments`], [`setting`]: what was asked for, and how much of it
//! - [`blocks`]: blocks that alternate between the product and what stands beside it
//! - [`pairs`], [`numbers`], [`row`]: their ratios and medians, the table; tested by the tests of the package
//! - [`raw_log`], [`loopback`]: the limits: files and sockets without the product
//! - [`product`], [`sse_client`]: the product, and a client that reads its streams
//! - [`publish`], [`burst`], [`memory`], [`live`], [`replay`], [`engine`], [`a2a`]: the rows
//! - [`against`], [`rivals`]: the rows of `--against`, and what they are measured beside
//!
//! **Invariant:** what stands beside the product is measured in the same run, on the same filesystem, between the blocks of the product;
//! a block during which the disk changed its state is thrown away, and the output says so.
#![expect(clippy::print_stdout, reason = "a benchmark tells its figures on standard output")]

mod a2a;
mod against;
mod arguments;
mod blocks;
mod burst;
mod engine;
mod live;
mod loopback;
mod memory;
mod numbers;
mod pairs;
mod product;
mod publish;
mod raw_log;
mod replay;
mod rivals;
mod row;
mod setting;
mod sse_client;

use std::process::ExitCode;

use anyhow::{Context, Result};

use crate::arguments::{Arguments, Asked, Names};
use crate::row::Row;
use crate::setting::Setting;

/// What measures one family of rows.
type Family = fn(&Setting) -> Result<Vec<Row>>;

/// The families in the order in which they run, by the name under which they are asked for.
const FAMILIES: [(&str, Family); 14] = [
    ("publish-1", publish::one_in_flight),
    ("publish-64", publish::sixty_four),
    ("bulk", publish::bulk),
    ("live", live::at_200_per_second),
    ("live-full", live::at_full_speed),
    ("engine", engine::steps_in_sequence),
    ("engine-children", engine::children_in_parallel),
    ("engine-one", engine::one_step),
    ("engine-subplans", engine::thousand_subplans),
    ("engine-large", engine::hundred_thousand_events),
    ("burst", burst::to_a_thousand),
    ("memory", memory::idle_clients),
    ("replay", replay::from_the_store),
    ("a2a", a2a::to_one_client),
];

fn main() -> ExitCode {
    let (own, against) = (FAMILIES.map(|(name, _)| name), against::FAMILIES.map(|(name, _)| name));
    let names = Names { own: &own, against: &against };
    let done = match Arguments::parse(std::env::args().skip(1), names) {
        Ok(Asked::Measure(arguments)) => measure(&arguments),
        Ok(Asked::Serve(folder)) => memory::serve(&folder),
        Ok(Asked::Size { plan, folder }) => engine::run_large(&plan, &folder),
        Ok(Asked::Help) => {
            println!("{}", arguments::usage(names));
            return ExitCode::SUCCESS;
        }
        Err(message) => {
            println!("error: {message}\n\n{}", arguments::usage(names));
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
    let families: &[(&str, Family)] = if arguments.against { &against::FAMILIES } else { &FAMILIES };
    for (name, family) in families.iter().filter(|(name, _)| arguments.wants(name)) {
        println!("\n{name}");
        rows.extend(family(&setting).with_context(|| format!("failed to measure {name}"))?);
    }
    if arguments.against && arguments.wants_all() {
        against::LEFT_OUT.iter().for_each(|what| setting.not_measured(*what));
    }
    let (load, missing) = (setting::load(), setting.all_not_measured());
    println!("\n{}", row::table(&rows));
    missing.iter().for_each(|what| println!("not measured: {what}"));
    println!("load {load} at the end");
    if let Some(file) = &arguments.json {
        let (setting, rows) = (setting.to_json(), row::to_json(&rows));
        let json = serde_json::json!({
            "setting": setting, "load_at_end": load, "rows": rows, "not_measured": missing,
        });
        std::fs::write(file, format!("{json:#}\n"))
            .with_context(|| format!("failed to write {}", file.display()))?;
        println!("written: {}", file.display());
    }
    Ok(())
}
