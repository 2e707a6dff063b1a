//! Length and header of source files.

use crate::{check, files};

/// A file longer than this holds more than one noun.
const FILE_LINES_MAX: usize = 600;
/// Lines of the page, which is one file without a build step.
const PAGE_LINES_MAX: usize = 300;

fn rust_files() -> impl Iterator<Item = (String, String)> {
    files().into_iter().filter(|(path, _)| path.ends_with(".rs"))
}

fn length(path: &str, text: &str, lines_max: usize) -> Option<String> {
    let lines = text.lines().count();
    (lines > lines_max).then(|| format!("{path} has {lines} lines"))
}

#[test]
fn source_file_has_at_most_600_lines() {
    let long = rust_files().filter_map(|(path, text)| length(&path, &text, FILE_LINES_MAX));
    check("split these by noun", long.collect());
}

#[test]
fn page_has_at_most_300_lines() {
    let pages = files().into_iter().filter(|(path, _)| path.ends_with(".html"));
    let long = pages.filter_map(|(path, text)| length(&path, &text, PAGE_LINES_MAX));
    check("make the page smaller", long.collect());
}

#[test]
fn source_file_begins_with_what_it_is() {
    let bare = rust_files().filter(|(path, text)| {
        (path.starts_with("crates/") || path.starts_with("xtask/")) && !text.starts_with("//! ")
    });
    check("begin with a `//!` sentence", bare.map(|(path, _)| path).collect());
}

#[test]
fn source_file_is_named_after_a_noun() {
    let vague = ["utils.rs", "util.rs", "helpers.rs", "helper.rs", "common.rs", "misc.rs", "imp.rs"];
    let named = rust_files()
        .map(|(path, _)| path)
        .filter(|path| path.rsplit('/').next().is_some_and(|name| vague.contains(&name)));
    check("name what these hold", named.collect());
}

#[test]
fn integration_tests_of_a_crate_are_one_program() {
    let second = rust_files().map(|(path, _)| path).filter(|path| {
        let parts: Vec<&str> = path.split('/').collect();
        matches!(parts.as_slice(), ["crates", _, "tests", file] if file.ends_with(".rs"))
    });
    check("move these below tests/it/", second.collect());
}

#[test]
fn ignored_test_is_never_silent() {
    // Built from parts, so that this file does not match itself.
    let mark = concat!("#[", "ignore");
    let ignoring =
        rust_files().filter(|(_, text)| text.lines().any(|line| line.trim_start().starts_with(mark)));
    check(
        "a test that can not run here notes why in $PLANWIRE_SKIPPED_FILE instead",
        ignoring.map(|(path, _)| path).collect(),
    );
}
