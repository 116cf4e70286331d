//! Fork and join: drone 0 runs the program, the others run functions that it gives them; and variables of the program that
//! one drone tells the others.

use crate::desk::{Job, only_first, share, shared_bytes};
use crate::hive::{here, leave, start};
use crate::image::Image;
use crate::status::{Trouble, hive_status_t, remember, status_of};
use hive_status_t::*;
use hivemind::Address;
use std::ffi::{c_char, c_int, c_void};
use std::sync::{Mutex, PoisonError};

/// The program's variables as they were handed on last, to see later who wrote to them.
static HANDED_ON: Mutex<Vec<Vec<u8>>> = Mutex::new(Vec::new());

/// How many variables are named of those that were written to.
const NAMED_MOST: usize = 8;

/// The status with which a drone ends that can't go on, and with which one ends that lost another.
const FAILED_STATUS: i32 = 70;
const LOST_STATUS: i32 = 75;

/// Starts up as hive_startup does, for programs that fork and join: it returns on drone 0 alone. The others run what
/// hive_run and hive_create give them, and end with status 0 once drone 0 calls hive_exit.
///
/// Gives what hive_startup gives.
#[unsafe(no_mangle)]
pub extern "C" fn hive_startup_fork_join(
    argc: *mut c_int,
    argv: *mut *mut *mut c_char,
) -> hive_status_t {
    let _ = (argc, argv);
    let follows = match start(true) {
        Ok(me) => me != 0,
        Err(trouble) => return remember(trouble),
    };
    if follows {
        follow();
    }
    HIVE_OK
}

/// Runs `function` on all drones at once, this one included, and waits until all have returned; then this drone sees what
/// they wrote to shared memory, as each of them sees what this one wrote before. Each gets a copy of the `bytes` bytes at
/// `argument` (NULL if there are none), which may hold pointers into shared memory. The function must be one of the program
/// itself. Only drone 0 of a fork-join program may call it.
///
/// Gives HIVE_BAD_ARGUMENT elsewhere, HIVE_BAD_POINTER for another function, HIVE_NO_MEMORY, HIVE_LOST.
///
/// # Safety
/// `argument` leads to `bytes` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hive_run(
    function: Option<extern "C" fn(argument: *mut c_void)>,
    argument: *const c_void,
    bytes: usize,
) -> hive_status_t {
    let run = || -> Result<(), Trouble> {
        let call = offset_of(function.map(|function| function as usize))?;
        if argument.is_null() && bytes > 0 {
            return Err(Trouble::new(HIVE_BAD_ARGUMENT, "the argument is NULL"));
        }
        let mut own = vec![0_u128; bytes.div_ceil(size_of::<u128>())];
        // SAFETY: the caller vouches for the argument; `own` has room for it.
        unsafe {
            let into = own.as_mut_ptr().cast::<u8>();
            into.copy_from_nonoverlapping(argument.cast::<u8>(), bytes);
        }
        let block = {
            let here = here()?;
            only_first(&here, here.forks(), "hive_run")?;
            // SAFETY: all bytes of `own` are values.
            let text = unsafe { std::slice::from_raw_parts(own.as_ptr().cast::<u8>(), bytes) };
            let block = share(&here, &[text])?;
            for drone in 1..here.drones() {
                let job = Job {
                    function: call,
                    argument: block.0,
                    argument_bytes: bytes as u64,
                    variables: 0,
                };
                here.desk().give(&here, drone, job)?;
            }
            block
        };
        if let Some(function) = function {
            function(own.as_mut_ptr().cast());
        }
        let here = here()?;
        for drone in 1..here.drones() {
            here.desk().wait_for(&here, drone)?;
        }
        Ok(here.free(block)?)
    };
    status_of(run())
}

