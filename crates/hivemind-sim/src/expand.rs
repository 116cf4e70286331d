//! Items become steps: here is what each item of a program means, also where that depends on what was
//! loaded. What a step is, is in `step`; steps are executed in `run`.

use crate::layout::{Guard, HEAP_LOCK, Layout, SHELF_BYTES, SHELF_CONDITIONS, SLOT_BYTES};
use crate::program::{Deed, End, Item, Phase, Touch, Wrong};
use crate::step::{Decision, Purpose, Step};
use hivemind_protocol::{
    Address, BarrierId, Block, Command, ConditionId, DroneId, LockId, Meeting, MeetingKind, Mutant,
    PAGE_SIZE, PageId, PageRun, Refusal, mutant,
};

/// What an item's meaning depends on.
pub(crate) struct Scene<'a> {
    pub(crate) layout: &'a Layout,
    pub(crate) drone: DroneId,
    /// The phase's number, as drawn.
    pub(crate) phase: u64,
    /// Where the area begins.
    pub(crate) base: u64,
    /// The collective blocks: address and size.
    pub(crate) blocks: &'a [Option<(u64, u64)>],
    /// What the thread loaded last.
    pub(crate) loaded: &'a [u8],
    /// What it allocated last.
    pub(crate) allocated: Option<Block>,
}

