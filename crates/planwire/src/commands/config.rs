//! `planwire config`: what holds, and where each value comes from.

use serde_json::json;

use crate::args::ConfigArguments;
use crate::config::keys::{Form, KEYS, Key, SECTIONS};
use crate::config::layers::{Origin, toml};
use crate::config::mcp::{McpReach, Phrase};
use crate::config::tables::{RouteDoes, RouteInput, SecretFrom};
use crate::config::{Config, McpServer, ModelEntry, Route, Secret, Settings, reference};
use crate::failure::{Exit, Failure};
use crate::output::{Output, Paint, escape};

/// Prints the effective configuration, as a file that would say the same.
///
/// # Errors
///
/// Exit code 2 if it is to be checked and is not sound.
pub(crate) fn print(
    arguments: &ConfigArguments,
    settings: &Settings,
    output: Output,
) -> Result<Exit, Failure> {
    if arguments.reference {
        output.raw(&reference::page())?;
        return Ok(Exit::Completed);
    }
    if arguments.check {
        return check(settings, output);
    }
    let shown = Shown { settings, config: &mut settings.config.clone(), output };
    shown.print()?;
    Ok(Exit::Completed)
}

fn check(settings: &Settings, output: Output) -> Result<Exit, Failure> {
    let engine = super::serve::checked(settings)?;
    let (documents, routes) = (engine.documents.len(), settings.config.a2a.routes.len());
    let secrets = settings.config.engine.secrets.len();
    if output.json {
        output.json(&json!({ "documents": documents, "routes": routes, "secrets": secrets }))?;
    } else {
        let mark = output.style.paint(Paint::Good, "✔");
        output.line(&format!("{mark} documents: {documents}, routes: {routes}, secrets: {secrets}"))?;
    }
    Ok(Exit::Completed)
}

struct Shown<'a> {
    settings: &'a Settings,
    config: &'a mut Config,
    output: Output,
}