/// Has another drone that has nothing to do run `function`, and doesn't wait for it: what a fork would do. There the
/// program's own variables are as they are here now; from then on each drone has a copy of its own, and one that was
/// written to is named on standard error when the function returns. Only drone 0 of a fork-join program may call it. Gives
/// the number of the drone, or -1.
///
/// Errors are HIVE_BAD_ARGUMENT elsewhere and where all drones are at work, HIVE_BAD_POINTER for a function that is not the
/// program's own, HIVE_ENVIRONMENT where the program may lie elsewhere on other drones (`hivemind cc` links it right),
/// HIVE_NO_MEMORY, HIVE_LOST.
#[unsafe(no_mangle)]
pub extern "C" fn hive_create(function: Option<extern "C" fn()>) -> c_int {
    let run = || -> Result<usize, Trouble> {
        let call = offset_of(function.map(|function| function as usize))?;
        let variables = snapshot()?;
        let here = here()?;
        only_first(&here, here.forks(), "hive_create")?;
        for drone in 1..here.drones() {
            if here.desk().is_at_work(&here, drone)? {
                continue;
            }
            let parts: Vec<&[u8]> = variables.iter().map(Vec::as_slice).collect();
            let job = Job {
                function: call,
                argument: 0,
                argument_bytes: 0,
                variables: share(&here, &parts)?.0,
            };
            here.desk().give(&here, drone, job)?;
            *handed_on() = variables;
            return Ok(drone);
        }
        let text = format!(
            "all other drones are at work: there are {}; start with more (hivemind run -n {})",
            here.drones() - 1,
            here.drones() + 1
        );
        Err(Trouble::new(HIVE_BAD_ARGUMENT, text))
    };
    run().map_or_else(
        |trouble| {
            remember(trouble);
            -1
        },
        |drone| drone as c_int,
    )
}

/// Waits until every drone has done what hive_create gave it; then this drone sees what they wrote to shared memory. Only
/// drone 0 of a fork-join program may call it.
///
/// Gives HIVE_BAD_ARGUMENT elsewhere, HIVE_LOST, HIVE_TIMED_OUT.
#[unsafe(no_mangle)]
pub extern "C" fn hive_wait_for_end() -> hive_status_t {
    let run = || -> Result<(), Trouble> {
        let here = here()?;
        only_first(&here, here.forks(), "hive_wait_for_end")?;
        for drone in 1..here.drones() {
            here.desk().wait_for(&here, drone)?;
        }
        name_written(&here);
        Ok(())
    };
    status_of(run())
}

/// Tells all other drones the `bytes` bytes of a variable of the program, as they are now: each has them in its own variable
/// after it has synchronised with this drone, by a barrier, a lock or a call that waits. Not collective. The variable is one
/// with a fixed place (global or static); what lies in shared memory needs no telling.
///
/// Gives HIVE_BAD_POINTER for another place, HIVE_NO_MEMORY, HIVE_LOST.
///
/// # Safety
/// Nobody writes to the variable meanwhile.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hive_distribute(variable: *const c_void, bytes: usize) -> hive_status_t {
    let run = || -> Result<(), Trouble> {
        let here = here()?;
        let image = Image::own()?;
        if !image.is_variable(variable.addr(), bytes) {
            let text = format!(
                "the {bytes} bytes at {variable:p} are no global or static variable of the program: only those have the same place on every drone"
            );
            return Err(Trouble::new(HIVE_BAD_POINTER, text));
        }
        // SAFETY: it lies in the program's own variables, and the caller vouches that nobody writes there.
        let now = unsafe { std::slice::from_raw_parts(variable.cast::<u8>(), bytes) };
        here.desk().tell(&here, image.offset(variable.addr()), now)
    };
    status_of(run())
}

/// Runs jobs until there will be none; then takes leave and ends the process.
fn follow() -> ! {
    let run = || -> Result<(), Trouble> {
        loop {
            let job = {
                let here = here()?;
                here.desk().next_job(&here)?
            };
            let Some(job) = job else { break };
            work(job)?;
            let here = here()?;
            here.desk().done(&here)?;
        }
        leave()
    };
    match run() {
        Ok(()) => std::process::exit(0),
        Err(trouble) => {
            eprintln!("hivemind: {}", trouble.text);
            std::process::exit(match trouble.status {
                HIVE_LOST => LOST_STATUS,
                _ => FAILED_STATUS,
            })
        }
    }
}

