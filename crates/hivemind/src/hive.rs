//! The hive as a program sees it: joining, finding its place, allocating, leaving.
//!
//! Collective values live in `collective`, locks in `lock`, single values in `place`, the byte-level calls in `bytes`,
//! views in `view`; what is built of locks in `condition`, `semaphore`, `event` and `word`.

use crate::calls::Brought;
use crate::cores::Cores;
use crate::drone::Drone;
use crate::join::{Key, Offer, join};
use crate::launch::{Options, Seat};
use crate::place::first_stamp;
use crate::program;
use crate::report::Report;
use crate::trace::Tracer;
use crate::view::{Region, Shared};
use crate::{Error, Result};
use bytemuck::Pod;
use hivemind_memory::{FaultGuard, RegionMemory};
use hivemind_protocol::{
    Address, BarrierId, Block, ConditionId, Core, CoreConfig, DroneId, LockId, MeetingKind,
    PAGE_SIZE,
};
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Instant;

/// This process's seat in a hive of drones, and its way to the memory that they share.
///
/// Calls that take `&mut self` may let others' writes in, so no view lives across them. Collective calls
/// (`alloc`, `free`, `barrier`, `broadcast`, `reduce`, `mutex`, `leave` …) must be made by all drones in the
/// same order; where they differ, each drone gets an error that says which drone did what.
///
/// ```
/// # fn main() -> hivemind::Result<()> {
/// use hivemind::Hive;
///
/// let mut hive = Hive::join()?;
/// let mut squares = hive.alloc::<u64>(100)?;
/// for i in hive.share_of(0..100) {
///     squares.view_mut(&hive)[i] = (i * i) as u64;
/// }
/// hive.barrier()?;
/// assert_eq!(squares.view(&hive)[9], 81);
/// # hive.leave() }
/// ```
pub struct Hive {
    pub(crate) drone: Arc<Drone>,
    region: Region,
    me: DroneId,
    drones: u32,
    options: Options,
    cores: Cores,
    local_drones: u32,
    /// Freed by this drone since its last acquire: start and size of blocks, to catch uses after it. An acquire
    /// may tell of another drone that has the memory now.
    freed: BTreeMap<u64, u64>,
    sizes: BTreeMap<u64, u64>,
    pub(crate) next_mutex: u64,
    pub(crate) next_stamp: u16,
    service: Option<JoinHandle<()>>,
    engine: String,
    started: Instant,
    _faults: FaultGuard,
}

static JOINED: AtomicBool = AtomicBool::new(false);

