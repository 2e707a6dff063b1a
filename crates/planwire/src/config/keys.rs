//! All there is to set: one table for the file, the variables, `planwire config` and the reference.

use planwire_engine::document::model::{
    PLAN_TIMEOUT_MAX, TREE_CALLS_MAX, TREE_PARALLEL_MAX, TREE_TOKENS_MAX,
};
use planwire_engine::redaction::is_key;

use super::slot::Slot;
use super::texts::{is_absolute, is_host, is_host_or_network, is_line, is_origin, is_text, is_url};
use super::{CONTAINMENTS, Config, LEVELS, SANDBOXES};

/// One value that can be set.
pub(crate) struct Key {
    /// Its name with its sections, as `server.listen`.
    pub(crate) name: &'static str,
    /// What fits, and where it goes.
    pub(crate) slot: Slot,
    /// The flag that sets it.
    pub(crate) flag: Option<&'static str>,
    /// What holds if nobody sets it, where that is not one value.
    pub(crate) otherwise: Option<&'static str>,
    /// What it is for.
    pub(crate) about: &'static str,
}

impl Key {
    const fn new(name: &'static str, slot: Slot, about: &'static str) -> Self {
        Self { name, slot, flag: None, otherwise: None, about }
    }

    const fn flag(mut self, flag: &'static str) -> Self {
        self.flag = Some(flag);
        self
    }

    const fn about(mut self, about: &'static str) -> Self {
        self.about = about;
        self
    }

    const fn otherwise(mut self, otherwise: &'static str) -> Self {
        self.otherwise = Some(otherwise);
        self
    }

    /// The environment variable that sets it: `PLANWIRE_SERVER_LISTEN`.
    pub(crate) fn variable(&self) -> String {
        format!("{VARIABLE_PREFIX}{}", self.name.replace('.', "_").to_ascii_uppercase())
    }

    /// The section that it is in, and its name there.
    pub(crate) fn split(&self) -> (&'static str, &'static str) {
        self.name.rsplit_once('.').unwrap_or(("", self.name))
    }
}

/// A table of the file.
pub(crate) struct Section {
    /// Its name with the sections around it.
    pub(crate) name: &'static str,
    /// What it holds.
    pub(crate) form: Form,
    /// What it is for.
    pub(crate) about: &'static str,
}

/// What a table of the file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// Keys of [`KEYS`].
    Keys,
    /// Names that people choose, each with a table of these keys.
    Named(&'static [Entry]),
    /// Any number of tables of these keys, in order.
    Listed(&'static [Entry]),
}

/// A key of a table that can stand there more than once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Its name there.
    pub(crate) name: &'static str,
    /// What fits, for people.
    pub(crate) takes: &'static str,
    /// What it is for.
    pub(crate) about: &'static str,
}

/// What the names of variables begin with.
pub(crate) const VARIABLE_PREFIX: &str = "PLANWIRE_";
/// Names the file, unless `--config` does.
pub(crate) const FILE_VARIABLE: &str = "PLANWIRE_CONFIG";

