//! Sound documents: what is read of them, and what is stored.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use planwire_engine::document::model::{ArtifactPart, Outcome, StepKind};
use planwire_engine::document::{Diagnostics, Document, FILE_BYTES_MAX, Folder, InputError, Resolved};
use planwire_engine::tools::http::Roots;
use planwire_engine::tools::model::{Model, ModelConfig};
use planwire_engine::{Secrets, ToolSet};
use planwire_event::Digest;
use serde_json::{Map, Value, json};

const MANUAL: &str = include_str!("../../../../../docs/plans.md");
const STEP: &str = "steps: { list: { tool: file.list, with: { root: . } } }";

fn read(text: &str) -> Resolved {
    let read = Document::parse_with(text, "test.yaml", Folder::None, &tools());
    read.unwrap_or_else(|problems| panic!("{problems}"))
}

/// Those that there are, with a model.
fn tools() -> ToolSet {
    let model = ModelConfig::new("http://127.0.0.1/v1", "none");
    let model = Model::new([("default".to_owned(), model)], Secrets::none(), &Roots::System).unwrap();
    ToolSet::standard().with(Arc::new(model))
}

fn refused(text: &str) -> Diagnostics {
    Document::parse(text, "test.yaml", Folder::None).expect_err(text)
}

/// Checks the first problem of a document without its source line and hint.
fn check(text: &str, expected: &str) {
    let problems = refused(text);
    let first = &problems.list()[0];
    let got = format!("{}:{}: {}", first.line, first.column, first.message);
    assert_eq!(got, expected, "{text}");
}

fn plan(steps: &str) -> String {
    format!("plan: test\ngoal: Test\nsteps:\n{steps}")
}

fn object(value: Value) -> Map<String, Value> {
    value.as_object().unwrap().clone()
}

#[test]
fn the_examples_of_the_manual_are_sound() {
    let examples: Vec<&str> =
        MANUAL.split("```yaml\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    assert!(!examples.is_empty());
    for example in examples {
        let resolved = read(example);
        assert_eq!(resolved.digest, Digest::of(resolved.body.as_bytes()));
    }
}

#[test]
fn the_manual_tells_each_argument_of_each_tool_and_no_other() {
    for tool in tools().iter() {
        let heading = format!("### `{}`", tool.name());
        let (_, rest) =
            MANUAL.split_once(&heading).unwrap_or_else(|| panic!("docs/plans.md has no {heading}"));
        let table = rest.split_once("| argument |").map(|(_, table)| table).unwrap_or_default();
        let rows = table.lines().skip(2).take_while(|line| line.starts_with('|'));
        let first = rows.filter_map(|row| row.split('|').nth(1));
        let told: BTreeSet<&str> = first.flat_map(|cell| cell.split('`').skip(1).step_by(2)).collect();
        let arguments = tool.arguments();
        let known: BTreeSet<&str> = arguments.names().unwrap_or_default().into_iter().collect();
        assert_eq!(told, known, "{}", tool.name());
    }
}

#[test]
fn the_manual_names_every_key_of_the_schema() {
    fn walk(value: &Value, keys: &mut BTreeSet<String>) {
        let Some(members) = value.as_object() else { return };
        if let Some(properties) = members.get("properties").and_then(Value::as_object) {
            keys.extend(properties.keys().cloned());
        }
        members.values().for_each(|member| walk(member, keys));
    }
    let mut keys = BTreeSet::new();
    walk(&planwire_engine::document::schema(), &mut keys);
    assert!(keys.len() > 30, "{keys:?}");
    let missing: Vec<&String> = keys.iter().filter(|key| !MANUAL.contains(&format!("`{key}"))).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn every_plan_of_the_repository_is_sound_and_fits_the_schema() {
    let schema = planwire_engine::document::schema();
    let mut count = 0;
    let entries = ["../../plans", "../../plans/model"].map(|folder| std::fs::read_dir(folder).unwrap());
    for entry in entries.into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "yaml") {
            continue;
        }
        let resolved = Document::load_with(&path, &tools()).unwrap_or_else(|problems| panic!("{problems}"));
        fits(&serde_json::from_str(&resolved.body).unwrap(), &schema, &schema).unwrap();
        count += 1;
    }
    println!("{count} plans are sound");
}

