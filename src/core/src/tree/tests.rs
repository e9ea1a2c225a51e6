//! They do what those of the standard library do.

use super::column::Column;
use super::*;
use proptest::prelude::*;
use std::collections::{BTreeMap as Map, BTreeSet as Set};
use std::fmt::Debug;
use std::ops::Bound;

/// Every reader of a map and a set beside the standard library's.
fn alike(map: &BTreeMap<u16, u32>, known: &Map<u16, u32>, set: &BTreeSet<u16>, in_it: &Set<u16>) {
    assert_eq!((map.len(), map.is_empty(), set.len(), set.is_empty()), (known.len(), known.is_empty(), in_it.len(), in_it.is_empty()));
    assert!(map.iter().eq(known) && map.keys().eq(known.keys()) && map.values().eq(known.values()) && set.iter().eq(in_it));
    assert!(map.iter().rev().eq(known.iter().rev()) && set.iter().rev().eq(in_it.iter().rev()));
    assert_eq!((map.first_key_value(), map.last_key_value()), (known.first_key_value(), known.last_key_value()));
    assert_eq!((set.first(), set.last()), (in_it.first(), in_it.last()));
}

/// As a column is after something was kept of it: no list is empty, none would go into its neighbour, none holds memory for twice what
/// is in it.
fn tidy<T: Debug>(column: &Column<T>) {
    assert!(column.0.iter().all(|list| !list.is_empty() && list.capacity() <= 2 * list.len()), "{:?}", column.0);
    assert!(column.0.windows(2).all(|pair| pair[0].len() + pair[1].len() > 8), "{:?}", column.0);
    assert!(column.0.capacity() <= 2 * column.0.len(), "{} lists", column.0.len());
}

