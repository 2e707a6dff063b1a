//! The text that is stored of a document: JSON with sorted keys, subplans inlined.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::node::{Key, Node, NodeValue};

/// Bytes of a document with its subplans, in normal form.
pub const BODY_BYTES_MAX: usize = 4 * 1024 * 1024;

/// The body exceeds [`BODY_BYTES_MAX`].
#[derive(Debug)]
pub(super) struct TooLarge;

/// Writes a document; `children` are the bodies of its subplans by step.
pub(super) fn write(node: &Node, children: &BTreeMap<String, Arc<str>>) -> Result<String, TooLarge> {
    let mut out = String::new();
    write_map(node, &mut out, &mut |key, node, out| match (key, &node.value) {
        ("steps", NodeValue::Map(_)) => write_map(node, out, &mut |id, node, out| {
            write_step(node, children.get(id).map(AsRef::as_ref), out)
        }),
        _ => write_value(node, out),
    })?;
    Ok(out)
}

fn write_step(node: &Node, child: Option<&str>, out: &mut String) -> Result<(), TooLarge> {
    write_map(node, out, &mut |key, node, out| match (key, child) {
        ("plan", Some(body)) => push(out, body),
        _ => write_value(node, out),
    })
}

fn write_value(node: &Node, out: &mut String) -> Result<(), TooLarge> {
    match &node.value {
        NodeValue::Map(_) => write_map(node, out, &mut |_, node, out| write_value(node, out)),
        NodeValue::List(items) => {
            out.push('[');
            for (at, item) in items.iter().enumerate() {
                if at > 0 {
                    out.push(',');
                }
                write_value(item, out)?;
            }
            push(out, "]")
        }
        _ => push(out, &node.to_value().to_string()),
    }
}

type WriteMember<'a> = &'a mut dyn FnMut(&str, &Node, &mut String) -> Result<(), TooLarge>;

fn write_map(node: &Node, out: &mut String, member: WriteMember<'_>) -> Result<(), TooLarge> {
    let NodeValue::Map(members) = &node.value else { return write_value(node, out) };
    let mut sorted: Vec<&(Key, Node)> = members.iter().collect();
    // By UTF-16 units, as the normal form of payloads.
    sorted.sort_by(|(a, _), (b, _)| a.name.encode_utf16().cmp(b.name.encode_utf16()));
    out.push('{');
    for (at, (key, node)) in sorted.into_iter().enumerate() {
        if at > 0 {
            out.push(',');
        }
        push(out, &serde_json::Value::from(key.name.as_str()).to_string())?;
        out.push(':');
        member(&key.name, node, out)?;
    }
    push(out, "}")
}

fn push(out: &mut String, text: &str) -> Result<(), TooLarge> {
    out.push_str(text);
    if out.len() > BODY_BYTES_MAX { Err(TooLarge) } else { Ok(()) }
}
