//! Which file a path means: all links on the way, as the kernel will follow them.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::path::{Component, Path, PathBuf};

/// Links on one way; the kernel follows no more.
const LINKS_MAX: usize = 40;

/// All names of what an absolute path means: as it is written, then one for each link that was followed, then the one
/// without links. What is not there is taken as it is named.
pub(super) fn way(path: &Path) -> Vec<PathBuf> {
    let mut names = Vec::new();
    let mut note = |name: PathBuf| {
        if !names.contains(&name) {
            names.push(name);
        }
    };
    note(plain(path));
    let mut done = PathBuf::from("/");
    let mut ahead: VecDeque<OsString> = parts(path).collect();
    let mut links = 0;
    while let Some(part) = ahead.pop_front() {
        if part == ".." {
            done.pop();
            continue;
        }
        let next = done.join(&part);
        let Some(target) = (links < LINKS_MAX).then(|| next.read_link().ok()).flatten() else {
            done = next;
            continue;
        };
        links += 1;
        if target.is_absolute() {
            done = PathBuf::from("/");
        }
        for part in parts(&target).collect::<Vec<_>>().into_iter().rev() {
            ahead.push_front(part);
        }
        note(plain(&ahead.iter().fold(done.clone(), |path, part| path.join(part))));
    }
    // The last one is what counts, also if it was met before.
    names.retain(|name| *name != done);
    names.push(done);
    names
}

/// The last of [`way`].
pub(super) fn real(path: &Path) -> PathBuf {
    way(path).pop().unwrap_or_else(|| path.to_path_buf())
}

/// Names and `..` of a path.
fn parts(path: &Path) -> impl Iterator<Item = OsString> {
    path.components().filter_map(|part| match part {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
    })
}

/// An absolute path without `.` and `..`, by its text alone.
fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::from("/");
    for part in parts(path) {
        if part == ".." {
            plain.pop();
        } else {
            plain.push(part);
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn way_names_each_link_and_ends_at_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path().canonicalize().unwrap();
        std::fs::create_dir_all(at.join("a/b")).unwrap();
        std::fs::write(at.join("a/b/file"), "").unwrap();
        symlink(at.join("a"), at.join("to-a")).unwrap();
        symlink("../to-a/b/file", at.join("a/to-file")).unwrap();
        let expected: Vec<PathBuf> = ["to-a/to-file", "a/to-file", "to-a/b/file", "a/b/file"]
            .iter()
            .map(|name| at.join(name))
            .collect();
        assert_eq!(way(&at.join("to-a/./to-file")), expected);
        assert_eq!(real(&at.join("to-a/b/../to-file")), at.join("a/b/file"));
        // `..` behind a link leaves the folder that the link leads to.
        symlink(at.join("a/b"), at.join("deep")).unwrap();
        assert_eq!(real(&at.join("deep/../x")), at.join("a/x"));
    }

    #[test]
    fn what_is_not_there_and_what_leads_in_a_circle_has_a_name_too() {
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path().canonicalize().unwrap();
        symlink(at.join("nowhere/file"), at.join("dangling")).unwrap();
        symlink(at.join("circle"), at.join("circle")).unwrap();
        assert_eq!(real(&at.join("dangling")), at.join("nowhere/file"));
        assert_eq!(real(&at.join("new/../other")), at.join("other"));
        assert_eq!(real(&at.join("circle")), at.join("circle"));
        assert_eq!(real(Path::new("/../..")), Path::new("/"));
    }
}
