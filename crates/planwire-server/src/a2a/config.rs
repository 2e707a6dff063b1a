//! What the A2A facade is told when it starts: what its card says, and which message starts what.

use std::collections::BTreeMap;

/// Routes that a server may have.
pub const ROUTES_MAX: usize = 100;

/// What the A2A facade is told when it starts. The default serves the registered documents and has no routes.
///
/// ```
/// use planwire_server::a2a::{A2aConfig, Route, Then};
///
/// let mut config = A2aConfig::default();
/// config.name = "Release desk".into();
/// config.routes.push(Route {
///     when: Some("message.text.startsWith('release')".into()),
///     then: Then::Plan { name: "release".into(), inputs: Default::default() },
/// });
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct A2aConfig {
    /// The agent's name on its card. Default `Planwire`.
    pub name: String,
    /// What the agent is for, on its card.
    pub description: String,
    /// The agent's own version on its card. Default: the version of this program.
    pub version: String,
    /// How clients reach this server: scheme, host and port, perhaps a path; without `/a2a`. Default: the address on
    /// which the server listens, as `http://127.0.0.1:7420`.
    pub url: Option<String>,
    /// A page about the agent. Default none.
    pub documentation_url: Option<String>,
    /// A picture of the agent. Default none.
    pub icon_url: Option<String>,
    /// Who offers the agent. Default none.
    pub provider: Option<Provider>,
    /// Whether only clients may ask that activate our extension. Default no.
    pub extension_required: bool,
    /// Which message starts what: the first whose condition holds. At most [`ROUTES_MAX`]. Default none.
    pub routes: Vec<Route>,
}

/// Who offers an agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Provider {
    /// Its name.
    pub organization: String,
    /// Its site.
    pub url: String,
}

/// What becomes of some messages. Sources are CEL over `message`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// Which messages: CEL that gives a bool; none: every message. A condition that names what the message does not
    /// have does not hold.
    pub when: Option<String>,
    /// What becomes of them.
    pub then: Then,
}

/// What becomes of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Then {
    /// It starts a plan.
    Plan {
        /// The registered document.
        name: String,
        /// CEL for each input. Empty: the objects of the message's data parts together, and its text as the input
        /// `message` or `text`, if the document has it.
        inputs: BTreeMap<String, String>,
    },
    /// It is answered at once, without a task: CEL that gives a text, an object or a list.
    Answer(String),
}

impl Default for A2aConfig {
    fn default() -> Self {
        Self {
            name: "Planwire".into(),
            description: "Runs plans and reports each step as it happens; what happened is never lost."
                .into(),
            version: env!("CARGO_PKG_VERSION").into(),
            url: None,
            documentation_url: None,
            icon_url: None,
            provider: None,
            extension_required: false,
            routes: Vec::new(),
        }
    }
}
