//! Sound documents.

use planwire_engine::document::{Document, Folder, Resolved};

fn read(text: &str) -> Resolved {
    match Document::parse(text, "test.yaml", Folder::None) {
        Ok(resolved) => resolved,
        Err(diagnostics) => panic!("{diagnostics}"),
    }
}

#[test]
fn scratch() {
    let text = std::fs::read_to_string("/tmp/doc_scratch.yaml").unwrap();
    let resolved = read(&text);
    println!("{:#?}\n{}", resolved.document, resolved.body);
    let again = Document::from_body(&resolved.body).unwrap();
    assert_eq!(again.body, resolved.body);
}
