//! Rules of this repository that a machine can check.
//!
//! - [`sources`]: length and header of source files
//! - [`dependencies`]: reasons, rooms and number of dependencies
//! - [`documents`]: what every reader may expect to find, and what no file may name

mod dependencies;
mod documents;
mod sources;

use std::path::{Path, PathBuf};
use std::process::Command;

/// Folder of the root `Cargo.toml`.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask lies in the workspace").to_path_buf()
}

/// Every text file that is or would be committed, with its path below the root.
fn files() -> Vec<(String, String)> {
    // A file that was deleted and not yet committed is listed too; pictures are not text.
    let text = |path: String| Some((path.clone(), std::fs::read_to_string(root().join(path)).ok()?));
    paths().into_iter().filter_map(text).collect()
}

/// What git knows; without git (an unpacked archive, say) all that lies here except build output.
fn paths() -> Vec<String> {
    let mut git = Command::new("git");
    git.args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"]).current_dir(root());
    if let Some(done) = git.output().ok().filter(|done| done.status.success()) {
        let listed = String::from_utf8(done.stdout).expect("UTF-8");
        return listed.split('\0').filter(|path| !path.is_empty()).map(str::to_owned).collect();
    }
    let (mut folders, mut found) = (vec![root()], Vec::new());
    while let Some(folder) = folders.pop() {
        for path in std::fs::read_dir(folder).expect("a readable folder").flatten().map(|entry| entry.path())
        {
            let below = path.strip_prefix(root()).expect("below the root").to_string_lossy().into_owned();
            match path.is_dir() {
                true if ["target", ".git"].contains(&below.as_str()) => {}
                true => folders.push(path),
                false => found.push(below),
            }
        }
    }
    found
}

/// What `program` writes to standard output.
fn run(program: &str, arguments: &[&str]) -> String {
    let mut command = Command::new(program);
    command.args(arguments).current_dir(root());
    // Under coverage a wrapper stands before rustc; a question to cargo must not go through it.
    command.env_remove("RUSTC_WRAPPER");
    let done = command.output().unwrap_or_else(|error| panic!("failed to start {program}: {error}"));
    assert!(done.status.success(), "{program}: {}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8(done.stdout).expect("UTF-8")
}

/// Fails with all violations at once; each line says where.
fn check(rule: &str, violations: Vec<String>) {
    assert!(violations.is_empty(), "{rule}:\n  {}", violations.join("\n  "));
}
