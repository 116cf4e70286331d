//! What ends a process, or changes it for good: each case is played in a child.

use crate::fixture::{Case, Fixture, create, run};
use hivemind_memory::{
    BASES, EngineChoice, EngineKind, FaultGuard, FaultHandler, MemoryError, RegionMemory, choose,
    free_bases,
};
use hivemind_protocol::{Access, AccessKind, Memory, PAGE_SIZE, PageId};
use std::ffi::{c_int, c_void};
use std::os::fd::{FromRawFd, OwnedFd};
use std::process::exit;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::{fs, mem, ptr, thread};

/// An address that nothing is mapped at.
const NOWHERE: usize = 0x10;

pub(crate) fn a_foreign_segv_kills_as_if_we_were_not_there(case: &Case) {
    let ended = case.in_child(|| {
        let region = Fixture::new(1, case.engine);
        region.load(0, 0);
        read_byte(NOWHERE);
    });
    ended.by_signal(libc::SIGSEGV);
}

pub(crate) fn a_foreign_bus_error_kills_as_if_we_were_not_there(case: &Case) {
    let ended = case.in_child(|| {
        let region = Fixture::new(1, case.engine);
        region.load(0, 0);
        read_byte(beyond_a_file());
    });
    ended.by_signal(libc::SIGBUS);
}

pub(crate) fn a_signal_sent_by_kill_kills_as_if_we_were_not_there(case: &Case) {
    let signal = signal_of(case.engine);
    let ended = case.in_child(|| {
        // Rust's own handler takes a signal that was sent for a fault that will come again; without it, the default.
        set_handler(signal, libc::SIG_DFL, 0);
        let _region = Fixture::new(1, case.engine);
        send(signal);
    });
    ended.by_signal(signal);
}

pub(crate) fn an_ignored_signal_stays_ignored(case: &Case) {
    let signal = signal_of(case.engine);
    let ended = case.in_child(|| {
        set_handler(signal, libc::SIG_IGN, 0);
        let region = Fixture::new(2, case.engine);
        send(signal);
        region.store(1, 0, 1);
        send(signal);
        region.store(0, 0, 1);
        exit(42);
    });
    ended.with_status(42);
}

pub(crate) fn an_ignored_fault_kills_all_the_same(case: &Case) {
    let signal = signal_of(case.engine);
    let ended = case.in_child(|| {
        set_handler(signal, libc::SIG_IGN, 0);
        let _region = Fixture::new(2, case.engine);
        read_byte(foreign_address(signal));
    });
    ended.by_signal(signal);
}

/// Where the handlers below expect the fault, and how often they were called.
static EXPECTED: AtomicUsize = AtomicUsize::new(0);
static CALLS: AtomicUsize = AtomicUsize::new(0);

/// A program's own handler. Checks what it is given, and ends the process with 42 where all is right.
extern "C" fn own_handler(signal: c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
    // SAFETY: what the kernel passes to a handler with SA_SIGINFO.
    let (address, code) = unsafe { ((*info).si_addr().addr(), (*info).si_code) };
    // SAFETY: zeros are a set; asking for the mask changes nothing.
    let blocked = unsafe {
        let mut mask: libc::sigset_t = mem::zeroed();
        libc::pthread_sigmask(libc::SIG_BLOCK, ptr::null(), &mut mask);
        [signal, libc::SIGUSR1, libc::SIGUSR2, libc::SIGTERM]
            .map(|signal| libc::sigismember(&mask, signal))
    };
    // Blocked: the signal itself, what the action says, what the program had blocked; and nothing else.
    let right = address == EXPECTED.load(Ordering::Relaxed)
        && code > 0
        && !context.is_null()
        && blocked == [1, 1, 1, 0];
    // SAFETY: ends the process, whatever state it is in.
    unsafe { libc::_exit(if right { 42 } else { 43 }) }
}

pub(crate) fn the_programs_own_handler_gets_its_faults(case: &Case) {
    let signal = signal_of(case.engine);
    gets_its_faults(case, signal);
}