/// The tables, in the order of the reference.
pub(crate) static SECTIONS: &[Section] = &[
    Section { name: "", form: Form::Keys, about: "" },
    Section { name: "server", form: Form::Keys, about: "The HTTP server of `serve`, `demo` and `run`." },
    Section { name: "engine", form: Form::Keys, about: "What runs plans." },
    Section {
        name: "engine.tools",
        form: Form::Keys,
        about: "Programs that tools start, each with all that it starts itself. Everything that a call started is \
                ended with it, and when `planwire` ends, also by `kill -9`. A call that is over a limit fails with \
                `memory_limit`, `process_limit`, `cpu_limit` or `file_size_limit`.",
    },
    Section { name: "engine.http", form: Form::Keys, about: "The tool `http`." },
    Section {
        name: "engine.limits",
        form: Form::Keys,
        about: "What each plan that is started, with all below it, may use at most. Its document can only narrow it; a plan \
                that wants more ends with `limit_exceeded`.",
    },
    Section {
        name: "engine.secrets",
        form: Form::Named(&SECRET),
        about: "Secrets that plan documents name by `secret(\"NAME\")`. A value never stands in this file: it is read at \
                the start from a variable or from a file, and a start without it fails. Names are letters, digits \
                and `_`.",
    },
    Section {
        name: "engine.redaction",
        form: Form::Keys,
        about: "What is taken out of events before they are stored although no secret of `[engine.secrets]` is its value. \
                Tools get it; later steps see what the events say. More is said in [plans.md](plans.md#what-nobody-named).",
    },
    Section {
        name: "engine.models",
        form: Form::Named(&MODEL),
        about: "Language models that decide in plans: a decision step names one by `model`. Each is reached over the chat \
                completions API that OpenAI made and most servers of models speak; its server may have a private \
                address. Prices count where a plan has a limit of cost, and stand in the events.",
    },
    Section {
        name: "mcp.servers",
        form: Form::Named(&SERVER),
        about: "Servers of the Model Context Protocol, whose tools documents call as `mcp:<server>/<tool>`: \
                `[mcp.servers.NAME]`, names are letters, digits, `-` and `_`. Each has either `command` or `url`. A program is \
                held like one of a tool, and ends with its tree of plans. A build needs the feature `mcp`. More is said \
                in [mcp.md](mcp.md).",
    },
    Section { name: "a2a", form: Form::Keys, about: "What A2A clients read in the agent card." },
    Section {
        name: "a2a.provider",
        form: Form::Keys,
        about: "Who provides the agent; either both keys or none.",
    },
    Section {
        name: "a2a.routes",
        form: Form::Listed(&ROUTE),
        about: "Which message starts which plan. A message that names a registered plan as its skill starts that one; \
                any other is taken by the first route whose `when` is true. Each route has either `plan` or `answer`. \
                Expressions are CEL and see `message`: `id`, `text`, `data`, `parts`, `role`, `context_id`, \
                `task_id`, `metadata`, `skill`.",
    },
];

/// What `[engine.secrets]` says of a secret.
pub(crate) const SECRET: [Entry; 2] = [
    Entry { name: "env", takes: "text", about: "The environment variable that holds the value." },
    Entry {
        name: "file",
        takes: "path",
        about: "The file that holds the value; line breaks at its end do not belong to it.",
    },
];

/// What `[engine.models]` says of a model.
pub(crate) const MODEL: [Entry; 9] = [
    Entry {
        name: "base_url",
        takes: "an http or https address without query",
        about: "Where its API begins, up to the version: `https://api.example.com/v1`.",
    },
    Entry { name: "model", takes: "text", about: "Its name there." },
    Entry {
        name: "secret",
        takes: "text",
        about: "The secret, by its name in `[engine.secrets]`, that is sent as bearer token; default: none.",
    },
    Entry {
        name: "answer_tokens_max",
        takes: "tokens, 1 to 1000000",
        about: "Tokens of one answer, what it thinks among them; default: 1024.",
    },
    Entry { name: "temperature", takes: "a number from 0 to 2", about: "Default: as the server has it." },
    Entry {
        name: "format",
        takes: "json_schema, json_object or words",
        about: "How the server is told the form of an answer; default: `json_schema`, which lets the model write \
                nothing else.",
    },
    Entry { name: "input_price", takes: "a number", about: "What a million tokens cost that go in." },
    Entry { name: "output_price", takes: "a number", about: "What a million tokens cost that come out." },
    Entry { name: "currency", takes: "text", about: "The currency of both; default: `USD`." },
];

