//! What each room is told, made of the configuration.
//!
//! What can only be known at the start is checked here: whether secrets are there, and whether the plans that routes
//! name are registered.

use std::ffi::OsString;
use std::sync::Arc;
use std::time::Duration;

use planwire_engine::document::{Document, did_you_mean};
use planwire_engine::tools::exec::Exec;
use planwire_engine::tools::http::{AllowPrivate, Http, HttpConfig, Roots};
use planwire_engine::tools::model::Model;
use planwire_engine::{EngineConfig, Rules, Secrets, ToolSet, TreeLimits};
use planwire_server::a2a::{A2aConfig, Provider, Then};
use planwire_server::{Limits, ServerConfig};

use super::file::File;
use super::layers::Problems;
use super::tables::{RouteDoes, RouteInput, read_secret};
use super::{Environment, ModelEntry, RedactionSettings, Route, Settings, policy};
use crate::documents::Registry;
use crate::failure::{Exit, Failure};
use crate::place::Place;

impl Settings {
    /// What documents may call, and the secrets that they may name.
    ///
    /// # Errors
    ///
    /// Exit code 2 if a secret is not where the configuration says, or cannot serve as one.
    pub(crate) fn tools(&self, variables: &Environment) -> Result<ToolSet, Failure> {
        let engine = &self.config.engine;
        let variable = |name: &str| variables.get(name).cloned();
        let mut problems = Problems::default();
        let mut values = Vec::new();
        for secret in &engine.secrets {
            match (read_secret(secret, variable), &self.file) {
                (Ok(value), _) => values.push((secret.name.clone(), value)),
                (Err(why), Some(file)) => problems.push(file.problem(secret.offset, &why), None),
                (Err(why), None) => return Err(Failure::usage(why)),
            }
        }
        problems.into_result()?;
        let secrets =
            Secrets::new(values.clone()).and_then(|secrets| secrets.with_rules(&self.rules(variables)));
        let secrets = secrets.map_err(|error| Failure::new(Exit::Usage, error))?;
        let allow_private = AllowPrivate::parse(&engine.http_allow_private)
            .map_err(|error| Failure::new(Exit::Usage, error).context("engine.http.allow_private"))?;
        let http = HttpConfig { allow_private, ..HttpConfig::default() };
        let value =
            |name: &str| values.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str());
        let exec = Exec::launched_by(self.launcher());
        let mut tools = ToolSet::standard().with(Arc::new(Http::new(http.clone()))).with(Arc::new(exec));
        if !engine.models.is_empty() {
            tools = tools.with(Arc::new(self.model(&secrets)?));
        }
        self.with_servers(tools.with_secrets(secrets), http, value)
    }

    /// What is redacted although no secret is its value.
    fn rules(&self, variables: &Environment) -> Rules {
        let RedactionSettings { keys, patterns, environment } = self.config.engine.redaction.clone();
        let text = |(name, value): (&String, &OsString)| Some((name.clone(), value.to_str()?.to_owned()));
        let variables = variables.iter().filter(|_| environment).filter_map(text);
        Rules { keys, patterns, ..Rules::none() }.with_environment(variables)
    }

    /// The tools that a document may name, without the values of secrets: none is called.
    ///
    /// # Errors
    ///
    /// Exit code 2 if models or MCP servers cannot be configured like this.
    pub(crate) fn known_tools(&self) -> Result<ToolSet, Failure> {
        let mut tools = ToolSet::standard();
        if !self.config.engine.models.is_empty() {
            tools = tools.with(Arc::new(model_of(&self.config.engine.models, Secrets::none())?));
        }
        self.with_servers(tools, HttpConfig::default(), |_| Some(""))
    }

    #[cfg(feature = "mcp")]
    fn with_servers<'a>(
        &self,
        tools: ToolSet,
        http: HttpConfig,
        value: impl Fn(&str) -> Option<&'a str>,
    ) -> Result<ToolSet, Failure> {
        let mut problems = Problems::default();
        let mut config = planwire_mcp::McpConfig { http, ..Default::default() };
        for server in &self.config.mcp_servers {
            match self.server_config(server, &value) {
                Ok(made) => drop(config.servers.insert(server.name.clone(), made)),
                Err((offset, secret)) => {
                    let message = format!("there is no secret named '{secret}'");
                    if let Some(file) = &self.file {
                        let hint =
                            format!("say where its value lies: [engine.secrets] {secret} = {{ env = .. }}");
                        problems.push(file.problem(offset, &message), Some(hint));
                    }
                }
            }
        }
        problems.into_result()?;
        let family = planwire_mcp::Mcp::new(config)
            .map_err(|error| Failure::new(Exit::Usage, error).context("mcp.servers"))?;
        Ok(tools.with_family(Arc::new(family)))
    }

    #[cfg(not(feature = "mcp"))]
    fn with_servers<'a>(
        &self,
        tools: ToolSet,
        _http: HttpConfig,
        _value: impl Fn(&str) -> Option<&'a str>,
    ) -> Result<ToolSet, Failure> {
        let mut problems = Problems::default();
        if let (Some(file), Some(server)) = (&self.file, self.config.mcp_servers.first()) {
            let message = "this planwire was built without MCP servers (feature `mcp`)";
            problems.push(file.problem(server.offset, message), None);
        }
        problems.into_result()?;
        Ok(tools)
    }

    /// The tool that asks models. Their tokens must be there.
    fn model(&self, secrets: &Secrets) -> Result<Model, Failure> {
        let models = &self.config.engine.models;
        let mut problems = Problems::default();
        for entry in models {
            let missing = entry.config.secret.as_ref().filter(|secret| !secrets.contains(secret));
            if let (Some(secret), Some(file)) = (missing, &self.file) {
                let message = format!("there is no secret '{secret}' for model '{}'", entry.name);
                let hint = did_you_mean(secret, secrets.names(), "secrets");
                problems.push(file.problem(entry.secret_offset, &message), hint);
            }
        }
        problems.into_result()?;
        model_of(models, secrets.clone())
    }

    /// What the engine is told, which can start `documents` by name.
    ///
    /// # Errors
    ///
    /// Exit code 1 if there is no working folder, to which relative paths refer; 2 if the policy cannot be read.
    pub(crate) fn engine(&self, tools: ToolSet, documents: Registry) -> Result<EngineConfig, Failure> {
        let engine = &self.config.engine;
        let folder = match &engine.folder {
            Some(folder) => folder.clone(),
            None => std::env::current_dir()
                .map_err(|error| Failure::failed(error).context("there is no working folder"))?,
        };
        let policy = engine.policy.as_deref().map(policy::read).transpose()?.unwrap_or_default();
        let secrets = tools.secrets().cloned().unwrap_or_default();
        let plans_max = number(engine.plans_max);
        let gone_after = std::time::Duration::from_millis(engine.gone_after_ms);
        Ok(EngineConfig {
            documents,
            folder,
            work: Place::find(self.config.data.clone()).ok().map(|place| place.work()),
            plans_max,
            tools,
            secrets,
            policy,
            gone_after,
            limits: self.limits(),
            timeout_max: engine.limits.timeout_ms.map(Duration::from_millis),
            ..EngineConfig::default()
        })
    }

    /// What each tree may use.
    fn limits(&self) -> TreeLimits {
        let limits = &self.config.engine.limits;
        TreeLimits {
            tool_calls: limits.tool_calls,
            tokens: limits.tokens,
            // The slot took no other texts.
            cost: limits.cost.as_ref().and_then(|cost| cost.parse().ok()),
            parallel_calls: limits.parallel_calls.map(number),
            parallel_plans: limits.parallel_plans.map(number),
        }
    }

    /// What the server is told.
    pub(crate) fn server(&self) -> ServerConfig {
        let server = &self.config.server;
        let limits = Limits {
            connections_max: number(server.connections_max),
            streams_max: number(server.streams_max),
            heartbeat: Duration::from_millis(server.heartbeat_ms),
            ..Limits::default()
        };
        ServerConfig {
            listen: server.listen,
            hosts: server.hosts.clone(),
            origins: server.origins.clone(),
            allow_inline_documents: server.allow_inline_documents,
            a2a: self.a2a(),
            limits,
            ..ServerConfig::default()
        }
    }

    fn a2a(&self) -> A2aConfig {
        let a2a = self.config.a2a.clone();
        let usual = A2aConfig::default();
        // There is never one without the other.
        let provider = a2a.provider_organization.zip(a2a.provider_url);
        A2aConfig {
            name: a2a.name.unwrap_or(usual.name),
            description: a2a.description.unwrap_or(usual.description),
            version: a2a.version.unwrap_or(usual.version),
            url: a2a.url,
            documentation_url: a2a.documentation_url,
            icon_url: a2a.icon_url,
            provider: provider.map(|(organization, url)| Provider { organization, url }),
            extension_required: a2a.extension_required,
            routes: a2a.routes.into_iter().map(Route::into_room).collect(),
        }
    }

    /// Checks that each plan that a route starts is registered and takes what the route gives it.
    ///
    /// # Errors
    ///
    /// Exit code 2, with all routes of which that is not so.
    pub(crate) fn check_routes(&self, documents: &Registry) -> Result<(), Failure> {
        let mut problems = Problems::default();
        if let Some(file) = &self.file {
            for route in &self.config.a2a.routes {
                check_route(file, route, documents, &mut problems);
            }
        }
        problems.into_result()
    }
}

