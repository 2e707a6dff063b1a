//! The `file` tools: what they give, and that nothing leads out of the root.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::symlink;
use std::path::Path;

use planwire_engine::ToolSet;
use planwire_engine::stop::{StopReason, Stopper};
use planwire_engine::tool::{ToolContext, ToolError, ToolOutput};
use serde_json::{Value, json};

async fn call(folder: &Path, tool: &str, arguments: Value) -> Result<ToolOutput, ToolError> {
    let stopper = Stopper::new();
    let context = ToolContext::new(folder, stopper.handle());
    let Value::Object(arguments) = arguments else { panic!("arguments are an object") };
    ToolSet::standard().get(tool).unwrap().call(arguments, context).await
}

async fn value(folder: &Path, tool: &str, arguments: Value) -> Value {
    call(folder, tool, arguments).await.unwrap().value
}

async fn code(folder: &Path, tool: &str, arguments: Value) -> String {
    call(folder, tool, arguments).await.unwrap_err().code
}

fn names(entries: &Value) -> Vec<&str> {
    entries.as_array().unwrap().iter().map(|entry| entry["path"].as_str().unwrap()).collect()
}

fn small_tree() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let at = |path: &str| folder.path().join(path);
    fs::create_dir_all(at("src/deep")).unwrap();
    fs::create_dir(at("target")).unwrap();
    fs::write(at("README.md"), "# Title\nTODO: write\n").unwrap();
    fs::write(at("src/main.rs"), "fn main() {}\n// TODO one\n// FIXME two\n").unwrap();
    fs::write(at("src/deep/copy.rs"), "fn main() {}\n// TODO one\n// FIXME two\n").unwrap();
    fs::write(at("target/big.bin"), [0_u8; 5000]).unwrap();
    symlink("src", at("link")).unwrap();
    symlink("..", at("src/up")).unwrap();
    folder
}

#[tokio::test]
async fn listing_names_entries_in_order_and_counts_them() {
    let folder = small_tree();
    let flat = value(folder.path(), "file.list", json!({"root": "."})).await;
    assert_eq!(names(&flat["entries"]), ["README.md", "link", "src", "target"]);
    assert_eq!(names(&flat["folders"]), ["src", "target"]);
    assert_eq!(
        flat["entries"][0],
        json!({"name": "README.md", "path": "README.md", "kind": "file", "size_bytes": 20, "extension": "md"})
    );
    let all =
        value(folder.path(), "file.list", json!({"root": ".", "recursive": true, "skip": ["target"]})).await;
    assert_eq!(
        names(&all["entries"]),
        ["README.md", "link", "src", "src/deep", "src/main.rs", "src/up", "src/deep/copy.rs"]
    );
    assert_eq!(all["totals"]["files"], 3);
    assert_eq!(all["totals"]["links"], 2);
    assert_eq!(all["totals"]["by_extension"]["rs"], json!({"files": 2, "bytes": 76}));
    assert_eq!(all["largest"][0]["size_bytes"], 38);
    let rust = json!({"root": ".", "path": "src", "recursive": true, "extensions": ["rs"]});
    assert_eq!(value(folder.path(), "file.list", rust).await["totals"]["files"], 2);
}

#[tokio::test]
async fn more_entries_than_asked_for_are_an_error_that_a_retry_can_meet() {
    let folder = small_tree();
    let error = call(folder.path(), "file.list", json!({"root": ".", "max_entries": 3})).await.unwrap_err();
    assert_eq!(error, ToolError::new("limit_exceeded", ". holds more than 3 entries"));
    assert!(call(folder.path(), "file.list", json!({"root": ".", "max_entries": 4})).await.is_ok());
}

#[tokio::test]
async fn many_entries_are_cut_and_totals_stay_exact() {
    let folder = tempfile::tempdir().unwrap();
    for at in 0..3000 {
        fs::write(folder.path().join(format!("file-{at:05}.x{}", at % 300)), "12345").unwrap();
    }
    let output = call(folder.path(), "file.list", json!({"root": ".", "max_entries": 5000})).await.unwrap();
    assert!(output.truncated);
    assert!(output.value.to_string().len() < planwire_engine::output::TOOL_OUTPUT_BYTES_MAX);
    assert!(output.value["entries"].as_array().unwrap().len() > 100);
    assert_eq!(output.value["totals"]["bytes"], 15_000);
    let by_extension = output.value["totals"]["by_extension"].as_object().unwrap();
    let counted: u64 = by_extension.values().map(|sum| sum["files"].as_u64().unwrap()).sum();
    assert_eq!(counted, 3000);
    assert!(by_extension.contains_key("(other)"));
}

