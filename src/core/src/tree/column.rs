//! A list of short lists: what maps and sets are made of.

use std::borrow::Borrow;
use std::fmt;
use std::ops::{Bound, RangeBounds};

/// As many are in one short list at most. A list grows by doubling: a power of two.
const AT_MOST: usize = 16;

/// Where something is: which list, and where in it. Behind the last of a list is the first place of the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) list: usize,
    pub(super) at: usize,
}

/// Short lists, none of them empty.
#[derive(Clone)]
pub(super) struct Column<T>(pub(super) Vec<Vec<T>>);

impl<T> Column<T> {
    pub(super) const fn new() -> Self {
        Self(Vec::new())
    }

    pub(super) fn get(&self, place: Place) -> Option<&T> {
        self.0.get(place.list)?.get(place.at)
    }

    pub(super) fn get_mut(&mut self, place: Place) -> Option<&mut T> {
        self.0.get_mut(place.list)?.get_mut(place.at)
    }

    pub(super) fn len(&self) -> usize {
        self.0.iter().map(Vec::len).sum()
    }

    /// Puts something in at a place that [`Self::find`] gave; says where it is then.
    #[inline(never)]
    pub(super) fn put(&mut self, mut place: Place, value: T) -> Place {
        let lists = self.0.len();
        match self.0.get_mut(place.list) {
            Some(list) if list.len() < AT_MOST => list.insert(place.at, value),
            // What comes in order fills its lists.
            Some(_) if place.at == AT_MOST && place.list + 1 == lists => {
                place = Place { list: lists, at: 0 };
                self.begin(place.list, value);
            }
            Some(list) => {
                let half = AT_MOST / 2;
                let mut rest = list.split_off(half);
                list.shrink_to_fit();
                if place.at <= half {
                    list.insert(place.at, value);
                } else {
                    rest.insert(place.at - half, value);
                }
                self.0.insert(place.list + 1, rest);
                if place.at > half {
                    place = Place { list: place.list + 1, at: place.at - half };
                }
            }
            None => self.begin(place.list, value),
        }
        place
    }

    fn begin(&mut self, list: usize, value: T) {
        if self.0.is_empty() {
            self.0.reserve_exact(1);
        }
        self.0.insert(list, vec![value]);
    }

    /// Takes out what is there. What is left of two lists goes together where it is half of one.
    #[inline(never)]
    pub(super) fn take(&mut self, place: Place) -> T {
        let value = self.0[place.list].remove(place.at);
        self.tidy(place.list);
        value
    }

    fn tidy(&mut self, at: usize) {
        let length = |list: usize| self.0.get(list).map_or(AT_MOST, Vec::len);
        if length(at) == 0 {
            self.0.remove(at);
        } else if length(at) + length(at + 1) <= AT_MOST / 2 {
            let mut rest = self.0.remove(at + 1);
            self.0[at].append(&mut rest);
        }
    }

    /// Keeps of one list those whose bit is set, the first's being the lowest.
    #[inline(never)]
    pub(super) fn keep(&mut self, list: usize, kept: u32) {
        let mut bit = 1;
        self.0[list].retain(|_| {
            let keep = kept & bit != 0;
            bit <<= 1;
            keep
        });
    }

    /// After some were taken out of some lists: what is left of neighbours goes together as in [`Self::take`], and memory of which less
    /// than half is used is given back. It looks at lengths alone: columns of the same shape have the same shape afterwards.
    #[inline(never)]
    pub(super) fn join(&mut self) {
        self.0.retain(|list| !list.is_empty());
        self.0.dedup_by(|later, list| {
            let fits = list.len() + later.len() <= AT_MOST / 2;
            if fits {
                list.append(later);
            }
            fits
        });
        self.0.iter_mut().for_each(give_back);
        give_back(&mut self.0);
    }

    pub(super) fn end(&self) -> Place {
        Place { list: self.0.len(), at: 0 }
    }

    pub(super) fn iter(&self) -> Iter<'_, T> {
        Iter { lists: &self.0, from: Place { list: 0, at: 0 }, to: self.end() }
    }

    pub(super) fn between(&self, from: Place, to: Place) -> Iter<'_, T> {
        let after_a_list = |place: Place| match self.0.get(place.list) {
            Some(list) if place.at == list.len() => Place { list: place.list + 1, at: 0 },
            _ => place,
        };
        Iter { lists: &self.0, from: after_a_list(from), to: after_a_list(to) }
    }

    /// Where a value is, or where it belongs.
    #[inline(never)]
    pub(super) fn find<Q: Ord + ?Sized>(&self, value: &Q) -> Result<Place, Place>
    where
        T: Borrow<Q>,
    {
        let after = self.0.partition_point(|list| list.first().is_some_and(|first| first.borrow() <= value));
        let Some(list) = after.checked_sub(1) else { return Err(Place { list: 0, at: 0 }) };
        match self.0[list].binary_search_by(|other| other.borrow().cmp(value)) {
            Ok(at) => Ok(Place { list, at }),
            Err(at) => Err(Place { list, at }),
        }
    }

    /// Where a range begins and ends; nothing is in one whose end is before its beginning.
    pub(super) fn range<Q: Ord + ?Sized>(&self, range: &impl RangeBounds<Q>) -> (Place, Place)
    where
        T: Borrow<Q>,
    {
        let edge = |bound: Bound<&Q>, with_it: bool| match bound {
            Bound::Unbounded => None,
            Bound::Included(value) => Some(self.find(value).map(|at| (at, with_it))),
            Bound::Excluded(value) => Some(self.find(value).map(|at| (at, !with_it))),
        };
        let place = |found: Result<(Place, bool), Place>| match found {
            Ok((Place { list, at }, true)) => Place { list, at: at + 1 },
            Ok((place, false)) | Err(place) => place,
        };
        let from = edge(range.start_bound(), false).map_or(Place { list: 0, at: 0 }, place);
        let to = edge(range.end_bound(), true).map_or(self.end(), place);
        if (to.list, to.at) < (from.list, from.at) { (from, from) } else { (from, to) }
    }
}

fn give_back<T>(list: &mut Vec<T>) {
    if list.capacity() > 2 * list.len() {
        list.shrink_to_fit();
    }
}

/// What is in a column, in its order.
pub struct Iter<'a, T> {
    lists: &'a [Vec<T>],
    from: Place,
    to: Place,
}

impl<T> Clone for Iter<'_, T> {
    fn clone(&self) -> Self {
        Self { ..*self }
    }
}

impl<T: fmt::Debug> fmt::Debug for Iter<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.clone()).finish()
    }
}

impl<'a, T> Iterator for Iter<'a, T> {
    type Item = &'a T;
    fn next(&mut self) -> Option<&'a T> {
        if self.from == self.to {
            return None;
        }
        let list = self.lists.get(self.from.list)?;
        let value = list.get(self.from.at)?;
        self.from.at += 1;
        if self.from.at == list.len() {
            self.from = Place { list: self.from.list + 1, at: 0 };
        }
        Some(value)
    }
}

impl<T> DoubleEndedIterator for Iter<'_, T> {
    fn next_back(&mut self) -> Option<Self::Item> {
        if self.from == self.to {
            return None;
        }
        if self.to.at == 0 {
            self.to.list -= 1;
            self.to.at = self.lists.get(self.to.list)?.len();
        }
        self.to.at -= 1;
        self.lists.get(self.to.list)?.get(self.to.at)
    }
}

/// What a column had, one after the other.
pub type IntoIter<T> = std::iter::Flatten<std::vec::IntoIter<Vec<T>>>;
