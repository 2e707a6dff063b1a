//! Reasons, rooms and number of dependencies. Which crate may use which is in `deny.toml`.

use std::collections::BTreeSet;

use crate::{check, files, root, run};

/// Packages of the default build, our own included: what a user has to compile and trust.
const PACKAGES_MAX: usize = 220;

fn root_manifest() -> String {
    std::fs::read_to_string(root().join("Cargo.toml")).expect("the root manifest")
}

/// The lines of one table of a manifest.
fn table<'a>(manifest: &'a str, name: &str) -> Vec<&'a str> {
    let header = format!("[{name}]");
    let after = manifest.lines().skip_while(move |line| *line != header).skip(1);
    after.take_while(|line| !line.starts_with('[')).collect()
}

#[test]
fn every_dependency_has_a_reason() {
    let manifest = root_manifest();
    let lines = table(&manifest, "workspace.dependencies");
    let entries = lines.windows(2).filter(|pair| pair[1].contains(" = ") && !pair[1].starts_with('#'));
    let bare = entries.filter(|pair| !pair[1].contains("path = ") && !pair[0].starts_with("# "));
    check("say above each why it is here", bare.map(|pair| pair[1].to_owned()).collect());
}

#[test]
fn dependency_takes_only_the_features_it_needs() {
    let manifest = root_manifest();
    let entries = table(&manifest, "workspace.dependencies").into_iter();
    let entries = entries.filter(|line| line.contains("version = ") && !line.starts_with('#'));
    let greedy = entries.filter(|line| !line.contains("default-features = false"));
    check("add `default-features = false`", greedy.map(str::to_owned).collect());
}

#[test]
fn version_of_a_dependency_stands_in_one_place() {
    let members = files().into_iter().filter(|(path, _)| path.ends_with("/Cargo.toml"));
    let mut own = Vec::new();
    for (path, text) in members {
        for name in ["dependencies", "dev-dependencies", "build-dependencies"] {
            let entries = table(&text, name).into_iter();
            let entries = entries.filter(|line| line.contains('=') && !line.starts_with('#'));
            let bare = entries.filter(|line| !line.contains("workspace"));
            own.extend(bare.map(|line| format!("{path}: {line}")));
        }
    }
    check("move these to the root manifest", own);
}

#[test]
fn default_build_has_at_most_220_packages() {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let tree = run(
        &cargo,
        &[
            "tree",
            "--locked",
            "--edges",
            "normal",
            "--package",
            "planwire",
            "--prefix",
            "none",
            "--format",
            "{p}",
        ],
    );
    // A line is `name version`, then for our own crates the folder, and (*) where it was shown before.
    let packages: BTreeSet<Vec<&str>> =
        tree.lines().filter(|line| !line.is_empty()).map(|line| line.split(' ').take(2).collect()).collect();
    println!("packages of the default build: {}", packages.len());
    assert!(packages.len() > 7, "the tree could not be read: {tree}");
    assert!(packages.len() <= PACKAGES_MAX, "{} packages of at most {PACKAGES_MAX}", packages.len());
}
