//! From nodes to artifacts: what a plan leaves for people, at its end or in the middle.

use serde_json::Value;

use super::diagnostic::quoted;
use super::keys;
use super::model::{Artifact, ArtifactPart, MEMBERS_MAX, STEPS_MAX};
use super::node::{Key, Node};
use super::parse::PLAN_VARIABLES;
use super::reading::{Fields, Reading};
use super::references::Kind;
use crate::executor::{bytes_of, url_of};
use crate::template::Template;

impl Reading<'_, '_> {
    /// The artifacts of a plan that completes.
    pub(super) fn artifacts(&mut self, node: &Node) -> Vec<Artifact> {
        let members = self.named(node, "'artifacts'", MEMBERS_MAX);
        for (key, _) in members.iter().take(STEPS_MAX) {
            if matches!(self.steps.get(&key.name), Some((_, Some(Kind::Artifact)))) {
                let message = format!("the step '{}' produces an artifact of this name already", key.name);
                self.problem_with(key.place, message, "give one of them another name");
            }
        }
        members.iter().filter_map(|(key, node)| self.artifact(key, node)).collect()
    }

    pub(super) fn artifact(&mut self, key: &Key, node: &Node) -> Option<Artifact> {
        let what = format!("artifact '{}'", key.name);
        let fields = self.fields(node, &what, &keys::ARTIFACT)?;
        let name = match fields.get("name") {
            Some(node) => self.template(node, &PLAN_VARIABLES),
            None => Some(Template::Literal(Value::String(key.name.clone()))),
        };
        let media_type = match fields.get("media_type") {
            Some(node) => self.text(node, "'media_type'").map(str::to_owned).filter(|text| {
                let sound = text.split('/').count() == 2 && text.is_ascii();
                if !sound {
                    self.problem(node.place, format!("{} is no media type", quoted(text)));
                }
                sound
            }),
            None if fields.get("data").is_some() => Some("application/json".to_owned()),
            None if fields.get("base64").or(fields.get("url")).is_some() => {
                Some("application/octet-stream".to_owned())
            }
            None => Some("text/plain".to_owned()),
        };
        let part = self.artifact_part(key, &fields, &what);
        Some(Artifact { id: key.name.clone(), name: name?, media_type: media_type?, part: part? })
    }

    fn artifact_part(&mut self, key: &Key, fields: &Fields<'_>, what: &str) -> Option<ArtifactPart> {
        // A member without a value is none, except for data, which may be null.
        let has = |name: &&str| *name == "data" || fields.get(name).is_some();
        let named = keys::ARTIFACT_PARTS.into_iter().filter(has);
        let given: Vec<_> = named.filter_map(|name| fields.raw(name)).collect();
        let [(member, node)] = given.as_slice() else {
            let (last, first) = keys::ARTIFACT_PARTS.split_last()?;
            let first: Vec<_> = first.iter().map(|name| format!("'{name}'")).collect();
            let message = format!("{what} must have one of {} and '{last}'", first.join(", "));
            self.problem(key.place, message);
            return None;
        };
        let is_literal = member.name != "data" && member.name != "chunks";
        if is_literal {
            self.text(node, &format!("'{}'", member.name))?;
        }
        let template = self.template(node, &PLAN_VARIABLES)?;
        let unsound = match (&template, member.name.as_str()) {
            (Template::Literal(Value::String(text)), "url") => url_of(text).err(),
            (Template::Literal(Value::String(text)), "base64") => bytes_of(text).err(),
            (Template::List(_) | Template::Expression(_), "chunks") => None,
            (_, "chunks") => Some("'chunks' must be a list of texts"),
            _ => None,
        };
        if let Some(message) = unsound {
            self.problem(node.place, message);
            return None;
        }
        Some(match member.name.as_str() {
            "text" => ArtifactPart::Text(template),
            "data" => ArtifactPart::Data(template),
            "url" => ArtifactPart::Url(template),
            "base64" => ArtifactPart::Bytes(template),
            _ => ArtifactPart::Chunks(template),
        })
    }
}