pub(crate) fn the_programs_own_handler_of_bad_addresses_gets_its_faults(case: &Case) {
    gets_its_faults(case, libc::SIGSEGV);
}

fn gets_its_faults(case: &Case, signal: c_int) {
    let ended = case.in_child(|| {
        set_handler(
            signal,
            own_handler as *const () as usize,
            libc::SA_SIGINFO | libc::SA_ONSTACK,
        );
        let region = Fixture::new(1, case.engine);
        // SAFETY: sets of signals, living ones.
        unsafe {
            let mut set: libc::sigset_t = mem::zeroed();
            libc::sigaddset(&mut set, libc::SIGUSR2);
            libc::pthread_sigmask(libc::SIG_BLOCK, &set, ptr::null_mut());
        }
        region.store(0, 0, 1);
        let foreign = foreign_address(signal);
        EXPECTED.store(foreign, Ordering::Relaxed);
        read_byte(foreign);
    });
    ended.with_status(42);
}

extern "C" fn count(_: c_int) {
    CALLS.fetch_add(1, Ordering::Relaxed);
}

pub(crate) fn a_one_shot_handler_of_the_program_runs_once(case: &Case) {
    let signal = signal_of(case.engine);
    let ended = case.in_child(|| {
        set_handler(signal, count as *const () as usize, libc::SA_RESETHAND);
        let region = Fixture::new(1, case.engine);
        send(signal);
        region.store(0, 0, 1);
        assert_eq!(CALLS.load(Ordering::Relaxed), 1);
        send(signal);
        exit(43);
    });
    ended.by_signal(signal);
}

pub(crate) fn executing_the_region_kills(case: &Case) {
    let ended = case.in_child(|| {
        let region = Fixture::new(1, case.engine);
        region.load(0, 0);
        // SAFETY: none: this is the fault that is asked for. The page may not be executed.
        unsafe { mem::transmute::<*mut u8, extern "C" fn()>(region.at(0, 0))() };
    });
    ended.by_signal(libc::SIGSEGV);
}

pub(crate) fn a_stack_overflow_is_said(case: &Case) {
    #[allow(unconditional_recursion)]
    fn deeper(depth: u64) -> u64 {
        let here = std::hint::black_box([depth; 100]);
        deeper(depth + 1) + here[50]
    }
    let ended = case.in_child(|| {
        let region = Fixture::new(1, case.engine);
        region.load(0, 0);
        let deep = thread::Builder::new()
            .name("diver".into())
            .spawn(|| deeper(0))
            .unwrap();
        let _ = deep.join();
    });
    ended
        .by_signal(libc::SIGABRT)
        .saying("thread 'diver'")
        .saying("has overflowed its stack");
}

pub(crate) fn a_panic_in_the_handler_ends_the_process(case: &Case) {
    struct Panicking;
    impl FaultHandler for Panicking {
        fn fault(&self, page: PageId, _: AccessKind) {
            panic!("{page} is a bad page");
        }
    }
    let ended = case.in_child(|| {
        let memory = create(PAGE_SIZE as u64, case.engine);
        let _guard = memory.handle_faults(Arc::new(Panicking));
        read_byte(memory.view().base().expose_provenance());
    });
    ended
        .by_signal(libc::SIGABRT)
        .saying("page 0 is a bad page")
        .saying("cannot unwind");
}

pub(crate) fn a_fault_after_the_guard_is_gone_kills(case: &Case) {
    let ended = case.in_child(|| {
        let mut region = Fixture::new(2, case.engine);
        region.load(0, 0);
        region.drop_guard();
        region.load(0, 1);
        region.load(1, 0);
    });
    ended.by_signal(signal_of(case.engine));
}

pub(crate) fn a_view_that_outlives_its_region_kills(case: &Case) {
    outlives_its_region(case, |_| None);
}

pub(crate) fn a_region_that_is_gone_kills_though_its_handler_is_there(case: &Case) {
    struct Never;
    impl FaultHandler for Never {
        fn fault(&self, _: PageId, _: AccessKind) {}
    }
    outlives_its_region(case, |memory| Some(memory.handle_faults(Arc::new(Never))));
}