/// What `[mcp.servers.NAME]` says of a server.
pub(crate) const SERVER: [Entry; 15] = [
    Entry {
        name: "command",
        takes: "text",
        about: "The program that is started, found in `PATH` or absolute; it speaks over its standard input and output.",
    },
    Entry { name: "args", takes: "list of texts", about: "Its arguments." },
    Entry {
        name: "env",
        takes: "table of texts",
        about: "Variables beside `PATH`, `LANG`, `HOME` and `TMPDIR`; `${secret('NAME')}` stands for a secret.",
    },
    Entry {
        name: "folder",
        takes: "path",
        about: "Where it runs; without it, in the working folder of the plan.",
    },
    Entry {
        name: "url",
        takes: "text",
        about: "The address of a server that speaks streamable HTTP. Private addresses must be allowed by \
                `engine.http.allow_private`.",
    },
    Entry {
        name: "headers",
        takes: "table of texts",
        about: "Headers of each request; `${secret('NAME')}` stands for a secret.",
    },
    Entry {
        name: "start_timeout_ms",
        takes: "milliseconds, 1 to 86400000",
        about: "Time in which it must have started and told its tools; 30000 without it.",
    },
    Entry {
        name: "call_timeout_ms",
        takes: "milliseconds, 1 to 86400000",
        about: "Time that one call may take; without it, what the step allows.",
    },
    Entry {
        name: "sandbox",
        takes: "off, best-effort or required",
        about: "The sandbox of the program; without it, that of `engine.tools`, whose folders hold in any case. Where it is \
                `required` and cannot be had, the server does not start.",
    },
    Entry {
        name: "write",
        takes: "list of paths",
        about: "Where it changes files, beside `engine.tools.write`, `folder`, the working folder of the plan and its own \
                temporary folder.",
    },
    Entry {
        name: "memory_mib",
        takes: "MiB, 16 to 1048576",
        about: "Memory of all its processes; 4096 without it. A server that is over a limit is ended.",
    },
    Entry { name: "processes_max", takes: "processes, 1 to 100000", about: "Its processes; 256 without it." },
    Entry {
        name: "files_max",
        takes: "descriptors, 16 to 1000000",
        about: "Descriptors that each of them may have open; 4096 without it.",
    },
    Entry {
        name: "file_mib",
        takes: "MiB, 1 to 16777216",
        about: "Size of a file that one of them writes; 1024 without it.",
    },
    Entry {
        name: "cpu_s",
        takes: "seconds, 1 to 1000000000",
        about: "CPU time of all its processes in one life of it; without it, any.",
    },
];

/// What `[[a2a.routes]]` says of a route.
pub(crate) const ROUTE: [Entry; 4] = [
    Entry {
        name: "when",
        takes: "CEL giving a bool",
        about: "Whether the route takes the message; without it, it takes all.",
    },
    Entry { name: "plan", takes: "text", about: "The registered document that is started." },
    Entry {
        name: "inputs",
        takes: "table of CEL",
        about: "Inputs of the plan by name; without any, the objects of the message's data parts, and its text for \
                an input `message` or `text`.",
    },
    Entry {
        name: "answer",
        takes: "CEL giving text, an object or a list",
        about: "A message that is sent back at once, without a task.",
    },
];

