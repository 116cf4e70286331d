//! A map that several protocols key by page.
//!
//! Pages come and go in runs: what is kept of neighbours lies together, so a window of pages costs a handful of steps through a
//! tree and not some a page.

use crate::{PageId, PageRun};
use alloc::collections::BTreeMap;
use alloc::vec::Vec;

/// Values by page, ascending.
#[derive(Clone, PartialEq, Eq, Debug, Hash)]
pub(crate) struct PageMap<T> {
    /// By the number of the group that a page lies in; none is empty.
    groups: BTreeMap<u64, Group<T>>,
    length: usize,
}

/// The values of neighbouring pages.
#[derive(Clone, PartialEq, Eq, Debug, Hash)]
struct Group<T> {
    /// Which of the pages have one, a bit each.
    which: u64,
    /// Those, ascending.
    values: Vec<T>,
}

/// How many neighbours make a group: one for each bit.
const GROUP_PAGES: u64 = u64::BITS as u64;

impl<T> PageMap<T> {
    pub(crate) fn new() -> Self {
        Self {
            groups: BTreeMap::new(),
            length: 0,
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.length == 0
    }

    pub(crate) fn len(&self) -> usize {
        self.length
    }

    pub(crate) fn contains(&self, page: PageId) -> bool {
        self.get(page).is_some()
    }

    pub(crate) fn get(&self, page: PageId) -> Option<&T> {
        let (number, place) = place(page);
        let group = self.groups.get(&number)?;
        group.has(place).then(|| &group.values[group.rank(place)])
    }

    pub(crate) fn get_mut(&mut self, page: PageId) -> Option<&mut T> {
        let (number, place) = place(page);
        let group = self.groups.get_mut(&number)?;
        let rank = group.rank(place);
        group.has(place).then(|| &mut group.values[rank])
    }

    /// The page's value, put there if it has none.
    pub(crate) fn get_or_default(&mut self, page: PageId) -> &mut T
    where
        T: Default,
    {
        let (number, place) = place(page);
        let group = self.groups.entry(number).or_insert_with(Group::new);
        let rank = group.rank(place);
        if !group.has(place) {
            group.put(place, T::default());
            self.length += 1;
        }
        &mut group.values[rank]
    }

    /// Gives what the page had before.
    pub(crate) fn insert(&mut self, page: PageId, value: T) -> Option<T> {
        let (number, place) = place(page);
        let group = self.groups.entry(number).or_insert_with(Group::new);
        if group.has(place) {
            let rank = group.rank(place);
            return Some(core::mem::replace(&mut group.values[rank], value));
        }
        group.put(place, value);
        self.length += 1;
        None
    }

    pub(crate) fn remove(&mut self, page: PageId) -> Option<T> {
        let (number, place) = place(page);
        let group = self.groups.get_mut(&number)?;
        if !group.has(place) {
            return None;
        }
        let rank = group.rank(place);
        group.which &= !(1 << place);
        let value = group.values.remove(rank);
        if group.values.is_empty() {
            self.groups.remove(&number);
        }
        self.length -= 1;
        Some(value)
    }

    /// Removes those of a run.
    pub(crate) fn remove_run(&mut self, run: PageRun) {
        let pages: Vec<PageId> = self.range(run).map(|(page, _)| page).collect();
        for page in pages {
            self.remove(page);
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (PageId, &T)> {
        let groups = self.groups.iter();
        groups.flat_map(|(number, group)| pages(*number, group.which).zip(&group.values))
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (PageId, &mut T)> {
        let groups = self.groups.iter_mut();
        groups.flat_map(|(number, group)| pages(*number, group.which).zip(&mut group.values))
    }

    /// All of them; none are left.
    pub(crate) fn take(&mut self) -> Self {
        core::mem::replace(self, Self::new())
    }

    /// All of them, out of the map.
    pub(crate) fn into_pages(self) -> impl Iterator<Item = (PageId, T)> {
        let groups = self.groups.into_iter();
        groups.flat_map(|(number, group)| pages(number, group.which).zip(group.values))
    }

    pub(crate) fn values(&self) -> impl Iterator<Item = &T> {
        self.groups.values().flat_map(|group| &group.values)
    }

    pub(crate) fn values_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.groups.values_mut().flat_map(|group| &mut group.values)
    }

    /// Those of a run.
    pub(crate) fn range(&self, run: PageRun) -> impl Iterator<Item = (PageId, &T)> {
        let groups = self.groups.range(groups_of(run));
        let all = groups.flat_map(|(number, group)| pages(*number, group.which).zip(&group.values));
        all.filter(move |(page, _)| (run.first..run.end()).contains(page))
    }

    /// Those of a run.
    pub(crate) fn range_mut(&mut self, run: PageRun) -> impl Iterator<Item = (PageId, &mut T)> {
        let groups = self.groups.range_mut(groups_of(run));
        let all =
            groups.flat_map(|(number, group)| pages(*number, group.which).zip(&mut group.values));
        all.filter(move |(page, _)| (run.first..run.end()).contains(page))
    }
}

impl<T> Extend<(PageId, T)> for PageMap<T> {
    fn extend<I: IntoIterator<Item = (PageId, T)>>(&mut self, values: I) {
        for (page, value) in values {
            self.insert(page, value);
        }
    }
}

impl<T> Group<T> {
    fn new() -> Self {
        Self {
            which: 0,
            values: Vec::new(),
        }
    }

    fn has(&self, place: u32) -> bool {
        self.which >> place & 1 == 1
    }

    /// How many values lie before the one of this place.
    fn rank(&self, place: u32) -> usize {
        (self.which & ((1 << place) - 1)).count_ones() as usize
    }

    fn put(&mut self, place: u32, value: T) {
        self.values.insert(self.rank(place), value);
        self.which |= 1 << place;
    }
}

/// The number of a page's group, and its place there.
fn place(page: PageId) -> (u64, u32) {
    (page.0 / GROUP_PAGES, (page.0 % GROUP_PAGES) as u32)
}

/// The groups that a run lies in.
fn groups_of(run: PageRun) -> core::ops::Range<u64> {
    run.first.0 / GROUP_PAGES..run.end().0.div_ceil(GROUP_PAGES)
}

/// The pages of a group that have a value.
fn pages(number: u64, mut which: u64) -> impl Iterator<Item = PageId> {
    core::iter::from_fn(move || {
        let place = (which != 0).then(|| which.trailing_zeros())?;
        which &= which - 1;
        Some(PageId(number * GROUP_PAGES + u64::from(place)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[derive(Clone, Copy, Debug)]
    enum Step {
        Insert(u64, u8),
        Default(u64),
        Remove(u64),
        RemoveRun(u64, u64),
        Change(u64, u64),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let page = || 0..200_u64;
        let step = prop_oneof![
            4 => (page(), any::<u8>()).prop_map(|(page, value)| Step::Insert(page, value)),
            1 => page().prop_map(Step::Default),
            3 => page().prop_map(Step::Remove),
            1 => (page(), 0..100_u64).prop_map(|(page, count)| Step::RemoveRun(page, count)),
            1 => (page(), 0..100_u64).prop_map(|(page, count)| Step::Change(page, count)),
        ];
        proptest::collection::vec(step, 0..100)
    }

    fn run(first: u64, count: u64) -> PageRun {
        PageRun {
            first: PageId(first),
            count,
        }
    }

    proptest! {
        /// Whatever is done to it, it holds what a tree of pages holds, in the same order.
        #[test]
        fn it_holds_what_a_tree_of_pages_holds(steps in steps()) {
            let (mut map, mut tree) = (PageMap::new(), BTreeMap::new());
            for step in steps {
                match step {
                    Step::Insert(page, value) => {
                        let page = PageId(page);
                        prop_assert_eq!(map.insert(page, value), tree.insert(page, value));
                    }
                    Step::Default(page) => {
                        let page = PageId(page);
                        prop_assert_eq!(map.get_or_default(page), tree.entry(page).or_default());
                    }
                    Step::Remove(page) => {
                        let page = PageId(page);
                        prop_assert_eq!(map.remove(page), tree.remove(&page));
                    }
                    Step::RemoveRun(first, count) => {
                        let run = run(first, count);
                        map.remove_run(run);
                        tree.retain(|page, _| *page < run.first || *page >= run.end());
                    }
                    Step::Change(first, count) => {
                        let run = run(first, count);
                        map.range_mut(run).for_each(|(_, value)| *value ^= 1);
                        tree.range_mut(run.first..run.end()).for_each(|(_, value)| *value ^= 1);
                        let range: Vec<_> = map.range(run).collect();
                        let expected = tree.range(run.first..run.end());
                        prop_assert_eq!(range, expected.map(|(page, value)| (*page, value)).collect::<Vec<_>>());
                    }
                }
                prop_assert_eq!((map.len(), map.is_empty()), (tree.len(), tree.is_empty()));
            }
            for page in (0..300).map(PageId) {
                prop_assert_eq!(map.get(page), tree.get(&page));
                prop_assert_eq!(map.contains(page), tree.contains_key(&page));
                prop_assert_eq!(map.get_mut(page), tree.get_mut(&page));
            }
            let all: Vec<_> = map.iter().map(|(page, value)| (page, *value)).collect();
            prop_assert_eq!(&all, &tree.iter().map(|(page, value)| (*page, *value)).collect::<Vec<_>>());
            prop_assert!(map.values().eq(tree.values()) && map.values_mut().eq(tree.values_mut()));
            prop_assert!(map.iter_mut().eq(tree.iter_mut().map(|(page, value)| (*page, value))));
            let mut again = PageMap::new();
            again.extend(tree);
            prop_assert_eq!(&again, &map);
            prop_assert_eq!(map.into_pages().collect::<Vec<_>>(), all);
        }
    }
}