#[tokio::test]
async fn odd_names_are_shown_and_do_not_stop_a_walk() {
    let folder = tempfile::tempdir().unwrap();
    for name in [&b"with space"[..], b"new\nline", b"not-\xff-utf8", b"-rf", "ümlaut".as_bytes(), b".hidden"]
    {
        fs::write(folder.path().join(OsStr::from_bytes(name)), "x").unwrap();
    }
    let listed = value(folder.path(), "file.list", json!({"root": "."})).await;
    assert_eq!(
        names(&listed["entries"]),
        ["-rf", ".hidden", "new\nline", "not-\u{fffd}-utf8", "with space", "ümlaut"]
    );
    assert_eq!(listed["totals"]["by_extension"][""]["files"], 6);
    let text = value(folder.path(), "file.read", json!({"root": ".", "path": "new\nline"})).await;
    assert_eq!(text["text"], "x");
}

#[tokio::test]
async fn nothing_leads_out_of_the_root() {
    let outer = tempfile::tempdir().unwrap();
    fs::write(outer.path().join("secret"), "s").unwrap();
    let root = outer.path().join("root");
    fs::create_dir(&root).unwrap();
    symlink("../secret", root.join("relative")).unwrap();
    symlink(outer.path().join("secret"), root.join("absolute")).unwrap();
    symlink("..", root.join("folder")).unwrap();
    symlink("/proc/self/root", root.join("magic")).unwrap();
    for path in ["../secret", "relative", "absolute", "folder/secret", "/etc/passwd", "magic/etc/passwd"] {
        for tool in ["file.read", "file.digest", "file.list"] {
            let arguments = json!({"root": "root", "path": path});
            assert_eq!(code(outer.path(), tool, arguments).await, "outside_root", "{tool} {path}");
        }
        for append in [false, true] {
            let arguments =
                json!({"root": "root", "path": format!("{path}/x"), "text": "t", "append": append});
            assert!(call(outer.path(), "file.write", arguments).await.is_err(), "{path}");
        }
    }
    let arguments = json!({"root": "root", "path": "relative", "text": "mine", "append": true});
    assert_eq!(code(outer.path(), "file.write", arguments).await, "outside_root");
    // Replacing a link replaces the link, not what it leads to.
    value(outer.path(), "file.write", json!({"root": "root", "path": "relative", "text": "mine"})).await;
    assert_eq!(fs::read_to_string(outer.path().join("secret")).unwrap(), "s");
    assert_eq!(fs::read_to_string(root.join("relative")).unwrap(), "mine");
}

#[tokio::test]
async fn links_that_stay_inside_may_be_read_and_loops_end() {
    let folder = small_tree();
    symlink("loop", folder.path().join("loop")).unwrap();
    let text = value(folder.path(), "file.read", json!({"root": ".", "path": "link/main.rs"})).await;
    assert!(text["text"].as_str().unwrap().starts_with("fn main"));
    assert_eq!(code(folder.path(), "file.read", json!({"root": ".", "path": "loop"})).await, "link_loop");
    let all = value(folder.path(), "file.list", json!({"root": ".", "recursive": true})).await;
    assert_eq!(all["totals"]["files"], 4);
}

#[tokio::test]
async fn text_is_cut_at_max_bytes() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("a.txt"), "ééé").unwrap();
    let whole = value(folder.path(), "file.read", json!({"root": ".", "path": "a.txt"})).await;
    assert_eq!(whole, json!({"text": "ééé", "size_bytes": 6, "truncated": false}));
    let cut = call(folder.path(), "file.read", json!({"root": ".", "path": "a.txt", "max_bytes": 3}))
        .await
        .unwrap();
    assert_eq!(cut.value["text"], "é");
    assert!(cut.truncated);
    let too_much = json!({"root": ".", "path": "a.txt", "max_bytes": 1_000_000});
    assert_eq!(code(folder.path(), "file.read", too_much).await, "bad_argument");
}

#[tokio::test]
async fn lines_are_found_in_many_files() {
    let folder = small_tree();
    let todo = json!({"root": ".", "recursive": true, "contains": "TODO", "skip": ["target"]});
    let found = value(folder.path(), "file.read", todo).await;
    assert_eq!(found["matches"], 3);
    assert_eq!(found["files"], 3);
    assert_eq!(found["lines"][0], json!({"path": "README.md", "line": 2, "text": "TODO: write"}));
    let either = json!({"root": ".", "path": "src/main.rs", "contains": ["TODO", "FIXME"], "max_lines": 1});
    let output = call(folder.path(), "file.read", either).await.unwrap();
    assert_eq!((output.value["matches"].as_u64(), output.truncated), (Some(2), true));
    let named = json!({"root": ".", "paths": ["README.md", "target/big.bin", "missing"], "contains": "T"});
    let found = value(folder.path(), "file.read", named).await;
    assert_eq!(
        (&found["files"], &found["binary"], &found["unreadable"]),
        (&json!(1), &json!(1), &json!(["missing"]))
    );
    let both = json!({"root": ".", "path": "a", "paths": ["b"]});
    assert_eq!(code(folder.path(), "file.read", both).await, "bad_argument");
}

