//! Which files a call would touch. All tools of files name them alike: `root`, `path`, `paths`, `recursive`.

use std::path::Path;

use planwire_event::vocabulary::Object;
use serde_json::Value;

use super::root::given;
use crate::policy::reach::Below;
use crate::policy::{Place, Reach};

pub(super) fn of(arguments: &Object, folder: &Path) -> Reach {
    let Some(root) = arguments.get("root").and_then(Value::as_str) else { return Reach::default() };
    let root = folder.join(root);
    let below = match arguments.get("recursive") {
        Some(Value::Bool(true)) => Below::Everything,
        _ => Below::Nothing,
    };
    let several = arguments.get("paths").and_then(Value::as_array);
    let one = arguments.get("path");
    let named = several.into_iter().flatten().chain(one).filter_map(Value::as_str);
    let mut places: Vec<Place> = named.map(|path| Place::at(&root.join(given(path)), below)).collect();
    if places.is_empty() {
        places.push(Place::at(&root, below));
    }
    Reach { places, ..Reach::default() }
}
