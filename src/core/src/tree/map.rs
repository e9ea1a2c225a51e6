//! Maps: two columns of the same shape.

use super::column::{Column, IntoIter, Iter, Place};
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde::ser::{Serialize, Serializer};
use std::borrow::Borrow;
use std::fmt;
use std::marker::PhantomData;
use std::ops::RangeBounds;

/// A map by key, in the keys' order.
#[derive(Clone)]
pub struct BTreeMap<K, V> {
    keys: Column<K>,
    values: Column<V>,
}

impl<K, V> BTreeMap<K, V> {
    /// An empty one; it takes no memory.
    #[must_use]
    pub const fn new() -> Self {
        Self { keys: Column::new(), values: Column::new() }
    }

    /// How many entries there are: counted, a step for each sixteen.
    #[must_use]
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.keys.0.is_empty()
    }

    /// Takes out everything.
    pub fn clear(&mut self) {
        self.keys.0.clear();
        self.values.0.clear();
    }

    /// All entries, by key.
    #[must_use]
    pub fn iter(&self) -> Entries<'_, K, V> {
        Entries { keys: self.keys.iter(), values: self.values.iter() }
    }

    /// The same, the values to be changed.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (&K, &mut V)> {
        self.keys.iter().zip(self.values.0.iter_mut().flatten())
    }

    /// All keys, in their order.
    #[must_use]
    pub fn keys(&self) -> Iter<'_, K> {
        self.keys.iter()
    }

    /// All values, by key.
    #[must_use]
    pub fn values(&self) -> Iter<'_, V> {
        self.values.iter()
    }

    /// The same, to be changed.
    pub fn values_mut(&mut self) -> impl DoubleEndedIterator<Item = &mut V> {
        self.values.0.iter_mut().flatten()
    }

    /// All keys, without the values.
    pub fn into_keys(self) -> IntoIter<K> {
        self.keys.0.into_iter().flatten()
    }

    /// All values, without the keys.
    pub fn into_values(self) -> IntoIter<V> {
        self.values.0.into_iter().flatten()
    }

    fn at(&self, place: Place) -> Option<(&K, &V)> {
        Some((self.keys.get(place)?, self.values.get(place)?))
    }

    fn take(&mut self, place: Place) -> (K, V) {
        (self.keys.take(place), self.values.take(place))
    }

    /// What is under the least key.
    #[must_use]
    pub fn first_key_value(&self) -> Option<(&K, &V)> {
        self.at(Place { list: 0, at: 0 })
    }

    /// What is under the greatest key.
    #[must_use]
    pub fn last_key_value(&self) -> Option<(&K, &V)> {
        self.iter().next_back()
    }

    /// Takes out what is under the least key.
    pub fn pop_first(&mut self) -> Option<(K, V)> {
        (!self.is_empty()).then(|| self.take(Place { list: 0, at: 0 }))
    }

    /// Takes out everything of which `keep` says no.
    pub fn retain(&mut self, mut keep: impl FnMut(&K, &mut V) -> bool) {
        for list in 0..self.keys.0.len() {
            let mut kept = 0;
            let entries = self.keys.0[list].iter().zip(&mut self.values.0[list]);
            entries.enumerate().for_each(|(at, (key, value))| kept |= u32::from(keep(key, value)) << at);
            self.keys.keep(list, kept);
            self.values.keep(list, kept);
        }
        self.keys.join();
        self.values.join();
    }
}

#[cfg(test)]
impl<K, V> BTreeMap<K, V> {
    pub(super) const fn columns(&self) -> (&Column<K>, &Column<V>) {
        (&self.keys, &self.values)
    }
}

impl<K: Ord, V> BTreeMap<K, V> {
    /// What is under a key.
    #[must_use]
    pub fn get<Q: Ord + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        self.values.get(self.keys.find(key).ok()?)
    }

    /// The same, to be changed.
    pub fn get_mut<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<&mut V>
    where
        K: Borrow<Q>,
    {
        self.values.get_mut(self.keys.find(key).ok()?)
    }

    /// The same, with the key that is in the map.
    #[must_use]
    pub fn get_key_value<Q: Ord + ?Sized>(&self, key: &Q) -> Option<(&K, &V)>
    where
        K: Borrow<Q>,
    {
        self.at(self.keys.find(key).ok()?)
    }

    /// Whether there is anything under a key.
    #[must_use]
    pub fn contains_key<Q: Ord + ?Sized>(&self, key: &Q) -> bool
    where
        K: Borrow<Q>,
    {
        self.keys.find(key).is_ok()
    }

    /// Puts a value under a key; gives back what was there.
    pub fn insert(&mut self, key: K, value: V) -> Option<V> {
        match self.keys.find(&key) {
            Ok(place) => self.values.get_mut(place).map(|there| std::mem::replace(there, value)),
            Err(place) => {
                self.keys.put(place, key);
                self.values.put(place, value);
                None
            }
        }
    }

    /// Takes out what is under a key.
    pub fn remove<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        self.keys.find(key).ok().map(|place| self.take(place).1)
    }

    /// A key's place, whether anything is there or not.
    pub fn entry(&mut self, key: K) -> Entry<'_, K, V> {
        Entry { found: self.keys.find(&key), map: self, key }
    }

    /// All within a range of keys.
    pub fn range<Q: Ord + ?Sized, R: RangeBounds<Q>>(&self, range: R) -> Entries<'_, K, V>
    where
        K: Borrow<Q>,
    {
        let (from, to) = self.keys.range(&range);
        Entries { keys: self.keys.between(from, to), values: self.values.between(from, to) }
    }

    /// Takes everything out of the other and puts it in.
    pub fn append(&mut self, other: &mut Self) {
        self.extend(std::mem::take(other));
    }
}