impl Scene<'_> {
    /// The steps of an item.
    pub(crate) fn item(&self, item: &Item) -> Vec<Step> {
        match item {
            Item::Compute(us) => vec![Step::Compute(*us)],
            Item::Section(deeds) => deeds.iter().flat_map(|deed| self.deed(deed)).collect(),
            Item::Pass {
                baton,
                next,
                outside,
                touches,
            } => {
                let (next, outside, touches) = (*next, *outside, touches.clone());
                let lock = self.lock(self.layout.batons[*baton]);
                let owner = self.cell(Guard::BatonOwner(*baton));
                let decide = Decision::Pass {
                    baton: *baton,
                    next,
                    outside,
                    touches,
                };
                vec![
                    Step::Acquire(lock),
                    load(owner, 1),
                    Step::Decide(decide),
                    Step::Release(lock),
                ]
            }
            Item::Fill {
                slot,
                bytes,
                align,
                content,
            } => {
                let (bytes, align, content) = (*bytes, *align, content.clone());
                self.with_slot(
                    *slot,
                    true,
                    Decision::Fill {
                        slot: *slot,
                        bytes,
                        align,
                        content,
                    },
                )
            }
            Item::Use {
                slot,
                place,
                content,
            } => {
                let decide = Decision::Use {
                    place: *place,
                    content: content.clone(),
                };
                self.with_slot(*slot, false, decide)
            }
            Item::Empty { slot } => self.with_slot(*slot, true, Decision::Empty { slot: *slot }),
            Item::Own {
                bytes,
                content,
                frees,
            } => {
                let (bytes, align) = (*bytes, 1);
                let mut steps = self.in_turn(vec![Step::Allocate { bytes, align }]);
                steps.push(Step::Decide(Decision::Own {
                    content: content.clone(),
                    frees: *frees,
                }));
                steps
            }
            Item::Stripe {
                block,
                element,
                content,
            } => self.stripe(*block, *element, content),
            Item::Put {
                shelf,
                condition,
                all,
            } => {
                let (shelf, condition, all) = (*shelf, *condition, *all);
                self.at_shelf(
                    shelf,
                    Decision::Put {
                        shelf,
                        condition,
                        all,
                    },
                )
            }
            Item::Take { shelf, condition } => {
                let (shelf, condition) = (*shelf, *condition);
                self.at_shelf(shelf, Decision::Take { shelf, condition })
            }
            Item::Prefetch { first, count } => {
                let first = PageId(PageId::of(Address(self.base)).0 + first);
                let count = *count;
                vec![Step::Prefetch(PageRun { first, count })]
            }
            Item::Wrong(wrong) => vec![self.wrong(*wrong)],
        }
    }

    /// The steps that follow from a decision.
    pub(crate) fn decide(&self, decision: Decision) -> Vec<Step> {
        match decision {
            Decision::Pass {
                baton,
                next,
                outside,
                touches,
            } => self.pass(baton, next, outside, &touches),
            Decision::Fill {
                slot,
                bytes,
                align,
                content,
            } => match self.slot_content() {
                Some(_) => Vec::new(),
                None => {
                    let decide = Decision::Filled {
                        slot,
                        bytes,
                        content,
                    };
                    vec![Step::Allocate { bytes, align }, Step::Decide(decide)]
                }
            },
            Decision::Filled {
                slot,
                bytes,
                mut content,
            } => {
                let Some(block) = self.allocated else {
                    return Vec::new();
                };
                content.truncate(bytes as usize);
                let slot = store(
                    self.cell(Guard::Slot(slot)),
                    slot_bytes(block.address.0 + 1, bytes),
                );
                vec![slot, store(block.address.0, content)]
            }
            Decision::Use { place, mut content } => {
                let Some((address, bytes)) = self.slot_content() else {
                    return Vec::new();
                };
                let at = (bytes * place) >> 16;
                content.truncate((bytes - at) as usize);
                let there = address + at;
                vec![load(there, content.len() as u64), store(there, content)]
            }
            Decision::Empty { slot } => {
                let Some((address, _)) = self.slot_content() else {
                    return Vec::new();
                };
                let cleared = store(self.cell(Guard::Slot(slot)), slot_bytes(0, 0));
                let address = Address(address);
                vec![Step::Measure(address), Step::Free(address), cleared]
            }
            Decision::Own { content, frees } => {
                let Some(block) = self.allocated else {
                    return Vec::new();
                };
                let (at, bytes) = (block.address.0, content.len() as u64);
                let mut steps = vec![load(at, bytes), store(at, content), load(at, bytes)];
                if frees {
                    steps.extend(self.in_turn(vec![Step::Free(block.address)]));
                }
                steps
            }
            Decision::Put {
                shelf,
                condition,
                all,
            } => {
                let count = self.loaded[0].saturating_add(1);
                vec![
                    self.store_shelf(shelf, count, self.loaded[1]),
                    self.signal(shelf, condition, all),
                ]
            }
            Decision::Take { shelf, condition } => self.take(shelf, condition),
            Decision::Close { shelf } => {
                let mut steps = vec![self.store_shelf(shelf, self.loaded[0], self.after_phase())];
                let each =
                    (0..SHELF_CONDITIONS).map(|which| self.signal(shelf, which, self.tells_all()));
                steps.extend(each);
                steps
            }
        }
    }

    /// The steps at a phase's end.
    pub(crate) fn phase_end(&self, phase: &Phase) -> Vec<Step> {
        let mut steps = Vec::new();
        if self.layout.keeper(phase.number) == self.drone {
            let shelves = 0..self.layout.shelves.len();
            steps.extend(shelves.flat_map(|shelf| self.at_shelf(shelf, Decision::Close { shelf })));
        }
        if phase.mismatch {
            // The last drone differs from all others.
            let kind = match self.drone.0 + 1 == self.layout.drones {
                true => MeetingKind::Reduce { bytes: 7 },
                false => MeetingKind::Barrier(BarrierId(99)),
            };
            steps.push(Step::Meet(
                Meeting {
                    kind,
                    payload: vec![0; 7],
                },
                Purpose::Mismatch,
            ));
        }
        steps.push(Step::Join);
        let kind = match phase.end {
            End::Barrier(barrier) => MeetingKind::Barrier(barrier),
            End::Split(barrier) => MeetingKind::Split(barrier),
            End::Broadcast(root) => MeetingKind::Broadcast { root, bytes: 9 },
            End::Reduce => MeetingKind::Reduce { bytes: 8 },
            End::Allocate { bytes, align, .. } => MeetingKind::Allocate { bytes, align },
            End::Free(block) => match self.blocks.get(block).copied().flatten() {
                Some((address, _)) => MeetingKind::Free(Address(address)),
                None => MeetingKind::Barrier(BarrierId(7)),
            },
        };
        let meeting = Meeting {
            kind,
            payload: self.payload(kind, phase.number),
        };
        steps.push(Step::Meet(meeting, Purpose::PhaseEnd(phase.end)));
        if matches!(phase.end, End::Split(_)) {
            let between = phase.between.get(self.drone.0 as usize);
            steps.extend(
                between
                    .into_iter()
                    .flatten()
                    .flat_map(|item| self.item(item)),
            );
            steps.push(Step::Depart);
        }
        steps
    }

    /// The first call of all, where the area comes from the heap.
    pub(crate) fn opening(&self) -> Vec<Step> {
        let kind = MeetingKind::Allocate {
            bytes: self.layout.area_bytes,
            align: PAGE_SIZE as u64,
        };
        vec![Step::Meet(
            Meeting {
                kind,
                payload: Vec::new(),
            },
            Purpose::Area,
        )]
    }

    /// The end of every program: all meet, read everything, and leave.
    pub(crate) fn closing(&self) -> Vec<Step> {
        let barrier = MeetingKind::Barrier(BarrierId(0));
        let meet = |kind| {
            Step::Meet(
                Meeting {
                    kind,
                    payload: Vec::new(),
                },
                Purpose::Closing,
            )
        };
        let mut steps = vec![Step::Join, meet(barrier)];
        // Each drone begins elsewhere, so that not all ask the same peer at once.
        let cells = &self.layout.cells;
        let first = self.drone.0 as usize * cells.len() / self.layout.drones as usize;
        for at in 0..cells.len() {
            let cell = cells[(first + at) % cells.len()];
            steps.push(load(self.base + cell.start, cell.bytes));
        }
        let blocks = self.blocks.iter().flatten().filter(|(_, bytes)| *bytes > 0);
        steps.extend(blocks.map(|(address, bytes)| load(*address, *bytes)));
        steps.push(meet(MeetingKind::Leave));
        steps
    }

    fn payload(&self, kind: MeetingKind, phase: u64) -> Vec<u8> {
        let mine =
            |count: u64| (0..count).map(|at| (phase * 7 + u64::from(self.drone.0) * 31 + at) as u8);
        match kind {
            MeetingKind::Broadcast { root, bytes } if root == self.drone => mine(bytes).collect(),
            MeetingKind::Reduce { bytes } => mine(bytes).collect(),
            _ => Vec::new(),
        }
    }

    fn deed(&self, deed: &Deed) -> Vec<Step> {
        match deed {
            Deed::Lock(lock) => vec![Step::Acquire(self.lock(*lock))],
            Deed::Unlock(lock) => vec![Step::Release(self.lock(*lock))],
            Deed::Try(lock, touches) => {
                let touches = touches.iter().flat_map(|touch| self.touch(touch));
                vec![Step::Try(self.lock(*lock), touches.collect())]
            }
            Deed::Touch(touch) => self.touch(touch),
            Deed::Compute(us) => vec![Step::Compute(*us)],
            Deed::LockAgain(lock) => {
                let lock = self.lock(*lock);
                vec![Step::Refused(
                    Command::Acquire(lock),
                    Refusal::AlreadyHeld(lock),
                )]
            }
            Deed::MeetHolding(lock) => {
                let (lock, kind) = (self.lock(*lock), MeetingKind::Barrier(BarrierId(5)));
                let command = Command::Meet(Meeting {
                    kind,
                    payload: Vec::new(),
                });
                vec![Step::Refused(
                    command,
                    Refusal::HeldAtMeeting {
                        lock,
                        meeting: kind,
                    },
                )]
            }
        }
    }

    fn touch(&self, touch: &Touch) -> Vec<Step> {
        match touch {
            Touch::Load { at, bytes } => vec![load(self.base + at, *bytes)],
            Touch::Store { at, content } => vec![store(self.base + at, content.clone())],
            Touch::Increment { at, bytes } => {
                let at = self.base + at;
                vec![load(at, *bytes), Step::StoreIncremented { at: Address(at) }]
            }
        }
    }

    fn pass(&self, baton: usize, next: DroneId, outside: bool, touches: &[Touch]) -> Vec<Step> {
        if u32::from(self.loaded[0]) != self.drone.0 {
            return Vec::new();
        }
        let lock = self.lock(self.layout.batons[baton]);
        let mut steps: Vec<Step> = touches.iter().flat_map(|touch| self.touch(touch)).collect();
        if outside {
            steps.insert(0, Step::Release(lock));
            steps.push(Step::Acquire(lock));
        }
        steps.push(store(
            self.cell(Guard::BatonOwner(baton)),
            vec![next.0 as u8],
        ));
        steps
    }

    fn with_slot(&self, slot: usize, heap: bool, decision: Decision) -> Vec<Step> {
        let lock = self.lock(self.layout.slots[slot]);
        let cell = self.cell(Guard::Slot(slot));
        let decide = Step::Decide(decision);
        let steps = vec![
            Step::Acquire(lock),
            load(cell, SLOT_BYTES),
            decide,
            Step::Release(lock),
        ];
        if heap { self.in_turn(steps) } else { steps }
    }

    /// Under the shelf's lock, with what lies there loaded.
    fn at_shelf(&self, shelf: usize, decision: Decision) -> Vec<Step> {
        let lock = self.lock(self.layout.shelves[shelf]);
        vec![
            Step::Acquire(lock),
            load(self.cell(Guard::Shelf(shelf)), SHELF_BYTES),
            Step::Decide(decision),
            Step::Release(lock),
        ]
    }

    /// Takes a thing, if there is one; sleeps, if there is none and the shelf is not closed, and looks again.
    fn take(&self, shelf: usize, condition: u32) -> Vec<Step> {
        let (count, open_from) = (self.loaded[0], self.loaded[1]);
        let is_closed = open_from >= self.after_phase();
        let lock = self.lock(self.layout.shelves[shelf]);
        if count == 0 && !is_closed {
            return vec![
                Step::Wait(lock, self.layout.condition(shelf, condition)),
                load(self.cell(Guard::Shelf(shelf)), SHELF_BYTES),
                Step::Decide(Decision::Take { shelf, condition }),
            ];
        }
        let mut steps = Vec::new();
        if count > 0 {
            steps.push(self.store_shelf(shelf, count - 1, open_from));
        }
        if is_closed && !self.tells_all() {
            steps.push(self.signal(shelf, condition, false));
        }
        steps
    }

    /// How the keeper tells those who wait that a shelf is closed: all of them, or the first, who tells the next. Then
    /// one that is forgotten is never woken.
    fn tells_all(&self) -> bool {
        self.phase % 3 == 2
    }

    /// The first phase for which a shelf is not closed, once it is for this one.
    fn after_phase(&self) -> u8 {
        self.phase as u8 + 1
    }

    fn store_shelf(&self, shelf: usize, count: u8, open_from: u8) -> Step {
        store(self.cell(Guard::Shelf(shelf)), vec![count, open_from])
    }

    fn signal(&self, shelf: usize, condition: u32, all: bool) -> Step {
        let lock = self.lock(self.layout.shelves[shelf]);
        Step::Signal(lock, self.layout.condition(shelf, condition), all)
    }

    /// Under the heap's lock, as the library makes each call to the heap: who gets a block happens after whoever
    /// freed it.
    fn in_turn(&self, mut steps: Vec<Step>) -> Vec<Step> {
        if !mutant(Mutant::HeapOutOfTurn) {
            steps.insert(0, Step::Acquire(self.lock(HEAP_LOCK)));
            steps.push(Step::Release(self.lock(HEAP_LOCK)));
        }
        steps
    }

    /// What the loaded slot says: the block's address and size.
    fn slot_content(&self) -> Option<(u64, u64)> {
        let word = |at: usize| {
            u64::from_le_bytes(self.loaded[at..at + 8].try_into().expect("eight bytes"))
        };
        word(0).checked_sub(1).map(|address| (address, word(8)))
    }

    fn stripe(&self, block: usize, element: u64, content: &[u8]) -> Vec<Step> {
        let Some((address, bytes)) = self.blocks.get(block).copied().flatten() else {
            return Vec::new();
        };
        let width = 1 + block as u64 % 4;
        let at = (element * u64::from(self.layout.drones) + u64::from(self.drone.0)) * width;
        if at + width > bytes {
            return Vec::new();
        }
        let at = address + at;
        if content.is_empty() {
            return vec![load(at, width)];
        }
        let content = content
            .iter()
            .copied()
            .cycle()
            .take(width as usize)
            .collect();
        vec![load(at, width), store(at, content)]
    }

    fn wrong(&self, wrong: Wrong) -> Step {
        match wrong {
            Wrong::Release(lock) => {
                let lock = self.lock(lock);
                Step::Refused(Command::Release(lock), Refusal::NotHeld(lock))
            }
            Wrong::Wait(lock) => {
                let (lock, condition) = (self.lock(lock), ConditionId(0));
                let command = Command::Wait { lock, condition };
                Step::Refused(command, Refusal::NotHeld(lock))
            }
            Wrong::Signal(lock) => {
                let (lock, condition, all) = (self.lock(lock), ConditionId(0), true);
                let command = Command::Signal {
                    lock,
                    condition,
                    all,
                };
                Step::Refused(command, Refusal::NotHeld(lock))
            }
            Wrong::Free(at) => {
                let address = Address(at);
                let command = match at % 4 {
                    1 => Command::Free(address),
                    _ => Command::Measure(address),
                };
                Step::Refused(command, Refusal::BadAddress(address))
            }
            Wrong::Align(align) => Step::Refused(
                Command::Allocate { bytes: 8, align },
                Refusal::BadAlignment(align),
            ),
        }
    }

    fn lock(&self, number: usize) -> LockId {
        self.layout.locks[number]
    }

    /// The address of the one cell with this guard.
    fn cell(&self, guard: Guard) -> u64 {
        let cell = self.layout.cells.iter().find(|cell| cell.guard == guard);
        self.base + cell.expect("every baton and slot has its cell").start
    }
}

fn load(at: u64, bytes: u64) -> Step {
    Step::Load {
        at: Address(at),
        bytes,
        begun: false,
    }
}

fn store(at: u64, content: Vec<u8>) -> Step {
    Step::Store {
        at: Address(at),
        content,
    }
}

fn slot_bytes(address: u64, bytes: u64) -> Vec<u8> {
    [address.to_le_bytes(), bytes.to_le_bytes()].concat()
}