fn model_of(models: &[ModelEntry], secrets: Secrets) -> Result<Model, Failure> {
    let models = models.iter().map(|entry| (entry.name.clone(), entry.config.clone()));
    Model::new(models, secrets, &Roots::System)
        .map_err(|error| Failure::new(Exit::Usage, error).context("engine.models"))
}

#[cfg(feature = "mcp")]
impl Settings {
    /// What a server is told; or the secret that is missing, and where it is named.
    fn server_config<'a>(
        &self,
        server: &super::McpServer,
        value: &impl Fn(&str) -> Option<&'a str>,
    ) -> Result<planwire_mcp::ServerConfig, (usize, String)> {
        use super::mcp::{McpReach, Phrase};
        use planwire_mcp::{Hidden, Reach, ServerConfig};
        let filled = |phrases: &[(String, Phrase)]| {
            let one = |(name, phrase): &(String, Phrase)| match phrase.fill(value) {
                Ok(text) => Ok((name.clone(), Hidden::from(text))),
                Err(secret) => Err((phrase.offset, secret.to_owned())),
            };
            phrases.iter().map(one).collect::<Result<std::collections::BTreeMap<_, _>, _>>()
        };
        let reach = match &server.reach {
            McpReach::Program { command, args, env, folder, bounds } => Reach::Program {
                command: command.clone(),
                args: args.clone(),
                env: filled(env)?,
                folder: folder.clone(),
                launcher: Some(self.launcher_of_server(bounds)),
            },
            McpReach::Address { url, headers } => {
                Reach::Address { url: url.clone(), headers: filled(headers)? }
            }
        };
        let mut config = ServerConfig::new(reach);
        if let Some(millis) = server.start_timeout_ms {
            config.start_timeout = Duration::from_millis(millis);
        }
        config.call_timeout = server.call_timeout_ms.map(Duration::from_millis);
        Ok(config)
    }
}

