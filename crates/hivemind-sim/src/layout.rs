//! Where the data of a random program lie and what guards them: the bytes of a few pages are cut into cells,
//! often down to neighbouring bytes, so that drones share pages without racing. What is done with the cells
//! is in `program`.

use crate::prng::{Prng, splitmix};
use hivemind_protocol::{ConditionId, DroneId, LockId, PAGE_SIZE};

/// Who may touch a cell, and when.
///
/// ```
/// use hivemind_sim::{Guard, Plan};
/// let layout = Plan::draw(1).program.layout;
/// for cell in &layout.cells {
///     if let Guard::Lock(lock) = cell.guard {
///         println!("{} bytes under {}", cell.bytes, layout.locks[lock]);
///     }
/// }
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Guard {
    /// Who holds this lock (its number in the layout).
    Lock(usize),
    /// One drone alone, always.
    Private(DroneId),
    /// One drone alone or everybody to read, as drawn for each phase between two barriers.
    Rotating(u64),
    /// Drone 0 writes it in the first phase; from then on everybody reads.
    Settled,
    /// Under the baton's lock: who owns the baton's data.
    BatonOwner(usize),
    /// Who owns the baton, with or without its lock.
    BatonData(usize),
    /// Under the slot's lock: where the slot's block of the heap lies, if it has one.
    Slot(usize),
    /// Under the shelf's lock: how many things lie there, and up to which phase it is closed.
    Shelf(usize),
}

/// Some bytes that have one guard.
///
/// ```
/// use hivemind_sim::Plan;
/// let layout = Plan::draw(1).program.layout;
/// let ends = layout.cells.iter().map(|cell| cell.start + cell.bytes);
/// assert!(ends.max().is_some_and(|end| end <= layout.area_bytes));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Cell {
    /// Where, in bytes from the start of the area.
    pub start: u64,
    /// How many bytes.
    pub bytes: u64,
    /// Who may touch them.
    pub guard: Guard,
}

/// All cells of a program, and its locks.
///
/// ```
/// use hivemind_sim::Plan;
/// let layout = Plan::draw(1).program.layout;
/// assert!(layout.cells.windows(2).all(|two| two[0].start + two[0].bytes <= two[1].start));
/// ```
#[derive(Clone, Debug)]
pub struct Layout {
    /// How many drones there are.
    pub drones: u32,
    /// How many bytes the area has.
    pub area_bytes: u64,
    /// The cells, ascending; they don't overlap.
    pub cells: Vec<Cell>,
    /// The locks in the order in which they may be nested. The first guards the heap alone.
    pub locks: Vec<LockId>,
    /// For each baton, its lock's number.
    pub batons: Vec<usize>,
    /// For each slot, its lock's number.
    pub slots: Vec<usize>,
    /// For each shelf, its lock's number. Drones put things there and wait for things to take.
    pub shelves: Vec<usize>,
}

/// The number of the lock that guards the heap.
pub(crate) const HEAP_LOCK: usize = 0;

/// A slot's cell holds an address and a size.
pub(crate) const SLOT_BYTES: u64 = 16;

/// A shelf's cell holds a count and the number of the first phase for which it is not closed.
pub(crate) const SHELF_BYTES: u64 = 2;

/// How many conditions a shelf has.
pub(crate) const SHELF_CONDITIONS: u32 = 2;

/// What the layout of a world is drawn from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ingredients {
    /// How many drones there are.
    pub drones: u32,
    /// How many pages the area spans.
    pub pages: u64,
    /// How many of them are used.
    pub used: u64,
    /// Whether there are barriers.
    pub barriers: bool,
    /// Whether there is a heap.
    pub heap: bool,
}