/// As much of JSON Schema as the schema of documents uses.
fn fits(value: &Value, schema: &Value, root: &Value) -> Result<(), String> {
    if let Some(target) = schema["$ref"].as_str() {
        return fits(value, root.pointer(target.trim_start_matches('#')).unwrap(), root);
    }
    if let Some(choices) = schema["oneOf"].as_array()
        && schema["type"].is_null()
    {
        let errors: Vec<String> =
            choices.iter().filter_map(|choice| fits(value, choice, root).err()).collect();
        return if errors.len() + 1 == choices.len() { Ok(()) } else { Err(errors.join(" | ")) };
    }
    let kind = match value {
        Value::Object(_) => "object",
        Value::Array(_) => "array",
        Value::String(_) => "string",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::Null => "null",
    };
    let types = &schema["type"];
    let takes =
        |kind: &str| types == kind || types.as_array().is_some_and(|types| types.contains(&json!(kind)));
    // An integer is a number too.
    let fits_type = takes(kind) || (kind == "integer" && takes("number"));
    if !types.is_null() && !fits_type {
        return Err(format!("{value} is no {types}"));
    }
    let Some(members) = value.as_object() else { return Ok(()) };
    for name in schema["required"].as_array().into_iter().flatten() {
        members.get(name.as_str().unwrap()).ok_or_else(|| format!("{name} is missing"))?;
    }
    for (name, member) in members {
        let property = schema["properties"].get(name).unwrap_or(&schema["additionalProperties"]);
        if property == &json!(false) {
            return Err(format!("unknown key {name}"));
        }
        fits(member, property, root).map_err(|error| format!("{name}: {error}"))?;
    }
    Ok(())
}

#[test]
fn what_the_schema_refuses_the_parser_refuses() {
    let schema = planwire_engine::document::schema();
    for text in [
        "plan: test\ngoal: Test\nsteps: { a: { tol: exec } }",
        "plan: test\nsteps: { a: { tool: exec } }",
        "plan: test\ngoal: Test\nsteps: { a: { tool: exec, for_each: x } }",
        "plan: test\ngoal: Test\nsteps: { a: { plan: { plan: b } } }",
    ] {
        let value = serde_json::to_value(yaml(text)).unwrap();
        assert!(fits(&value, &schema, &schema).is_err(), "{text}");
        refused(text);
    }
}

/// Flow mappings of plain texts, as in the test above.
fn yaml(text: &str) -> Value {
    fn flow(text: &str) -> Value {
        let Some(inner) = text.trim().strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) else {
            return text.trim().into();
        };
        let (mut depth, mut start, mut members) = (0, 0, Map::new());
        for (at, character) in inner.char_indices().chain([(inner.len(), ',')]) {
            match character {
                '{' => depth += 1,
                '}' => depth -= 1,
                ',' if depth == 0 => {
                    let (key, value) = inner[start..at].split_once(':').unwrap();
                    members.insert(key.trim().to_owned(), flow(value));
                    start = at + 1;
                }
                _ => {}
            }
        }
        Value::Object(members)
    }
    flow(&format!("{{{}}}", text.replace('\n', ",")))
}

/// The document of the manual that shows most of what there is.
fn example() -> &'static str {
    let mut examples = MANUAL.split("```yaml\n").filter_map(|block| block.split("```").next());
    examples.find(|example| example.starts_with("plan: folder-size\n")).unwrap()
}

