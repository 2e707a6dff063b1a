//! The page that tells people all there is to set, made of the table of keys.

use std::fmt::Write as _;

use super::Config;
use super::keys::{Entry, FILE_VARIABLE, Form, KEYS, Key, SECTIONS, Section};
use super::layers::toml;

const HEAD: &str = "\
# Configuration

<!-- Written by `planwire config --reference`; a test compares. -->

Planwire needs no configuration. What is to be otherwise is said in one TOML file, in environment variables, or by
flags. A variable is stronger than the file, and a flag is stronger than both. `planwire config` prints what holds, and
where each value comes from; with `serve`'s flags it prints what `serve` would do.

The file is the one that `--config FILE` names, else the one that `{FILE}` names, else
`$XDG_CONFIG_HOME/planwire/planwire.toml` (`~/.config/planwire/planwire.toml`) if there is one. Files in the working
folder are not looked at, since they may be somebody else's. `--config /dev/null` means no file.

- Unknown keys and values that do not fit are errors, with line and column; `PLANWIRE_SERVER_..` variables and the
  like that set nothing are warnings. `planwire config --check` checks all that `serve` checks at its start: also
  documents, routes and secrets.
- Relative paths in the file start at the folder of the file; in variables and flags, at the working folder.
- A variable that is empty counts as not set. Lists are written with commas between their elements.
- All sizes and times are whole numbers of the unit that the table names.

";

const EXAMPLE: &str = "\
## Example

```toml
data = \"/var/lib/planwire\"

[server]
listen = \"127.0.0.1:7420\"

[engine]
plans = \"plans\"

[engine.secrets]
TOKEN = { env = \"GITHUB_TOKEN\" }

[mcp.servers.git]
command = \"mcp-server-git\"

[a2a]
name = \"Folder inspector\"

[[a2a.routes]]
when = \"message.text.startsWith('ping')\"
answer = \"'pong'\"

[[a2a.routes]]
plan = \"inspect\"
inputs = { folder = \"message.data.folder\" }
```
";

/// The page, as Markdown.
pub(crate) fn page() -> String {
    let mut page = HEAD.replace("{FILE}", FILE_VARIABLE);
    for section in SECTIONS {
        write_section(&mut page, section);
    }
    page.push_str(EXAMPLE);
    page
}

fn write_section(page: &mut String, section: &Section) {
    // Writing to a String cannot fail.
    let _ = match (section.form, section.name) {
        (_, "") => writeln!(page, "## Top of the file\n"),
        (Form::Listed(_), name) => writeln!(page, "## `[[{name}]]`\n"),
        (_, name) => writeln!(page, "## `[{name}]`\n"),
    };
    if !section.about.is_empty() {
        let _ = writeln!(page, "{}\n", section.about);
    }
    match section.form {
        Form::Keys => write_keys(page, section.name),
        Form::Named(entries) | Form::Listed(entries) => write_entries(page, entries),
    }
    page.push('\n');
}

fn write_keys(page: &mut String, section: &str) {
    page.push_str("| key | takes | default | variable, flag | |\n|---|---|---|---|---|\n");
    let mut config = Config::default();
    for key in KEYS.iter().filter(|key| key.split().0 == section) {
        let default = key
            .otherwise
            .map(str::to_owned)
            .or_else(|| toml(&key.slot.show(&mut config)).map(|value| format!("`{value}`")));
        let flag = key.flag.map_or_else(String::new, |flag| format!(", `{flag}`"));
        let _ = writeln!(
            page,
            "| `{}` | {} | {} | `{}`{flag} | {} |",
            key.split().1,
            key.slot.takes(),
            default.as_deref().unwrap_or("none"),
            Key::variable(key),
            key.about
        );
    }
}

fn write_entries(page: &mut String, entries: &[Entry]) {
    page.push_str("| key | takes | |\n|---|---|---|\n");
    for entry in entries {
        let _ = writeln!(page, "| `{}` | {} | {} |", entry.name, entry.takes, entry.about);
    }
}
