//! Target `core`: one drone's core among peers that say anything. Its program is a correct one; what it hears is
//! any message that can be decoded, from any peer, in any state. It must never break an invariant of its own: what
//! is wrong is a misbehaviour that names a peer, after which every wait ends.
//!
//! An input is a setting and then steps, see [`Step`]. `examples/seeds.rs` records such inputs in runs of correct
//! drones, so that the fuzzer starts from deep states.

use std::collections::BTreeMap;

use hivemind_protocol::{
    Access, AccessKind, Address, BarrierId, Command, ConditionId, Core, CoreConfig, DroneId,
    Economies, Effect, Event, FAN_OUT, Failure, LockId, Meeting, MeetingKind, Memory, Message,
    Outcome, PAGE_SIZE, PageBytes, PageId, PageRun, Ticket, WriteDetection,
};

use crate::Bytes;

/// How many drones the hive has.
pub const DRONES: u32 = 3;
/// How many pages.
pub const PAGES: u64 = 40;
/// So small that collections come soon.
pub const METADATA_LIMIT_BYTES: u64 = 1 << 10;
/// How many locks the program knows.
pub const LOCKS: u64 = 4;
/// How many conditions each has.
pub const CONDITIONS: u32 = 2;
/// A longer message is cut.
const MESSAGE_MOST: usize = u16::MAX as usize;

/// One thing that happens to the drone.
#[derive(Clone, PartialEq, Debug)]
pub enum Step {
    /// The program stores a byte; a fault first, where it may not.
    Store(PageId, u16, u8),
    /// The program loads.
    Load(PageId),
    /// The program calls.
    Call(Command),
    /// A peer says something.
    Hear(DroneId, Vec<u8>),
    /// A peer is gone.
    Lose(DroneId),
}

/// What kind of hive it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Setting {
    /// How the drones notice writes.
    pub detection: WriteDetection,
    /// Whether each waits for one other at an epoch's end; else the first waits for both.
    pub line: bool,
}

/// Writes an input: which drone of which hive, what happens to it.
pub fn write_input(me: DroneId, setting: Setting, steps: &[Step]) -> Vec<u8> {
    let scans = u8::from(setting.detection == WriteDetection::Scans) << 7;
    let line = u8::from(setting.line) << 6;
    let mut input = vec![me.0 as u8 | line | scans];
    for step in steps {
        write_step(step, &mut input);
    }
    input
}

fn write_step(step: &Step, into: &mut Vec<u8>) {
    match step {
        Step::Store(page, offset, byte) => {
            into.extend([0, page.0 as u8]);
            into.extend(offset.to_le_bytes());
            into.push(*byte);
        }
        Step::Load(page) => into.extend([1, page.0 as u8]),
        Step::Call(Command::Acquire(lock)) => into.extend([2, lock.0 as u8]),
        Step::Call(Command::Release(lock)) => into.extend([3, lock.0 as u8]),
        Step::Call(Command::Meet(meeting)) => write_meeting(meeting, into),
        Step::Call(Command::Depart) => into.push(14),
        Step::Call(Command::Allocate { bytes, .. }) => into.extend([5, *bytes as u8]),
        Step::Call(Command::Free(address)) => {
            into.push(6);
            into.extend((address.0 as u16).to_le_bytes());
        }
        Step::Call(Command::Measure(address)) => {
            into.push(13);
            into.extend((address.0 as u16).to_le_bytes());
        }
        Step::Call(Command::TryAcquire(lock)) => into.extend([11, lock.0 as u8]),
        Step::Call(Command::Prefetch(pages)) => {
            into.extend([12, pages.first.0 as u8, pages.count as u8]);
        }
        Step::Call(Command::Wait { lock, condition }) => {
            into.extend([9, lock.0 as u8, condition.0 as u8]);
        }
        Step::Call(Command::Signal {
            lock,
            condition,
            all,
        }) => into.extend([10, lock.0 as u8, condition.0 as u8, u8::from(*all)]),
        Step::Hear(from, message) => {
            into.extend([7, from.0 as u8]);
            let count = message.len().min(MESSAGE_MOST);
            into.extend((count as u16).to_le_bytes());
            into.extend(&message[..count]);
        }
        Step::Lose(drone) => into.extend([8, drone.0 as u8]),
    }
}

