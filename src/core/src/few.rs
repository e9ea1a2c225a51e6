//! Maps and sets of a few entries, of which there are thousands: an account's devices, a device's addresses.
//!
//! A `BTreeMap` with one entry holds a node with room for eleven. These are sorted slices with room for what is in them alone, and
//! are read and stored as those of the standard library are. Each change of their length moves them: for many entries they are slow.

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::ser::{Serialize, Serializer};
use std::fmt;
use std::marker::PhantomData;

/// A map of a few entries, by key.
#[derive(Clone, PartialEq, Eq)]
pub struct FewMap<K, V>(Box<[(K, V)]>);

/// A set of a few values, in their order.
#[derive(Clone, PartialEq, Eq)]
pub struct FewSet<T>(FewMap<T, ()>);

impl<K: Ord, V> FewMap<K, V> {
    /// An empty one; it takes no memory.
    #[must_use]
    pub fn new() -> Self {
        Self(Box::default())
    }

    /// How many entries there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Where a key is, or where it belongs.
    fn find(&self, key: &K) -> Result<usize, usize> {
        self.0.binary_search_by(|(other, _)| other.cmp(key))
    }

    /// Changes which entries there are. Only as much memory is kept as they need.
    fn refit<T>(&mut self, change: impl FnOnce(&mut Vec<(K, V)>) -> T) -> T {
        let mut entries = std::mem::take(&mut self.0).into_vec();
        let done = change(&mut entries);
        self.0 = entries.into_boxed_slice();
        done
    }

    fn put(&mut self, at: usize, key: K, value: V) {
        self.refit(|entries| {
            entries.reserve_exact(1);
            entries.insert(at, (key, value));
        });
    }

    /// What is under a key.
    #[must_use]
    pub fn get(&self, key: &K) -> Option<&V> {
        self.find(key).ok().and_then(|at| self.0.get(at)).map(|(_, value)| value)
    }

    /// The same, to be changed.
    pub fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        self.find(key).ok().and_then(|at| self.0.get_mut(at)).map(|(_, value)| value)
    }

    /// Whether there is anything under a key.
    #[must_use]
    pub fn contains_key(&self, key: &K) -> bool {
        self.find(key).is_ok()
    }

    /// What is under a key; where there is nothing, what `make` gives is put there first.
    pub fn get_or_insert_with(&mut self, key: K, make: impl FnOnce() -> V) -> &mut V {
        let at = self.find(&key).unwrap_or_else(|at| {
            self.put(at, key, make());
            at
        });
        &mut self.0[at].1
    }

    /// Puts a value under a key; gives back what was there.
    pub fn insert(&mut self, key: K, value: V) -> Option<V> {
        match self.find(&key) {
            Ok(at) => Some(std::mem::replace(&mut self.0[at].1, value)),
            Err(at) => {
                self.put(at, key, value);
                None
            }
        }
    }

    /// Takes out what is under a key.
    pub fn remove(&mut self, key: &K) -> Option<V> {
        self.find(key).ok().map(|at| self.refit(|entries| entries.remove(at).1))
    }

    /// Takes out everything of which `keep` says no.
    pub fn retain(&mut self, mut keep: impl FnMut(&K, &mut V) -> bool) {
        self.refit(|entries| entries.retain_mut(|(key, value)| keep(key, value)));
    }

    /// Takes out everything.
    pub fn clear(&mut self) {
        *self = Self::new();
    }

    /// All entries, by key.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (&K, &V)> + Clone {
        self.0.iter().map(|(key, value)| (key, value))
    }

    /// All keys, in their order.
    pub fn keys(&self) -> impl DoubleEndedIterator<Item = &K> + Clone {
        self.0.iter().map(|(key, _)| key)
    }

    /// All values, by key.
    pub fn values(&self) -> impl DoubleEndedIterator<Item = &V> + Clone {
        self.0.iter().map(|(_, value)| value)
    }

    /// The same, to be changed.
    pub fn values_mut(&mut self) -> impl DoubleEndedIterator<Item = &mut V> {
        self.0.iter_mut().map(|(_, value)| value)
    }

    /// All keys, in their order, without the values.
    pub fn into_keys(self) -> impl DoubleEndedIterator<Item = K> {
        self.into_iter().map(|(key, _)| key)
    }
}