#[tokio::test]
async fn what_is_no_regular_file_is_refused_without_waiting() {
    let folder = small_tree();
    let made = std::process::Command::new("mkfifo").arg(folder.path().join("pipe")).status().unwrap();
    assert!(made.success());
    for tool in ["file.read", "file.digest"] {
        assert_eq!(code(folder.path(), tool, json!({"root": ".", "path": "pipe"})).await, "not_a_file");
        assert_eq!(code(folder.path(), tool, json!({"root": ".", "path": "missing"})).await, "not_found");
        assert_eq!(code(folder.path(), tool, json!({"root": "missing"})).await, "not_found");
    }
    assert_eq!(
        code(folder.path(), "file.list", json!({"root": ".", "path": "README.md"})).await,
        "not_a_folder"
    );
    let pipe = json!({"root": ".", "path": "pipe", "text": "t", "append": true});
    assert_eq!(code(folder.path(), "file.write", pipe).await, "not_a_file");
}

#[tokio::test]
async fn files_of_equal_content_are_found() {
    let folder = small_tree();
    fs::hard_link(folder.path().join("README.md"), folder.path().join("same-file.md")).unwrap();
    fs::write(folder.path().join("empty1"), "").unwrap();
    fs::write(folder.path().join("empty2"), "").unwrap();
    let found = value(folder.path(), "file.digest", json!({"root": ".", "recursive": true})).await;
    assert_eq!(found["files"], 7);
    assert_eq!(found["duplicates"].as_array().unwrap().len(), 1);
    assert_eq!(found["duplicates"][0]["paths"], json!(["src/main.rs", "src/deep/copy.rs"]));
    assert_eq!((&found["duplicate_files"], &found["duplicate_bytes"]), (&json!(1), &json!(38)));
    let one = value(folder.path(), "file.digest", json!({"root": ".", "path": "README.md"})).await;
    assert_eq!(one["digest"], json!(planwire_event::Digest::of(b"# Title\nTODO: write\n")));
    let few = json!({"root": ".", "recursive": true, "max_files": 2});
    assert_eq!(code(folder.path(), "file.digest", few).await, "limit_exceeded");
}

#[tokio::test]
async fn writing_makes_folders_replaces_and_appends() {
    let folder = tempfile::tempdir().unwrap();
    let write =
        |text: &str, append: bool| json!({"root": ".", "path": "a/b/c.md", "text": text, "append": append});
    let first = value(folder.path(), "file.write", write("one", false)).await;
    assert_eq!(first["digest"], json!(planwire_event::Digest::of(b"one")));
    value(folder.path(), "file.write", write("two", false)).await;
    let appended = value(folder.path(), "file.write", write("three", true)).await;
    assert_eq!(appended["size_bytes"], 8);
    assert_eq!(fs::read_to_string(folder.path().join("a/b/c.md")).unwrap(), "twothree");
    assert_eq!(fs::read_dir(folder.path().join("a/b")).unwrap().count(), 1);
    let onto_folder = json!({"root": ".", "path": "a/b", "text": ""});
    assert_eq!(code(folder.path(), "file.write", onto_folder).await, "not_a_file");
    for bad in ["", ".", "a/.."] {
        assert!(
            call(folder.path(), "file.write", json!({"root": ".", "path": bad, "text": ""})).await.is_err()
        );
    }
}

#[tokio::test]
async fn work_ends_when_it_is_asked_to() {
    let folder = small_tree();
    let stopper = Stopper::new();
    stopper.stop(StopReason::TimedOut);
    for tool in ["file.list", "file.read", "file.digest"] {
        let context = ToolContext::new(folder.path(), stopper.handle());
        let Value::Object(arguments) = json!({"root": ".", "recursive": true}) else { unreachable!() };
        let result = ToolSet::standard().get(tool).unwrap().call(arguments, context).await;
        assert_eq!(result.unwrap_err(), ToolError::stopped(), "{tool}");
    }
}

#[tokio::test]
async fn unknown_arguments_are_named() {
    let error = call(Path::new("/"), "file.list", json!({"root": ".", "recursiv": true})).await.unwrap_err();
    assert!(error.message.contains("unknown field `recursiv`"), "{error}");
    for tool in ToolSet::standard().iter() {
        assert!(!tool.purpose().is_empty() && tool.arguments().names().is_some());
    }
    assert_eq!(
        format!("{:?}", ToolSet::standard()),
        r#"{"exec", "file.digest", "file.list", "file.read", "file.write", "http"}"#
    );
}
