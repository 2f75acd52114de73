//! Things by number. Numbers are given once and never again: what is late finds nobody, and never another.

use std::collections::BTreeMap;
use std::ops::{Index, IndexMut};

/// Gives numbers, each once.
#[derive(Debug, Default)]
pub struct Numbers(usize);

impl Numbers {
    pub fn give(&mut self) -> usize {
        self.0 += 1;
        self.0 - 1
    }
}

/// What there is of each number; of those that have gone, nothing.
#[derive(Debug)]
pub struct Numbered<T>(BTreeMap<usize, T>);

impl<T> Default for Numbered<T> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<T> Numbered<T> {
    pub fn get(&self, number: usize) -> Option<&T> {
        self.0.get(&number)
    }

    pub fn get_mut(&mut self, number: usize) -> Option<&mut T> {
        self.0.get_mut(&number)
    }

    pub fn insert(&mut self, number: usize, thing: T) {
        self.0.insert(number, thing);
    }

    pub fn remove(&mut self, number: usize) -> Option<T> {
        self.0.remove(&number)
    }

    pub fn retain(&mut self, keep: impl Fn(&T) -> bool) {
        self.0.retain(|_, thing| keep(thing));
    }

    pub fn extend(&mut self, things: impl IntoIterator<Item = (usize, T)>) {
        self.0.extend(things);
    }

    /// In their order, which is that of their coming.
    pub fn iter(&self) -> impl Iterator<Item = (usize, &T)> {
        self.0.iter().map(|(number, thing)| (*number, thing))
    }

    pub fn values(&self) -> impl Iterator<Item = &T> {
        self.0.values()
    }

    /// The numbers, to go through while things change.
    pub fn numbers(&self) -> Vec<usize> {
        self.0.keys().copied().collect()
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }
}

impl<T> FromIterator<(usize, T)> for Numbered<T> {
    fn from_iter<I: IntoIterator<Item = (usize, T)>>(things: I) -> Self {
        Self(things.into_iter().collect())
    }
}

/// Of a number that is known to be there: who works with one has it from the thing itself, or from a message that came
/// before the thing went.
impl<T> Index<usize> for Numbered<T> {
    type Output = T;

    fn index(&self, number: usize) -> &T {
        &self.0[&number]
    }
}

impl<T> IndexMut<usize> for Numbered<T> {
    fn index_mut(&mut self, number: usize) -> &mut T {
        self.0.get_mut(&number).expect("it has not gone")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_never_given_again() {
        let (mut numbers, mut things) = (Numbers::default(), Numbered::default());
        let [a, b] = [numbers.give(), numbers.give()];
        things.extend([(a, "a"), (b, "b")]);
        assert_eq!((things.remove(a), things.get(a)), (Some("a"), None));
        let c = numbers.give();
        things.insert(c, "c");
        assert!(c != a && things.get(a).is_none());
        assert_eq!((things.numbers(), things[c]), (vec![b, c], "c"));
    }
}
