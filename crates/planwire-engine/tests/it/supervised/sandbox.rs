//! Programs that look and write where they should not.

use std::path::Path;

use planwire_engine::launcher::{LauncherConfig, Sandbox};
use planwire_engine::stop::Stopper;
use planwire_engine::tools::exec::Exec;
use serde_json::json;

use super::tree::until;
use super::{call, launcher, said, sandboxed, sh, skip};

/// A sandbox that has to hold, with something to hide in `home`; none, and a line among the skips, where there is none.
async fn sandbox(test: &str, home: &Path) -> Option<Exec> {
    let mut sandbox = Sandbox::new(Some(home));
    sandbox.required = true;
    sandbox.hidden.insert(home.join("data"));
    let config = LauncherConfig { sandbox: Some(sandbox.clone()), ..LauncherConfig::default() };
    match launcher(config).probe().await {
        Ok(_) => Some(sandboxed(sandbox)),
        Err(error) => {
            skip(test, &error.to_string());
            None
        }
    }
}

/// A home with keys, a data folder, a folder of work and others.
fn home() -> tempfile::TempDir {
    let home = tempfile::tempdir().unwrap();
    for (file, text) in [
        (".ssh/id_ed25519", "key"),
        (".config/gh/hosts.yml", "token"),
        (".config/git/config", "[user]"),
        ("data/default.db", "events"),
        ("work/file", "text"),
        ("other/file", "text"),
    ] {
        let path = home.path().join(file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    std::os::unix::fs::symlink(home.path().join(".ssh"), home.path().join("work/link")).unwrap();
    home
}

#[tokio::test]
async fn keys_and_the_log_cannot_be_read_and_all_else_can() {
    let home = home();
    let Some(exec) = sandbox("keys_and_the_log_cannot_be_read", home.path()).await else { return };
    let work = home.path().join("work");
    for hidden in ["../.ssh/id_ed25519", "../.config/gh/hosts.yml", "../data/default.db", "link/id_ed25519"] {
        let error = sh(&exec, &work, &format!("cat {hidden}")).await.unwrap_err();
        assert!(error.message.contains("Permission denied"), "{hidden}: {error}");
    }
    for seen in ["file", "../other/file", "../.config/git/config", "/etc/passwd", "/proc/self/status"] {
        assert_ne!(said(&exec, &work, &format!("cat {seen}")).await, "", "{seen}");
    }
    // Names are no secret.
    assert_eq!(said(&exec, &work, "ls ../.ssh").await, "id_ed25519\n");
}

#[tokio::test]
async fn files_change_in_the_working_folder_and_the_temporary_one_alone() {
    let home = home();
    let Some(exec) = sandbox("files_change_in_the_working_folder", home.path()).await else { return };
    let work = home.path().join("work");
    let script = "echo a > new && mkdir -p deep/er && mv new deep/er/ && rm file && echo b > $TMPDIR/b \
                  && mv deep/er/new . && echo c > /dev/null && cat $TMPDIR/b new";
    assert_eq!(said(&exec, &work, script).await, "b\na\n");
    for script in [
        "echo x > ../other/file",
        "echo x > ../new",
        "rm ../other/file",
        ": > ../data/default.db",
        "truncate -s 0 ../data/default.db",
        "mv ../data ../gone",
        "ln ../other/file here",
        "ln -s ../data data && echo x > data/default.db",
        "mknod disk b 8 0",
    ] {
        assert_eq!(sh(&exec, &work, script).await.unwrap_err().code, "exit_status", "{script}");
    }
    assert_eq!(std::fs::read_to_string(home.path().join("data/default.db")).unwrap(), "events");
    assert_eq!(std::fs::read_to_string(home.path().join("other/file")).unwrap(), "text");
}

#[tokio::test]
async fn working_folder_that_holds_what_is_hidden_does_not_show_it() {
    let home = home();
    let Some(exec) = sandbox("working_folder_that_holds_what_is_hidden", home.path()).await else { return };
    let all = home.path();
    assert!(sh(&exec, all, "cat data/default.db").await.is_err());
    assert!(sh(&exec, all, "echo x >> data/default.db").await.is_err());
    assert!(sh(&exec, all, "mv data gone").await.is_err());
    assert_eq!(said(&exec, all, "echo new > work/file; cat work/file").await, "new\n");
}

#[tokio::test]
async fn folder_in_which_a_program_is_started_is_one_to_work_in() {
    let home = home();
    let Some(exec) = sandbox("folder_in_which_a_program_is_started", home.path()).await else { return };
    let work = home.path().join("work");
    let started_in = async |cwd: &Path, script: &str| {
        let arguments = json!({"argv": ["sh", "-c", script], "cwd": cwd});
        call(&exec, &work, &Stopper::new(), arguments).await
    };
    let other = home.path().join("other");
    assert!(started_in(&other, "echo x > new && echo x > ../work/new").await.is_ok());
    for hidden in ["data", ".ssh"] {
        let error = started_in(&home.path().join(hidden), "cat * || echo x > new").await.unwrap_err();
        assert!(error.message.contains("Permission denied"), "{hidden}: {error}");
    }
    assert!(started_in("/".as_ref(), &format!("echo x > {}/x", other.display())).await.is_err());
}

#[tokio::test]
async fn other_processes_cannot_be_looked_into_or_signalled() {
    let home = home();
    let Some(exec) = sandbox("other_processes_cannot_be_looked_into", home.path()).await else { return };
    let own = std::process::id();
    let work = home.path().join("work");
    for script in [
        format!("cat /proc/{own}/environ"),
        "cat /proc/$PPID/environ".to_owned(),
        format!("readlink /proc/{own}/fd/0"),
        format!("cat /proc/{own}/maps"),
        format!("ls /proc/{own}/root/"),
        format!("kill -0 {own}"),
        "kill -STOP $PPID".to_owned(),
    ] {
        assert_eq!(sh(&exec, &work, &script).await.unwrap_err().code, "exit_status", "{script}");
    }
    assert_eq!(said(&exec, &work, "sleep 1000 & kill $! && wait $!; echo $?").await, "143\n");
    assert_eq!(said(&exec, &work, "grep NoNewPrivs /proc/self/status").await, "NoNewPrivs:\t1\n");
}

#[tokio::test]
async fn temporary_folder_of_another_call_cannot_be_read() {
    let home = home();
    let Some(exec) = sandbox("temporary_folder_of_another_call", home.path()).await else { return };
    let work = home.path().join("work");
    let holds = sh(
        &exec,
        &work,
        "echo mine > $TMPDIR/mine; echo $TMPDIR > where; until test -e done; do sleep 0.01; done",
    );
    let looks = async {
        until(|| !std::fs::read_to_string(work.join("where")).unwrap_or_default().is_empty()).await;
        let error = sh(&exec, &work, "cat $(cat where)/mine").await.unwrap_err();
        assert!(error.message.contains("Permission denied"), "{error}");
        std::fs::write(work.join("done"), "").unwrap();
    };
    let (held, ()) = tokio::join!(holds, looks);
    held.unwrap();
}

#[tokio::test]
async fn program_without_a_sandbox_reads_what_its_user_may() {
    let home = home();
    let exec = Exec::launched_by(launcher(LauncherConfig::default()));
    assert_eq!(said(&exec, home.path(), "cat .ssh/id_ed25519").await, "key");
}
