//! A list with keys and a limit, in order of first appearance.

use std::collections::HashMap;
use std::ops::Deref;

use serde::{Serialize, Serializer};

/// Entries in order of first appearance, found by their key; written as a JSON array.
#[derive(Clone, Debug)]
pub struct Kept<T> {
    items: Vec<T>,
    places: HashMap<String, usize>,
}

impl<T> Default for Kept<T> {
    fn default() -> Self {
        Self { items: Vec::new(), places: HashMap::new() }
    }
}

impl<T> Kept<T> {
    /// The entry of `key`, if it is kept.
    #[must_use]
    pub fn named(&self, key: &str) -> Option<&T> {
        self.places.get(key).map(|place| &self.items[*place])
    }

    pub(super) fn named_mut(&mut self, key: &str) -> Option<&mut T> {
        self.places.get(key).map(|place| &mut self.items[*place])
    }

    /// The entry of `key`, made by `new` if there is none; none if there is no room for it.
    pub(super) fn named_or(&mut self, key: &str, max: usize, new: impl FnOnce() -> T) -> Option<&mut T> {
        let place = match self.places.get(key) {
            Some(place) => *place,
            None if self.items.len() >= max => return None,
            None => {
                self.places.insert(key.to_owned(), self.items.len());
                self.items.push(new());
                self.items.len() - 1
            }
        };
        self.items.get_mut(place)
    }

    /// The place of `key`, which never changes.
    pub(super) fn place(&self, key: &str) -> Option<usize> {
        self.places.get(key).copied()
    }

    pub(super) fn get_mut(&mut self, place: usize) -> Option<&mut T> {
        self.items.get_mut(place)
    }

    pub(super) fn iter_mut(&mut self) -> std::slice::IterMut<'_, T> {
        self.items.iter_mut()
    }
}

impl<T> Deref for Kept<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.items
    }
}

impl<'a, T> IntoIterator for &'a Kept<T> {
    type Item = &'a T;
    type IntoIter = std::slice::Iter<'a, T>;

    fn into_iter(self) -> Self::IntoIter {
        self.items.iter()
    }
}

impl<T: PartialEq> PartialEq for Kept<T> {
    fn eq(&self, other: &Self) -> bool {
        self.items == other.items
    }
}

impl<T: Serialize> Serialize for Kept<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.items.serialize(serializer)
    }
}