impl<T: Ord> FewSet<T> {
    /// An empty one; it takes no memory.
    #[must_use]
    pub fn new() -> Self {
        Self(FewMap::new())
    }

    /// How many values there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether a value is in it.
    #[must_use]
    pub fn contains(&self, value: &T) -> bool {
        self.0.contains_key(value)
    }

    /// Puts a value in; tells whether it was not in it before.
    pub fn insert(&mut self, value: T) -> bool {
        self.0.insert(value, ()).is_none()
    }

    /// Takes a value out; tells whether it was in it.
    pub fn remove(&mut self, value: &T) -> bool {
        self.0.remove(value).is_some()
    }

    /// All values, in their order.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &T> + Clone {
        self.0.keys()
    }
}

impl<K: Ord, V> Default for FewMap<K, V> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: Ord> Default for FewSet<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<K: Ord + fmt::Debug, V: fmt::Debug> fmt::Debug for FewMap<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

impl<T: Ord + fmt::Debug> fmt::Debug for FewSet<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

impl<K: Ord, V> Extend<(K, V)> for FewMap<K, V> {
    fn extend<I: IntoIterator<Item = (K, V)>>(&mut self, entries: I) {
        entries.into_iter().for_each(|(key, value)| drop(self.insert(key, value)));
    }
}

impl<T: Ord> Extend<T> for FewSet<T> {
    fn extend<I: IntoIterator<Item = T>>(&mut self, values: I) {
        self.0.extend(values.into_iter().map(|value| (value, ())));
    }
}

impl<K: Ord, V> FromIterator<(K, V)> for FewMap<K, V> {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(entries: I) -> Self {
        let mut map = Self::new();
        map.extend(entries);
        map
    }
}

impl<T: Ord> FromIterator<T> for FewSet<T> {
    fn from_iter<I: IntoIterator<Item = T>>(values: I) -> Self {
        let mut set = Self::new();
        set.extend(values);
        set
    }
}

impl<K: Ord, V, const N: usize> From<[(K, V); N]> for FewMap<K, V> {
    fn from(entries: [(K, V); N]) -> Self {
        entries.into_iter().collect()
    }
}

impl<T: Ord, const N: usize> From<[T; N]> for FewSet<T> {
    fn from(values: [T; N]) -> Self {
        values.into_iter().collect()
    }
}

impl<K, V> IntoIterator for FewMap<K, V> {
    type Item = (K, V);
    type IntoIter = std::vec::IntoIter<(K, V)>;
    fn into_iter(self) -> Self::IntoIter {
        self.0.into_vec().into_iter()
    }
}

impl<T> IntoIterator for FewSet<T> {
    type Item = T;
    type IntoIter = std::iter::Map<std::vec::IntoIter<(T, ())>, fn((T, ())) -> T>;
    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter().map(|(value, ())| value)
    }
}

impl<'a, T> IntoIterator for &'a FewSet<T> {
    type Item = &'a T;
    type IntoIter = std::iter::Map<std::slice::Iter<'a, (T, ())>, fn(&(T, ())) -> &T>;
    fn into_iter(self) -> Self::IntoIter {
        self.0.0.iter().map(|(value, ())| value)
    }
}

impl<K: Ord + Serialize, V: Serialize> Serialize for FewMap<K, V> {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_map(self.iter())
    }
}

impl<T: Ord + Serialize> Serialize for FewSet<T> {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_seq(self.iter())
    }
}