impl Hive {
    /// Joins the hive that launched this process; alone, without a launcher, it is a hive of one.
    ///
    /// Blocks until all drones are here, at most the start timeout (30 s unless told otherwise).
    ///
    /// ```
    /// # fn main() -> hivemind::Result<()> {
    /// let hive = hivemind::Hive::join()?;
    /// println!("drone {} of {}", hive.me(), hive.drones());
    /// # hive.leave() }
    /// ```
    ///
    /// # Errors
    /// A wrong environment, a drone that never came or differs from the others, memory or a fault engine
    /// that the system refuses; each says what to do.
    pub fn join() -> Result<Self> {
        if JOINED.swap(true, Ordering::SeqCst) {
            return Err(Error::JoinedAlready);
        }
        let started = Instant::now();
        let seat = Seat::from_environment()?;
        let options = Options::from_environment()?;
        let me = DroneId(seat.rank);
        let chosen = hivemind_memory::choose(options.engine)?;
        if let Some(why) = chosen.fallback.as_ref().filter(|_| me == DroneId::FIRST) {
            eprintln!("hivemind: {why}");
        }
        let bytes = options.region_bytes.next_multiple_of(PAGE_SIZE as u64);
        // Alone there is nobody to know.
        let key = (seat.size > 1).then(|| Key::find(&options.key_file, &seat.job));
        let mut facts = vec![
            ("region in bytes".to_owned(), bytes.to_string()),
            ("page in bytes".to_owned(), PAGE_SIZE.to_string()),
            (
                "program".to_owned(),
                program::identity().unwrap_or_else(|_| "unknown".to_owned()),
            ),
        ];
        facts.push((
            "fan-out (HIVEMIND_FAN_OUT)".to_owned(),
            options.fan_out.to_string(),
        ));
        if options.trace.is_some() {
            // A clock goes with each message, or with none.
            facts.push(("trace (HIVEMIND_TRACE)".to_owned(), "on".to_owned()));
        }
        let offer = Offer {
            base_bitmap: hivemind_memory::free_bases(bytes),
            facts,
            start_timeout: options.start_timeout,
            silence_limit: options.silence_limit,
            listen: options.listen.clone(),
            key: key.transpose()?,
            encryption: options.encryption,
            transport: options.transport,
        };
        let tracer = open_trace(&seat, &options)?;
        let (links, agreement) = join(&seat, offer)?;
        let base_index = agreement.base_index;
        let memory = RegionMemory::create(bytes, base_index, chosen.engine)?;
        let region = Region::new(memory.view());
        let config = CoreConfig {
            me,
            drones: seat.size,
            pages: bytes / PAGE_SIZE as u64,
            metadata_limit_bytes: options.metadata_limit_bytes,
            fan_out: options.fan_out,
            economies: options.economies,
        };
        // The guard needs the memory before the core takes it, and the drone after it has.
        let late = Arc::new(LateHandler::default());
        let faults = memory.handle_faults(late.clone());
        let cores = Cores::here(options.local_cores, seat.cores);
        let local_drones = options.local_drones.unwrap_or(agreement.local_drones);
        let may_spin = cores.suffice_for(local_drones as usize);
        let core = Core::new(config, memory);
        let drone = Arc::new(Drone::new(
            me,
            core,
            links,
            tracer,
            options.wait_limit,
            may_spin,
        ));
        late.set(Arc::clone(&drone));
        let service = start_service(me, seat.size, &drone)?;
        Ok(Self {
            drone,
            region,
            me,
            drones: seat.size,
            options,
            cores,
            local_drones,
            freed: BTreeMap::new(),
            sizes: BTreeMap::new(),
            next_mutex: 0,
            next_stamp: first_stamp(me.0),
            service,
            engine: chosen.engine.to_string(),
            started,
            _faults: faults,
        })
    }

    /// How many drones there are.
    ///
    /// ```
    /// # fn main() -> hivemind::Result<()> {
    /// # let mut hive = hivemind::Hive::join()?;
    /// assert!(hive.me() < hive.drones());
    /// # hive.leave() }
    /// ```
    pub fn drones(&self) -> usize {
        self.drones as usize
    }

    /// Which drone this is, counted from 0.
    ///
    /// ```
    /// # fn main() -> hivemind::Result<()> {
    /// # let mut hive = hivemind::Hive::join()?;
    /// println!("drone {} of {}", hive.me(), hive.drones());
    /// assert_eq!(hive.is_first(), hive.me() == 0);
    /// # hive.leave() }
    /// ```
    pub fn me(&self) -> usize {
        self.me.0 as usize
    }

    /// Whether this is drone 0, which usually does what is done once.
    ///
    /// ```
    /// # fn main() -> hivemind::Result<()> {
    /// # let mut hive = hivemind::Hive::join()?;
    /// if hive.is_first() {
    ///     println!("{} drones are here", hive.drones());
    /// }
    /// # hive.leave() }
    /// ```
    pub fn is_first(&self) -> bool {
        self.me == DroneId::FIRST
    }

    /// How many threads this drone may use for itself: `hivemind run --threads`, or its share of the
    /// machine's cores.
    ///
    /// ```
    /// # fn main() -> hivemind::Result<()> {
    /// # let mut hive = hivemind::Hive::join()?;
    /// let part = 1_000_000 / hive.threads();
    /// assert!(part > 0);
    /// # hive.leave() }
    /// ```
    pub fn threads(&self) -> usize {
        let share = self.cores.share(self.local_drones as usize);
        self.options.threads.unwrap_or(share)
    }

