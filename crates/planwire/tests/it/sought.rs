//! Texts that must be nowhere: looked for in what a server says, in files, and in what commands print.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::path::Path;
use std::thread::JoinHandle;

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::harness::{Place, Server};
use crate::http::Answer;

/// What is looked for.
pub(crate) struct Sought(pub(crate) &'static [&'static str]);

impl Sought {
    pub(crate) fn check(&self, bytes: &[u8], what: &str) {
        for text in self.0 {
            let found = bytes.windows(text.len()).any(|window| window == text.as_bytes());
            assert!(
                !found,
                "{text} is in {what}: {}",
                String::from_utf8_lossy(&bytes[..bytes.len().min(4000)])
            );
        }
    }

    /// Looks through all files below a folder and says their names.
    pub(crate) fn check_files(&self, folder: &Path) -> Vec<String> {
        let entries =
            std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
        let names = |path: std::path::PathBuf| {
            if path.is_dir() {
                return self.check_files(&path);
            }
            let name = path.to_string_lossy().into_owned();
            self.check(&std::fs::read(&path).expect("a file"), &name);
            vec![name]
        };
        entries.flat_map(names).collect()
    }

    /// Looks through what commands show of plans.
    pub(crate) fn check_shown(&self, place: &Place, ids: &[String]) {
        for id in ids {
            for arguments in [&["show", id][..], &["--json", "show", id], &["events", "--plan", id]] {
                let ran = place.run(arguments);
                self.check(ran.stdout.as_bytes(), "standard output");
                self.check(ran.stderr.as_bytes(), "standard error");
            }
        }
    }

    /// Ends a server and looks through its diagnostics.
    pub(crate) fn check_end(&self, server: Server) {
        server.running.signal(Signal::TERM);
        let (_, diagnostics) = server.running.end();
        self.check(diagnostics.as_bytes(), "diagnostics of the server");
    }
}

/// Starts a plan and adds what its stream says, to its end, to `told`; gives its id.
pub(crate) fn start_and_follow(server: &Server, start: &Value, told: &mut Vec<String>) -> String {
    let id = server.http.post("/v1/plans", start).json(201)["plan_id"].as_str().expect("an id").to_owned();
    let mut stream = server.http.stream(&format!("/v1/plans/{id}/events"), None);
    while let Some(frame) = stream.frame() {
        told.push(frame.data.clone());
        if frame.event == "end" {
            break;
        }
    }
    id
}

/// Sends a message with `data` over A2A and waits for the end of its stream.
pub(crate) fn send_message(server: &Server, data: &Value) -> Answer {
    let message = json!({"message": {"messageId": "m1", "role": "ROLE_USER", "parts": [{"data": data}]}});
    let headers = [("Content-Type", "application/json"), ("A2A-Version", "1.0")];
    server.http.send("POST", "/a2a/message:stream", &headers, &message.to_string())
}

/// What a server says of plans.
pub(crate) fn told_of(server: &Server, ids: &[String]) -> Vec<String> {
    let paths = |id: &String| {
        [format!("/v1/plans/{id}"), format!("/v1/plans/{id}/events"), format!("/a2a/tasks/{id}")]
    };
    ids.iter().flat_map(paths).map(|path| server.http.get(&path).body).collect()
}

/// The events of an export with proofs, each with the members of its payload that have lost a value.
pub(crate) fn redacted_of(export: &Path) -> Vec<(Value, Vec<String>)> {
    let lines = std::fs::read_to_string(export).expect("an export");
    let redacted = |line: &str| {
        let line: Value = serde_json::from_str(line).expect("JSON");
        // What is about the export as a whole has none.
        let meta: Value = serde_json::from_str(line["meta"].as_str()?).expect("JSON");
        let redacted = serde_json::from_value(meta["redacted"].clone()).unwrap_or_default();
        Some((line, redacted))
    };
    lines.lines().filter_map(redacted).collect()
}

/// Answers `count` requests at a path, which end with `end`; how many held `key`.
pub(crate) fn answering(
    path: &str,
    count: usize,
    end: &'static [u8],
    key: &'static str,
    answer: impl Fn(&str) -> String + Send + 'static,
) -> (String, JoinHandle<usize>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}{path}", listener.local_addr().expect("an address"));
    let answers = std::thread::spawn(move || {
        let mut with_key = 0;
        for _ in 0..count {
            let (mut stream, _) = listener.accept().expect("a request");
            let mut request = Vec::new();
            let mut buffer = [0; 4096];
            while !request.ends_with(end) {
                let read = stream.read(&mut buffer).expect("a request");
                assert!(read > 0, "half a request");
                request.extend_from_slice(&buffer[..read]);
            }
            let request = String::from_utf8(request).expect("UTF-8");
            with_key += usize::from(request.contains(key));
            stream.write_all(answer(&request).as_bytes()).expect("an answer");
        }
        with_key
    });
    (url, answers)
}
