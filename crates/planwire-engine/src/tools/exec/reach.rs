//! Which program a call would start, where, and what else of the document would steer it: found as the program will be
//! found.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use planwire_event::vocabulary::Object;
use rustix::fs::{Access, access};
use serde_json::Value;

use crate::policy::reach::Below;
use crate::policy::{Place, Program, Reach};

/// Where programs are looked for if nothing says it.
const PATH_DEFAULT: &str = "/bin:/usr/bin";

pub(super) fn of(arguments: &Object, folder: &Path) -> Reach {
    let cwd = arguments.get("cwd").and_then(Value::as_str);
    let folder = cwd.map_or_else(|| folder.to_path_buf(), |cwd| folder.join(cwd));
    let input = arguments.get("stdin").filter(|text| !text.is_null());
    // A relative one stays below the working folder.
    let away = cwd.filter(|cwd| Path::new(cwd).is_absolute());
    let named = arguments.get("argv").and_then(|argv| argv.get(0)).and_then(Value::as_str);
    let own =
        arguments.get("env").and_then(|env| env.get("PATH")).and_then(Value::as_str).map(OsString::from);
    let path = own.or_else(|| std::env::var_os("PATH")).unwrap_or_else(|| PATH_DEFAULT.into());
    let found = named.filter(|named| !named.is_empty()).and_then(|named| find(named, &folder, &path));
    Reach {
        programs: found.iter().map(|path| Program::at(path)).collect(),
        places: vec![Place::at(&folder, Below::Nothing)],
        variables: arguments
            .get("env")
            .and_then(Value::as_object)
            .into_iter()
            .flat_map(Object::keys)
            .cloned()
            .collect(),
        steering: [input.map(|_| "stdin"), away.map(|_| "cwd")].into_iter().flatten().collect(),
        ..Reach::default()
    }
}

/// The file that a name means to a process in `folder`; none if there is none that can be run.
fn find(named: &str, folder: &Path, path: &OsStr) -> Option<PathBuf> {
    if named.contains('/') {
        return Some(folder.join(named));
    }
    // An empty entry is the folder itself.
    std::env::split_paths(path).map(|entry| folder.join(entry).join(named)).find(|file| can_be_run(file))
}

fn can_be_run(file: &Path) -> bool {
    file.is_file() && access(file, Access::EXEC_OK).is_ok()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn program_is_found_as_a_process_finds_it() {
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path();
        for (name, mode) in [("a/run", 0o644), ("b/run", 0o755), ("run", 0o755)] {
            let file = at.join(name);
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(&file, "").unwrap();
            std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).unwrap();
        }
        std::fs::create_dir_all(at.join("c/run")).unwrap();
        let found = |named: &str, path: &str| find(named, at, OsStr::new(path));
        assert_eq!(found("run", "nowhere:c:a:b"), Some(at.join("b/run")));
        assert_eq!(found("run", "a::b"), Some(at.join("run")));
        assert_eq!(found("run", "a:c"), None);
        assert_eq!(found("./a/run", "b"), Some(at.join("a/run")));
        assert_eq!(found("/bin/x", "b"), Some("/bin/x".into()));
    }
}
