//! A region with the simplest fault handler there can be, and a way to play a case in a process of its own.

use hivemind_memory::{
    BASES, EngineChoice, EngineKind, FaultGuard, FaultHandler, MemoryError, RegionMemory,
    RegionView, choose,
};
use hivemind_protocol::{
    Access, AccessKind, Memory, PAGE_SIZE, PageBytes, PageId, PageRun, WriteDetection,
};
use std::env;
use std::ffi::c_int;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, Output};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// One body for one engine.
pub(crate) struct Case {
    pub(crate) engine: EngineKind,
    test: &'static str,
}

/// Names the test that a child process is to play.
const CHILD: &str = "HIVEMIND_MEMORY_TEST_CHILD";

/// A child that hangs is killed after this time; none needs a tenth of it.
const CHILD_SECONDS: u32 = 60;

impl Case {
    pub(crate) fn run(engine: EngineKind, test: &'static str, body: fn(&Case)) {
        match choose(EngineChoice::Only(engine)) {
            Ok(_) => body(&Case { engine, test }),
            Err(refused) => eprintln!("skipped: {test}: {refused}"),
        }
    }

    /// Plays this test again in a child process, where `play` is called. It says how that ended.
    pub(crate) fn in_child(&self, play: impl FnOnce()) -> Ended {
        self.in_child_as(None, play)
    }

    /// The same as another user, which only root may ask for.
    pub(crate) fn in_child_as(&self, user: Option<u32>, play: impl FnOnce()) -> Ended {
        if env::var(CHILD).as_deref() == Ok(self.test) {
            // SAFETY: alarm has no preconditions. Its signal ends this process where it hangs.
            unsafe { libc::alarm(CHILD_SECONDS) };
            play();
            std::process::exit(0);
        }
        // By this name a user may run it who may not walk to where it lies.
        let mut command = Command::new("/proc/self/exe");
        command
            .args(["--exact", self.test, "--nocapture", "--test-threads=1"])
            .env(CHILD, self.test);
        if let Some(user) = user {
            command.uid(user).gid(user);
        }
        Ended(command.output().expect("the test itself can be started"))
    }
}

/// How a child ended.
pub(crate) struct Ended(pub(crate) Output);

impl Ended {
    #[track_caller]
    pub(crate) fn by_signal(&self, signal: c_int) -> &Self {
        assert_eq!(self.0.status.signal(), Some(signal), "{self}");
        self
    }

    #[track_caller]
    pub(crate) fn with_status(&self, status: i32) -> &Self {
        assert_eq!(self.0.status.code(), Some(status), "{self}");
        self
    }

    #[track_caller]
    pub(crate) fn saying(&self, sentence: &str) -> &Self {
        assert!(
            String::from_utf8_lossy(&self.0.stderr).contains(sentence),
            "{self}"
        );
        self
    }
}

impl std::fmt::Display for Ended {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Output {
            status,
            stdout,
            stderr,
        } = &self.0;
        let (stdout, stderr) = (
            String::from_utf8_lossy(stdout),
            String::from_utf8_lossy(stderr),
        );
        write!(
            f,
            "the child ended with {status}\n--- stdout\n{stdout}\n--- stderr\n{stderr}"
        )
    }
}

/// A region at the first base that is free, now or soon: other tests have theirs.
pub(crate) fn create(bytes: u64, engine: EngineKind) -> RegionMemory {
    let end = Instant::now() + Duration::from_secs(60);
    for index in (0..BASES.len()).cycle() {
        match RegionMemory::create(bytes, index, engine) {
            Ok(region) => return region,
            Err(MemoryError::BaseTaken { .. }) if Instant::now() < end => thread::yield_now(),
            Err(refused) => panic!("{refused}"),
        }
    }
    unreachable!("a cycle has no end")
}

/// Makes a page valid on each fault, and takes notes.
pub(crate) struct Simple {
    memory: Mutex<RegionMemory>,
    faults: Mutex<Vec<(PageId, AccessKind)>>,
}

impl FaultHandler for Simple {
    fn fault(&self, page: PageId, kind: AccessKind) {
        self.faults.lock().unwrap().push((page, kind));
        let mut memory = self.memory();
        let access = match (kind, memory.write_detection()) {
            (AccessKind::Write, WriteDetection::Traps) => Access::ReadWrite,
            _ => Access::ReadOnly,
        };
        memory.set_access(PageRun::one(page), access);
    }
}

impl Simple {
    /// The region. A test that expects a panic under this lock goes on after it.
    pub(crate) fn memory(&self) -> MutexGuard<'_, RegionMemory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A region whose faults are served.
pub(crate) struct Fixture {
    guard: Option<FaultGuard>,
    pub(crate) handler: Arc<Simple>,
    pub(crate) view: RegionView,
}

impl Fixture {
    pub(crate) fn new(pages: u64, engine: EngineKind) -> Self {
        Self::of(create(pages * PAGE_SIZE as u64, engine))
    }

    pub(crate) fn of(memory: RegionMemory) -> Self {
        let view = memory.view();
        let handler = Arc::new(Simple {
            memory: Mutex::new(memory),
            faults: Mutex::default(),
        });
        let guard = Some(handler.memory().handle_faults(handler.clone()));
        Self {
            guard,
            handler,
            view,
        }
    }

    pub(crate) fn memory(&self) -> MutexGuard<'_, RegionMemory> {
        self.handler.memory()
    }

    pub(crate) fn drop_guard(&mut self) {
        self.guard = None;
    }

    pub(crate) fn set(&self, first: u64, count: u64, access: Access) {
        self.memory().set_access(run(first, count), access);
    }

    pub(crate) fn take_written(&self) -> Vec<PageRun> {
        let mut written = Vec::new();
        self.memory().take_written(&mut written);
        written
    }

    pub(crate) fn page(&self, page: u64) -> PageBytes {
        let mut bytes = [0xEE; PAGE_SIZE];
        self.memory().read(PageId(page), &mut bytes);
        bytes
    }

    /// The faults since the last call.
    pub(crate) fn faults(&self) -> Vec<(PageId, AccessKind)> {
        std::mem::take(&mut *self.handler.faults.lock().unwrap())
    }

    pub(crate) fn at(&self, page: u64, offset: usize) -> *mut u8 {
        let offset = page as usize * PAGE_SIZE + offset;
        assert!((offset as u64) < self.view.bytes());
        self.view.base().wrapping_add(offset)
    }

    /// The program loads a byte.
    pub(crate) fn load(&self, page: u64, offset: usize) -> u8 {
        // SAFETY: inside the view, and the handler makes it readable.
        unsafe { self.at(page, offset).read_volatile() }
    }

    /// The program stores a byte.
    pub(crate) fn store(&self, page: u64, offset: usize, value: u8) {
        // SAFETY: inside the view, and the handler makes it writable. Threads of a test store to bytes of their own.
        unsafe { self.at(page, offset).write_volatile(value) }
    }
}

pub(crate) fn run(first: u64, count: u64) -> PageRun {
    PageRun {
        first: PageId(first),
        count,
    }
}

/// How many faults of this thread the kernel has resolved by itself.
pub(crate) fn minor_faults() -> i64 {
    let mut usage = std::mem::MaybeUninit::zeroed();
    // SAFETY: it writes one structure of the type that it is given a place for, of which all zeros are a value.
    let usage: libc::rusage = unsafe {
        libc::getrusage(libc::RUSAGE_THREAD, usage.as_mut_ptr());
        usage.assume_init()
    };
    usage.ru_minflt
}

/// Small numbers that look random and are the same in every run.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}
