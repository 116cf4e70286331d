//! Words that drones change in one step: counters, flags, tickets. Each change takes a lock of the library's own, one for
//! each page of the region, so it is an acquire and a release like any other.

use crate::{Hive, Number, Result, Shared};
use hivemind_protocol::{Address, LockId, PageId};

/// Above the locks of programs, of mutexes and of addresses; below the heap's.
const FIRST_WORD_LOCK: u64 = 3 << 61;

/// Whole numbers that drones can change in one step: `u32`, `u64`, `i32`, `i64`.
///
/// ```
/// # fn main() -> hivemind::Result<()> {
/// # let mut hive = hivemind::Hive::join()?;
/// use hivemind::{Hive, Result, Shared, Word};
/// fn twice<W: Word>(hive: &mut Hive, words: &Shared<W>, more: W) -> Result<W> {
///     words.fetch_add(hive, 0, more)?;
///     words.fetch_add(hive, 0, more)
/// }
/// let words = hive.alloc::<u32>(1)?;
/// assert_eq!(twice(&mut hive, &words, 21)?, 21);
/// # hive.leave() }
/// ```
pub trait Word: Number + PartialEq {}

impl Word for u32 {}
impl Word for u64 {}
impl Word for i32 {}
impl Word for i64 {}

impl<T: Word> Shared<T> {
    /// Adds to the word at `at`, in one step; gives what it was before. It goes from the largest number on to the smallest.
    /// Blocks while another drone changes a word of the same page; costs what a lock does, 0 to 3 messages.
    ///
    /// Steps see each other. Plain stores through a view are seen by steps, and steps by loads, only where the drones
    /// have synchronised, as with any other store.
    ///
    /// ```
    /// # fn main() -> hivemind::Result<()> {
    /// # let mut hive = hivemind::Hive::join()?;
    /// let next = hive.alloc::<u64>(1)?;
    /// let mine = next.fetch_add(&mut hive, 0, 1)?; // each drone gets another number
    /// assert!(mine < hive.drones() as u64);
    /// # hive.leave() }
    /// ```
    ///
    /// # Errors
    /// A drone was lost.
    ///
    /// # Panics
    /// If there is no word `at`.
    pub fn fetch_add(&self, hive: &mut Hive, at: usize, more: T) -> Result<T> {
        change(self, hive, at, |word| {
            let before = *word;
            *word = before.plus(more);
            before
        })
    }

    /// Stores `new` at `at` if the word there is `expected`, in one step. Gives what it was before: `Ok` if it was
    /// `expected`. Costs what [`Shared::fetch_add`] does.
    ///
    /// ```
    /// # fn main() -> hivemind::Result<()> {
    /// # let mut hive = hivemind::Hive::join()?;
    /// let owner = hive.alloc::<i32>(1)?;
    /// let me = hive.me() as i32 + 1;
    /// match owner.compare_exchange(&mut hive, 0, 0, me)? {
    ///     Ok(_) => println!("it is mine"),
    ///     Err(other) => println!("drone {} was first", other - 1),
    /// }
    /// # hive.leave() }
    /// ```
    ///
    /// # Errors
    /// A drone was lost.
    ///
    /// # Panics
    /// If there is no word `at`.
    pub fn compare_exchange(
        &self,
        hive: &mut Hive,
        at: usize,
        expected: T,
        new: T,
    ) -> Result<std::result::Result<T, T>> {
        change(self, hive, at, |word| {
            let before = *word;
            if before != expected {
                return Err(before);
            }
            *word = new;
            Ok(before)
        })
    }
}

/// The lock under which words of a page change: one a page, which moves as a whole.
pub(crate) fn lock_of_words_at(address: Address) -> LockId {
    LockId(FIRST_WORD_LOCK + PageId::of(address).0)
}

/// Changes a word while no other drone can.
fn change<T: Word, R>(
    words: &Shared<T>,
    hive: &mut Hive,
    at: usize,
    change: impl FnOnce(&mut T) -> R,
) -> Result<R> {
    let len = words.len();
    assert!(at < len, "there is no word {at}: there are {len}");
    let address = Address(words.address().0 + (at * size_of::<T>()) as u64);
    let mut held = hive.hold(lock_of_words_at(address))?;
    let changed = change(&mut words.view_alone(&mut held)[at]);
    held.release()?;
    Ok(changed)
}
