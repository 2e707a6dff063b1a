//! Programs that take all they can get: each call ends, and says of what there was too much.

use planwire_engine::launcher::Limits;
use planwire_engine::stop::Stopper;
use planwire_engine::tool::ToolError;
use planwire_engine::tools::exec::Exec;
use serde_json::json;

use super::tree::states;
use super::{call, contained, containments, limited, sh};

const MIB: u64 = 1024 * 1024;

async fn fails(exec: &Exec, script: &str) -> ToolError {
    let folder = tempfile::tempdir().unwrap();
    sh(exec, folder.path(), script).await.unwrap_err()
}

/// Bombs that are over the limit by far and still too small for a machine to suffer: 200 processes one after the other;
/// 255 that double; the same, each in a session of its own.
const BOMBS: [&str; 3] = [
    "n=0; while test $n -lt 200; do n=$((n+1)); sleep 1000 & done; wait",
    "bomb() { if test $1 -gt 0; then bomb $(($1-1)) & bomb $(($1-1)) & fi; exec sleep 1000; }; bomb 7",
    "echo 'if test $1 -gt 0; then setsid sh bomb $(($1-1)) & setsid sh bomb $(($1-1)) & fi; exec sleep 1000' > bomb; \
     sh bomb 7",
];

#[tokio::test]
async fn fork_bomb_is_ended_whatever_holds_it() {
    for containment in containments("fork_bomb_is_ended").await {
        for bomb in BOMBS {
            let folder = tempfile::tempdir().unwrap();
            let error = sh(&contained(containment), folder.path(), bomb).await.unwrap_err();
            assert_eq!(error.code, "process_limit", "{containment}: {error}: {bomb}");
            assert_eq!(states(folder.path()), [], "{containment}: {bomb}");
        }
    }
}

#[tokio::test]
async fn many_processes_that_do_nothing_are_too_many() {
    let exec = limited(Limits { processes: 8, ..Limits::default() });
    let script = "for n in 1 2 3 4 5 6 7 8 9; do sleep 1000 & done; wait";
    let error = fails(&exec, script).await;
    assert_eq!(error, ToolError::new("process_limit", "sh was ended: it had more than 8 processes"));
    let fits = "for n in 1 2 3; do sleep 0.2 & done; wait; echo done";
    assert!(sh(&exec, "/tmp".as_ref(), fits).await.is_ok());
}

#[tokio::test]
async fn program_that_takes_all_memory_is_ended() {
    let exec = limited(Limits { memory_bytes: 64 * MIB, ..Limits::default() });
    // A text that doubles: 1 GiB after 30 rounds.
    let error = fails(&exec, "x=0123456789abcdef; while :; do x=$x$x; done").await;
    assert_eq!(error.code, "memory_limit", "{error}");
    // Several that are each below it.
    let script = "for n in 1 2 3 4; do { head -c 24m /dev/zero; sleep 1000; } | tail & done; wait";
    let error = fails(&exec, script).await;
    assert_eq!(
        error,
        ToolError::new("memory_limit", "sh was ended: it had more than 67108864 bytes of memory")
    );
}

#[tokio::test]
async fn program_that_takes_all_cpu_time_is_ended() {
    let exec = limited(Limits { cpu_s: Some(1), ..Limits::default() });
    assert_eq!(fails(&exec, "exec sh -c 'while :; do :; done'").await.code, "cpu_limit");
    // Children that each take little count too.
    let error =
        fails(&exec, "while :; do sh -c 'n=0; while test $n -lt 20000; do n=$((n+1)); done'; done").await;
    assert_eq!(error.code, "cpu_limit", "{error}");
}

#[tokio::test]
async fn file_that_is_too_large_ends_its_program() {
    let exec = limited(Limits { file_bytes: MIB, ..Limits::default() });
    let folder = tempfile::tempdir().unwrap();
    let arguments = json!({"argv": ["dd", "if=/dev/zero", "of=large", "bs=65536", "count=1000"]});
    let error = call(&exec, folder.path(), &Stopper::new(), arguments).await.unwrap_err();
    assert_eq!(error.code, "file_size_limit", "{error}");
    assert!(std::fs::metadata(folder.path().join("large")).unwrap().len() <= MIB);
}

#[tokio::test]
async fn open_files_of_a_process_are_limited() {
    let exec = limited(Limits { files: 16, ..Limits::default() });
    let output = sh(&exec, "/tmp".as_ref(), "ulimit -n").await.unwrap();
    assert_eq!(output.value["stdout"], "16\n");
}

#[tokio::test]
async fn endless_output_does_not_hold_the_call_after_its_program() {
    for containment in containments("endless_output").await {
        let exec = contained(containment);
        let folder = tempfile::tempdir().unwrap();
        let output = sh(&exec, folder.path(), "yes & yes >&2 & sleep 0.1").await.unwrap();
        assert!(output.truncated);
        let arguments = json!({"argv": ["yes"], "max_output_bytes": 1000});
        let error = call(&exec, folder.path(), &Stopper::new(), arguments).await.unwrap_err();
        assert_eq!(error.code, "output_limit");
    }
}