fn write_meeting(meeting: &Meeting, into: &mut Vec<u8>) {
    into.push(4);
    match meeting.kind {
        MeetingKind::Barrier(id) => into.extend([0, id.0 as u8]),
        MeetingKind::Broadcast { root, .. } => into.extend([1, root.0 as u8]),
        MeetingKind::Reduce { bytes } => into.extend([2, bytes as u8]),
        MeetingKind::Allocate { bytes, .. } => into.extend([3, bytes as u8]),
        MeetingKind::Free(address) => into.extend([4, (address.0 / 16) as u8]),
        MeetingKind::Leave => into.extend([5, 0]),
        MeetingKind::Split(id) => into.extend([6, id.0 as u8]),
    }
}

fn read_step(me: DroneId, input: &mut Bytes<'_>) -> Step {
    let page = |input: &mut Bytes<'_>| PageId(u64::from(input.byte()) % PAGES);
    let lock = |input: &mut Bytes<'_>| LockId(u64::from(input.byte()) % LOCKS);
    let condition = |input: &mut Bytes<'_>| ConditionId(u32::from(input.byte()) % CONDITIONS);
    match input.byte() % 15 {
        0 => Step::Store(page(input), input.short() % PAGE_SIZE as u16, input.byte()),
        1 => Step::Load(page(input)),
        2 => Step::Call(Command::Acquire(lock(input))),
        3 => Step::Call(Command::Release(lock(input))),
        4 => Step::Call(Command::Meet(read_meeting(me, input))),
        5 => Step::Call(Command::Allocate {
            bytes: u64::from(input.byte()),
            align: 16,
        }),
        6 => Step::Call(Command::Free(Address(u64::from(input.short())))),
        13 => Step::Call(Command::Measure(Address(u64::from(input.short())))),
        7 => {
            let from = read_peer(me, input);
            let count = usize::from(input.short());
            Step::Hear(from, input.take(count).to_vec())
        }
        8 => Step::Lose(read_peer(me, input)),
        9 => Step::Call(Command::Wait {
            lock: lock(input),
            condition: condition(input),
        }),
        10 => Step::Call(Command::Signal {
            lock: lock(input),
            condition: condition(input),
            all: input.byte() % 2 == 1,
        }),
        11 => Step::Call(Command::TryAcquire(lock(input))),
        14 => Step::Call(Command::Depart),
        _ => Step::Call(Command::Prefetch(PageRun {
            first: page(input),
            count: 1 + u64::from(input.byte()),
        })),
    }
}

fn read_meeting(me: DroneId, input: &mut Bytes<'_>) -> Meeting {
    let (kind, value) = (input.byte(), u64::from(input.byte()));
    let kind = match kind % 7 {
        0 => MeetingKind::Barrier(BarrierId(value as u32)),
        1 => MeetingKind::Broadcast {
            root: DroneId(value as u32 % DRONES),
            bytes: 8,
        },
        2 => MeetingKind::Reduce { bytes: value },
        3 => MeetingKind::Allocate {
            bytes: value,
            align: 16,
        },
        4 => MeetingKind::Free(Address(value * 16)),
        6 => MeetingKind::Split(BarrierId(value as u32)),
        _ => MeetingKind::Leave,
    };
    Meeting {
        kind,
        payload: payload(me, kind),
    }
}

/// What the library brings to a meeting.
pub fn payload(me: DroneId, kind: MeetingKind) -> Vec<u8> {
    match kind {
        MeetingKind::Broadcast { root, bytes } if root == me => vec![1; bytes as usize],
        MeetingKind::Reduce { bytes } => vec![2; bytes as usize],
        _ => Vec::new(),
    }
}

/// Somebody else. A core is never told that it said something itself.
fn read_peer(me: DroneId, input: &mut Bytes<'_>) -> DroneId {
    let others = u32::from(input.byte()) % (DRONES - 1);
    DroneId(others + u32::from(others >= me.0))
}

/// Runs an input.
pub fn run(input: &[u8]) {
    let mut input = Bytes::new(input);
    let first = input.byte();
    let me = DroneId(u32::from(first & 0x3f) % DRONES);
    let setting = Setting {
        detection: match first >> 7 {
            0 => WriteDetection::Traps,
            _ => WriteDetection::Scans,
        },
        line: first & 0x40 > 0,
    };
    let mut drone = Drone::new(me, setting);
    while !input.is_empty() && drone.lives {
        let step = read_step(me, &mut input);
        drone.take(step);
    }
}

