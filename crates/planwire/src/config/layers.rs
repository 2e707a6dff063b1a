//! Puts the file, the environment and the flags on top of each other, and remembers where each value comes from.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use planwire_engine::document::{Diagnostic, did_you_mean};
use serde_json::Value as Json;

use super::file::{File, Member, Value};
use super::keys::{FILE_VARIABLE, Form, KEYS, Key, SECTIONS, Section, VARIABLE_PREFIX};
use super::slot::{Given, Misfit};
use super::{Config, mcp, models, tables};
use crate::failure::Failure;

/// Problems of one configuration that are told; the rest is counted.
const PROBLEMS_MAX: usize = 50;

/// The variables that are looked at, by name.
pub(crate) type Environment = BTreeMap<String, OsString>;

/// The variables of this process whose names are texts.
pub(crate) fn environment() -> Environment {
    std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value))).collect()
}

/// What the command line sets, by the names of keys.
pub(crate) type Flags = Vec<(&'static str, OsString)>;

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// Nobody said anything.
    Default,
    /// This line of the file.
    File { line: usize },
    /// This environment variable.
    Variable(String),
    /// This flag.
    Flag(&'static str),
}

/// The configuration, and where it comes from.
#[derive(Debug, Default)]
pub(crate) struct Settings {
    /// What holds.
    pub(crate) config: Config,
    /// The file, if there is one.
    pub(crate) file: Option<File>,
    /// What is odd and no error.
    pub(crate) warnings: Vec<String>,
    origins: BTreeMap<&'static str, Origin>,
}

impl Settings {
    /// Reads all layers. `named` comes from `--config`.
    ///
    /// # Errors
    ///
    /// Exit code 2, with all problems and where they are.
    pub(crate) fn load(
        named: Option<&Path>,
        environment: &Environment,
        flags: &Flags,
    ) -> Result<Self, Failure> {
        let mut settings = Self::default();
        let mut problems = Problems::default();
        if let Some(path) = find_file(named, environment) {
            match File::read(&path) {
                Ok(file) => settings.read_file(file, &mut problems),
                Err(why) => return Err(unreadable(&path, named, &why)),
            }
        }
        for key in KEYS {
            let variable = key.variable();
            if let Some(text) = environment.get(&variable).filter(|text| !text.is_empty()) {
                settings.type_in(key, text, &variable, Origin::Variable(variable.clone()), &mut problems);
            }
        }
        for (key, text) in flags {
            let Some((key, flag)) = super::keys::find(key).and_then(|key| Some((key, key.flag?))) else {
                continue;
            };
            settings.type_in(key, text, flag, Origin::Flag(flag), &mut problems);
        }
        settings.check_provider(&mut problems);
        settings.warnings = unknown_variables(environment, &settings.config);
        problems.into_result()?;
        Ok(settings)
    }

    /// Where the value of a key comes from.
    pub(crate) fn origin(&self, key: &Key) -> Origin {
        self.origins.get(key.name).cloned().unwrap_or(Origin::Default)
    }

    /// One without the other would be no provider.
    fn check_provider(&self, problems: &mut Problems) {
        let a2a = &self.config.a2a;
        if a2a.provider_organization.is_some() != a2a.provider_url.is_some() {
            let given = KEYS.iter().filter(|key| key.split().0 == "a2a.provider").map(|key| self.origin(key));
            let place =
                given.filter(|origin| *origin != Origin::Default).map(|origin| self.told(&origin)).next();
            let place = place.unwrap_or_default();
            problems.tell(format!("{place}: error: 'a2a.provider' must have both 'organization' and 'url'"));
        }
    }

    /// Where a value comes from, for people: file and line, or the name of a variable or flag.
    pub(crate) fn told(&self, origin: &Origin) -> String {
        match origin {
            Origin::Default => "default".to_owned(),
            Origin::File { line } => {
                let file = self.file.as_ref().map(|file| file.path.display().to_string());
                format!("{}:{line}", file.unwrap_or_default())
            }
            Origin::Variable(name) => format!("${name}"),
            Origin::Flag(flag) => (*flag).to_owned(),
        }
    }

    fn type_in(&mut self, key: &Key, text: &OsString, by: &str, origin: Origin, problems: &mut Problems) {
        match key.slot.put(&mut self.config, &Given::Typed(text)) {
            Ok(()) => {
                self.origins.insert(key.name, origin);
            }
            Err(misfit) => problems.misfit_typed(key, by, &misfit),
        }
    }

    fn read_file(&mut self, file: File, problems: &mut Problems) {
        match file.parse() {
            Ok(members) => self.read_table(&file, "", &members, problems),
            Err(problem) => problems.push(problem, None),
        }
        self.file = Some(file);
    }

    fn read_table(&mut self, file: &File, section: &str, members: &[Member], problems: &mut Problems) {
        for member in members {
            let name =
                if section.is_empty() { member.name.clone() } else { format!("{section}.{}", member.name) };
            if let Some(key) = super::keys::find(&name) {
                self.read_value(file, key, member, problems);
            } else if let Some(inner) = SECTIONS.iter().find(|inner| inner.name == name) {
                self.read_section(file, inner, member, problems);
            } else if let (true, Value::Table(inner)) = (is_around_sections(&name), &member.node.value) {
                self.read_table(file, &name, inner, problems);
            } else {
                problems.unknown(file, section, member);
            }
        }
    }

    fn read_value(&mut self, file: &File, key: &'static Key, member: &Member, problems: &mut Problems) {
        match key.slot.put(&mut self.config, &Given::Node(&member.node, file.folder())) {
            Ok(()) => {
                self.origins.insert(key.name, Origin::File { line: file.line(member.offset) });
            }
            Err(misfit) if key.slot.may_hold_a_secret() => problems.misfit_unseen(file, key.name, &misfit),
            Err(misfit) => problems.misfit_in(file, key.name, &misfit),
        }
    }

    fn read_section(&mut self, file: &File, section: &Section, member: &Member, problems: &mut Problems) {
        if let Form::Listed(_) = section.form {
            self.config.a2a.routes = tables::routes(file, &member.node, problems);
            return;
        }
        let Value::Table(members) = &member.node.value else {
            let misfit = member.node.misfit("a table");
            problems.misfit_in(file, section.name, &misfit);
            return;
        };
        match section.form {
            Form::Named(_) if section.name == "engine.models" => {
                self.config.engine.models = models::models(file, members, problems);
            }
            Form::Named(_) if section.name == "mcp.servers" => {
                self.config.mcp_servers = mcp::servers(file, members, problems);
            }
            Form::Named(_) => self.config.engine.secrets = tables::secrets(file, members, problems),
            _ => self.read_table(file, section.name, members, problems),
        }
    }
}

/// The file that is read: the named one, else the usual one if it is there.
fn find_file(named: Option<&Path>, environment: &Environment) -> Option<PathBuf> {
    let variable = |name: &str| environment.get(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    if let Some(path) = named.map(Path::to_path_buf).or_else(|| variable(FILE_VARIABLE)) {
        return Some(path);
    }
    // The XDG specification says that a relative path is to be ignored.
    let xdg = variable("XDG_CONFIG_HOME").filter(|path| path.is_absolute());
    let folder = xdg.or_else(|| variable("HOME").map(|home| home.join(".config")));
    folder.map(|folder| folder.join("planwire/planwire.toml")).filter(|path| path.exists())
}

fn unreadable(path: &Path, named: Option<&Path>, why: &str) -> Failure {
    let by = if named.is_some() { "--config" } else { FILE_VARIABLE };
    Failure::usage(why)
        .context(format!("failed to read the configuration {}", path.display()))
        .hint(format!("name another file with {by}; /dev/null is an empty one"))
}

/// Variables that look like keys and are none. No errors: others set such names too, as Kubernetes does for services.
fn unknown_variables(environment: &Environment, config: &Config) -> Vec<String> {
    let known: Vec<String> = KEYS.iter().map(Key::variable).collect();
    let is_secret = |name: &String| {
        let holds = |secret: &tables::Secret| secret.from == tables::SecretFrom::Variable(name.clone());
        config.engine.secrets.iter().any(holds)
    };
    let sections = SECTIONS.iter().filter(|section| !section.name.is_empty() && !section.name.contains('.'));
    let prefixes: Vec<String> =
        sections.map(|section| format!("{VARIABLE_PREFIX}{}_", section.name.to_ascii_uppercase())).collect();
    let names = environment.keys().filter(|name| prefixes.iter().any(|prefix| name.starts_with(prefix)));
    let unknown = names.filter(|name| !known.contains(name) && !is_secret(name));
    let tell = |name: &String| match did_you_mean(name, known.iter().map(String::as_str), "variables") {
        Some(hint) if hint.starts_with("did") => format!("environment variable {name} sets nothing; {hint}"),
        _ => format!("environment variable {name} sets nothing"),
    };
    unknown.map(tell).collect()
}

/// What is wrong with a configuration.
#[derive(Debug, Default)]
pub(crate) struct Problems {
    told: Vec<String>,
    left_out: usize,
}

impl Problems {
    /// Adds a problem of a file.
    pub(crate) fn push(&mut self, mut problem: Diagnostic, hint: Option<String>) {
        problem.hint = hint;
        self.tell(problem.to_string());
    }

    /// Problems so far.
    pub(crate) const fn len(&self) -> usize {
        self.told.len() + self.left_out
    }

    /// Adds a key of a table that has only `known` ones.
    pub(crate) fn unknown_key<'a>(
        &mut self,
        file: &File,
        member: &Member,
        place: &str,
        known: impl IntoIterator<Item = &'a str>,
    ) {
        let name = super::file::quoted(&member.name);
        let problem = file.problem(member.offset, &format!("{place} has no key {name}"));
        self.push(problem, did_you_mean(&member.name, known, "keys"));
    }

    /// Adds a value that does not fit.
    pub(crate) fn misfit_in(&mut self, file: &File, name: &str, misfit: &Misfit) {
        let message = format!("'{name}' must be {}, not {}", misfit.wanted, misfit.found);
        self.push(file.problem(misfit.offset, &message), None);
    }

    /// As [`Problems::misfit_in`], without the line: a secret may stand in it.
    fn misfit_unseen(&mut self, file: &File, name: &str, misfit: &Misfit) {
        let message = format!("'{name}' must be {}, not {}", misfit.wanted, misfit.found);
        let mut problem = file.problem(misfit.offset, &message);
        problem.source_line = None;
        self.push(problem, None);
    }

    fn misfit_typed(&mut self, key: &Key, by: &str, misfit: &Misfit) {
        let listed = if key.slot.is_list() { " (commas between several)" } else { "" };
        let (wanted, found) = (&misfit.wanted, &misfit.found);
        self.tell(format!("{by}: error: '{}' must be {wanted}{listed}, not {found}", key.name));
    }

    fn unknown(&mut self, file: &File, section: &str, member: &Member) {
        let here = |name: &'static str| match name.rsplit_once('.') {
            Some((of, name)) => (of == section).then_some(name),
            None => section.is_empty().then_some(name),
        };
        let names = KEYS.iter().map(|key| key.name).chain(SECTIONS.iter().map(|inner| inner.name));
        let known: Vec<&str> = names.filter(|name| !name.is_empty()).filter_map(here).collect();
        let elsewhere = KEYS.iter().find(|key| key.split().1 == member.name);
        if let Some(key) = elsewhere.filter(|_| !known.contains(&member.name.as_str())) {
            let place =
                if section.is_empty() { "the top of the file".to_owned() } else { format!("[{section}]") };
            let problem = file.problem(member.offset, &format!("{place} has no key '{}'", member.name));
            return self.push(problem, Some(format!("it belongs to {}: '{}'", section_of(key), key.name)));
        }
        let place =
            if section.is_empty() { "the top of the file".to_owned() } else { format!("[{section}]") };
        self.unknown_key(file, member, &place, known);
    }

    fn tell(&mut self, text: String) {
        if self.told.len() < PROBLEMS_MAX {
            self.told.push(text);
        } else {
            self.left_out += 1;
        }
    }

    /// Nothing, or all problems.
    ///
    /// # Errors
    ///
    /// Exit code 2 if there are any.
    pub(crate) fn into_result(mut self) -> Result<(), Failure> {
        if self.left_out > 0 {
            self.told.push(format!(".. and {} more", self.left_out));
        }
        if self.told.is_empty() { Ok(()) } else { Err(Failure::document(self.told.join("\n"))) }
    }
}