/// The values, in the order of the reference.
pub(crate) static KEYS: &[Key] = &[
    Key::new("data", Slot::Path(|c| &mut c.data), "Folder of the log.")
        .flag("--data")
        .otherwise("`$XDG_DATA_HOME/planwire`, else `~/.local/share/planwire`"),
    Key::new(
        "db",
        Slot::Database(|c| &mut c.db),
        "The PostgreSQL database in which the log lies, instead of a file: \
         `postgres://user@host:5432/database?schema=planwire`. Several processes may use the same log. A password \
         belongs into the variable or into this file, never into a flag.",
    )
    .flag("--db")
    .otherwise("a file in `data`"),
    Key::new(
        "log",
        Slot::Choice { at: |c| &mut c.log, of: &LEVELS },
        "The least severe diagnostics that are printed to standard error.",
    ),
    Key::new(
        "server.listen",
        Slot::Address(|c| &mut c.server.listen),
        "Address to listen on; port 0 takes a free one. Only loopback addresses are served.",
    )
    .flag("--listen"),
    Key::new(
        "server.hosts",
        Slot::Texts { at: |c| &mut c.server.hosts, what: "a host name, with or without port", fits: is_host },
        "Names under which the server may be asked for, besides `localhost`, `127.0.0.1` and `[::1]`.",
    ),
    Key::new(
        "server.origins",
        Slot::Texts {
            at: |c| &mut c.server.origins,
            what: "an origin, as 'https://console.example'",
            fits: is_origin,
        },
        "Origins of other pages that may ask.",
    ),
    Key::new(
        "server.allow_inline_documents",
        Slot::Switch(|c| &mut c.server.allow_inline_documents),
        "Whether any local client may start documents that it sends along. They may do what the policy allows to \
         documents from the network.",
    )
    .flag("--allow-inline-documents"),
    Key::new(
        "server.heartbeat_ms",
        Slot::Count { at: |c| &mut c.server.heartbeat_ms, least: 100, most: 5_000, unit: "milliseconds" },
        "Time without an event after which a stream sends a heartbeat.",
    ),
    Key::new(
        "server.streams_max",
        Slot::Count { at: |c| &mut c.server.streams_max, least: 1, most: 1_000_000, unit: "streams" },
        "Event streams that may be open at a time; further ones get 503 and `Retry-After`.",
    ),
    Key::new(
        "server.connections_max",
        Slot::Count { at: |c| &mut c.server.connections_max, least: 1, most: 1_000_000, unit: "connections" },
        "Connections that may be open at a time; further ones are closed when they arrive.",
    ),
    Key::new(
        "engine.plans",
        Slot::Path(|c| &mut c.engine.plans),
        "Folder of plan documents that can be started by name: each `*.yaml`, `*.yml` and `*.json` file directly in \
         it, under the name that the document has in itself. Read once, at the start of `serve`.",
    )
    .flag("--plans")
    .otherwise("the documents that come with planwire"),
    Key::new(
        "engine.folder",
        Slot::Path(|c| &mut c.engine.folder),
        "Folder where relative paths of registered documents start.",
    )
    .otherwise("the working folder"),
    Key::new(
        "engine.policy",
        Slot::Path(|c| &mut c.engine.policy),
        "File that says which calls documents may make, which a person has to approve and which are denied: \
         [policy.md](policy.md). Read once, at the start.",
    )
    .flag("--policy")
    .otherwise("your own documents may do everything, those that come over the network nothing"),
    Key::new(
        "engine.plans_max",
        Slot::Count { at: |c| &mut c.engine.plans_max, least: 1, most: 10_000, unit: "plans" },
        "Plans that run at a time, those below them not counted; more are refused.",
    ),
    Key::new(
        "engine.gone_after_ms",
        Slot::Count { at: |c| &mut c.engine.gone_after_ms, least: 2_000, most: 3_600_000, unit: "milliseconds" },
        "On PostgreSQL: time after which plans of a process that shows no life are taken over by another.",
    ),
    Key::new(
        "engine.tools.sandbox",
        Slot::Choice { at: |c| &mut c.engine.tools.sandbox, of: &SANDBOXES },
        "Whether the kernel (Landlock) keeps programs to the folders below, from signals and from the memory and \
         environment of other processes, and from gaining rights: `off`; `best-effort` where the kernel can; \
         `required`: `serve` does not start, and no program does, where it cannot.",
    ),
    folders("engine.tools.read", |c| &mut c.engine.tools.read, "Where programs read and run files. Names are seen everywhere."),
    folders(
        "engine.tools.write",
        |c| &mut c.engine.tools.write,
        "Where programs change files beside the working folder of their plan and the folder in which they start, \
         neither of which counts where it is `/`, and a temporary folder of their own, which `TMPDIR` names.",
    ),
    folders(
        "engine.tools.hide",
        |c| &mut c.engine.tools.hide,
        "What programs do not touch wherever it lies, beside `data`, the files of the configuration, the policy and secrets, \
         devices, and what below `HOME` holds keys: `.ssh`, `.gnupg`, `.aws`, `.netrc` and the like. A folder that \
         holds something hidden takes no new entries directly in it.",
    ),
    Key::new(
        "engine.tools.containment",
        Slot::Choice { at: |c| &mut c.engine.tools.containment, of: &CONTAINMENTS },
        "How all that a program started is ended: by a control group (version 2), by a pid namespace, or one after \
         the other by the process that all of it belongs to. `auto` takes the first that can be had; with another \
         one `serve` does not start where it cannot.",
    ),
    Key::new(
        "engine.tools.memory_mib",
        Slot::Count { at: |c| &mut c.engine.tools.memory_mib, least: 16, most: 1_048_576, unit: "MiB" },
        "Memory of all processes of a call.",
    ),
    Key::new(
        "engine.tools.processes_max",
        Slot::Count { at: |c| &mut c.engine.tools.processes_max, least: 1, most: 100_000, unit: "processes" },
        "Processes of a call.",
    ),
    Key::new(
        "engine.tools.files_max",
        Slot::Count { at: |c| &mut c.engine.tools.files_max, least: 16, most: 1_000_000, unit: "descriptors" },
        "Descriptors that a process may have open.",
    ),
    Key::new(
        "engine.tools.file_mib",
        Slot::Count { at: |c| &mut c.engine.tools.file_mib, least: 1, most: 16_777_216, unit: "MiB" },
        "Size of a file that a process writes.",
    ),
    Key::new(
        "engine.tools.cpu_s",
        Slot::Count { at: |c| &mut c.engine.tools.cpu_s, least: 1, most: 1_000_000, unit: "seconds" },
        "CPU time of all processes of a call.",
    ),
    Key::new(
        "engine.http.allow_private",
        Slot::Texts {
            at: |c| &mut c.engine.http_allow_private,
            what: "a host name or a network, as 'intranet.example' or '10.0.0.0/8'",
            fits: is_host_or_network,
        },
        "Hosts and networks that the tool may reach although their addresses are private.",
    ),
    most("engine.limits.tool_calls", |c| &mut c.engine.limits.tool_calls, TREE_CALLS_MAX, "tool calls")
        .about("Tool calls of a plan and all below it, each attempt counted."),
    most("engine.limits.tokens", |c| &mut c.engine.limits.tokens, TREE_TOKENS_MAX, "tokens")
        .about("Tokens that these calls say they used."),
    Key::new(
        "engine.limits.cost",
        Slot::Text {
            at: |c| &mut c.engine.limits.cost,
            what: "text: a decimal number from 0 to 1000000, as '2.50'",
            fits: is_cost,
        },
        "Cost that these calls say they used, in the unit in which they do.",
    ),
    most("engine.limits.parallel_calls", |c| &mut c.engine.limits.parallel_calls, PARALLEL_MAX, "tool calls")
        .about("Tool calls of it that run at a time; others wait."),
    most("engine.limits.parallel_plans", |c| &mut c.engine.limits.parallel_plans, PARALLEL_MAX, "plans").about(
        "Plans below it that run at a time, those not counted that wait for plans below them; others wait.",
    ),
    most("engine.limits.timeout_ms", |c| &mut c.engine.limits.timeout_ms, TIMEOUT_MS_MAX, "milliseconds")
        .about("Time from its start to its end, without the time in which it only waits for answers."),
    Key::new(
        "engine.redaction.keys",
        Slot::Texts {
            at: |c| &mut c.engine.redaction.keys,
            what: "a name of letters, digits, `-`, `_` and `.`",
            fits: is_key,
        },
        "Names of members whose values are taken out, at most 100; case, `-`, `_`, `.` and spaces do not count.",
    ),
    Key::new(
        "engine.redaction.patterns",
        Slot::Switch(|c| &mut c.engine.redaction.patterns),
        "Whether tokens are taken out that are known by their form.",
    ),
    Key::new(
        "engine.redaction.environment",
        Slot::Switch(|c| &mut c.engine.redaction.environment),
        "Whether the values of those variables are taken out with which `planwire` was started and whose names say that they \
         hold keys, as `GITHUB_TOKEN`.",
    ),
    text("a2a.name", |c| &mut c.a2a.name, "Name of the agent."),
    Key::new(
        "a2a.description",
        Slot::Text { at: |c| &mut c.a2a.description, what: "text, at most 10000 characters", fits: is_text },
        "What the agent does, for people.",
    ),
    text("a2a.version", |c| &mut c.a2a.version, "Version of the agent.").otherwise("the version of planwire"),
    url("a2a.url", |c| &mut c.a2a.url, "Public base address, under which clients reach the server.")
        .otherwise("the address that is listened on"),
    url("a2a.documentation_url", |c| &mut c.a2a.documentation_url, "A page that tells more."),
    url("a2a.icon_url", |c| &mut c.a2a.icon_url, "An icon."),
    Key::new(
        "a2a.extension_required",
        Slot::Switch(|c| &mut c.a2a.extension_required),
        "Whether only clients may ask that activate the extension `urn:planwire:a2a:plan-events:1`.",
    ),
    text("a2a.provider.organization", |c| &mut c.a2a.provider_organization, "Its name."),
    url("a2a.provider.url", |c| &mut c.a2a.provider_url, "Its page."),
];

