//! Draws random programs: of what, and how often.

use super::{Deed, End, Item, Phase, Program, Touch, Work, Wrong};
use crate::layout::{Cell, Freedom, Guard, Layout, SHELF_CONDITIONS};
use crate::prng::Prng;
use hivemind_protocol::{BarrierId, DroneId, PAGE_SIZE};

/// How much a program does.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Amount {
    /// How many phases.
    pub phases: u64,
    /// How many items at most a drone and phase.
    pub items: u64,
    /// How much of a hundred drones have a helper.
    pub helpers: u64,
    /// Whether the heap is used.
    pub heap: bool,
    /// The longest computing, in microseconds.
    pub longest_us: u64,
}

impl Program {
    /// Draws a program on a layout.
    pub(crate) fn draw(prng: &mut Prng, layout: Layout, amount: Amount) -> Self {
        let has_helper: Vec<bool> = (0..layout.drones)
            .map(|_| prng.chance(amount.helpers))
            .collect();
        let mut blocks = 0;
        let phases = (0..amount.phases).map(|number| {
            let work = (0..layout.drones).map(|drone| {
                let mut draw = Draw {
                    prng,
                    layout: &layout,
                    amount,
                    phase: number,
                    blocks,
                    drone: DroneId(drone),
                };
                Work {
                    main: draw.items(false),
                    helper: if has_helper[drone as usize] {
                        draw.items(true)
                    } else {
                        Vec::new()
                    },
                }
            });
            let work = work.collect();
            let end = draw_end(prng, layout.drones, amount.heap, &mut blocks);
            let mismatch = layout.drones > 1 && prng.chance(2);
            Phase {
                number,
                work,
                end,
                between: Vec::new(),
                mismatch,
            }
        });
        let phases = phases.collect();
        Self {
            layout,
            allocates_area: amount.heap,
            phases,
        }
    }

    /// Splits some of its barriers, in most programs that have any, and draws what drones do between the two calls.
    pub(crate) fn split(&mut self, prng: &mut Prng, amount: Amount) {
        let of_a_hundred = *prng.pick(&[0, 30, 60, 100]);
        let next = self.phases.iter().map(|phase| Some(phase.number));
        let next: Vec<Option<u64>> = next.skip(1).chain([None]).collect();
        for (phase, next) in self.phases.iter_mut().zip(next) {
            let End::Barrier(barrier) = phase.end else {
                continue;
            };
            if !prng.chance(of_a_hundred) {
                continue;
            }
            phase.end = End::Split(barrier);
            let number = phase.number;
            let between = (0..self.layout.drones).map(|drone| {
                let draw = Draw {
                    prng: &mut *prng,
                    layout: &self.layout,
                    amount,
                    phase: number,
                    blocks: 0,
                    drone: DroneId(drone),
                };
                draw.between(next)
            });
            phase.between = between.collect();
        }
    }
}

fn draw_end(prng: &mut Prng, drones: u32, heap: bool, blocks: &mut usize) -> End {
    match prng.below(10) {
        0 => End::Broadcast(DroneId(prng.below(u64::from(drones)) as u32)),
        1 => End::Reduce,
        2..=3 if heap => {
            *blocks += 1;
            End::Allocate {
                block: *blocks - 1,
                bytes: prng.skewed(9_000),
                align: or_a_page(1 << prng.below(13)),
            }
        }
        4 if *blocks > 0 => End::Free(prng.below(*blocks as u64) as usize),
        _ => End::Barrier(BarrierId(prng.below(3) as u32)),
    }
}

/// Large alignments are those of whole pages.
fn or_a_page(align: u64) -> u64 {
    match align {
        256.. => PAGE_SIZE as u64,
        _ => align,
    }
}

/// Draws the items of one drone in one phase.
struct Draw<'a> {
    prng: &'a mut Prng,
    layout: &'a Layout,
    amount: Amount,
    phase: u64,
    blocks: usize,
    drone: DroneId,
}