/// One job, with nothing of the hive in use while the program's function runs.
fn work(job: Job) -> Result<(), Trouble> {
    let image = Image::own()?;
    let function = image.address(job.function);
    if !image.is_code(function) {
        let text = format!("a job names a function at {function:#x}, where the program has none");
        return Err(Trouble::new(HIVE_BAD_POINTER, text));
    }
    if job.variables == 0 {
        let argument = {
            let here = here()?;
            shared_bytes(&here, Address(job.argument), job.argument_bytes as usize)?
        };
        let mut own = vec![0_u128; argument.len().div_ceil(size_of::<u128>())];
        // SAFETY: `own` has room for so many.
        unsafe {
            let into = own.as_mut_ptr().cast::<u8>();
            into.copy_from_nonoverlapping(argument.as_ptr(), argument.len());
        }
        // SAFETY: it is code of the program; drone 0 gave the offset of a function of this type.
        let function: extern "C" fn(*mut c_void) = unsafe { std::mem::transmute(function) };
        function(own.as_mut_ptr().cast());
        return Ok(());
    }
    take_over(Address(job.variables))?;
    // SAFETY: as above.
    let function: extern "C" fn() = unsafe { std::mem::transmute(function) };
    function();
    name_written(&*here()?);
    Ok(())
}

/// The offset of a function of the program.
fn offset_of(function: Option<usize>) -> Result<u64, Trouble> {
    let image = Image::own()?;
    let found = function.filter(|function| image.is_code(*function));
    let function = found.ok_or_else(|| {
        let text = "the function is none of the program itself: other drones can't find it (one of a shared library needs a wrapper)";
        Trouble::new(HIVE_BAD_POINTER, text)
    })?;
    Ok(image.offset(function))
}

/// The program's variables as they are now.
fn snapshot() -> Result<Vec<Vec<u8>>, Trouble> {
    let parts = Image::own()?.variables()?.iter();
    // SAFETY: the program may write there, so it may be read; no function of the program runs but the one that calls.
    let copy = |start: usize, len: usize| unsafe {
        std::slice::from_raw_parts(start as *const u8, len).to_vec()
    };
    Ok(parts.map(|part| copy(part.start, part.len())).collect())
}

/// Makes the program's variables here what they were on drone 0.
fn take_over(block: Address) -> Result<(), Trouble> {
    let here = here()?;
    let mut kept = Vec::new();
    let mut at = block.0;
    for part in Image::own()?.variables()? {
        let bytes = shared_bytes(&here, Address(at), part.len())?;
        // SAFETY: these are variables of the program, which has the same on drone 0, and no function of it runs here.
        unsafe { (part.start as *mut u8).copy_from_nonoverlapping(bytes.as_ptr(), bytes.len()) };
        at += part.len() as u64;
        kept.push(bytes);
    }
    here.free(block)?;
    *handed_on() = kept;
    Ok(())
}

/// Names on standard error which variables of the program were written to since they were handed on.
fn name_written(hive: &hivemind::RawHive) {
    let (Ok(image), Ok(now)) = (Image::own(), snapshot()) else {
        return;
    };
    let then = std::mem::take(&mut *handed_on());
    let parts = image.variables().unwrap_or_default();
    let mut named: Vec<String> = Vec::new();
    for ((part, now), then) in parts.iter().zip(&now).zip(&then) {
        let pairs = now.iter().zip(then).enumerate();
        for (at, _) in pairs.filter(|(_, (now, then))| now != then) {
            let name = image
                .name(part.start + at)
                .unwrap_or("one without a name")
                .to_owned();
            if named.last() != Some(&name) && !named.contains(&name) {
                named.push(name);
            }
        }
    }
    if named.is_empty() {
        return;
    }
    let more = named.len().saturating_sub(NAMED_MOST);
    named.truncate(NAMED_MOST);
    eprintln!(
        "hivemind: drone {} wrote to variables of the program after they were handed on: {}{}; no other drone sees that: put what all must see into shared memory",
        hive.me(),
        named.join(", "),
        if more > 0 {
            format!(" and {more} more")
        } else {
            String::new()
        }
    );
}

fn handed_on() -> std::sync::MutexGuard<'static, Vec<Vec<u8>>> {
    HANDED_ON.lock().unwrap_or_else(PoisonError::into_inner)
}