impl Layout {
    /// Draws a layout.
    pub(crate) fn draw(prng: &mut Prng, of: Ingredients) -> Self {
        let locks = draw_locks(prng, of.drones);
        let own_lock = |prng: &mut Prng| 1 + prng.below(locks.len() as u64 - 1) as usize;
        let batons = (0..prng.below(3))
            .map(|_| own_lock(prng))
            .collect::<Vec<_>>();
        let slot_count = if of.heap { prng.between(1, 4) } else { 0 };
        let slots = (0..slot_count).map(|_| own_lock(prng)).collect::<Vec<_>>();
        let shelves = (0..prng.below(4))
            .map(|_| own_lock(prng))
            .collect::<Vec<_>>();
        let mut layout = Self {
            drones: of.drones,
            area_bytes: of.pages * PAGE_SIZE as u64,
            cells: Vec::new(),
            locks,
            batons,
            slots,
            shelves,
        };
        for (start, end) in draw_segments(prng, of) {
            layout.cut(prng, start, end, of);
        }
        layout.reserve(prng);
        layout
    }

    /// What a drone may do with a cell in a phase without holding a lock: write, read, or nothing.
    pub(crate) fn without_lock(&self, guard: Guard, drone: DroneId, phase: u64) -> Freedom {
        let owned = |owner: DroneId| {
            if owner == drone {
                Freedom::Write
            } else {
                Freedom::Nothing
            }
        };
        match guard {
            Guard::Private(owner) => owned(owner),
            Guard::Settled if phase == 0 => owned(DroneId::FIRST),
            Guard::Settled => Freedom::Read,
            Guard::Rotating(salt) => {
                let mut word = salt ^ phase;
                let drawn = splitmix(&mut word);
                match drawn % 5 {
                    0 | 1 => Freedom::Read,
                    _ => owned(DroneId((drawn >> 32) as u32 % self.drones)),
                }
            }
            _ => Freedom::Nothing,
        }
    }

    /// The cells with this guard.
    pub(crate) fn guarded(&self, guard: Guard) -> Vec<Cell> {
        self.cells
            .iter()
            .copied()
            .filter(|cell| cell.guard == guard)
            .collect()
    }

    /// Cuts the bytes from `start` to `end` into cells.
    fn cut(&mut self, prng: &mut Prng, start: u64, end: u64, of: Ingredients) {
        let pages = (end - start) / PAGE_SIZE as u64;
        let mut cuts = vec![start, end];
        for _ in 0..pages * prng.between(1, 12) {
            let near = *prng.pick(&cuts);
            let cut = match prng.below(10) {
                0..=3 => near + prng.between(1, 9),
                4..=5 => start + prng.below(end - start) / 8 * 8,
                6 => start + prng.below(pages) * PAGE_SIZE as u64,
                _ => start + prng.below(end - start),
            };
            cuts.push(cut.min(end));
        }
        cuts.sort_unstable();
        cuts.dedup();
        for pair in cuts.windows(2) {
            let guard = self.draw_guard(prng, of);
            self.cells.push(Cell {
                start: pair[0],
                bytes: pair[1] - pair[0],
                guard,
            });
        }
    }

    fn draw_guard(&self, prng: &mut Prng, of: Ingredients) -> Guard {
        match prng.below(10) {
            0..=3 => Guard::Lock(1 + prng.below(self.locks.len() as u64 - 1) as usize),
            4 => Guard::Private(DroneId(prng.below(u64::from(self.drones)) as u32)),
            5 if !self.batons.is_empty() => {
                Guard::BatonData(prng.below(self.batons.len() as u64) as usize)
            }
            6 if of.barriers => Guard::Settled,
            _ if of.barriers => Guard::Rotating(prng.word()),
            _ => Guard::Lock(1 + prng.below(self.locks.len() as u64 - 1) as usize),
        }
    }

    /// Gives every baton and slot its cell; those for which no cell is left are dropped.
    fn reserve(&mut self, prng: &mut Prng) {
        let batons = (0..self.batons.len())
            .filter(|baton| self.reserve_cell(prng, 1, Guard::BatonOwner(*baton)));
        let batons = batons.count();
        self.batons.truncate(batons);
        self.cells
            .retain(|cell| !matches!(cell.guard, Guard::BatonData(baton) if baton >= batons));
        let slots = (0..self.slots.len())
            .filter(|slot| self.reserve_cell(prng, SLOT_BYTES, Guard::Slot(*slot)));
        let slots = slots.count();
        self.slots.truncate(slots);
        let shelves = (0..self.shelves.len())
            .filter(|shelf| self.reserve_cell(prng, SHELF_BYTES, Guard::Shelf(*shelf)));
        let shelves = shelves.count();
        self.shelves.truncate(shelves);
    }