impl<'de, K: Ord + Deserialize<'de>, V: Deserialize<'de>> Deserialize<'de> for FewMap<K, V> {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct Entries<K, V>(PhantomData<(K, V)>);
        impl<'de, K: Ord + Deserialize<'de>, V: Deserialize<'de>> Visitor<'de> for Entries<K, V> {
            type Value = FewMap<K, V>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Self::Value, A::Error> {
                let mut map = FewMap::new();
                while let Some((key, value)) = entries.next_entry()? {
                    map.insert(key, value);
                }
                Ok(map)
            }
        }
        d.deserialize_map(Entries(PhantomData))
    }
}

impl<'de, T: Ord + Deserialize<'de>> Deserialize<'de> for FewSet<T> {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct Values<T>(PhantomData<T>);
        impl<'de, T: Ord + Deserialize<'de>> Visitor<'de> for Values<T> {
            type Value = FewSet<T>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut values: A) -> Result<Self::Value, A::Error> {
                let mut set = FewSet::new();
                while let Some(value) = values.next_element()? {
                    set.insert(value);
                }
                Ok(set)
            }
        }
        d.deserialize_seq(Values(PhantomData))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::{BTreeMap, BTreeSet};

    proptest! {
        #[test]
        fn they_do_what_those_of_the_standard_library_do(steps in proptest::collection::vec((0_u8..4, 0_u8..12, any::<u8>()), 0..60)) {
            let (mut map, mut known): (FewMap<u8, u8>, BTreeMap<u8, u8>) = Default::default();
            let (mut set, mut in_it): (FewSet<u8>, BTreeSet<u8>) = Default::default();
            for (what, key, value) in steps {
                match what {
                    0 => {
                        prop_assert_eq!(map.insert(key, value), known.insert(key, value));
                        prop_assert_eq!(set.insert(key), in_it.insert(key));
                    }
                    1 => {
                        prop_assert_eq!(map.remove(&key), known.remove(&key));
                        prop_assert_eq!(set.remove(&key), in_it.remove(&key));
                    }
                    2 => prop_assert_eq!(map.get_or_insert_with(key, || value), known.entry(key).or_insert(value)),
                    _ => {
                        map.retain(|key, v| key % 3 != 1 || *v > value);
                        known.retain(|key, v| key % 3 != 1 || *v > value);
                    }
                }
                prop_assert_eq!((map.get(&key), map.contains_key(&key)), (known.get(&key), known.contains_key(&key)));
                prop_assert_eq!(set.contains(&key), in_it.contains(&key));
                prop_assert_eq!((map.len(), map.is_empty(), set.len()), (known.len(), known.is_empty(), in_it.len()));
                prop_assert!(map.iter().eq(known.iter()) && map.keys().eq(known.keys()) && map.values().eq(known.values()));
                prop_assert!(set.iter().eq(in_it.iter()) && (&set).into_iter().eq(&in_it));
            }
            // Read and written alike, in both directions.
            let text = serde_json::to_string(&(&known, &in_it)).unwrap();
            prop_assert_eq!(&serde_json::to_string(&(&map, &set)).unwrap(), &text);
            prop_assert_eq!(format!("{map:?} {set:?}"), format!("{known:?} {in_it:?}"));
            let (map_read, set_read): (FewMap<u8, u8>, FewSet<u8>) = serde_json::from_str(&text).unwrap();
            prop_assert!(map_read == map && set_read == set);
            prop_assert!(map.into_iter().eq(known) && set.into_iter().eq(in_it));
        }
    }

    #[test]
    fn what_is_read_need_not_be_sorted_and_the_last_word_holds() {
        let map: FewMap<u8, u8> = serde_json::from_str(r#"{"3":1,"1":2,"3":4}"#).unwrap();
        assert_eq!(map, [(1, 2), (3, 4)].into());
        assert_eq!(serde_json::from_str::<FewSet<u8>>("[3,1,3]").unwrap(), [1, 3].into());
    }

    #[test]
    fn they_are_two_words_and_what_is_in_them() {
        assert_eq!(size_of::<FewMap<u64, u64>>(), 2 * size_of::<usize>());
        let mut set = FewSet::from([1, 2, 3]);
        assert!(set.remove(&2) && set.0.0.len() == 2);
    }
}