#[expect(clippy::cast_possible_truncation, reason = "a week")]
const TIMEOUT_MS_MAX: u64 = PLAN_TIMEOUT_MAX.as_millis() as u64;
const PARALLEL_MAX: u64 = TREE_PARALLEL_MAX as u64;

const fn most(
    name: &'static str,
    at: fn(&mut Config) -> &mut Option<u64>,
    most: u64,
    unit: &'static str,
) -> Key {
    Key::new(name, Slot::Most { at, most, unit }, "")
}

fn is_cost(text: &str) -> bool {
    text.parse::<planwire_event::Cost>().is_ok()
}

const fn text(name: &'static str, at: fn(&mut Config) -> &mut Option<String>, about: &'static str) -> Key {
    Key::new(name, Slot::Text { at, what: "text on one line", fits: is_line }, about)
}

const fn url(name: &'static str, at: fn(&mut Config) -> &mut Option<String>, about: &'static str) -> Key {
    Key::new(name, Slot::Text { at, what: "an http or https address without query", fits: is_url }, about)
}

const fn folders(name: &'static str, at: fn(&mut Config) -> &mut Vec<String>, about: &'static str) -> Key {
    Key::new(name, Slot::Texts { at, what: "an absolute path", fits: is_absolute }, about)
}

/// The key called `name`.
pub(crate) fn find(name: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn key_has_a_section_and_a_variable_of_its_own() {
        let mut variables: Vec<String> = KEYS.iter().map(Key::variable).collect();
        variables.extend([FILE_VARIABLE.to_owned()]);
        variables.sort();
        let count = variables.len();
        variables.dedup();
        assert_eq!(variables.len(), count);
        for key in KEYS {
            let (section, _) = key.split();
            assert!(
                SECTIONS.iter().any(|known| known.name == section && known.form == Form::Keys),
                "{}",
                key.name
            );
            assert!(key.about.ends_with('.'), "{}", key.name);
        }
        assert_eq!(find("server.listen").map(Key::variable).as_deref(), Some("PLANWIRE_SERVER_LISTEN"));
    }
}
