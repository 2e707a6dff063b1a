//! A tree of processes that does what it can to go on: nothing of it is left, however its call ends.

use std::sync::Arc;

use futures_util::future::join_all;
use planwire_engine::ToolSet;
use planwire_engine::stop::{StopReason, Stopper};
use planwire_engine::tools::exec::Exec;
use planwire_event::vocabulary::ToolCompleted;
use serde_json::json;

use super::tree::{PROCESSES, all_gone, all_there, ending, says_all_ended, states, staying, until};
use super::{call, contained, containments, count, sh};
use crate::house::House;

/// Calls that run at a time.
const TOGETHER: usize = 10;

/// Cancels a call of such a tree; how many of its processes are left when it has returned, and whether it said so.
async fn left_after_cancel(exec: &Exec) -> (usize, bool) {
    let folder = tempfile::tempdir().unwrap();
    let stopper = Arc::new(Stopper::new());
    let running = call(exec, folder.path(), &stopper, json!({"argv": ["sh", "-c", staying()]}));
    let stop = async {
        all_there(folder.path()).await;
        stopper.stop(StopReason::TimedOut);
    };
    let (result, ()) = tokio::join!(running, stop);
    let left = states(folder.path()).len();
    let said_so = !says_all_ended(result);
    all_gone(folder.path()).await;
    (left, said_so)
}

async fn left_after_end(exec: &Exec) -> usize {
    let folder = tempfile::tempdir().unwrap();
    let script = ending();
    let see = async {
        all_there(folder.path()).await;
        // Opening it waits for the program to do the same.
        let seen = folder.path().join("seen");
        until(|| seen.exists()).await;
        tokio::task::spawn_blocking(|| std::fs::write(seen, "\n")).await.unwrap().unwrap();
    };
    let (result, ()) = tokio::join!(sh(exec, folder.path(), &script), see);
    assert_eq!(result.unwrap_err().code, "exit_status");
    states(folder.path()).len()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn soak_cancelled_call_leaves_nothing_of_a_tree_that_wants_to_go_on() {
    let times = count(20, 100);
    for containment in containments("cancelled_call_leaves_nothing").await {
        let exec = contained(containment);
        let (mut left, mut late) = (0, 0);
        for begun in (0..times).step_by(TOGETHER) {
            let calls = (begun..times.min(begun + TOGETHER)).map(|_| left_after_cancel(&exec));
            for (count, said_so) in join_all(calls).await {
                // On a machine that has no time for it the end can come after the call.
                late += usize::from(said_so);
                left += if said_so { 0 } else { count };
            }
        }
        println!(
            "{containment}: {times} cancelled calls of {PROCESSES} processes each: {left} left, {late} calls said that \
             some are still being ended, 0 left in the end"
        );
        assert_eq!(left, 0, "{containment}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn call_whose_program_ends_leaves_nothing_of_what_it_started() {
    for containment in containments("call_whose_program_ends_leaves_nothing").await {
        let exec = contained(containment);
        let left = join_all((0..TOGETHER).map(|_| left_after_end(&exec))).await;
        assert_eq!(left, [0; TOGETHER], "{containment}");
    }
}

#[tokio::test]
async fn call_that_is_dropped_leaves_nothing() {
    for containment in containments("call_that_is_dropped_leaves_nothing").await {
        let exec = contained(containment);
        let folder = tempfile::tempdir().unwrap();
        let stopper = Stopper::new();
        let arguments = json!({"argv": ["sh", "-c", staying()]});
        let mut running = Box::pin(call(&exec, folder.path(), &stopper, arguments));
        tokio::select! {
            result = &mut running => panic!("ended early: {result:?}"),
            () = all_there(folder.path()) => {}
        }
        drop(running);
        all_gone(folder.path()).await;
    }
}

#[tokio::test]
async fn plan_says_once_that_a_call_of_such_a_tree_was_cancelled_or_timed_out() {
    for containment in containments("plan_says_once").await {
        let tools = ToolSet::standard().with(Arc::new(contained(containment)));
        let house = House::open_with(|config| planwire_engine::EngineConfig { tools, ..config });
        for (timeout, code) in [("300s", "cancelled"), ("2s", "timed_out")] {
            let script = staying().replace('\n', "\n          ");
            let document = format!(
                "plan: tree\ngoal: g\nsteps:\n  run:\n    tool: exec\n    timeout: {timeout}\n    \
                 with:\n      argv:\n        - sh\n        - -c\n        - |\n          {script}"
            );
            let root = house.start(&document).await;
            if code == "cancelled" {
                all_there(house.folder.path()).await;
                house.cancel(&root, "enough").await;
            }
            let events = house.tree(&root).await;
            let errors: Vec<_> =
                events.all::<ToolCompleted>().into_iter().filter_map(|done| done.error).collect();
            let [error] = errors.as_slice() else { panic!("{containment}: {errors:?}") };
            assert_eq!(error.code, code, "{containment}");
            if !error.message.contains(" goes on to end it") {
                assert_eq!(states(house.folder.path()), [], "{containment}");
            }
            all_gone(house.folder.path()).await;
            let _ = std::fs::remove_file(house.folder.path().join("there"));
        }
    }
}