#[test]
fn everything_that_a_document_says_is_read() {
    let document = read(example()).document;
    assert_eq!((document.name.as_str(), document.levels), ("folder-size", 1));
    assert_eq!(document.limits.parallel, 4);
    assert_eq!(document.limits.timeout, Duration::from_secs(300));
    let [list, size, folders] = document.steps.as_slice() else { panic!("{:?}", document.steps) };
    assert_eq!((&list.needs, &size.needs, &folders.needs), (&vec![], &vec![0], &vec![0, 1]));
    let StepKind::Tool(tool) = &list.kind else { panic!("{list:?}") };
    assert_eq!((tool.tool.as_str(), tool.retry.attempts, tool.idempotent), ("file.list", 2, false));
    let recovery = list.on_error.as_ref().unwrap();
    assert!(matches!(recovery.outcome("stop"), Some(Outcome::Fail)));
    assert!(matches!(recovery.outcome("nothing"), Some(Outcome::Output(_))));
    assert!(recovery.outcome("other").is_none());
    let StepKind::Decide(decision) = &size.kind else { panic!("{size:?}") };
    assert_eq!(decision.options[0].name, "large");
    let StepKind::Subplan(subplan) = &folders.kind else { panic!("{folders:?}") };
    assert_eq!(subplan.plan.written().unwrap().document.name, "one-folder");
    assert_eq!(subplan.for_each.as_ref().unwrap().parallel, 4);
    assert!(folders.when.is_some());
    assert!(matches!(document.artifacts[0].part, ArtifactPart::Text(_)));
    assert_eq!(document.outputs.len(), 2);
}

#[test]
fn the_pause_between_attempts_doubles_up_to_its_limit() {
    let text = plan(
        "  a: { tool: exec, with: { argv: [ls] }, retry: { attempts: 9, backoff: 1s, max_backoff: 5s } }",
    );
    let document = read(&text).document;
    let StepKind::Tool(tool) = &document.steps[0].kind else { panic!("{document:?}") };
    let pauses: Vec<u64> = [1, 2, 3, 4, 90].map(|attempt| tool.retry.pause_after(attempt).as_secs()).to_vec();
    assert_eq!(pauses, [1, 2, 4, 5, 5]);
}

