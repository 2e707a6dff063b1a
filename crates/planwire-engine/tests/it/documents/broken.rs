//! Broken documents: each message says what, where and what to do.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use planwire_engine::document::Document;

/// Seen from the folder of this crate, where tests run.
const FOLDER: &str = "../../plans/broken";
const COUNT_MIN: usize = 30;

fn documents() -> Vec<PathBuf> {
    let entries = std::fs::read_dir(FOLDER).unwrap().map(|entry| entry.unwrap().path());
    let sorted: BTreeSet<PathBuf> = entries.filter(|path| path.is_file()).collect();
    sorted.into_iter().collect()
}

fn message(path: &Path) -> String {
    let diagnostics = Document::load(path).expect_err(&path.to_string_lossy());
    diagnostics.to_string().replace("../../plans/", "plans/")
}

#[test]
fn every_broken_document_is_told_where_and_why() {
    let documents = documents();
    for path in &documents {
        let name = path.file_name().unwrap().to_str().unwrap();
        let settings = {
            let mut settings = insta::Settings::clone_current();
            settings.set_snapshot_path("../../../../../plans/broken/messages");
            settings.set_prepend_module_to_snapshot(false);
            settings.set_omit_expression(true);
            settings
        };
        settings.bind(|| insta::assert_snapshot!(name, message(path)));
    }
    println!("{} broken documents were told where and why", documents.len());
    assert!(documents.len() >= COUNT_MIN, "{} documents", documents.len());
}

#[test]
fn every_message_has_a_place_within_its_file() {
    for path in documents() {
        let diagnostics = Document::load(&path).unwrap_err();
        for diagnostic in diagnostics.list() {
            let text = String::from_utf8_lossy(&std::fs::read(&diagnostic.file).unwrap()).into_owned();
            let line = text.split('\n').nth(diagnostic.line - 1).unwrap_or_else(|| panic!("{diagnostic}"));
            assert!(diagnostic.column <= line.chars().count() + 1, "{diagnostic}");
        }
    }
}