/// A core, its memory and its program, which has one thread.
#[derive(Debug)]
pub struct Drone {
    me: DroneId,
    core: Core<Pages>,
    /// What the program waits for.
    waiting: Option<(Ticket, Waiting)>,
    tickets: u64,
    effects: Vec<Effect>,
    /// Whether nobody is lost and the program has not left.
    pub lives: bool,
}

/// What a ticket must bring.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Waiting {
    Done,
    Try,
    Block,
    Meeting(MeetingKind),
}

impl Drone {
    /// A drone at the start.
    pub fn new(me: DroneId, setting: Setting) -> Self {
        let config = CoreConfig {
            me,
            drones: DRONES,
            pages: PAGES,
            metadata_limit_bytes: METADATA_LIMIT_BYTES,
            fan_out: if setting.line { 1 } else { FAN_OUT },
            // From the first time on, for a few steps must be enough.
            economies: Economies {
                again: Some(0),
                ..Economies::default()
            },
        };
        Self {
            me,
            core: Core::new(config, Pages::new(setting.detection)),
            waiting: None,
            tickets: 0,
            effects: Vec::new(),
            lives: true,
        }
    }

    /// Whether the program waits.
    pub fn waits(&self) -> bool {
        self.waiting.is_some()
    }

    /// Lets a step happen. The program's are left out while it waits. Gives what is to be sent.
    pub fn take(&mut self, step: Step) -> Vec<(DroneId, Message)> {
        let free = !self.waits();
        match step {
            Step::Store(page, offset, byte) if free => self.store(page, offset.into(), byte),
            Step::Load(page) if free => self.load(page),
            Step::Call(command) if free => {
                let waiting = match &command {
                    Command::TryAcquire(_) => Waiting::Try,
                    Command::Allocate { .. } | Command::Measure(_) => Waiting::Block,
                    Command::Meet(Meeting {
                        kind: MeetingKind::Split(_),
                        ..
                    }) => Waiting::Done,
                    Command::Meet(meeting) => Waiting::Meeting(meeting.kind),
                    Command::Depart => Waiting::Meeting(MeetingKind::Split(BarrierId(0))),
                    _ => Waiting::Done,
                };
                let ticket = self.wait_for(waiting);
                self.drive(Event::Command { command, ticket });
            }
            Step::Hear(from, bytes) => {
                if let Ok(message) = Message::decode(&bytes) {
                    self.drive(Event::Message { from, message });
                }
            }
            Step::Lose(drone) => self.lose(drone),
            _ => {}
        }
        self.obey()
    }

    fn load(&mut self, page: PageId) {
        if self.core.memory().access(page) == Access::Invalid {
            self.fault(page, AccessKind::Read);
        }
    }

    fn store(&mut self, page: PageId, offset: usize, byte: u8) {
        if !self.core.memory_mut().store(page, offset, byte) {
            self.fault(page, AccessKind::Write);
        }
    }

    fn fault(&mut self, page: PageId, kind: AccessKind) {
        let ticket = self.wait_for(Waiting::Done);
        self.drive(Event::Fault { page, kind, ticket });
    }

    fn wait_for(&mut self, waiting: Waiting) -> Ticket {
        self.tickets += 1;
        self.waiting = Some((Ticket(self.tickets), waiting));
        Ticket(self.tickets)
    }

    fn drive(&mut self, event: Event) {
        let by_peer = matches!(event, Event::Message { .. });
        if let Err(wrong) = self.core.handle(event, &mut self.effects) {
            assert!(by_peer, "the program's own call: {wrong}");
            assert!(wrong.peer != self.me && wrong.peer.0 < DRONES, "{wrong}");
            assert!(
                wrong.what.len() < 500,
                "{} bytes of blame",
                wrong.what.len()
            );
            self.lose(wrong.peer);
        }
    }

    /// Every wait ends then.
    fn lose(&mut self, drone: DroneId) {
        self.lives = false;
        let lost = Event::Lost { drone };
        self.core
            .handle(lost, &mut self.effects)
            .expect("the loss of a drone is no message");
        let told = |effect: &Effect| match (effect, self.waiting) {
            (Effect::Complete { ticket, .. }, Some((waiting, _))) => *ticket == waiting,
            _ => false,
        };
        assert!(
            self.waiting.is_none() || self.effects.iter().any(told),
            "{:?} waits for ever",
            self.waiting
        );
    }