    /// This drone's part of `all`: contiguous, all parts as equal as can be.
    ///
    /// ```
    /// # fn main() -> hivemind::Result<()> {
    /// # let mut hive = hivemind::Hive::join()?;
    /// let mine = hive.share_of(0..1000);
    /// let all = hive.sum(mine.len())?;
    /// assert_eq!(all, 1000);
    /// # hive.leave() }
    /// ```
    pub fn share_of(&self, all: Range<usize>) -> Range<usize> {
        self.share_of_drone(all, self.me())
    }

    /// The part that `drone` has of `all`; see [`Hive::share_of`].
    ///
    /// ```
    /// # fn main() -> hivemind::Result<()> {
    /// # let mut hive = hivemind::Hive::join()?;
    /// let last = hive.drones() - 1;
    /// assert_eq!(hive.share_of_drone(0..1000, last).end, 1000);
    /// # hive.leave() }
    /// ```
    ///
    /// # Panics
    /// If there is no drone `drone`.
    pub fn share_of_drone(&self, all: Range<usize>, drone: usize) -> Range<usize> {
        assert!(
            drone < self.drones(),
            "drone {drone} has no share: there are {} drones",
            self.drones()
        );
        let (len, drones) = (all.len() as u128, self.drones as u128);
        let cut = |at: usize| all.start + (len * at as u128 / drones) as usize;
        cut(drone)..cut(drone + 1)
    }

    /// Allocates shared memory for `len` values, all zero. Collective: blocks until all drones ask for the same, and is
    /// a barrier.
    ///
    /// Blocks of a page (4096 bytes) or more begin at a page, so that two arrays never share one. Whoever writes a
    /// page first becomes its home, so fill what you will work on.
    ///
    /// ```
    /// # fn main() -> hivemind::Result<()> {
    /// # let mut hive = hivemind::Hive::join()?;
    /// let mut plate = hive.alloc::<f64>(100 * 100)?;
    /// plate.view_mut(&hive)[..100].fill(100.0);
    /// # hive.leave() }
    /// ```
    ///
    /// # Errors
    /// Not enough memory (names the largest free block); the drones ask for different things.
    pub fn alloc<T: Pod>(&mut self, len: usize) -> Result<Shared<T>> {
        let bytes = (len as u64).saturating_mul(size_of::<T>() as u64);
        let page = PAGE_SIZE as u64;
        let align = if bytes >= page {
            page
        } else {
            align_of::<T>() as u64
        };
        let kind = MeetingKind::Allocate {
            bytes,
            align: align.max(align_of::<T>() as u64),
        };
        let (_, block) = self.meet(kind, Vec::new())?;
        let block = block.expect("INV-10: an allocation that all made has a block");
        self.remember(block, bytes);
        let mut shared = Shared::new(block.address, len);
        if !block.fresh {
            // Somebody had it before, and has other blocks beside it still: each drone clears its part.
            let part = self.share_of(0..len);
            shared.view_mut(self)[part].fill(T::zeroed());
            self.barrier()?;
        }
        Ok(shared)
    }

    /// Gives shared memory back. Collective: blocks until all drones free the same, and is a barrier.
    ///
    /// ```
    /// # fn main() -> hivemind::Result<()> {
    /// # let mut hive = hivemind::Hive::join()?;
    /// let scratch = hive.alloc::<u8>(1 << 16)?;
    /// hive.free(scratch)?;
    /// # hive.leave() }
    /// ```
    ///
    /// # Errors
    /// The drones free different things.
    pub fn free<T: Pod>(&mut self, shared: Shared<T>) -> Result<()> {
        self.meet(MeetingKind::Free(shared.address()), Vec::new())?;
        self.forget(shared.address());
        Ok(())
    }

