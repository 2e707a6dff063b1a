//! What a call came to: the output as steps see it, or the failure.
//!
//! An output is an object: `structured` if the server gave structured content, `text` of all text blocks, each on lines
//! of its own, and `content` with all other blocks, as the protocol has them. Nothing is guessed: a text that looks like
//! JSON stays a text.

use planwire_engine::tool::{ToolError, ToolOutput};
use rmcp::model::{CallToolResult, ContentBlock, ServerResult};
use serde_json::{Map, Value};

use crate::call::{Answered, failed};
use crate::limits::BINARY_BYTES_MAX;
use crate::server::Server;
use crate::session::Session;

/// Reads an answer to a call.
pub(crate) async fn read(
    server: &Server,
    session: &Session,
    tool: &str,
    answer: Answered,
) -> Result<ToolOutput, ToolError> {
    let answer = match answer {
        Ok(answer) => answer,
        Err(error) => return Err(failed(server, session, error).await),
    };
    match answer {
        ServerResult::CallToolResult(result) => output(server.name(), tool, result),
        // Nothing is a result too.
        ServerResult::EmptyResult(_) => output(server.name(), tool, CallToolResult::default()),
        ServerResult::InputRequiredResult(_) => {
            let message =
                format!("{tool} of MCP server {} asks somebody; nobody answers here", server.name());
            Err(ToolError::new("mcp_input_required", message))
        }
        _ => {
            let message =
                format!("MCP server {} answered {tool} with something else than a result", server.name());
            Err(ToolError::new("mcp_protocol", message))
        }
    }
}

fn output(server: &str, tool: &str, result: CallToolResult) -> Result<ToolOutput, ToolError> {
    let (mut texts, mut others, mut truncated) = (Vec::new(), Vec::new(), false);
    for block in result.content {
        match block {
            ContentBlock::Text(text) => texts.push(text.text),
            other => others.push(serde_json::to_value(other).unwrap_or_default()),
        }
    }
    let text = texts.join("\n");
    if result.is_error == Some(true) {
        let said = if text.is_empty() { "it did not say why" } else { &text };
        return Err(ToolError::new("tool_error", format!("{tool} of MCP server {server}: {said}")));
    }
    others.iter_mut().for_each(|block| truncated |= shorten(block));
    let mut output = Map::new();
    // Servers repeat structured content as text, for clients that know no other.
    let is_repeated = result.structured_content.as_ref().is_some_and(|structured| {
        serde_json::from_str::<Value>(&text).is_ok_and(|repeated| repeated == *structured)
    });
    if let Some(structured) = result.structured_content {
        output.insert("structured".to_owned(), structured);
    }
    if !is_repeated {
        output.insert("text".to_owned(), text.into());
    }
    if !others.is_empty() {
        output.insert("content".to_owned(), others.into());
    }
    Ok(ToolOutput { truncated, ..ToolOutput::from(Value::from(output)) })
}

/// Leaves out data that is too long; half of it would be of no use. Says whether it did.
fn shorten(block: &mut Value) -> bool {
    let Value::Object(members) = block else { return false };
    let mut left_out = false;
    for name in ["data", "blob"] {
        if let Some(bytes) = members.get(name).and_then(Value::as_str).map(str::len)
            && bytes > BINARY_BYTES_MAX
        {
            members.remove(name);
            members.insert("left_out_bytes".to_owned(), bytes.into());
            left_out = true;
        }
    }
    members.get_mut("resource").is_some_and(shorten) | left_out
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn output_of(result: Value) -> Result<ToolOutput, ToolError> {
        output("s", "t", serde_json::from_value(result).unwrap())
    }

    #[test]
    fn texts_are_joined_and_stay_texts() {
        let content = json!([{"type": "text", "text": "{\"a\": 1}"}, {"type": "text", "text": "b"}]);
        let output = output_of(json!({"content": content})).unwrap();
        assert_eq!((output.value, output.truncated), (json!({"text": "{\"a\": 1}\nb"}), false));
        assert_eq!(output_of(json!({"content": []})).unwrap().value, json!({"text": ""}));
    }

    #[test]
    fn structured_content_is_taken_as_it_is_and_not_twice() {
        let twice =
            json!({"structuredContent": {"a": 1}, "content": [{"type": "text", "text": "{\"a\":1}"}]});
        assert_eq!(output_of(twice).unwrap().value, json!({"structured": {"a": 1}}));
        let both = json!({"structuredContent": {"a": 1}, "content": [{"type": "text", "text": "one"}]});
        assert_eq!(output_of(both).unwrap().value, json!({"structured": {"a": 1}, "text": "one"}));
    }

    #[test]
    fn other_blocks_are_kept_and_long_data_is_left_out() {
        let image = |data: String| json!({"type": "image", "data": data, "mimeType": "image/png"});
        let long = "A".repeat(BINARY_BYTES_MAX + 4);
        let resource =
            json!({"type": "resource", "resource": {"uri": "a:b", "blob": long, "mimeType": "x/y"}});
        let content = json!([image("QUJD".into()), image(long.clone()), resource]);
        let output = output_of(json!({"content": content})).unwrap();
        assert!(output.truncated);
        let blocks = &output.value["content"];
        assert_eq!(blocks[0], image("QUJD".into()));
        assert_eq!((&blocks[1]["data"], &blocks[1]["left_out_bytes"]), (&Value::Null, &json!(long.len())));
        assert_eq!(blocks[2]["resource"]["left_out_bytes"], long.len());
    }

    #[test]
    fn what_the_tool_calls_an_error_is_one() {
        let error = |content: Value| output_of(json!({"content": content, "isError": true})).unwrap_err();
        let told = error(json!([{"type": "text", "text": "no such branch"}]));
        assert_eq!(
            (told.code.as_str(), told.message.as_str()),
            ("tool_error", "t of MCP server s: no such branch")
        );
        assert!(error(json!([])).message.ends_with("it did not say why"));
    }
}