#[test]
fn stored_bodies_read_back_as_they_are() {
    let resolved = read(example());
    let again = Document::from_body(&resolved.body).unwrap();
    assert_eq!((again.body.as_ref(), again.digest), (resolved.body.as_ref(), resolved.digest));
    assert_eq!(again.document.steps.len(), resolved.document.steps.len());
    assert!(Document::from_body("{").is_err());
    let problems = Document::from_body(r#"{"plan":"a"}"#).unwrap_err();
    assert!(
        problems.to_string().starts_with("stored document:1:1: error: the plan has no goal"),
        "{problems}"
    );
    let unknown_tool = r#"{"goal":"x","plan":"a","steps":{"s":{"tool":"gone","with":{}}}}"#;
    assert_eq!(Document::from_body(unknown_tool).unwrap().body.as_ref(), unknown_tool);
}

#[test]
fn a_child_is_a_document_of_its_own() {
    let child = "{ plan: child, goal: Child, steps: { a: { tool: exec, with: { argv: [ls] } } } }";
    let resolved = read(&plan(&format!("  b: {{ plan: {child} }}")));
    let StepKind::Subplan(subplan) = &resolved.document.steps[0].kind else { panic!() };
    assert_eq!(subplan.plan.written().unwrap().digest, read(child).digest);
    assert!(resolved.body.contains(subplan.plan.written().unwrap().body.as_ref()));
}

#[test]
fn json_and_yaml_of_the_same_plan_are_the_same_document() {
    let yaml = read(
        "plan: test\ngoal: é 😀\nsteps:\n  a: { tool: exec, with: { argv: [\"1\", 'x'] , stdin: ~ } }\n",
    );
    let json = r#"{"steps": {"a": {"with": {"stdin": null, "argv": ["1", "x"]}, "tool": "exec"}}, "goal": "\u00e9 😀", "plan": "test"}"#;
    let json =
        Document::parse(json, "test.json", Folder::None).unwrap_or_else(|problems| panic!("{problems}"));
    assert_eq!(yaml.body, json.body);
    assert_eq!(yaml.digest, json.digest);
    let crlf = read(
        "\u{feff}plan: test\r\ngoal: é 😀\r\nsteps:\r\n  a: { tool: exec, with: { argv: [\"1\", 'x'] , stdin: ~ } }\r\n",
    );
    assert_eq!(crlf.body, yaml.body);
}

#[test]
fn numbers_have_one_form() {
    let text = plan(
        "  a: { tool: exec, with: { argv: [1, 1.0, +1, 1e3, 0.5, -0.0, 1.2.3, 0x10, .5, 18446744073709551615] } }",
    );
    let body = read(&text).body;
    assert!(body.contains(r#""argv":[1,1,1,1000,0.5,0,"1.2.3","0x10",0.5,18446744073709551615]"#), "{body}");
    check(
        &plan("  a: { tool: exec, with: { argv: [1e999] } }"),
        "4:35: the number '1e999' does not fit 64 bits",
    );
}

#[test]
fn subplans_are_read_from_embedded_files() {
    let files = [
        (
            "plans/a.yaml",
            "plan: a\ngoal: A\nsteps: { b: { plan: ./parts/b.yaml }, again: { plan: parts/b.yaml } }",
        ),
        ("plans/parts/b.yaml", "plan: b\ngoal: B\nsteps: { c: { plan: ../c.yaml } }"),
        ("plans/c.yaml", "plan: c\ngoal: C\nsteps: { d: { tool: exec, with: { argv: [ls] } } }"),
    ];
    let resolved = Document::parse(files[0].1, files[0].0, Folder::Embedded(&files)).unwrap();
    assert_eq!(resolved.document.levels, 2);
    let problems = Document::parse(files[0].1, "a.yaml", Folder::Embedded(&files)).unwrap_err();
    assert!(problems.to_string().contains("it was looked for at parts/b.yaml"), "{problems}");
    let problems = Document::parse(files[0].1, "a.yaml", Folder::None).unwrap_err();
    assert_eq!(problems.list()[0].message, "files of subplans cannot be read here");
}

#[test]
fn subplans_are_read_from_folders_and_only_relative_to_them() {
    let text = plan("  a: { plan: ./parts/folder.yaml, with: { folder: . } }");
    let folder = Path::new("../../plans/broken");
    assert!(Document::parse(&text, "test.yaml", Folder::Path(folder)).is_ok());
    let read = |file: &str| {
        let text = plan(&format!("  a: {{ plan: {file} }}"));
        Document::parse(&text, "test.yaml", Folder::Path(folder)).unwrap_err().list()[0].message.clone()
    };
    assert_eq!(read("/etc/passwd"), "the file of a subplan must be relative, not '/etc/passwd'");
    assert_eq!(read("./parts"), "subplan './parts' cannot be read: it is no file");
    assert_eq!(read("7"), "'plan' must be a file or a plan, not a number");
}

#[test]
fn files_that_cannot_be_read_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let message = |path: &Path| Document::load(path).unwrap_err().list()[0].message.clone();
    assert_eq!(message(&folder.path().join("a.yaml")), "the file cannot be read: there is no such file");
    assert_eq!(message(folder.path()), "the file cannot be read: it is no file");
    let large = folder.path().join("large.yaml");
    std::fs::write(&large, "#".repeat(FILE_BYTES_MAX + 1)).unwrap();
    assert_eq!(message(&large), "the file exceeds the limit of 1048576 bytes");
    let problems = refused(&"#".repeat(FILE_BYTES_MAX + 1));
    assert_eq!(problems.list()[0].message, "the file exceeds the limit of 1048576 bytes");
}

#[test]
fn levels_and_sizes_of_subplans_are_bounded() {
    let nested = |levels: usize| {
        let leaf =
            "{ plan: leaf, goal: Leaf, steps: { a: { tool: exec, with: { argv: [ls] } } } }".to_owned();
        (0..levels).fold(leaf, |inner, _| {
            format!("{{ plan: level, goal: Level, steps: {{ a: {{ plan: {inner} }} }} }}")
        })
    };
    assert_eq!(read(&nested(16)).document.levels, 16);
    assert!(refused(&nested(17)).to_string().contains("more than 16 levels of plans"));

    // Each file takes the one below it twice: 2^14 leaves in a few hundred bytes.
    let mut files = vec![(
        "f0.yaml".to_owned(),
        "plan: leaf\ngoal: Leaf\nsteps: { a: { tool: exec, with: { argv: [ls] } } }".to_owned(),
    )];
    for level in 1..=16 {
        let below = format!("f{}.yaml", level - 1);
        let text =
            format!("plan: level\ngoal: Level\nsteps: {{ a: {{ plan: {below} }}, b: {{ plan: {below} }} }}");
        files.push((format!("f{level}.yaml"), text));
    }
    let files: Vec<(&str, &str)> = files.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
    let problems = Document::parse(files[16].1, "f16.yaml", Folder::Embedded(&files)).unwrap_err();
    assert!(problems.to_string().contains("exceeds the limit of 4194304 bytes"), "{problems}");
}

#[test]
fn many_problems_are_counted_and_one_is_told_once() {
    let mut text = plan("");
    for at in 0..80 {
        writeln!(text, "  s{at}: {{ tool: nothing }}").unwrap();
    }
    let problems = refused(&text);
    assert_eq!(problems.list().len(), 50);
    assert!(problems.to_string().ends_with(".. and 30 more"));
    let json = serde_json::to_value(&problems).unwrap();
    assert_eq!(json["list"][0]["line"], 4);
}

#[test]
fn large_documents_with_many_problems_are_checked_once_over() {
    // Each would take minutes if it were looked at more often than its length.
    let many = |line: &str, count: usize| line.repeat(count);
    let inputs = "inputs: { a: { type: int } }";
    let keys: String = (0..45_000).map(|at| format!("  k{at}: 1\n")).collect();
    for (text, expected) in [
        (format!("plan: t\ngoal: T\n{inputs}\n{STEP}\noutputs:\n  x: \"{}\"", many("${a.b} ", 100_000)), 50),
        (
            format!(
                "plan: t\ngoal: T\n{inputs}\n{STEP}\noutputs:\n  x: \"{}\"",
                many("${inputs.a} ", 10_001)
            ),
            1,
        ),
        (format!("plan: t\ngoal: T\n{STEP}\n{}", keys.replace("  k", "k")), 50),
        (plan(&format!("  s:\n    tool: exec\n    with:\n{}", keys.replace("  k", "      k"))), 50),
        (
            plan(&format!("  s: {{ tool: exec, with: {{ argv: [ls] }}, after: [{}] }}", many("b, ", 90_000))),
            1,
        ),
        (plan(&keys), 1),
    ] {
        assert_eq!(refused(&text).list().len(), expected, "{}", &text[..60]);
    }
}

/// A document that is sound but for random changes; the same for the same seed.
fn damaged(text: &str, seed: u64) -> String {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut next = |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state >> 33).unwrap() % below.max(1)
    };
    let pieces = [
        "{", "}", "[", "]", "\"", "'", ": ", "- ", "\n", "\t", "|", ">", "&a", "*a", "!!x", "#", "${", "}",
        "?", "\u{0}", "é", "---\n", "%", "\\", ",", "@", "`",
    ];
    let mut characters: Vec<char> = text.chars().collect();
    for _ in 0..=next(3) {
        let at = next(characters.len());
        match next(3) {
            0 => drop(characters.drain(at..(at + 1 + next(8)).min(characters.len()))),
            1 => {
                let piece: Vec<char> = pieces[next(pieces.len())].chars().collect();
                characters.splice(at..at, piece);
            }
            _ => characters.truncate(at.max(1)),
        }
    }
    characters.into_iter().collect()
}

