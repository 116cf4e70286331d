//! Writes seeds into the corpus: for `message` one of every kind, for `core` what happened to single drones in runs
//! of correct ones. `cargo run -p hivemind-fuzz --example seeds`, when a message or the core's steps change; what
//! is hostile on purpose was found or written by hand and stays.

#![forbid(unsafe_code)]

use std::collections::{BTreeMap, VecDeque};
use std::path::Path;
use std::{fs, io};

use hivemind_fuzz::core::{
    CONDITIONS, DRONES, Drone, LOCKS, PAGES, Setting, Step, payload, write_input,
};
use hivemind_protocol::{
    Address, BarrierId, Command, ConditionId, DroneId, EpochId, LockId, Meeting, MeetingKind,
    Message, PageId, PageRun, WriteDetection,
};

/// So many runs give a seed each for `core`,
const SEEDS: u64 = 12;
/// and so many, messages.
const RUNS: u64 = 300;
/// A page in a message makes a seed long: longer ones are not worth their room.
const SEED_BYTES_MOST: usize = 12 << 10;
/// How many things each program does.
const CALLS: u32 = 14;

fn main() -> io::Result<()> {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    let mut kinds: BTreeMap<&'static str, Vec<u8>> = BTreeMap::new();
    for run in 0..RUNS {
        let setting = Setting {
            detection: match run % 2 {
                0 => WriteDetection::Traps,
                _ => WriteDetection::Scans,
            },
            line: run % 3 == 2,
        };
        let mut world = World::new(setting, run);
        world.run();
        if run < SEEDS {
            let me = DroneId((run / 2 % u64::from(DRONES)) as u32);
            let seed = seed(me, setting, &world.steps[me.0 as usize]);
            write(&corpus.join(format!("core/run-{run}")), &seed)?;
        }
        for message in world.said {
            let mut bytes = Vec::new();
            message.encode(&mut bytes);
            let kind = kinds.entry(message.name()).or_default();
            // The one with the most in it, within reason.
            if bytes.len() > kind.len() && (kind.is_empty() || bytes.len() < 6 << 10) {
                *kind = bytes;
            }
        }
    }
    // What correct drones say too seldom to wait for it.
    let rare = Message::PageRefused {
        epoch: EpochId(1),
        page: PageId(3),
    };
    kinds.entry(rare.name()).or_insert_with(|| {
        let mut bytes = Vec::new();
        rare.encode(&mut bytes);
        bytes
    });
    for (name, bytes) in kinds {
        write(&corpus.join(format!("message/{name}")), &bytes)?;
    }
    Ok(())
}

/// As much of what happened as a seed may hold.
fn seed(me: DroneId, setting: Setting, steps: &[Step]) -> Vec<u8> {
    let mut most = steps.len();
    loop {
        let input = write_input(me, setting, &steps[..most]);
        if input.len() <= SEED_BYTES_MOST {
            return input;
        }
        most -= 1;
    }
}

fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    fs::create_dir_all(path.parent().expect("it lies in the corpus"))?;
    println!("{} bytes: {}", bytes.len(), path.display());
    fs::write(path, bytes)
}

fn signal(lock: LockId, condition: ConditionId, all: bool) -> Step {
    Step::Call(Command::Signal {
        lock,
        condition,
        all,
    })
}

/// Correct drones, and messages on their way. Each link keeps its order.
struct World {
    drones: Vec<Drone>,
    links: BTreeMap<(u32, u32), VecDeque<Message>>,
    /// What happened to each.
    steps: Vec<Vec<Step>>,
    said: Vec<Message>,
    programs: Vec<VecDeque<Step>>,
    random: u64,
}

impl World {
    fn new(setting: Setting, seed: u64) -> Self {
        let mut world = Self {
            drones: (0..DRONES)
                .map(|me| Drone::new(DroneId(me), setting))
                .collect(),
            links: BTreeMap::new(),
            steps: vec![Vec::new(); DRONES as usize],
            said: Vec::new(),
            programs: Vec::new(),
            random: (seed + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15),
        };
        let meetings: Vec<MeetingKind> = (0..3).map(|_| world.meeting()).collect();
        world.programs = (0..DRONES)
            .map(|me| world.program(DroneId(me), &meetings))
            .collect();
        world
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        (self.random >> 8) % bound
    }

    fn meeting(&mut self) -> MeetingKind {
        match self.below(6) {
            5 => MeetingKind::Split(BarrierId(6)),
            0 => MeetingKind::Broadcast {
                root: DroneId(1),
                bytes: 8,
            },
            1 => MeetingKind::Reduce { bytes: 4 },
            2 => MeetingKind::Allocate {
                bytes: 100,
                align: 16,
            },
            _ => MeetingKind::Barrier(BarrierId(5)),
        }
    }

