//! What every reader may expect to find, and what no file may name.

use crate::{check, files, root};

#[test]
fn documents_are_here() {
    let expected = [
        "ARCHITECTURE.md",
        "CHANGELOG.md",
        "CONTRIBUTING.md",
        "EVENTS.md",
        "LICENSE-APACHE",
        "LICENSE-MIT",
        "README.md",
        "SECURITY.md",
        "docs/decisions/README.md",
        "docs/plans.md",
        "docs/configuration.md",
        "docs/a2a-plan-events.md",
        "docs/custody.md",
        "docs/tamper-evidence.md",
        "docs/conformance.md",
        "docs/faults.md",
        "docs/performance.md",
    ];
    let missing = expected.into_iter().filter(|path| !root().join(path).is_file());
    check("write these", missing.map(str::to_owned).collect());
}

#[test]
fn links_between_documents_lead_somewhere() {
    let mut broken = Vec::new();
    for (path, text) in files().into_iter().filter(|(path, _)| path.ends_with(".md")) {
        let folder = root().join(&path).parent().expect("a file has a folder").to_path_buf();
        for target in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let target = target.split(['#', ' ']).next().unwrap_or_default();
            if !target.is_empty() && !target.contains(':') && !folder.join(target).exists() {
                broken.push(format!("{path}: {target}"));
            }
        }
    }
    check("these links lead nowhere", broken);
}

#[test]
fn decision_is_listed() {
    let index = std::fs::read_to_string(root().join("docs/decisions/README.md")).unwrap_or_default();
    let pages = files().into_iter().map(|(path, _)| path);
    let pages = pages.filter_map(|path| path.strip_prefix("docs/decisions/").map(str::to_owned));
    let unlisted = pages.filter(|page| page != "README.md" && !index.contains(&format!("({page})")));
    check("add these to docs/decisions/README.md", unlisted.collect());
}

/// A file is read on many machines: it must not name a place of the one it was written on, nor the
/// host of a package registry, which a lock file or a script picks up from a local setting.
#[test]
fn no_file_names_a_machine_or_a_registry_host() {
    // Built from parts, so that this file does not match itself.
    let forbidden = [
        ["/work", "/main"],
        ["/work", "/shared"],
        ["/root", "/."],
        ["/tmp", "/team"],
        ["pypi", ".org"],
        ["files.python", "hosted.org"],
        ["registry.npm", "js.org"],
        ["index.crates", ".io"],
        ["static.crates", ".io"],
        ["deb.debian", ".org"],
    ]
    .map(|parts| parts.concat());
    let mut found = Vec::new();
    for (path, text) in files() {
        for (line, text) in text.lines().enumerate() {
            if let Some(name) = forbidden.iter().find(|name| text.contains(name.as_str())) {
                found.push(format!("{path}:{}: {name}", line + 1));
            }
        }
    }
    check("take these out", found);
}