    /// Looks at each effect, and gives what is to be sent.
    fn obey(&mut self) -> Vec<(DroneId, Message)> {
        let mut sent = Vec::new();
        for effect in std::mem::take(&mut self.effects) {
            match effect {
                Effect::Send { to, message } => {
                    assert!(to.0 < DRONES && to != self.me, "{to} gets {message:?}");
                    sent.push((to, message));
                }
                Effect::Complete { ticket, result } => self.complete(ticket, result),
            }
        }
        sent
    }

    fn complete(&mut self, ticket: Ticket, result: Result<Outcome, Failure>) {
        let (waiting, what) = self.waiting.take().expect("somebody waits");
        assert_eq!(ticket, waiting, "a ticket that nobody has");
        match (result, what) {
            (Err(Failure::Lost(_)), _) => self.lives = false,
            (Err(Failure::Refused(_)), _)
            | (Ok(Outcome::Done), Waiting::Done | Waiting::Try)
            | (Ok(Outcome::Unavailable), Waiting::Try) => {}
            (Ok(Outcome::Allocated(block)), Waiting::Block) => check_address(block.address),
            (
                Ok(Outcome::Met {
                    payloads,
                    allocated,
                }),
                Waiting::Meeting(kind),
            ) => {
                assert_eq!(payloads.len(), DRONES as usize);
                for (drone, brought) in (0..).map(DroneId).zip(&payloads) {
                    let sized = matches!(
                        kind,
                        MeetingKind::Broadcast { .. } | MeetingKind::Reduce { .. }
                    );
                    assert!(!sized || brought.len() == payload(drone, kind).len());
                }
                let allocates = matches!(kind, MeetingKind::Allocate { .. });
                assert_eq!(allocated.is_some(), allocates);
                if let Some(block) = allocated {
                    check_address(block.address);
                }
                self.lives &= kind != MeetingKind::Leave;
            }
            (result, what) => panic!("{what:?} ended as {result:?}"),
        }
    }
}

fn check_address(address: Address) {
    assert!(
        address.0 > 0 && address.0 < PAGES * PAGE_SIZE as u64,
        "{address} lies outside the region"
    );
}

/// Memory that holds the core to what is written at [`Memory`].
#[derive(Debug)]
struct Pages {
    detection: WriteDetection,
    access: Vec<Access>,
    written: Vec<bool>,
    /// Pages that are not all zeros.
    bytes: BTreeMap<PageId, Box<PageBytes>>,
}

impl Pages {
    fn new(detection: WriteDetection) -> Self {
        Self {
            detection,
            access: vec![Access::Invalid; PAGES as usize],
            written: vec![false; PAGES as usize],
            bytes: BTreeMap::new(),
        }
    }

    fn access(&self, page: PageId) -> Access {
        self.access[page.0 as usize]
    }

    /// The program's store; false if it faults.
    fn store(&mut self, page: PageId, offset: usize, byte: u8) -> bool {
        let scans = self.detection == WriteDetection::Scans;
        match self.access(page) {
            Access::ReadWrite => {}
            Access::ReadOnly if scans => self.written[page.0 as usize] = true,
            _ => return false,
        }
        self.page(page)[offset] = byte;
        true
    }

    fn page(&mut self, page: PageId) -> &mut PageBytes {
        self.bytes
            .entry(page)
            .or_insert_with(|| Box::new([0; PAGE_SIZE]))
    }
}

impl Memory for Pages {
    fn write_detection(&self) -> WriteDetection {
        self.detection
    }

    fn set_access(&mut self, pages: PageRun, access: Access) {
        for page in pages.pages() {
            self.access[page.0 as usize] = access;
            self.written[page.0 as usize] = false;
        }
    }

    fn read(&self, page: PageId, into: &mut PageBytes) {
        assert!(page.0 < PAGES);
        match self.bytes.get(&page) {
            Some(bytes) => into.copy_from_slice(&bytes[..]),
            None => into.fill(0),
        }
    }

    fn write(&mut self, page: PageId, offset: usize, bytes: &[u8]) {
        assert_eq!(self.access(page), Access::Invalid, "INV-1: {page} is seen");
        self.page(page)[offset..offset + bytes.len()].copy_from_slice(bytes);
    }

    fn take_written(&mut self, into: &mut Vec<PageRun>) {
        if self.detection == WriteDetection::Scans {
            let written = (0..PAGES).filter(|&page| self.written[page as usize]);
            into.extend(PageRun::join(written.map(PageId)));
            self.written.fill(false);
        }
    }
}