impl Draw<'_> {
    fn items(&mut self, helper: bool) -> Vec<Item> {
        let count = self.prng.below(self.amount.items + 1);
        (0..count)
            .map(|_| {
                if helper {
                    self.free_item()
                } else {
                    self.item()
                }
            })
            .collect()
    }

    /// What the drone may do between arriving and departing, when others may be in this phase or in the next: where it
    /// may do the same in both. After the last phase nobody else touches anything.
    fn between(mut self, next: Option<u64>) -> Vec<Item> {
        let may = |cell: &Cell| {
            let freedom = |phase| self.layout.without_lock(cell.guard, self.drone, phase);
            next.map_or(freedom(self.phase), |next| {
                freedom(self.phase).min(freedom(next))
            })
        };
        let cells = self.layout.cells.iter().map(|cell| (*cell, may(cell)));
        let cells: Vec<(Cell, Freedom)> =
            cells.filter(|(_, may)| *may > Freedom::Nothing).collect();
        let count = self.prng.below(self.amount.items + 1);
        let mut items = Vec::new();
        for _ in 0..count {
            if self.prng.chance(20) {
                items.push(Item::Compute(self.prng.skewed(self.amount.longest_us)));
            } else if let Some(at) = self.prng.index(cells.len()) {
                let (cell, freedom) = cells[at];
                items.push(Item::Section(vec![Deed::Touch(
                    self.touch_cell(cell, freedom),
                )]));
            }
        }
        items
    }

    fn item(&mut self) -> Item {
        if !self.layout.shelves.is_empty() && self.prng.chance(18) {
            return self.shelf_item();
        }
        match self.prng.below(100) {
            0..=44 => self.section(),
            45..=64 => self.free_item(),
            65..=74 if !self.layout.batons.is_empty() => self.pass(),
            75..=89 if !self.layout.slots.is_empty() => self.heap_item(),
            90..=93 if self.amount.heap => self.own(),
            94..=95 => self.wrong(),
            96..=97 => Item::Compute(self.prng.skewed(self.amount.longest_us)),
            _ => self.section(),
        }
    }

    /// An item that needs no lock.
    fn free_item(&mut self) -> Item {
        if self.blocks > 0 && self.prng.chance(25) {
            let block = self.prng.below(self.blocks as u64) as usize;
            let element = self.prng.skewed(600);
            let width = 1 + self.prng.below(4);
            let content = if self.prng.chance(60) {
                self.content(width)
            } else {
                Vec::new()
            };
            return Item::Stripe {
                block,
                element,
                content,
            };
        }
        if self.prng.chance(12) {
            return self.walk();
        }
        if self.prng.chance(8) {
            let first = self.prng.below(self.layout.area_bytes / PAGE_SIZE as u64);
            let count = 1 + self.prng.skewed(20);
            return Item::Prefetch { first, count };
        }
        let mut deeds = Vec::new();
        for _ in 0..self.prng.between(1, 5) {
            deeds.extend(self.touch(&[]).map(Deed::Touch));
        }
        Item::Section(deeds)
    }

    /// Touches one cell after the other, as programs do that walk through memory; each fourth walks downwards.
    fn walk(&mut self) -> Item {
        let free = |cell: &Cell| self.layout.without_lock(cell.guard, self.drone, self.phase);
        let cells = self
            .layout
            .cells
            .iter()
            .filter(|cell| free(cell) > Freedom::Nothing);
        let mut cells: Vec<(Cell, Freedom)> = cells.map(|cell| (*cell, free(cell))).collect();
        let Some(first) = self.prng.index(cells.len()) else {
            return Item::Section(Vec::new());
        };
        let reads = self.prng.chance(60);
        let steps = self.prng.between(4, 40) as usize;
        if steps.is_multiple_of(4) {
            cells.reverse();
        }
        let touches = cells
            .into_iter()
            .skip(first)
            .take(steps)
            .map(|(cell, freedom)| {
                self.touch_cell(cell, if reads { Freedom::Read } else { freedom })
            });
        Item::Section(touches.map(Deed::Touch).collect())
    }

    /// Nested and crossing critical sections; locks are taken in ascending order only, so none deadlocks.
    fn section(&mut self) -> Item {
        let (mut deeds, mut held): (Vec<Deed>, Vec<usize>) = (Vec::new(), Vec::new());
        let depth = 1 + self.prng.skewed(4);
        for _ in 0..depth * 2 {
            let next = held.iter().max().map_or(1, |most| most + 1);
            if next < self.layout.locks.len() && self.prng.chance(50) || held.is_empty() {
                let lock =
                    next + self.prng.skewed((self.layout.locks.len() - next) as u64) as usize;
                deeds.push(Deed::Lock(lock));
                held.push(lock);
            } else {
                let at = self.prng.below(held.len() as u64) as usize;
                deeds.push(Deed::Unlock(held.remove(at)));
            }
            for _ in 0..self.prng.below(4) {
                deeds.extend(self.touch(&held).map(Deed::Touch));
            }
            self.spice(&mut deeds, &held);
        }
        while let Some(lock) = held.pop() {
            deeds.push(Deed::Unlock(lock));
        }
        Item::Section(deeds)
    }

    /// Now and then a pause, or a call that must be refused.
    fn spice(&mut self, deeds: &mut Vec<Deed>, held: &[usize]) {
        match (self.prng.below(60), held.first()) {
            (0..=3, _) => deeds.push(Deed::Compute(self.prng.skewed(2_000))),
            (4, Some(lock)) => deeds.push(Deed::LockAgain(*lock)),
            (5, Some(lock)) => deeds.push(Deed::MeetHolding(*lock)),
            (6..=11, _) => deeds.extend(self.attempt(held)),
            _ => {}
        }
    }

    /// Tries to take a lock, in any order: who tries waits for nobody who holds one.
    fn attempt(&mut self, held: &[usize]) -> Option<Deed> {
        let lock = self.prng.below(self.layout.locks.len() as u64) as usize;
        if held.contains(&lock) {
            return None;
        }
        let with: Vec<usize> = held.iter().copied().chain([lock]).collect();
        let touches = (0..self.prng.below(3)).filter_map(|_| self.touch(&with));
        Some(Deed::Try(lock, touches.collect()))
    }

    /// An access to a cell that may be touched while these locks are held.
    fn touch(&mut self, held: &[usize]) -> Option<Touch> {
        let locked = |cell: &Cell| matches!(cell.guard, Guard::Lock(lock) if held.contains(&lock));
        let free = |cell: &Cell| self.layout.without_lock(cell.guard, self.drone, self.phase);
        let may = |cell: &Cell| {
            if locked(cell) {
                Freedom::Write
            } else {
                free(cell)
            }
        };
        let prefer_locked = !held.is_empty() && self.prng.chance(80);
        let cells = self.layout.cells.iter().filter(|cell| {
            if prefer_locked {
                locked(cell)
            } else {
                may(cell) > Freedom::Nothing
            }
        });
        let cells: Vec<Cell> = cells.copied().collect();
        let cell = cells[self.prng.index(cells.len())?];
        let freedom = may(&cell);
        Some(self.touch_cell(cell, freedom))
    }

    fn touch_cell(&mut self, cell: Cell, freedom: Freedom) -> Touch {
        // Mostly small; now and then large enough that a page is cheaper than its diffs.
        let most = if self.prng.chance(6) { 5_000 } else { 64 };
        let bytes = (1 + self.prng.skewed(most)).min(cell.bytes);
        let spare = cell.bytes - bytes;
        let offset = match self.prng.below(4) {
            0 => 0,
            1 => spare,
            _ => self.prng.below(spare + 1),
        };
        let at = cell.start + offset;
        match self.prng.below(10) {
            _ if freedom == Freedom::Read => Touch::Load { at, bytes },
            0..=3 => Touch::Load { at, bytes },
            4..=7 => Touch::Store {
                at,
                content: self.content(bytes),
            },
            _ => Touch::Increment {
                at,
                bytes: bytes.min(8),
            },
        }
    }

    /// Bytes to store: anything, or a few small values so that stores often change nothing.
    fn content(&mut self, bytes: u64) -> Vec<u8> {
        let small = self.prng.chance(30);
        let byte = |_| {
            if small {
                self.prng.below(3) as u8
            } else {
                self.prng.word() as u8
            }
        };
        (0..bytes).map(byte).collect()
    }

    fn pass(&mut self) -> Item {
        let baton = self.prng.below(self.layout.batons.len() as u64) as usize;
        let cells = self.layout.guarded(Guard::BatonData(baton));
        let mut touches = Vec::new();
        for _ in 0..self.prng.below(4) {
            let Some(at) = self.prng.index(cells.len()) else {
                break;
            };
            touches.push(self.touch_cell(cells[at], Freedom::Write));
        }
        let next = DroneId(self.prng.below(u64::from(self.layout.drones)) as u32);
        Item::Pass {
            baton,
            next,
            outside: self.prng.chance(50),
            touches,
        }
    }

    fn heap_item(&mut self) -> Item {
        let slot = self.prng.below(self.layout.slots.len() as u64) as usize;
        match self.prng.below(10) {
            0..=2 => {
                let (bytes, width) = (self.prng.skewed(9_000), self.prng.below(32));
                let align = 1 << self.prng.below(14);
                Item::Fill {
                    slot,
                    bytes,
                    align,
                    content: self.content(width),
                }
            }
            3 => Item::Empty { slot },
            _ => {
                let width = self.prng.below(32);
                Item::Use {
                    slot,
                    place: self.prng.below(1 << 16),
                    content: self.content(width),
                }
            }
        }
    }

    fn shelf_item(&mut self) -> Item {
        let shelf = self.prng.below(self.layout.shelves.len() as u64) as usize;
        let condition = self.prng.below(u64::from(SHELF_CONDITIONS)) as u32;
        if self.layout.keeper(self.phase) == self.drone || self.prng.chance(45) {
            Item::Put {
                shelf,
                condition,
                all: self.prng.chance(30),
            }
        } else {
            Item::Take { shelf, condition }
        }
    }

    fn own(&mut self) -> Item {
        let bytes = 1 + self.prng.skewed(200);
        Item::Own {
            bytes,
            content: self.content(bytes.min(24)),
            frees: self.prng.chance(80),
        }
    }

    fn wrong(&mut self) -> Item {
        let lock = self.prng.below(self.layout.locks.len() as u64) as usize;
        Item::Wrong(match self.prng.below(5) {
            0 => Wrong::Release(lock),
            3 => Wrong::Wait(lock),
            4 => Wrong::Signal(lock),
            1 => Wrong::Free(self.prng.below(self.layout.area_bytes) | 1),
            _ => Wrong::Align(3 + 2 * self.prng.below(5)),
        })
    }
}
