//! `graph` and `decisions`: what people see of a document, and of what ran.

use serde_json::Value;

use crate::harness::Place;

const DOCUMENT: &str = r#"
plan: tidy
goal: Look at two folders
steps:
  list: { tool: file.list, with: { root: "." } }
  kind:
    decide: Is there a folder?
    options: { some: look into each, none: nothing to do }
    choose: "has(steps.list.output.folders) && size(steps.list.output.folders) > 0 ? 'some' : 'none'"
    rationale: "${steps.list.output.totals.folders} folders"
  each:
    when: "steps.kind.chosen == 'some'"
    for_each: "steps.list.output.folders"
    with: { path: "${item.path}" }
    plan:
      plan: one
      goal: Look into one
      inputs: { path: { type: string } }
      steps:
        read:
          tool: file.read
          with: { root: ".", path: "${inputs.path + '/README.md'}" }
          on_error:
            decide: Does it matter?
            options: { no: { description: it has no words, output: null }, yes: { description: it must have, fail: true } }
            choose: "error.code == 'not_found' ? 'no' : 'yes'"
  sure: { approve: "Is \"all\" <well>?", when: "steps.kind.chosen == 'none'" }
"#;

/// A place where the plan ran once; its id.
fn ran() -> (Place, String) {
    let place = Place::new();
    place.folder("work/a");
    place.folder("work/b");
    place.file("work/tidy.yaml", DOCUMENT);
    let mut command = place.command(&["--json", "run", "tidy.yaml"]);
    command.current_dir(place.folder("work"));
    let events = crate::harness::finish(command, "").json(0);
    let id = events[0]["plan_id"].as_str().expect("an id").to_owned();
    (place, id)
}

/// Ids and times differ from run to run.
fn without_ids(text: &str) -> String {
    let mut out = String::new();
    for word in text.split_inclusive([' ', '\n', ':', '"']) {
        let is_id = word.len() > 26
            && word
                .get(..26)
                .is_some_and(|id| id.starts_with("01") && id.chars().all(|c| c.is_ascii_alphanumeric()));
        match is_id {
            true => out.push_str(&format!("ID{}", &word[26..])),
            false => out.push_str(word),
        }
    }
    out
}

#[test]
fn document_is_drawn_with_what_its_steps_wait_for() {
    let place = Place::new();
    let document = place.file("tidy.yaml", DOCUMENT);
    let ran = place.run(&["graph".as_ref(), document.as_os_str()]);
    insta::assert_snapshot!("graph_document", ran.text(0));
    // One that comes with planwire goes by its name.
    assert!(place.run(&["graph", "repo-report"]).text(0).contains("title: \"repo-report\""));
}

#[test]
fn plan_is_drawn_as_it_ran() {
    let (place, id) = ran();
    insta::assert_snapshot!("graph_plan", without_ids(place.run(&["graph", &id]).text(0)));
    let json = place.run(&["--json", "graph", &id]).json(0);
    assert!(json[0]["mermaid"].as_str().expect("a text").starts_with("---\ntitle: "));
}

#[test]
fn what_is_neither_a_document_nor_a_plan_is_told() {
    let place = Place::new();
    place.run(&["publish", "-"]);
    let ran = place.run(&["graph", "no-such-plan.yaml"]);
    assert_eq!(ran.code, Some(2));
    let (place, _) = self::ran();
    let ran = place.run(&["graph", "nothing"]);
    assert_eq!(ran.code, Some(2));
    assert!(ran.stderr.contains("neither a plan document nor a plan of the log"), "{}", ran.stderr);
}

#[test]
fn decisions_are_told_with_their_reasons_plan_by_plan() {
    let (place, id) = ran();
    insta::assert_snapshot!("decisions", without_ids(place.run(&["decisions", &id]).text(0)));
}

#[test]
fn decisions_as_json_are_their_events_in_order() {
    let (place, id) = ran();
    let made = place.run(&["--json", "decisions", &id]).json(0);
    let of = |made: &Value| (made["decision_type"].clone(), made["chosen"].clone());
    let all: Vec<_> = made.iter().map(of).collect();
    let (choice, recovery) = (Value::from("choice"), Value::from("recovery"));
    assert_eq!(all, [(choice, "some".into()), (recovery.clone(), "no".into()), (recovery, "no".into())]);
    assert!(made.iter().all(|made| made["cursor"].is_string() && made["plan_id"].is_string()));
}

#[test]
fn plan_that_decided_nothing_says_so() {
    let place = Place::new();
    let document =
        place.file("one.yaml", "plan: one\ngoal: g\nsteps: { a: { tool: file.list, with: { root: / } } }\n");
    let events = place.run(&["--json".as_ref(), "run".as_ref(), document.as_os_str()]).json(0);
    let id = events[0]["plan_id"].as_str().expect("an id");
    assert!(place.run(&["decisions", id]).text(0).contains("decided nothing"));
    assert_eq!(place.run(&["decisions", "unknown"]).code, Some(1));
}

#[test]
fn document_is_drawn_whatever_tools_it_calls() {
    let place = Place::new();
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../plans/mcp/recent-changes.yaml");
    place.run(&["check", file]).text(2);
    let picture = place.run(&["graph", file]).text(0).to_owned();
    assert!(picture.contains("mcp:git/git_log"), "{picture}");
}

#[test]
fn show_tells_what_was_used_of_the_limits_of_the_document() {
    let place = Place::new();
    let document = r#"
plan: dear
goal: Use much
limits: { tool_calls: 4, cost: 2 }
steps:
  ask:
    tool: exec
    with: { argv: [echo, answer] }
    reserve: { cost: 1 }
    usage: { input_tokens: 41000, output_tokens: 2400, cost: "0.75", currency: USD }
"#;
    let file = place.file("dear.yaml", document);
    let events = place.run(&["--json", "run", file.to_str().expect("UTF-8")]).json(0);
    let plan = events[0]["plan_id"].as_str().expect("an id");
    let shown = place.run(&["show", plan]).text(0).to_owned();
    let usage = "usage\n  1 of 4 tool calls\n  43,400 tokens (41,000 in, 2,400 out)\n  0.75 of 2 USD\n";
    assert!(shown.contains(usage), "{shown}");
}