impl Shown<'_> {
    fn print(mut self) -> Result<(), Failure> {
        if !self.output.json {
            let file = self.settings.file.as_ref().map(|file| escape(&file.path.to_string_lossy()));
            self.faint(&format!("# file: {}", file.as_deref().unwrap_or("none")))?;
        }
        for section in SECTIONS {
            if !self.output.json && section.form == Form::Keys && !section.name.is_empty() {
                self.output.line(&format!("\n[{}]", section.name))?;
            }
            match (section.form, section.name) {
                (Form::Keys, name) => {
                    for key in KEYS.iter().filter(|key| key.split().0 == name) {
                        self.key(key)?;
                    }
                }
                (Form::Named(_), "engine.models") => self.models("engine.models")?,
                (Form::Named(_), "mcp.servers") => self.servers()?,
                (Form::Named(_), name) => self.secrets(name)?,
                (Form::Listed(_), name) => self.routes(name)?,
            }
        }
        Ok(())
    }

    fn key(&mut self, key: &Key) -> Result<(), Failure> {
        let value = key.slot.show(self.config);
        let origin = self.settings.origin(key);
        if self.output.json {
            let (kind, place) = self.source(&origin);
            return self
                .output
                .json(&json!({ "key": key.name, "value": value, "source": kind, "place": place }));
        }
        let name = key.split().1;
        let said = match toml(&value) {
            Some(value) => format!("{name} = {}", escape(&value)),
            None => format!("# {name} ="),
        };
        let otherwise = key.otherwise.filter(|_| value.is_null()).map(|otherwise| format!(": {otherwise}"));
        let from =
            format!("{}{}", self.settings.told(&origin), otherwise.unwrap_or_default().replace('`', ""));
        self.commented(&said, &from)
    }

    fn secrets(&self, section: &str) -> Result<(), Failure> {
        let secrets = &self.settings.config.engine.secrets;
        if !self.output.json && !secrets.is_empty() {
            self.output.line(&format!("\n[{section}]"))?;
        }
        for Secret { name, from, line, .. } in secrets {
            let (kind, place) = match from {
                SecretFrom::Variable(variable) => ("env", variable.clone()),
                SecretFrom::File(path) => ("file", path.to_string_lossy().into_owned()),
            };
            let origin = Origin::File { line: *line };
            if self.output.json {
                let (source, at) = self.source(&origin);
                let key = format!("{section}.{name}");
                self.output
                    .json(&json!({ "key": key, "value": {kind: place}, "source": source, "place": at }))?;
            } else {
                let place = json!(place);
                self.commented(&format!("{name} = {{ {kind} = {place} }}"), &self.settings.told(&origin))?;
            }
        }
        Ok(())
    }

    fn models(&self, section: &str) -> Result<(), Failure> {
        for ModelEntry { name, config, line, .. } in &self.settings.config.engine.models {
            let origin = Origin::File { line: *line };
            let mut value = json!({
                "base_url": config.base_url, "model": config.model,
                "answer_tokens_max": config.answer_tokens_max, "format": config.format.name(),
            });
            if let Some(secret) = &config.secret {
                value["secret"] = json!(secret);
            }
            if let Some(temperature) = config.temperature {
                value["temperature"] = json!(temperature);
            }
            if let Some(price) = &config.price {
                value["input_price"] = price.input.to_number().into();
                value["output_price"] = price.output.to_number().into();
                value["currency"] = json!(price.currency);
            }
            if self.output.json {
                let (source, at) = self.source(&origin);
                let key = format!("{section}.{name}");
                self.output.json(&json!({ "key": key, "value": value, "source": source, "place": at }))?;
                continue;
            }
            self.output.line("")?;
            self.commented(&format!("[{section}.{}]", name), &self.settings.told(&origin))?;
            for (key, value) in value.as_object().into_iter().flatten() {
                self.output.line(&format!("{key} = {}", escape(&value.to_string())))?;
            }
        }
        Ok(())
    }

    fn servers(&self) -> Result<(), Failure> {
        for server in &self.settings.config.mcp_servers {
            let (section, origin) =
                (format!("mcp.servers.{}", server.name), Origin::File { line: server.line });
            let value = server_value(server);
            if self.output.json {
                let (source, at) = self.source(&origin);
                self.output
                    .json(&json!({ "key": section, "value": value, "source": source, "place": at }))?;
                continue;
            }
            self.output.line("")?;
            self.commented(&format!("[{section}]"), &self.settings.told(&origin))?;
            for (key, value) in value.as_object().into_iter().flatten() {
                let said = match value.as_object() {
                    Some(members) => {
                        let members = members.iter().map(|(name, text)| format!("{} = {text}", json!(name)));
                        format!("{{ {} }}", members.collect::<Vec<_>>().join(", "))
                    }
                    None => value.to_string(),
                };
                self.output.line(&format!("{key} = {}", escape(&said)))?;
            }
        }
        Ok(())
    }

    fn routes(&self, section: &str) -> Result<(), Failure> {
        for route in &self.settings.config.a2a.routes {
            let origin = Origin::File { line: route.line };
            if self.output.json {
                let (source, at) = self.source(&origin);
                let value = route_value(route);
                self.output
                    .json(&json!({ "key": section, "value": value, "source": source, "place": at }))?;
                continue;
            }
            self.output.line("")?;
            self.commented(&format!("[[{section}]]"), &self.settings.told(&origin))?;
            if let Some(when) = &route.when {
                self.output.line(&format!("when = {}", escape(&json!(when).to_string())))?;
            }
            match &route.does {
                RouteDoes::Answer(answer) => {
                    self.output.line(&format!("answer = {}", escape(&json!(answer).to_string())))?;
                }
                RouteDoes::Start { plan, inputs } => {
                    self.output.line(&format!("plan = {}", escape(&json!(plan).to_string())))?;
                    if !inputs.is_empty() {
                        let said =
                            |input: &RouteInput| format!("{} = {}", json!(input.name), json!(input.cel));
                        let inputs: Vec<String> = inputs.iter().map(said).collect();
                        self.output.line(&format!("inputs = {{ {} }}", escape(&inputs.join(", "))))?;
                    }
                }
            }
        }
        Ok(())
    }

    /// The kind of a source and its place, for programs.
    fn source(&self, origin: &Origin) -> (&'static str, Option<String>) {
        match origin {
            Origin::Default => ("default", None),
            Origin::File { .. } => ("file", Some(self.settings.told(origin))),
            Origin::Variable(name) => ("variable", Some(name.clone())),
            Origin::Flag(flag) => ("flag", Some((*flag).to_owned())),
        }
    }

    fn commented(&self, said: &str, comment: &str) -> Result<(), Failure> {
        let comment = self.output.style.paint(Paint::Faint, &format!("# {}", escape(comment)));
        self.output.line(&format!("{said}  {comment}"))
    }

    fn faint(&self, text: &str) -> Result<(), Failure> {
        self.output.line(&self.output.style.paint(Paint::Faint, text))
    }
}

/// What the file says of a server; secrets stand in it by their names.
fn server_value(server: &McpServer) -> serde_json::Value {
    let phrases = |phrases: &[(String, Phrase)]| -> serde_json::Map<_, _> {
        phrases.iter().map(|(name, phrase)| (name.clone(), json!(phrase.text))).collect()
    };
    let mut value = match &server.reach {
        McpReach::Program { command, args, env, folder, bounds } => {
            let mut said = bounds.shown();
            said.extend([
                ("command".to_owned(), json!(command)),
                ("args".to_owned(), json!(args)),
                ("env".to_owned(), json!(phrases(env))),
                ("folder".to_owned(), json!(folder)),
            ]);
            json!(said)
        }
        McpReach::Address { url, headers } => json!({ "url": url, "headers": phrases(headers) }),
    };
    if let Some(members) = value.as_object_mut() {
        members.insert("start_timeout_ms".to_owned(), json!(server.start_timeout_ms));
        members.insert("call_timeout_ms".to_owned(), json!(server.call_timeout_ms));
        let is_empty = |value: &serde_json::Value| {
            value.is_null() || value.as_object().is_some_and(serde_json::Map::is_empty)
        };
        members.retain(|_, value| !is_empty(value));
    }
    value
}

fn route_value(route: &Route) -> serde_json::Value {
    match &route.does {
        RouteDoes::Answer(answer) => json!({ "when": route.when, "answer": answer }),
        RouteDoes::Start { plan, inputs } => {
            let inputs: serde_json::Map<_, _> =
                inputs.iter().map(|input| (input.name.clone(), json!(input.cel))).collect();
            json!({ "when": route.when, "plan": plan, "inputs": inputs })
        }
    }
}