/// Whether there are sections within one of this name, which is none itself.
fn is_around_sections(name: &str) -> bool {
    SECTIONS.iter().any(|section| section.name.strip_prefix(name).is_some_and(|rest| rest.starts_with('.')))
}

fn section_of(key: &Key) -> String {
    match key.split().0 {
        "" => "the top of the file".to_owned(),
        section => format!("[{section}]"),
    }
}

/// The value of a key as TOML writes it; none if there is none.
pub(crate) fn toml(value: &Json) -> Option<String> {
    // JSON escapes what TOML wants escaped, except for DEL.
    (!value.is_null()).then(|| value.to_string().replace('\u{7f}', "\\u007f"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> (Settings, Result<(), Failure>) {
        let (mut settings, mut problems) = (Settings::default(), Problems::default());
        settings.read_file(File::of_text(text), &mut problems);
        (settings, problems.into_result())
    }

    #[test]
    fn file_that_is_cut_or_changed_anywhere_is_read_or_refused() {
        let page = crate::config::reference::page();
        let example = page.split("```toml\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
        assert!(read(example).1.is_ok());
        for at in 0..example.len() {
            for change in ["", "é", "'", "\"", "[", "=", "\n", "\0", "1"] {
                let text = format!(
                    "{}{change}{}",
                    &example[..at],
                    &example[at + usize::from(at.is_multiple_of(2))..]
                );
                if let (_, Err(refused)) = read(&text) {
                    assert!(refused.to_string().starts_with("/conf/planwire.toml:"), "{refused}");
                }
            }
        }
    }

    #[test]
    fn problems_beyond_the_limit_are_counted() {
        let text: String = (0..PROBLEMS_MAX + 3).map(|at| format!("key{at} = 1\n")).collect();
        let refused = read(&text).1.unwrap_err().to_string();
        assert!(refused.ends_with("\n.. and 3 more"), "{refused}");
        assert_eq!(refused.matches(": error: ").count(), PROBLEMS_MAX);
    }
}