    /// The drone that closes the shelves when it has done its part of a phase. It takes nothing there in that phase, so
    /// it waits for nobody, and all who wait for it come out.
    pub(crate) fn keeper(&self, phase: u64) -> DroneId {
        let mut word = phase ^ self.area_bytes;
        DroneId((splitmix(&mut word) % u64::from(self.drones)) as u32)
    }

    /// A condition of a shelf.
    pub(crate) fn condition(&self, shelf: usize, which: u32) -> ConditionId {
        ConditionId(shelf as u32 * SHELF_CONDITIONS + which)
    }

    fn reserve_cell(&mut self, prng: &mut Prng, bytes: u64, guard: Guard) -> bool {
        let reserved = |cell: &Cell| {
            matches!(
                cell.guard,
                Guard::BatonOwner(_) | Guard::Slot(_) | Guard::Shelf(_)
            )
        };
        let fits = self
            .cells
            .iter_mut()
            .filter(|cell| cell.bytes >= bytes && !reserved(cell));
        let mut fits: Vec<&mut Cell> = fits.collect();
        match prng.index(fits.len()) {
            Some(at) => {
                fits[at].guard = guard;
                true
            }
            None => false,
        }
    }
}

/// What may be done with a cell.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Freedom {
    /// Nothing.
    Nothing,
    /// Loads.
    Read,
    /// Loads and stores.
    Write,
}

/// The runs of bytes that are used, each of whole pages.
fn draw_segments(prng: &mut Prng, of: Ingredients) -> Vec<(u64, u64)> {
    let mut pages: Vec<u64> = (0..of.pages).collect();
    while pages.len() as u64 > of.used {
        let at = prng.below(pages.len() as u64) as usize;
        pages.remove(at);
    }
    let size = PAGE_SIZE as u64;
    let mut segments: Vec<(u64, u64)> = Vec::new();
    for page in pages {
        match segments.last_mut() {
            Some(last) if last.1 == page * size => last.1 += size,
            _ => segments.push((page * size, (page + 1) * size)),
        }
    }
    segments
}

/// The heap's lock and at least one other: numbered in a row, all with one manager, or anyhow.
fn draw_locks(prng: &mut Prng, drones: u32) -> Vec<LockId> {
    let count = 2 + prng.skewed(8);
    let style = prng.below(3);
    let first = prng.below(u64::from(drones));
    (0..count)
        .map(|at| match style {
            0 => LockId(first + at),
            1 => LockId(first + at * u64::from(drones)),
            _ => LockId((prng.word() << 8) | at),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_never_overlap_and_locks_differ() {
        for seed in 0..200 {
            let mut prng = Prng::new(seed);
            let of = Ingredients {
                drones: 3,
                pages: 6,
                used: 4,
                barriers: true,
                heap: true,
            };
            let layout = Layout::draw(&mut prng, of);
            let ends = layout
                .cells
                .windows(2)
                .map(|two| (two[0].start + two[0].bytes, two[1].start));
            assert!(
                ends.into_iter().all(|(end, next)| end <= next),
                "seed {seed}"
            );
            let mut locks = layout.locks.clone();
            locks.sort_unstable();
            locks.dedup();
            assert_eq!(locks.len(), layout.locks.len(), "seed {seed}");
        }
    }

    #[test]
    fn two_drones_never_own_a_cell_in_one_phase() {
        let mut prng = Prng::new(3);
        let of = Ingredients {
            drones: 4,
            pages: 2,
            used: 2,
            barriers: true,
            heap: false,
        };
        let layout = Layout::draw(&mut prng, of);
        for cell in &layout.cells {
            for phase in 0..8 {
                let freedom = (0..4).map(|me| layout.without_lock(cell.guard, DroneId(me), phase));
                let freedom: Vec<Freedom> = freedom.collect();
                let writers = freedom
                    .iter()
                    .filter(|free| **free == Freedom::Write)
                    .count();
                assert!(writers <= 1);
                assert!(writers == 0 || freedom.iter().all(|free| *free != Freedom::Read));
            }
        }
    }
}