fn outlives_its_region(case: &Case, handle: fn(&RegionMemory) -> Option<FaultGuard>) {
    let ended = case.in_child(|| {
        let mut memory = create(PAGE_SIZE as u64, case.engine);
        let _guard = handle(&memory);
        let view = memory.view();
        memory.set_access(run(0, 1), Access::ReadWrite);
        read_byte(view.base().expose_provenance());
        drop(memory);
        read_byte(view.base().expose_provenance());
    });
    ended.by_signal(libc::SIGSEGV);
}

pub(crate) fn a_forked_child_has_no_region_and_harms_none(case: &Case) {
    let ended = case.in_child(|| {
        let region = Fixture::new(2, case.engine);
        region.store(0, 0, 7);
        for page in [0, 1] {
            let status = in_fork(|| {
                region.load(page, 0);
            });
            assert!(
                libc::WIFSIGNALED(status) && libc::WTERMSIG(status) == libc::SIGSEGV,
                "{status:#x}"
            );
        }
        // Dropping what it inherited, or using it, reaches nothing of ours.
        let base = region.at(0, 0).expose_provenance();
        let Fixture { handler, view, .. } = region;
        let memory = &handler;
        assert_eq!(in_fork(|| drop((memory.clone(), view.clone()))), 0);
        let status = in_fork(|| memory.memory().set_access(run(0, 2), Access::Invalid));
        assert!(
            libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == FORK_PANICKED,
            "{status:#x}"
        );
        assert_eq!(read_byte(base), 7);
        exit(42);
    });
    ended.with_status(42).saying("INV-M3");
}

pub(crate) fn a_forked_child_may_make_its_own_region(case: &Case) {
    let ended = case.in_child(|| {
        let region = Fixture::new(2, case.engine);
        region.store(0, 0, 7);
        // Without the region's own fixture: its lock could not be dropped in a child that has no right to it.
        let status = in_fork(|| {
            let own = Fixture::new(2, case.engine);
            assert_eq!(
                own.view.base(),
                region.view.base(),
                "the parent's base is free in a child"
            );
            own.store(0, 0, 8);
            own.store(1, 0, 9);
            assert_eq!(own.faults().len(), 2);
            assert_eq!(
                region.faults().len(),
                1,
                "the parent's handler heard nothing of it"
            );
        });
        assert_eq!(status, 0);
        assert_eq!((region.load(0, 0), region.load(1, 0)), (7, 0));
        exit(42);
    });
    ended.with_status(42);
}

pub(crate) fn nothing_is_left_after_a_drop(case: &Case) {
    let ended = case.in_child(|| {
        let count = || {
            let descriptors = fs::read_dir("/proc/self/fd").unwrap().count();
            let maps = fs::read_to_string("/proc/self/maps").unwrap();
            (
                descriptors,
                maps.lines()
                    .filter(|line| line.contains("hivemind-region"))
                    .count(),
            )
        };
        let mut before = None;
        for _ in 0..40 {
            choose(EngineChoice::Only(case.engine)).unwrap();
            let region = Fixture::new(1 << 20, case.engine);
            region.store(77, 0, 1);
            drop(region);
            let index = free_bases(1 << 30).trailing_zeros() as usize;
            assert!(RegionMemory::create(u64::MAX / 2, index, case.engine).is_err());
            assert_eq!(*before.get_or_insert_with(count), count());
        }
        assert_eq!(before.unwrap().1, 0, "no mapping is left");
        assert_eq!(free_bases(1 << 40), (1 << BASES.len()) - 1);
        exit(42);
    });
    ended.with_status(42);
}

pub(crate) fn an_ordinary_user_is_served(case: &Case) {
    const NOBODY: u32 = 65534;
    // SAFETY: asks only.
    let user = (unsafe { libc::geteuid() } == 0).then_some(NOBODY);
    let ended = case.in_child_as(user, || {
        // SAFETY: asks only.
        assert_ne!(unsafe { libc::geteuid() }, 0);
        choose(EngineChoice::Only(case.engine)).unwrap();
        let region = Fixture::new(4, case.engine);
        region.load(1, 0);
        region.store(1, 0, 1);
        region.store(2, 0, 2);
        region.take_written();
        region.set(0, 4, Access::Invalid);
        assert_eq!((region.load(1, 0), region.load(2, 0)), (1, 2));
        exit(42);
    });
    ended.with_status(42);
}

