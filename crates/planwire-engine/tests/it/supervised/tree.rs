//! A tree of processes that does what it can to go on, and what tests see of it.

use std::path::Path;
use std::time::Duration;

use planwire_engine::tool::{ToolError, ToolOutput};

/// Four processes: one ignores the request to end, one has a session of its own and ignores it too, one was started by
/// a process that has ended, one is stopped. Each says that it is there. Then `END` decides.
const TREE: &str = r#"
trap '' TERM
echo >> there
setsid sh -c 'echo >> there; exec sleep 1000' &
(setsid sh -c 'trap - TERM; echo >> there; exec sleep 1000' &)
sh -c 'echo >> there; kill -STOP $$; sleep 1000' &
END
"#;

/// Processes of [`TREE`].
pub(super) const PROCESSES: usize = 4;

/// Ends when it is ended.
pub(super) fn staying() -> String {
    TREE.replace("END", "exec sleep 1000")
}

/// Ends by itself when somebody writes to the pipe `seen`.
pub(super) fn ending() -> String {
    TREE.replace("END", "mkfifo seen; read _ < seen; exit 3")
}

/// The processes that work in a folder, by their states as proc(5) has them. Ids would not do: in a pid namespace a
/// process has another one in its own eyes.
pub(super) fn states(folder: &Path) -> Vec<char> {
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    let inside = entries
        .filter(|entry| std::fs::read_link(entry.path().join("cwd")).is_ok_and(|working| working == folder));
    let stats = inside.filter_map(|entry| std::fs::read_to_string(entry.path().join("stat")).ok());
    stats.filter_map(|stat| stat.rsplit_once(") ")?.1.chars().next()).collect()
}

/// Waits until all are there, the stopped one stopped.
pub(super) async fn all_there(folder: &Path) {
    until(|| {
        let there = std::fs::read_to_string(folder.join("there")).unwrap_or_default().lines().count();
        let states = states(folder);
        there == PROCESSES && states.len() == PROCESSES && states.contains(&'T')
    })
    .await;
}

/// Waits until a folder is nobody's any more.
pub(super) async fn all_gone(folder: &Path) {
    until(|| states(folder).is_empty()).await;
}

/// Looks again and again, and leaves the machine to those who are waited for.
pub(super) async fn until(seen: impl Fn() -> bool) {
    while !seen() {
        pause().await;
    }
}

/// Between two looks.
pub(super) async fn pause() {
    tokio::time::sleep(Duration::from_millis(5)).await;
}

/// Whether a call that was stopped says that nothing is left; if not, it says that what is left is being ended.
pub(super) fn says_all_ended(result: Result<ToolOutput, ToolError>) -> bool {
    let error = result.unwrap_err();
    let goes_on = error.code == "not_ended" && error.message.ends_with(" goes on to end it");
    assert!(goes_on || error == ToolError::stopped(), "{error:?}");
    !goes_on
}