    /// Waits until all drones are here; then each sees what all have written.
    ///
    /// ```
    /// # fn main() -> hivemind::Result<()> {
    /// # let mut hive = hivemind::Hive::join()?;
    /// let mut flags = hive.alloc::<u8>(hive.drones())?;
    /// let me = hive.me();
    /// flags.view_mut(&hive)[me] = 1;
    /// hive.barrier()?;
    /// assert!(flags.view(&hive).iter().all(|flag| *flag == 1));
    /// # hive.leave() }
    /// ```
    ///
    /// # Errors
    /// A drone was lost, or makes another collective call; a lock is held.
    pub fn barrier(&mut self) -> Result<()> {
        self.barrier_at(0)
    }

    /// The same, with a name: drones that wait at different barriers are told so instead of going on.
    ///
    /// ```
    /// # fn main() -> hivemind::Result<()> {
    /// # let mut hive = hivemind::Hive::join()?;
    /// hive.barrier_at(1)?; // after the first phase
    /// hive.barrier_at(2)?; // after the second
    /// # hive.leave() }
    /// ```
    ///
    /// # Errors
    /// As for [`Hive::barrier`].
    pub fn barrier_at(&mut self, id: u32) -> Result<()> {
        self.meet(MeetingKind::Barrier(BarrierId(id)), Vec::new())
            .map(|_| ())
    }

    /// What this drone's shared memory has done so far: counts, bytes and waiting times in µs. Blocks nobody.
    ///
    /// ```
    /// # fn main() -> hivemind::Result<()> {
    /// # let mut hive = hivemind::Hive::join()?;
    /// let before = hive.stats().counts.meetings;
    /// hive.barrier()?;
    /// assert_eq!(hive.stats().counts.meetings, before + 1);
    /// # hive.leave() }
    /// ```
    pub fn stats(&self) -> Report {
        let (core, links) = self.drone.counts();
        Report::new(
            self.me,
            &self.engine,
            &core,
            &links,
            &self.drone.times,
            self.started.elapsed(),
        )
    }

    /// Takes leave: blocks until all drones take leave, then closes the links, and writes the statistics where
    /// `hivemind run --stats` asked for them. Collective, and the last call.
    ///
    /// ```
    /// # fn main() -> hivemind::Result<()> {
    /// let hive = hivemind::Hive::join()?;
    /// // … the program …
    /// hive.leave()
    /// # }
    /// ```
    ///
    /// # Errors
    /// A drone was lost or still makes other collective calls; a lock is held; the statistics cannot be written.
    pub fn leave(mut self) -> Result<()> {
        self.meet(MeetingKind::Leave, Vec::new())?;
        self.close()
    }

    /// What is left to do once all drones have met to take leave.
    pub(crate) fn close(mut self) -> Result<()> {
        let report = self.stats();
        self.end_service();
        self.drone.say_goodbye()?;
        if let Some(path) = &self.options.report {
            let written = report.write(path);
            written.map_err(|cause| Error::System {
                me: self.me,
                what: "write its statistics",
                cause,
            })?;
        }
        Ok(())
    }

    pub(crate) fn region(&self) -> &Region {
        &self.region
    }

    /// One collective call: what each drone brought, and the block that an allocation made.
    pub(crate) fn meet(&mut self, kind: MeetingKind, payload: Vec<u8>) -> Result<Brought> {
        let brought = self.drone.meet(kind, payload);
        self.forget_freed();
        brought
    }

    /// Others may have what this drone freed: an acquire has told of them.
    pub(crate) fn forget_freed(&mut self) {
        self.freed.clear();
    }

    pub(crate) fn acquire(&mut self, lock: LockId) -> Result<()> {
        let acquired = self.drone.acquire(lock);
        self.forget_freed();
        acquired
    }

    pub(crate) fn try_acquire(&mut self, lock: LockId) -> Result<bool> {
        let taken = self.drone.try_acquire(lock);
        self.forget_freed();
        taken
    }

    /// Sleeps under a lock, and has it again; this is an acquire too.
    pub(crate) fn wait_for(&mut self, lock: LockId, condition: ConditionId) -> Result<()> {
        let woken = self.drone.wait_for(lock, condition);
        self.forget_freed();
        woken
    }

    pub(crate) fn release(&mut self, lock: LockId) -> Result<()> {
        self.drone.release(lock)
    }

