//! A core is a value: it can be cloned, and compared by what it will do.

use hivemind_protocol::{
    AccessKind, Core, CoreConfig, DroneId, Economies, Event, FAN_OUT, PageId, Ticket,
};
use hivemind_sim::{SimMemory, Watch};
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};

fn core() -> Core<SimMemory> {
    let me = DroneId(0);
    let config = CoreConfig {
        me,
        drones: 2,
        pages: 2,
        metadata_limit_bytes: u64::MAX,
        fan_out: FAN_OUT,
        economies: Economies::default(),
    };
    Core::new(config, SimMemory::new(me, 2, Watch::Traps))
}

fn fault(core: &mut Core<SimMemory>, kind: AccessKind) {
    let event = Event::Fault {
        page: PageId(0),
        kind,
        ticket: Ticket(1),
    };
    core.handle(event, &mut Vec::new())
        .expect("a fault is no message");
}

#[test]
fn what_is_only_counted_makes_no_two_cores_differ() {
    let hash =
        |core: &Core<SimMemory>| BuildHasherDefault::<DefaultHasher>::default().hash_one(core);
    let mut one = core();
    fault(&mut one, AccessKind::Read);
    let mut other = one.clone();
    fault(&mut other, AccessKind::Read);
    assert_ne!(one.stats(), other.stats());
    assert_eq!((&one, hash(&one)), (&other, hash(&other)));
}

#[test]
fn cores_that_will_do_different_things_differ() {
    let mut one = core();
    fault(&mut one, AccessKind::Read);
    let mut other = one.clone();
    fault(&mut other, AccessKind::Write);
    assert_ne!(one, other);
    let mut stored = other.clone();
    stored
        .memory_mut()
        .store(PageId(0).start(), &[1])
        .expect("the page was opened for stores");
    assert_ne!(stored, other);
    assert_eq!(other, other.clone(), "a clone's store is the clone's alone");
}
