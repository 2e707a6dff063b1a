//! What a plan leaves in the middle, and how its document ends it.

use planwire_event::Digest;
use planwire_event::vocabulary::{ArtifactPart, ArtifactProduced};
use serde_json::json;

use crate::house::House;

#[tokio::test]
async fn document_can_end_its_plan() {
    let house = House::open();
    for (reason, code) in [("error", "failed"), ("rejected", "rejected")] {
        let document = format!(
            "plan: end\ngoal: g\nsteps:\n  no: {{ when: \"false\", fail: no }}\n  yes: {{ fail: \"as ${{plan.name}}\", reason: {reason} }}\n  gate: {{ tool: test.gate }}\n"
        );
        let failed = house.run(&document).await.failed();
        assert_eq!((failed.reason.as_str(), failed.error.code.as_str()), (reason, code));
        assert_eq!((failed.error.message.as_str(), failed.error.step.as_deref()), ("as end", Some("yes")));
    }
}

#[tokio::test]
async fn artifacts_come_in_the_middle_and_in_every_form() {
    let house = House::open();
    let document = r#"
plan: leave
goal: g
inputs: { lines: { type: list, default: [one, two] } }
steps:
  early: { artifact: { name: early.txt, text: "${plan.name}" } }
  stream: { artifact: { name: log, chunks: "${inputs.lines}" } }
  link: { artifact: { url: "https://example.org/${plan.name}" } }
  raw: { artifact: { media_type: image/png, base64: "iVBO Rw0=" } }
  end: { after: [early, stream, link, raw], tool: test.gate }
outputs: { early: "${steps.early.output}" }
artifacts: { late: { data: null } }
"#;
    let root = house.start(document).await;
    house.probe.until_running(1).await;
    house.probe.gate.add_permits(1);
    let events = house.tree(&root).await;
    assert_eq!(events.outputs(), json!({"early": {"artifact_id": "early", "media_type": "text/plain"}}));
    let produced: Vec<ArtifactProduced> = events.all();
    let seen: Vec<_> = produced
        .iter()
        .map(|produced| (produced.artifact_id.as_str(), produced.append, produced.last_chunk))
        .collect();
    let expected = [
        ("early", false, true),
        ("stream", false, false),
        ("stream", true, true),
        ("link", false, true),
        ("raw", false, true),
        ("late", false, true),
    ];
    assert_eq!(seen, expected);
    assert_eq!(produced[3].part, ArtifactPart::Url("https://example.org/leave".into()));
    let bytes = [0x89, b'P', b'N', b'G', 0x0d];
    let ArtifactPart::Blob { digest, size_bytes } = &produced[4].part else { panic!("{:?}", produced[4]) };
    assert_eq!((digest, *size_bytes), (&Digest::of(&bytes).to_string(), 5));
    let types = events.types();
    assert!(
        types.iter().position(|name| *name == "ArtifactProduced")
            < types.iter().position(|name| *name == "ToolCalled")
    );
}

#[tokio::test]
async fn artifact_step_whose_content_is_none_fails() {
    let house = House::open();
    for part in [
        r#"url: "${plan.name}""#,
        r#"base64: "${plan.name}?""#,
        r#"chunks: "${[]}""#,
        r#"chunks: "${plan.name}""#,
    ] {
        let failed = house
            .run(&format!("plan: leave\ngoal: g\nsteps: {{ a: {{ artifact: {{ {part} }} }} }}\n"))
            .await
            .failed();
        assert_eq!(failed.error.code, "bad_value", "{part}");
        assert!(failed.error.message.starts_with("artifact a: "), "{}", failed.error.message);
    }
}