impl Route {
    fn into_room(self) -> planwire_server::a2a::Route {
        let then = match self.does {
            RouteDoes::Answer(cel) => Then::Answer(cel),
            RouteDoes::Start { plan, inputs } => {
                let inputs = inputs.into_iter().map(|input| (input.name, input.cel)).collect();
                Then::Plan { name: plan, inputs }
            }
        };
        planwire_server::a2a::Route { when: self.when, then }
    }
}

fn check_route(file: &File, route: &Route, documents: &Registry, problems: &mut Problems) {
    let RouteDoes::Start { plan, inputs } = &route.does else { return };
    let Some(resolved) = documents.get(plan) else {
        let problem = file.problem(route.offset, &format!("no plan document '{plan}' is registered"));
        return problems.push(problem, did_you_mean(plan, documents.keys().map(String::as_str), "plans"));
    };
    // Without any, the message decides.
    if !inputs.is_empty() {
        check_inputs(file, route, &resolved.document, inputs, problems);
    }
}

fn check_inputs(
    file: &File,
    route: &Route,
    document: &Document,
    given: &[RouteInput],
    problems: &mut Problems,
) {
    let plan = &document.name;
    for input in given {
        if !document.inputs.iter().any(|known| known.name == input.name) {
            let message = format!("plan '{plan}' has no input '{}'", input.name);
            let known = document.inputs.iter().map(|known| known.name.as_str());
            problems.push(file.problem(input.offset, &message), did_you_mean(&input.name, known, "inputs"));
        }
    }
    let lacks = |name: &str| !given.iter().any(|input| input.name == name);
    for input in document.inputs.iter().filter(|input| input.default.is_none() && lacks(&input.name)) {
        let message =
            format!("plan '{plan}' needs the input '{}', which this route does not give", input.name);
        problems.push(file.problem(route.offset, &message), None);
    }
}

/// Limits are far below what any machine counts to.
fn number(count: u64) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX)
}