/// A key's place in a map, whether anything is there or not.
pub struct Entry<'a, K, V> {
    map: &'a mut BTreeMap<K, V>,
    key: K,
    found: Result<Place, Place>,
}

impl<'a, K: Ord, V> Entry<'a, K, V> {
    /// The key.
    #[must_use]
    pub const fn key(&self) -> &K {
        &self.key
    }

    /// Changes what is there.
    pub fn and_modify(self, change: impl FnOnce(&mut V)) -> Self {
        self.found.ok().and_then(|place| self.map.values.get_mut(place)).map(change);
        self
    }

    /// What is there; where there is nothing, what `make` gives is put there first.
    pub fn or_insert_with(self, make: impl FnOnce() -> V) -> &'a mut V {
        let place = self.found.unwrap_or_else(|place| {
            self.map.values.put(place, make());
            self.map.keys.put(place, self.key)
        });
        &mut self.map.values.0[place.list][place.at]
    }

    /// The same with a value that is there.
    pub fn or_insert(self, value: V) -> &'a mut V {
        self.or_insert_with(|| value)
    }

    /// The same with its type's first value.
    pub fn or_default(self) -> &'a mut V
    where
        V: Default,
    {
        self.or_insert_with(V::default)
    }
}

/// The entries of a map, by key.
pub struct Entries<'a, K, V> {
    keys: Iter<'a, K>,
    values: Iter<'a, V>,
}

impl<K, V> Clone for Entries<'_, K, V> {
    fn clone(&self) -> Self {
        Self { keys: self.keys.clone(), values: self.values.clone() }
    }
}

impl<'a, K, V> Iterator for Entries<'a, K, V> {
    type Item = (&'a K, &'a V);
    fn next(&mut self) -> Option<Self::Item> {
        Some((self.keys.next()?, self.values.next()?))
    }
}

impl<K, V> DoubleEndedIterator for Entries<'_, K, V> {
    fn next_back(&mut self) -> Option<Self::Item> {
        Some((self.keys.next_back()?, self.values.next_back()?))
    }
}

// How they came to be says which lists they are in, and that makes no difference.
impl<K: PartialEq, V: PartialEq> PartialEq for BTreeMap<K, V> {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl<K: Eq, V: Eq> Eq for BTreeMap<K, V> {}

impl<K, V> Default for BTreeMap<K, V> {
    fn default() -> Self {
        Self::new()
    }
}

impl<K: fmt::Debug, V: fmt::Debug> fmt::Debug for BTreeMap<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

impl<K: Ord, V> Extend<(K, V)> for BTreeMap<K, V> {
    fn extend<I: IntoIterator<Item = (K, V)>>(&mut self, entries: I) {
        for (key, value) in entries {
            self.insert(key, value);
        }
    }
}

impl<K: Ord, V> FromIterator<(K, V)> for BTreeMap<K, V> {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(entries: I) -> Self {
        let mut map = Self::new();
        map.extend(entries);
        map
    }
}

impl<K: Ord, V, const N: usize> From<[(K, V); N]> for BTreeMap<K, V> {
    fn from(entries: [(K, V); N]) -> Self {
        entries.into_iter().collect()
    }
}

impl<K, V> IntoIterator for BTreeMap<K, V> {
    type Item = (K, V);
    type IntoIter = std::iter::Zip<IntoIter<K>, IntoIter<V>>;
    fn into_iter(self) -> Self::IntoIter {
        self.keys.0.into_iter().flatten().zip(self.values.0.into_iter().flatten())
    }
}

impl<'a, K, V> IntoIterator for &'a BTreeMap<K, V> {
    type Item = (&'a K, &'a V);
    type IntoIter = Entries<'a, K, V>;
    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl<'a, K, V> IntoIterator for &'a mut BTreeMap<K, V> {
    type Item = (&'a K, &'a mut V);
    type IntoIter = std::iter::Zip<Iter<'a, K>, std::iter::Flatten<std::slice::IterMut<'a, Vec<V>>>>;
    fn into_iter(self) -> Self::IntoIter {
        self.keys.iter().zip(self.values.0.iter_mut().flatten())
    }
}

impl<Q: Ord + ?Sized, K: Ord + Borrow<Q>, V> std::ops::Index<&Q> for BTreeMap<K, V> {
    type Output = V;
    fn index(&self, key: &Q) -> &V {
        let place = self.keys.find(key).unwrap_or_else(|_| self.keys.end());
        &self.values.0[place.list][place.at]
    }
}

impl<K: Serialize, V: Serialize> Serialize for BTreeMap<K, V> {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_map(self.iter())
    }
}

impl<'de, K: Ord + Deserialize<'de>, V: Deserialize<'de>> Deserialize<'de> for BTreeMap<K, V> {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct Map<K, V>(PhantomData<(K, V)>);
        impl<'de, K: Ord + Deserialize<'de>, V: Deserialize<'de>> Visitor<'de> for Map<K, V> {
            type Value = BTreeMap<K, V>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Self::Value, A::Error> {
                let mut map = BTreeMap::new();
                while let Some((key, value)) = entries.next_entry()? {
                    map.insert(key, value);
                }
                Ok(map)
            }
        }
        d.deserialize_map(Map(PhantomData))
    }
}