pub(crate) fn a_limit_on_address_space_is_said(case: &Case) {
    let ended = case.in_child(|| {
        set_limit(libc::RLIMIT_AS, 8 << 30);
        let refused = RegionMemory::create(6 << 30, 0, case.engine).unwrap_err();
        assert_eq!(
            refused,
            MemoryError::AddressSpaceLimit {
                bytes: 6 << 30,
                limit_bytes: 8 << 30
            }
        );
        assert!(
            refused
                .to_string()
                .contains("6 GiB needs 12 GiB of address space"),
            "{refused}"
        );
        exit(42);
    });
    ended.with_status(42);
}

pub(crate) fn a_limit_on_file_size_is_said_and_does_not_kill(case: &Case) {
    let ended = case.in_child(|| {
        set_limit(libc::RLIMIT_FSIZE, 1 << 20);
        let refused = RegionMemory::create(2 << 20, 0, case.engine).unwrap_err();
        assert_eq!(
            refused,
            MemoryError::FileSizeLimit {
                bytes: 2 << 20,
                limit_bytes: 1 << 20
            }
        );
        exit(42);
    });
    ended.with_status(42);
}

pub(crate) fn seccomp_refuses_userfaultfd(case: &Case) {
    let ended = case.in_child(|| {
        refuse_system_call(libc::SYS_userfaultfd, None);
        falls_back(case.engine, "userfaultfd is refused");
    });
    ended.with_status(42);
}

pub(crate) fn seccomp_refuses_scans(case: &Case) {
    /// `PAGEMAP_SCAN`.
    const SCAN: u32 = 0xC060_6610;
    let ended = case.in_child(|| {
        refuse_system_call(libc::SYS_ioctl, Some(SCAN));
        falls_back(case.engine, "PAGEMAP_SCAN is refused");
    });
    ended.with_status(42);
}

/// Expects that `auto` takes this engine since the best was refused for this reason, and ends the process.
fn falls_back(expected: EngineKind, why: &str) -> ! {
    let chosen = choose(EngineChoice::Auto).unwrap();
    assert_eq!(chosen.engine, expected);
    let sentence = chosen.fallback.unwrap();
    assert!(
        sentence.contains(why) && sentence.contains(&format!("uses {expected}")),
        "{sentence}"
    );
    let refused = choose(EngineChoice::Only(EngineKind::Uffd)).unwrap_err();
    assert!(
        matches!(
            refused,
            MemoryError::EngineRefused {
                engine: EngineKind::Uffd,
                ..
            }
        ),
        "{refused}"
    );
    exit(42)
}

pub(crate) fn too_many_pieces(case: &Case) {
    let limit: u64 = fs::read_to_string("/proc/sys/vm/max_map_count")
        .unwrap()
        .trim()
        .parse()
        .unwrap();
    if limit > 1 << 20 {
        eprintln!("skipped: vm.max_map_count is {limit}");
        return;
    }
    let ended = case.in_child(|| {
        let region = Fixture::new(2 * limit, case.engine);
        for page in 0..limit {
            region.set(2 * page, 1, Access::ReadOnly);
        }
    });
    ended.with_status(70).saying("sysctl -w vm.max_map_count");
}

/// What a fork that panics exits with.
const FORK_PANICKED: i32 = 101;

/// Plays something in a fork of this process, and returns how that ended.
fn in_fork(play: impl FnOnce()) -> c_int {
    // SAFETY: the child runs one closure and ends. Of the other threads only the test harness's own exists, which waits and
    // holds no lock that the closure wants.
    let child = unsafe { libc::fork() };
    assert!(child >= 0);
    if child == 0 {
        let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(play));
        // SAFETY: ends the child without the parent's destructors.
        unsafe { libc::_exit(if done.is_ok() { 0 } else { FORK_PANICKED }) };
    }
    let mut status = 0;
    // SAFETY: waits for the child; its alarm is not inherited, but each closure is a handful of accesses.
    assert_eq!(unsafe { libc::waitpid(child, &mut status, 0) }, child);
    status
}