proptest! {
    #[test]
    fn they_do_what_those_of_the_standard_library_do(
        steps in proptest::collection::vec((0_u8..9, 0_u16..150, any::<u32>()), 0..250),
        other in proptest::collection::btree_set(0_u16..150, 0..100),
    ) {
        let (mut map, mut known): (BTreeMap<u16, u32>, Map<u16, u32>) = Default::default();
        let (mut set, mut in_it): (BTreeSet<u16>, Set<u16>) = Default::default();
        for (what, key, value) in steps {
            match what {
                0..4 => {
                    prop_assert_eq!(map.insert(key, value), known.insert(key, value));
                    prop_assert_eq!(set.insert(key), in_it.insert(key));
                }
                4 => {
                    prop_assert_eq!(map.entry(key).and_modify(|v| *v /= 2).or_insert(value), known.entry(key).and_modify(|v| *v /= 2).or_insert(value));
                    *map.entry(key).or_default() |= 1;
                    *known.entry(key).or_default() |= 1;
                    prop_assert_eq!(map[&key], known[&key]);
                }
                5 | 6 => {
                    prop_assert_eq!(map.remove(&key), known.remove(&key));
                    prop_assert_eq!(set.remove(&key), in_it.remove(&key));
                }
                7 => {
                    prop_assert_eq!(map.pop_first(), known.pop_first());
                    prop_assert_eq!(set.pop_first(), in_it.pop_first());
                    let of = |key: u16, v: &mut u32| { *v ^= 1; !key.is_multiple_of(3) || *v > value };
                    if value.is_multiple_of(5) {
                        map.retain(|key, v| of(*key, v));
                        known.retain(|key, v| of(*key, v));
                        set.retain(|value| value % 4 != key % 4);
                        in_it.retain(|value| value % 4 != key % 4);
                        let (keys, values) = map.columns();
                        prop_assert!(keys.0.iter().map(Vec::len).eq(values.0.iter().map(Vec::len)), "not of one shape");
                        tidy(keys);
                        tidy(values);
                        tidy(set.column());
                    }
                }
                _ => {
                    map.values_mut().for_each(|v| *v = v.wrapping_add(value));
                    known.values_mut().for_each(|v| *v = v.wrapping_add(value));
                    map.iter_mut().for_each(|(key, v)| *v ^= u32::from(*key));
                    known.iter_mut().for_each(|(key, v)| *v ^= u32::from(*key));
                }
            }
            prop_assert_eq!((map.get(&key), map.contains_key(&key), set.contains(&key)), (known.get(&key), known.contains_key(&key), in_it.contains(&key)));
            prop_assert_eq!(map.get_mut(&key), known.get_mut(&key));
            prop_assert_eq!(map.get_key_value(&key), known.get_key_value(&key));
            let end = key + u16::try_from(value % 90).unwrap_or(0);
            prop_assert!(map.range(key..end).eq(known.range(key..end)) && set.range(key..=end).rev().eq(in_it.range(key..=end).rev()));
            let after = (Bound::Excluded(key), Bound::Unbounded);
            prop_assert!(map.range(after).eq(known.range(after)) && set.range(..key).eq(in_it.range(..key)));
        }
        alike(&map, &known, &set, &in_it);

        let others: BTreeSet<u16> = other.iter().copied().collect();
        prop_assert!(set.difference(&others).eq(in_it.difference(&other)) && set.intersection(&others).eq(in_it.intersection(&other)));
        prop_assert_eq!(set.union(&others).copied().collect::<Set<_>>(), in_it.union(&other).copied().collect::<Set<_>>());
        prop_assert_eq!((set.is_subset(&others), set.cmp(&others)), (in_it.is_subset(&other), in_it.cmp(&other)));

        // Read and written alike, in both directions; equal however they came to be.
        let text = serde_json::to_string(&(&known, &in_it)).unwrap();
        prop_assert_eq!(&serde_json::to_string(&(&map, &set)).unwrap(), &text);
        prop_assert_eq!(format!("{map:?} {set:?}"), format!("{known:?} {in_it:?}"));
        let (map_read, set_read): (BTreeMap<u16, u32>, BTreeSet<u16>) = serde_json::from_str(&text).unwrap();
        prop_assert!(map_read == map && set_read == set && map.clone() == map && set_read.clone() == set);
        prop_assert!(map_read.into_keys().eq(known.keys().copied()) && map.clone().into_values().eq(known.values().copied()));

        let (mut both, mut known_both) = (set.clone(), in_it.clone());
        both.append(&mut set_read.clone());
        both.extend(&others);
        known_both.extend(&other);
        prop_assert!(both.iter().eq(&known_both) && set.into_iter().eq(in_it) && map.into_iter().eq(known));
    }
}

#[test]
fn what_comes_in_order_fills_its_lists_and_what_goes_leaves_none_empty() {
    let mut set: BTreeSet<u32> = (0..1_600).collect();
    assert_eq!((set.column().0.len(), set.len()), (100, 1_600));
    assert!((0..1_590).all(|value| set.remove(&(value * 7 % 1_590))));
    assert!(set.column().0.len() <= 2 && set.iter().copied().eq(1_590..1_600));
    assert!(std::iter::from_fn(|| set.pop_first()).eq(1_590..1_600) && set.column().0.is_empty());
}

#[test]
fn what_is_kept_of_much_takes_as_little_as_if_it_had_come_alone() {
    let mut map: BTreeMap<u32, u64> = (0..1_600).map(|key| (key, 0)).collect();
    map.retain(|key, _| key % 40 == 0);
    let (keys, values) = map.columns();
    assert_eq!((keys.0.len(), values.0.len(), map.len()), (5, 5, 40), "eight in each");
    tidy(keys);
    tidy(values);
    map.retain(|_, _| false);
    assert_eq!((map.columns().0.0.capacity(), map.is_empty()), (0, true));
}

#[test]
fn a_range_that_ends_before_it_begins_is_empty() {
    let map: BTreeMap<u8, ()> = (0..100).map(|key| (key, ())).collect();
    assert_eq!(map.range((Bound::Included(50), Bound::Excluded(20))).count(), 0);
    assert_eq!(BTreeMap::<u8, u8>::new().range(3..).count(), 0);
}