#[test]
fn no_damage_to_a_document_makes_the_check_panic() {
    let example = example();
    for seed in 1..1_500 {
        let text = damaged(example, seed);
        if let Err(problems) = Document::parse(&text, "test.yaml", Folder::None) {
            assert!(!problems.is_empty(), "{text}");
            let lines = text.replace("\r\n", "\n").matches('\n').count() + 1;
            assert!(problems.list().iter().all(|it| it.line <= lines), "{problems}\n{text}");
        }
    }
}

#[test]
fn inputs_are_checked_completed_and_made_absolute() {
    let text = format!(
        "plan: test\ngoal: Test\ninputs:\n  folder: {{ type: path, default: . }}\n  count: {{ type: int }}\n  rest: {{ type: object, default: {{}} }}\n{STEP}"
    );
    let document = read(&text).document;
    let folder = Path::new("/home/x");
    let checked = |given: Value| document.check_inputs(&object(given), folder).map(Value::Object);
    assert_eq!(checked(json!({"count": 3})).unwrap(), json!({"folder": "/home/x", "count": 3, "rest": {}}));
    let given = json!({"count": 3, "folder": "./a/./b", "rest": {"k": [1]}});
    assert_eq!(checked(given).unwrap(), json!({"folder": "/home/x/a/b", "count": 3, "rest": {"k": [1]}}));
    assert_eq!(checked(json!({"count": 3, "folder": "/a b"})).unwrap()["folder"], "/a b");
    let message = |given: Value| checked(given).unwrap_err().to_string();
    assert_eq!(message(json!({})), "plan 'test' needs the input 'count' (a whole number)");
    assert_eq!(message(json!({"count": 1.5})), "input 'count' must be a whole number, not '1.5'");
    assert_eq!(message(json!({"count": 1, "folder": ""})), "input 'folder' must be a path, not '\"\"'");
    assert_eq!(message(json!({"coun": 1})), "plan 'test' has no input 'coun' (did you mean 'count'?)");
}