fn signal_of(engine: EngineKind) -> c_int {
    match engine {
        EngineKind::Uffd | EngineKind::UffdSync => libc::SIGBUS,
        EngineKind::Guard | EngineKind::Mprotect => libc::SIGSEGV,
    }
}

/// An address that is not ours and answers with this signal.
fn foreign_address(signal: c_int) -> usize {
    if signal == libc::SIGBUS {
        beyond_a_file()
    } else {
        NOWHERE
    }
}

/// A mapped address beyond the end of its file.
fn beyond_a_file() -> usize {
    // SAFETY: a mapping at an address of the kernel's choice, which lives as long as the process.
    unsafe {
        let file = OwnedFd::from_raw_fd(libc::memfd_create(c"empty".as_ptr(), 0));
        let address = libc::mmap(
            ptr::null_mut(),
            PAGE_SIZE,
            libc::PROT_READ,
            libc::MAP_SHARED,
            std::os::fd::AsRawFd::as_raw_fd(&file),
            0,
        );
        assert_ne!(address, libc::MAP_FAILED);
        address.expose_provenance()
    }
}

fn read_byte(address: usize) -> u8 {
    // SAFETY: a page of a region, or the very fault that a test asks for.
    unsafe { ptr::with_exposed_provenance::<u8>(address).read_volatile() }
}

fn send(signal: c_int) {
    // SAFETY: no preconditions; for this thread alone.
    assert_eq!(unsafe { libc::raise(signal) }, 0);
}

fn set_handler(signal: c_int, handler: usize, flags: c_int) {
    // SAFETY: zeros are an action; the handlers of this file take what their flags promise.
    unsafe {
        let mut action: libc::sigaction = mem::zeroed();
        action.sa_sigaction = handler;
        action.sa_flags = flags;
        libc::sigaddset(&mut action.sa_mask, libc::SIGUSR1);
        assert_eq!(libc::sigaction(signal, &action, ptr::null_mut()), 0);
    }
}

fn set_limit(resource: libc::__rlimit_resource_t, limit: u64) {
    let limit = libc::rlimit {
        rlim_cur: limit,
        rlim_max: limit,
    };
    // SAFETY: the limit is a living one.
    assert_eq!(unsafe { libc::setrlimit(resource, &limit) }, 0);
}

/// Has the kernel answer one system call with EPERM in this process, as container filters do; with a number, only where
/// its second argument is that one.
fn refuse_system_call(call: libc::c_long, second_argument: Option<u32>) {
    /// Where in what a filter is shown the low half of the second argument stands.
    const SECOND_ARGUMENT: u32 = 24;
    let line = |code: u32, jt, jf, k| libc::sock_filter {
        code: code as u16,
        jt,
        jf,
        k,
    };
    let load = |at| line(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, at);
    let unless = |wanted, skipped| {
        let code = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
        line(code, 0, skipped, wanted)
    };
    let answer = |answer| line(libc::BPF_RET | libc::BPF_K, 0, 0, answer);
    let refuse = answer(libc::SECCOMP_RET_ERRNO | libc::EPERM as u32);
    let allow = answer(libc::SECCOMP_RET_ALLOW);
    let mut program = match second_argument {
        None => vec![load(0), unless(call as u32, 1), refuse, allow],
        Some(wanted) => vec![
            load(0),
            unless(call as u32, 3),
            load(SECOND_ARGUMENT),
            unless(wanted, 1),
            refuse,
            allow,
        ],
    };
    let filter = libc::sock_fprog {
        len: program.len() as u16,
        filter: program.as_mut_ptr(),
    };
    // SAFETY: the program is a living one, which the kernel copies.
    unsafe {
        assert_eq!(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
        assert_eq!(
            libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &filter),
            0
        );
    }
}
