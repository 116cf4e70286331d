//! What happens inside one process and needs no message, and the floors beside it. Each stands here once, for the suite
//! (`cases`) and for `benches/inside.rs`, which take the times each in its own way.
//!
//! Deliberately elsewhere: what a page costs between two drones but for their links (the benches of `hivemind-memory`).

use std::hint::black_box;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, bail};
use hivemind::Hive;
use hivemind_memory::{
    EngineChoice, EngineKind, FaultGuard, FaultHandler, RegionMemory, RegionView, choose,
    free_bases,
};
use hivemind_protocol::{Access, AccessKind, Memory, PAGE_SIZE, PageId, PageRun};

/// Something that is done several times in a row between two looks at the clock. What it needs for that is made ready
/// before the first look.
pub trait Operation {
    /// Makes ready what number `at` of the row needs.
    fn prepare(&mut self, at: u32);

    /// Does it: number `at` of the row.
    fn run(&mut self, at: u32);
}

/// Pages of a region of its own, whose faults are answered at once: what the fault engine costs by itself.
pub struct OwnFaults {
    memory: Arc<Opens>,
    view: RegionView,
    _guard: FaultGuard,
}

struct Opens(Mutex<RegionMemory>);

impl FaultHandler for Opens {
    fn fault(&self, page: PageId, _: AccessKind) {
        self.set(PageRun::one(page), Access::ReadOnly);
    }
}

impl Opens {
    fn set(&self, run: PageRun, access: Access) {
        let mut memory = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        memory.set_access(run, access);
    }
}

impl OwnFaults {
    /// How many pages lie between two that are touched.
    const STRIDE: u64 = 128;

    /// Room for `count` faults in a row.
    ///
    /// # Errors
    /// The system refuses the memory or what the engine needs.
    pub fn new(engine: EngineKind, count: u32) -> anyhow::Result<Self> {
        let bytes = u64::from(count) * Self::STRIDE * PAGE_SIZE as u64;
        let base = free_bases(bytes);
        if base == 0 {
            bail!("there is no room for a second region in this process");
        }
        let memory = RegionMemory::create(bytes, base.trailing_zeros() as usize, engine)?;
        let view = memory.view();
        let opens = Arc::new(Opens(Mutex::new(memory)));
        let guard = opens
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .handle_faults(opens.clone());
        let mut faults = Self {
            memory: opens,
            view,
            _guard: guard,
        };
        // So that the file behind the pages is there.
        (0..count).for_each(|at| faults.run(at));
        Ok(faults)
    }

    fn page(at: u32) -> u64 {
        u64::from(at) * Self::STRIDE
    }
}

/// A read fault of a page that is here.
impl Operation for OwnFaults {
    fn prepare(&mut self, at: u32) {
        let page = PageRun::one(PageId(Self::page(at)));
        self.memory.set(page, Access::Invalid);
    }

    fn run(&mut self, at: u32) {
        let first = Self::page(at) * PAGE_SIZE as u64;
        self.view.touch(first..first + 1, AccessKind::Read);
    }
}

/// The engine that the hive of this process uses.
pub(crate) fn engine_of_the_hive() -> anyhow::Result<EngineKind> {
    let choice = match std::env::var("HIVEMIND_ENGINE") {
        Ok(name) => name
            .parse()
            .with_context(|| format!("HIVEMIND_ENGINE={name} names no engine"))?,
        Err(_) => EngineChoice::Auto,
    };
    Ok(choose(choice)?.engine)
}

/// Fresh private pages: what the kernel takes for a fault by itself.
pub struct FirstTouches {
    fresh: &'static mut [u8],
    count: usize,
}

impl FirstTouches {
    /// Room for `count` of them in a row.
    pub fn new(count: u32) -> Self {
        Self {
            fresh: &mut [],
            count: count as usize,
        }
    }
}

/// The first touch of a page.
impl Operation for FirstTouches {
    fn prepare(&mut self, at: u32) {
        if at == 0 {
            // Fresh from the kernel, as all that is large and zero; a page more, since it need not begin with one. Never
            // given back: the allocator would keep it, and the next one would not be fresh.
            self.fresh = vec![0_u8; (self.count + 1).max(64) * PAGE_SIZE].leak();
        }
    }

    fn run(&mut self, at: u32) {
        black_box(&mut self.fresh[at as usize * PAGE_SIZE..])[0] = 1;
    }
}

/// A lock is acquired and released; a cached one from the second time on.
///
/// # Errors
/// As for the two calls.
pub fn lock(hive: &mut Hive, id: u32) -> hivemind::Result<()> {
    hive.lock(id)?.release()
}

/// The floor of a cached lock.
pub fn lock_mutex(mutex: &Mutex<u32>) {
    *black_box(mutex)
        .lock()
        .unwrap_or_else(PoisonError::into_inner) += 1;
}

/// A sum over all drones.
///
/// # Errors
/// As for the call.
pub fn sum(hive: &mut Hive) -> hivemind::Result<u64> {
    hive.sum(black_box(1_u64))
}

/// 64 bytes are allocated and freed.
///
/// # Errors
/// As for the two calls.
pub fn allocate(hive: &mut Hive) -> hivemind::Result<()> {
    let place = hive.malloc(64)?;
    hive.free_at(black_box(place))
}

/// Its floor.
pub fn allocate_privately() {
    drop(black_box(Box::new([0_u8; 64])));
}

/// All is read and written, private memory or shared.
pub fn sweep(words: &mut [f64]) {
    for word in words.iter_mut() {
        *word += 1.0;
    }
    black_box(words);
}