#[test]
fn inputs_are_read_from_texts_by_their_types() {
    let kinds = ["string", "int", "number", "bool", "path", "list", "object"];
    let inputs: Vec<String> = kinds.iter().map(|kind| format!("{kind}_: {{ type: {kind} }}")).collect();
    let document =
        read(&format!("plan: test\ngoal: Test\ninputs: {{ {} }}\n{STEP}", inputs.join(", "))).document;
    for input in &document.inputs {
        assert_eq!(format!("{}_", input.kind.name()), input.name);
    }
    let pairs = [
        ("string_", "7"),
        ("int_", "-7"),
        ("number_", "0.5"),
        ("bool_", "true"),
        ("path_", "a=b"),
        ("list_", "[1]"),
        ("object_", r#"{"a":1}"#),
    ];
    let given = document.read_inputs(pairs).unwrap();
    let expected = json!({"string_": "7", "int_": -7, "number_": 0.5, "bool_": true, "path_": "a=b", "list_": [1], "object_": {"a": 1}});
    assert_eq!(Value::Object(given), expected);
    for (name, text) in
        [("int_", "1.5"), ("int_", "x"), ("bool_", "yes"), ("list_", "{}"), ("path_", ""), ("number_", "")]
    {
        let error = document.read_inputs([(name, text)]).unwrap_err();
        assert!(matches!(error, InputError::Type { .. }), "{error}");
    }
    assert!(matches!(document.read_inputs([("x", "1")]), Err(InputError::Unknown { .. })));
}

#[test]
fn each_member_is_checked() {
    let tool = |rest: &str| plan(&format!("  a: {{ tool: exec, with: {{ argv: [ls] }}, {rest} }}"));
    check(&tool("timeout: [1]"), "4:51: 'timeout' must be a duration, not a list");
    check(&tool("timeout: 0s"), "4:51: 'timeout' must be above 0 and at most 1h, not 0s");
    check(&tool("timeout: 30"), "4:51: 'timeout' must be a duration, not '30'");
    check(&tool("idempotent: 1"), "4:54: 'idempotent' must be true or false, not a number");
    check(&tool("when: [1]"), "4:48: 'when' must be an expression, not a list");
    check(&tool("when: \"\""), "4:49: expression is empty");
    check(&tool("after: b"), "4:49: 'after' must be a list of steps, not a text");
    check(&tool("after: [a]"), "4:50: step 'a' waits for itself");
    check(&tool("retry: { attempts: x }"), "4:61: 'attempts' must be a number, not a text");
    check(
        &tool("retry: { attempts: 2, backoff: 1h }"),
        "4:73: 'backoff' must be above 0 and at most 30s, not 1h",
    );
    check(&tool("rationale: x"), "4:42: 'rationale' is not for a tool step");
    check(&tool("on_error: { decide: x }"), "4:52: the decision of 'on_error' of step 'a' has no options");
    check(&plan("  a: 7"), "4:6: step 'a' must be a mapping, not a number");
    check(&plan("  a: { tool: exec, with: [1] }"), "4:14: tool 'exec' needs the argument 'argv'");
    check(&plan("  a: { tool: 7 }"), "4:14: 'tool' must be a text, not a number");
    check(&plan("  a: { tool: \"\" }"), "4:14: 'tool' is empty");
    check(
        &plan(
            "  a: { plan: { plan: b, goal: B, steps: { x: { tool: exec, with: { argv: [ls] } } } }, parallel: 3 }",
        ),
        "4:88: 'parallel' is only for steps with 'for_each'",
    );
    check(
        &plan("  a: { decide: x, options: { b: { description: x }, c: {} }, choose: \"'b'\" }"),
        "4:56: option 'c' has no description",
    );
    check(&plan("  a: { options: { b: x, c: y }, choose: \"'b'\" }"), "4:3: step 'a' does nothing");
    check(
        "plan: test\ngoal: |\n  two\n  lines\nsteps: {}",
        "3:3: the goal must be one line of at most 500 characters",
    );
    check(
        &format!("plan: test\ngoal: Test\ninputs: [1]\n{STEP}"),
        "3:9: 'inputs' must be a mapping, not a list",
    );
    check(
        &format!("plan: test\ngoal: Test\ninputs: {{ a: {{ default: 1 }} }}\n{STEP}"),
        "3:11: input 'a' has no type",
    );
    check(
        &format!("plan: test\ngoal: Test\nlimits: 7\n{STEP}"),
        "3:9: 'limits' must be a mapping, not a number",
    );
    check(&format!("goal: Test\n{STEP}"), "1:1: the plan has no name");
    check("plan: test\ngoal: Test", "1:1: the plan has no steps");
    check(
        &format!("plan: test\ngoal: Test\n{STEP}\noutputs: {{ a: \"${{steps}}\" }}"),
        "4:18: 'steps' alone says nothing",
    );
    check(
        &format!("plan: test\ngoal: Test\n{STEP}\noutputs: {{ a: \"${{plan.goal}}\" }}"),
        "4:18: 'plan' has no member 'goal'",
    );
    check(
        &format!("plan: test\ngoal: Test\n{STEP}\noutputs: {{ a: \"${{item}}\" }}"),
        "4:18: unknown variable 'item'",
    );
    check(
        &format!("plan: test\ngoal: Test\n{STEP}\nartifacts: {{ a: {{ data: 1, text: b }} }}"),
        "4:14: artifact 'a' must have one of 'text', 'data', 'url', 'base64' and 'chunks'",
    );
    check("plan: test\n? [a]\n: b\n", "2:3: a key must be a text");
    check("plan: test\n~: b\n", "2:1: a key must be a text");
    check("a: \"\\0\"\n", "1:4: U+0000 cannot be stored in a text");
    check(&format!("{}: 1\n", "k".repeat(600)), "1:1: a key exceeds the limit of 512 bytes");
    check(&format!("a: [{}]\n", "1,".repeat(100_001)), "1:200003: the file has more than 100000 values");
}

#[test]
fn values_of_any_shape_may_hold_expressions() {
    let text = format!(
        "plan: test\ngoal: Test\ninputs: {{ a: {{ type: int }} }}\n{STEP}\noutputs:\n  deep: {{ list: [1, \"${{inputs.a}}\", {{ k: 'x${{inputs.a}}' }}], plain: '$${{a}}', none: ~, empty: '' }}\nartifacts: {{ d: {{ data: {{ a: \"${{inputs.a}}\" }} }} }}"
    );
    let document = read(&text).document;
    let inputs = json!({"a": 7});
    let variables = planwire_event::expression::Variables::new().with("inputs", &inputs);
    let (name, template) = &document.outputs[0];
    assert_eq!(name, "deep");
    let expected = json!({"list": [1, 7, {"k": "x7"}], "plain": "${a}", "none": null, "empty": ""});
    assert_eq!(template.evaluate(&variables).unwrap(), expected);
    assert_eq!(document.artifacts[0].media_type, "application/json");
}
