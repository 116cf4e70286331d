//! Everything that a program can do wrong, each by its name, to see what it is told. `tests/misuse.rs` runs
//! it on several drones and checks the sentences.

use hivemind::{Address, ByteHive, Error, Hive, Ptr, RawHive, Result};

fn main() {
    let wrong = std::env::args().nth(1).unwrap_or_default();
    let result = match wrong.as_str() {
        "lock" => locks(),
        "bytes" => bytes(),
        "memory" => memory(),
        "barriers" => differ(|hive| hive.barrier_at(1), |hive| hive.barrier_at(2)),
        "allocations" => differ(
            |hive| hive.alloc::<u64>(10).map(|_| ()),
            |hive| hive.alloc::<u64>(20).map(|_| ()),
        ),
        "between" => between(),
        "halves" => differ(|hive| hive.arrive()?.depart(), Hive::barrier),
        "ends" => differ(Hive::barrier, |hive| hive.sum(1).map(|_: i32| ())),
        "gone-barrier" => gone(Hive::barrier),
        "gone-lock" => gone(|hive| {
            loop {
                hive.lock(1)?.release()?;
            }
        }),
        "gone-sleeper" => gone_sleeper(),
        "alone" => alone(),
        "freed" => freed(),
        "gone-value" => gone_value(),
        "null" => null(),
        "twice" => twice(),
        other => panic!("nobody knows the mistake {other:?}"),
    };
    if let Err(error) = result {
        println!("the end: {error}");
        std::process::exit(1);
    }
}

/// Prints what a wrong call is told; a call that is not refused is this program's own mistake.
fn told<T>(what: &str, result: Result<T>) {
    match result {
        Ok(_) => panic!("{what} was not refused"),
        Err(error) => println!("{what}: {error}"),
    }
}

fn locks() -> Result<()> {
    let mut hive = ByteHive::startup()?;
    told("release", hive.lock_release(4));
    hive.lock_acquire(5)?;
    told("twice", hive.lock_acquire(5));
    told("barrier", hive.barrier(9));
    told("allocate", hive.hive().alloc::<u8>(1));
    hive.lock_release(5)?;
    hive.barrier(9)?;
    // Still whole after all these refusals.
    assert_eq!(hive.hive().sum(1)?, hive.nprocs());
    if hive.nprocs() == 1 {
        // With others, the first that is refused would go, and take the rest along.
        hive.lock_acquire(7)?;
    }
    hive.exit()
}

fn bytes() -> Result<()> {
    let mut hive = ByteHive::startup()?;
    told("far", hive.read(Address(1 << 50)));
    told("edge", hive.read_n(Address((1 << 30) - 4), 8));
    told("huge", hive.read_n(Address(16), usize::MAX));
    told("wrap", hive.write_n(Address(u64::MAX - 1), &[1, 2, 3]));
    told("float", hive.write_float(Address((1 << 30) - 7), 1.0));
    hive.exit()
}

fn memory() -> Result<()> {
    let mut hive = ByteHive::startup()?;
    let block = hive.malloc(100)?;
    told("inside", hive.free(Address(block.0 + 16)));
    hive.free(block)?;
    told("read", hive.read(block));
    told("again", hive.free(block));
    hive.barrier(0)?;
    told("much", hive.malloc(2 << 30));
    let all = hive.hive().alloc::<u8>(2 << 30);
    told("much for all", all);
    hive.exit()
}

/// The compiler keeps a hive from this; one by address has to be told.
fn between() -> Result<()> {
    let hive = RawHive::join()?;
    told("depart first", hive.depart());
    hive.arrive(3)?;
    told("lock between", hive.acquire(hive.lock_at(Address(0))));
    told("barrier between", hive.barrier(3));
    told("arrive between", hive.arrive(3));
    hive.depart()?;
    told("depart twice", hive.depart());
    hive.barrier(3)?;
    hive.leave()
}

/// Drone 0 does one thing, the others another.
fn differ(
    one: impl Fn(&mut Hive) -> Result<()>,
    other: impl Fn(&mut Hive) -> Result<()>,
) -> Result<()> {
    let mut hive = Hive::join()?;
    let result = if hive.is_first() {
        one(&mut hive)
    } else {
        other(&mut hive)
    };
    told("differ", result);
    // The refusal ends the call, not the hive.
    hive.barrier()?;
    hive.leave()
}