    /// Critical sections with loads and stores, and meetings between them.
    fn program(&mut self, me: DroneId, meetings: &[MeetingKind]) -> VecDeque<Step> {
        let mut program = VecDeque::new();
        for kind in meetings.iter().copied().chain([MeetingKind::Leave]) {
            for _ in 0..CALLS / 4 {
                let lock = LockId(self.below(LOCKS));
                program.push_back(Step::Call(Command::Acquire(lock)));
                for _ in 0..=self.below(2) {
                    // Few pages, so that drones meet on them; no stores of two to one place outside locks.
                    let page = PageId(lock.0 + LOCKS * self.below(2));
                    program.push_back(Step::Load(page));
                    let byte = self.below(256) as u8;
                    program.push_back(Step::Store(page, self.below(64) as u16, byte));
                }
                let other = LockId(self.below(LOCKS));
                if other != lock && self.below(2) == 0 {
                    // Letting it go is refused where it was tried in vain.
                    program.push_back(Step::Call(Command::TryAcquire(other)));
                    program.push_back(Step::Call(Command::Release(other)));
                }
                let condition = ConditionId(self.below(CONDITIONS.into()) as u32);
                // Drone 0 never sleeps, and wakes all before it meets them.
                match self.below(4) {
                    0 if me != DroneId::FIRST => {
                        program.push_back(Step::Call(Command::Wait { lock, condition }));
                    }
                    1 => program.push_back(signal(lock, condition, false)),
                    _ => {}
                }
                program.push_back(Step::Call(Command::Release(lock)));
            }
            let first = PageId(self.below(PAGES));
            let count = 1 + self.below(9);
            program.push_back(Step::Call(Command::Prefetch(PageRun { first, count })));
            let own = PageId(PAGES - 1 - u64::from(me.0 % 2));
            program.push_back(Step::Store(own, 8 * me.0 as u16, 9));
            if self.below(3) == 0 {
                let (bytes, align) = (40, 16);
                program.push_back(Step::Call(Command::Allocate { bytes, align }));
                // Refused or not, they are messages.
                program.push_back(Step::Call(Command::Measure(Address(16))));
                program.push_back(Step::Call(Command::Free(Address(16))));
            }
            let payload = payload(me, kind);
            program.push_back(Step::Call(Command::Meet(Meeting { kind, payload })));
            if matches!(kind, MeetingKind::Split(_)) {
                program.push_back(Step::Call(Command::Depart));
            }
        }
        program
    }

    fn run(&mut self) {
        loop {
            let mut can: Vec<Result<u32, (u32, u32)>> = Vec::new();
            for me in 0..DRONES {
                let drone = &self.drones[me as usize];
                let idle = drone.waits() || self.programs[me as usize].is_empty();
                if !idle && (me > 0 || self.may_meet()) {
                    can.push(Ok(me));
                }
            }
            let waiting = self.links.iter().filter(|(_, link)| !link.is_empty());
            can.extend(waiting.map(|(ends, _)| Err(*ends)));
            if can.is_empty() {
                let left = self.programs.iter().any(|program| !program.is_empty());
                assert!(!left, "a correct run stands still");
                return;
            }
            let which = self.below(can.len() as u64) as usize;
            match can[which] {
                Ok(me) => self.go_on(me),
                Err((from, to)) => self.deliver(from, to),
            }
        }
    }

    /// Whether drone 0 may go on: it meets when all others have come to the meeting, and wakes those that sleep before.
    fn may_meet(&mut self) -> bool {
        if !matches!(self.programs[0].front(), Some(Step::Call(Command::Meet(_)))) {
            return true;
        }
        let mut asleep = Vec::new();
        for me in 1..DRONES as usize {
            let own = |step: &&Step| !matches!(step, Step::Hear(..));
            match self.steps[me].iter().rfind(own) {
                Some(Step::Call(Command::Meet(_) | Command::Depart)) if self.drones[me].waits() => {
                }
                Some(Step::Call(Command::Wait { lock, condition })) => {
                    asleep.push((*lock, *condition));
                }
                _ => return false,
            }
        }
        for (lock, condition) in asleep {
            let program = &mut self.programs[0];
            program.push_front(Step::Call(Command::Release(lock)));
            program.push_front(signal(lock, condition, true));
            program.push_front(Step::Call(Command::Acquire(lock)));
        }
        true
    }

    fn go_on(&mut self, me: u32) {
        let Some(step) = self.programs[me as usize].pop_front() else {
            return;
        };
        // A store that faulted is done again when the page is there.
        let again = step.clone();
        self.take(me, step);
        if matches!(again, Step::Store(..)) && self.drones[me as usize].waits() {
            self.programs[me as usize].push_front(again);
        }
    }

    fn deliver(&mut self, from: u32, to: u32) {
        let message = self
            .links
            .get_mut(&(from, to))
            .and_then(VecDeque::pop_front);
        let Some(message) = message else { return };
        let mut bytes = Vec::new();
        message.encode(&mut bytes);
        self.said.push(message);
        self.take(to, Step::Hear(DroneId(from), bytes));
    }

    fn take(&mut self, me: u32, step: Step) {
        self.steps[me as usize].push(step.clone());
        for (to, message) in self.drones[me as usize].take(step) {
            self.links.entry((me, to.0)).or_default().push_back(message);
        }
    }
}