    pub(crate) fn allocate(&mut self, bytes: u64, align: u64) -> Result<Address> {
        let block = self.drone.allocate(bytes, align);
        // The heap's turn was an acquire.
        self.forget_freed();
        let block = block?;
        self.remember(block, bytes);
        Ok(block.address)
    }

    pub(crate) fn release_block(&mut self, address: Address) -> Result<()> {
        let freed = self.drone.free_block(address);
        self.forget_freed();
        freed?;
        self.forget(address);
        Ok(())
    }

    /// Whether the bytes are in the region and not in a block that this drone has just freed.
    pub(crate) fn check_range(&self, address: Address, bytes: u64) -> Result<()> {
        let region_bytes = self.region.bytes();
        let end = address
            .0
            .checked_add(bytes)
            .filter(|end| *end <= region_bytes);
        let Some(end) = end else {
            return Err(Error::OutOfBounds {
                address: address.0,
                bytes,
                region_bytes,
            });
        };
        match self.freed.range(..end).next_back() {
            Some((start, size)) if start + size > address.0 => Err(Error::Freed {
                address: address.0,
                bytes,
            }),
            _ => Ok(()),
        }
    }

    fn remember(&mut self, block: Block, bytes: u64) {
        let (start, bytes) = (block.address.0, bytes.max(1));
        self.sizes.insert(start, bytes);
        let overlaps = |(other, size): (&u64, &u64)| (*other + *size > start).then_some(*other);
        while let Some(other) = self
            .freed
            .range(..start + bytes)
            .next_back()
            .and_then(overlaps)
        {
            self.freed.remove(&other);
        }
    }

    fn forget(&mut self, address: Address) {
        // A block that another drone allocated: its size is not known here, its first byte is.
        let bytes = self.sizes.remove(&address.0).unwrap_or(1);
        self.freed.insert(address.0, bytes);
    }

    fn end_service(&mut self) {
        self.drone.stop();
        if let Some(service) = self.service.take() {
            // It can only have panicked by a broken invariant, which has ended the process.
            let _ = service.join();
        }
    }
}

impl Drop for Hive {
    fn drop(&mut self) {
        // Without `leave` the others must not mistake this for a farewell: links close without a goodbye.
        self.end_service();
        self.drone.end_trace();
    }
}

impl std::fmt::Debug for Hive {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Hive({} of {})", self.me, self.drones)
    }
}

fn open_trace(seat: &Seat, options: &Options) -> Result<Option<Tracer>> {
    let Some(directory) = &options.trace else {
        return Ok(None);
    };
    let me = DroneId(seat.rank);
    let limit_bytes = options.trace_limit_bytes;
    let opened = Tracer::open(directory, limit_bytes, me, seat.size, &seat.job);
    opened.map(Some).map_err(|cause| Error::Trace {
        me,
        directory: directory.clone(),
        cause,
    })
}

fn start_service(me: DroneId, drones: u32, drone: &Arc<Drone>) -> Result<Option<JoinHandle<()>>> {
    if drones == 1 {
        return Ok(None);
    }
    let service = Arc::clone(drone);
    let thread = std::thread::Builder::new().name("hivemind".to_owned());
    let started = thread.spawn(move || service.serve());
    started.map(Some).map_err(|cause| Error::System {
        me,
        what: "start its service thread",
        cause,
    })
}

/// Passes faults on to a drone that is made after the handler is installed.
#[derive(Default)]
struct LateHandler {
    drone: std::sync::OnceLock<Arc<Drone>>,
}

impl LateHandler {
    fn set(&self, drone: Arc<Drone>) {
        // Set once, in `join`.
        let _ = self.drone.set(drone);
    }
}

impl hivemind_memory::FaultHandler for LateHandler {
    fn fault(&self, page: hivemind_protocol::PageId, kind: hivemind_protocol::AccessKind) {
        let drone = self
            .drone
            .get()
            .expect("INV-11: nobody touches the region before the drone is made");
        drone.fault(page, kind);
    }
}