/// Drone 1 goes without a word, with lock 1; drone 0 goes on until it is told.
fn gone(wait: impl Fn(&mut Hive) -> Result<()>) -> Result<()> {
    let mut hive = Hive::join()?;
    hive.barrier()?;
    if hive.me() == 1 {
        return go_with_a_lock(&mut hive);
    }
    told_twice(&mut hive, wait)
}

/// Drone 1 goes without a word as soon as drone 0 sleeps.
fn gone_sleeper() -> Result<()> {
    let mut hive = Hive::join()?;
    let mut sleeps = hive.alloc::<u8>(1)?;
    if hive.is_first() {
        return told_twice(&mut hive, |hive| {
            let mut held = hive.lock(2)?;
            sleeps.view_mut(&held)[0] = 1;
            held.wait(3)
        });
    }
    loop {
        let held = hive.lock(2)?;
        // Who has said so lets go of the lock by sleeping.
        let is_asleep = sleeps.view(&held)[0] == 1;
        held.release()?;
        if is_asleep {
            return go_with_a_lock(&mut hive);
        }
    }
}

fn go_with_a_lock(hive: &mut Hive) -> Result<()> {
    std::mem::forget(hive.lock(1)?);
    Ok(())
}

fn told_twice(hive: &mut Hive, wait: impl FnOnce(&mut Hive) -> Result<()>) -> Result<()> {
    told("now", wait(hive));
    told("later", hive.malloc(10));
    Ok(())
}

/// Sleeps where nobody could signal.
fn alone() -> Result<()> {
    let mut hive = Hive::join()?;
    let event = hive.event()?;
    told("event", event.wait(&mut hive));
    let mut held = hive.lock(1)?;
    told("wait", held.wait(0));
    held.release()?; // it is held still
    hive.leave()
}

fn freed() -> Result<()> {
    let mut hive = Hive::join()?;
    let place = hive.create(1_u32)?;
    hive.destroy(place)?;
    hive.get(place);
    hive.leave()
}

/// Drone 1 destroys what drone 0 made, the last drone makes something else of it; all hold the old place.
fn gone_value() -> Result<()> {
    let mut hive = Hive::join()?;
    let last = hive.drones() - 1;
    let mut flag = hive.alloc::<u8>(1)?;
    let own = if hive.is_first() {
        hive.create(41_u32)?
    } else {
        Ptr::null()
    };
    let place = hive.broadcast(0, own)?;
    assert_eq!(hive.get(place), 41);
    hive.barrier()?;
    if hive.me() == 1 {
        hive.destroy(place)?;
        let held = hive.lock(1)?;
        flag.view_mut(&held)[0] = 1;
        held.release()?;
    }
    // Synchronised by a lock alone.
    loop {
        let held = hive.lock(1)?;
        let destroyed = flag.view(&held)[0] == 1;
        held.release()?;
        if destroyed {
            break;
        }
    }
    told("after the lock", hive.destroy(place));
    panics(|| hive.get(place));
    hive.barrier()?;
    // Synchronised by more, which lets nobody forget.
    told("after the barrier", hive.destroy(place));
    // All have looked before the next value may take the place of the old one.
    hive.barrier()?;
    let own = if hive.me() == last {
        hive.create(42_u32)?
    } else {
        Ptr::null()
    };
    let other = hive.broadcast(last, own)?;
    if place.address() == other.address() {
        println!("the address came back");
    }
    assert_ne!(place, other);
    told("of another", hive.destroy(place));
    panics(|| hive.set(place, 7));
    hive.barrier()?;
    assert_eq!(hive.get(other), 42);
    hive.leave()
}

fn panics<T>(call: impl FnOnce() -> T) {
    let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(call));
    assert!(done.is_err(), "a gone value was used");
}

fn null() -> Result<()> {
    let mut hive = Hive::join()?;
    hive.get(Ptr::<u32>::null());
    hive.leave()
}

fn twice() -> Result<()> {
    let hive = Hive::join()?;
    match Hive::join() {
        Err(Error::JoinedAlready) => println!("twice: refused"),
        other => panic!("a second join gave {other:?}"),
    }
    hive.leave()
}
