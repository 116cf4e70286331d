// HiveMind for C: one shared memory for a program that runs on many machines.
//
// Made from the Rust source of the library; don't edit. docs/C.md is the guide; `man hive_startup` and so on the reference.
//
// Threads: any thread of the process that started up may call, after hive_startup and before hive_exit. Calls that may
// wait take turns among the threads of a drone: a thread that waits keeps the others from it. A lock belongs to the drone,
// not to a thread of it.
//
// Errors: calls that give a hive_status_t give HIVE_OK or what went wrong; calls that give a pointer or a number give NULL
// or -1 then. hive_last_error() and hive_error_text() tell the calling thread what its last failed call met and what to do.
// With HIVEMIND_ERRORS=fatal, or after hive_errors_are_fatal(true), a failed call ends the process with that text instead.


#ifndef HIVEMIND_H
#define HIVEMIND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// What a call gives.
typedef enum {
  // It went well.
  HIVE_OK = 0,
  // The call needs hive_startup() first.
  HIVE_NOT_STARTED = 1,
  // hive_exit() was called already; a process starts up once.
  HIVE_ENDED = 2,
  // hive_startup() was called already.
  HIVE_STARTED_ALREADY = 3,
  // The call comes from a forked child, which has no shared memory.
  HIVE_FORKED = 4,
  // An argument is out of its range: no such drone, type or operation, a null pointer, an alignment that is no power of
  // two.
  HIVE_BAD_ARGUMENT = 5,
  // A pointer doesn't lead to where it must: not into shared memory, or not to the start of a block in use (freed
  // twice, or never allocated).
  HIVE_BAD_POINTER = 6,
  // The shared memory has no room for this; start with a larger --region.
  HIVE_NO_MEMORY = 7,
  // The lock isn't held by this drone.
  HIVE_NOT_HELD = 8,
  // The lock is held by this drone already; locks aren't re-entrant.
  HIVE_ALREADY_HELD = 9,
  // A collective call while a lock is held.
  HIVE_HELD_AT_BARRIER = 10,
  // The drones make different collective calls.
  HIVE_MISMATCH = 11,
  // A drone is gone; the job can't go on.
  HIVE_LOST = 12,
  // A wait reached its limit (HIVEMIND_WAIT_LIMIT).
  HIVE_TIMED_OUT = 13,
  // Another thread of this drone already waits.
  HIVE_BUSY = 14,
  // What the process found around it won't do: its environment, the fault engine, the network, a file.
  HIVE_ENVIRONMENT = 15,
  // This drone is alone in its hive: nobody could end its wait.
  HIVE_ALONE = 16,
  // It can't be had without waiting, which was not to be. No error: hive_last_error() doesn't tell it.
  HIVE_UNAVAILABLE = 17,
  // This drone has arrived at a barrier and not departed: no locks, no collective calls and no heap in between.
  HIVE_NOT_DEPARTED = 18,
  // This drone departs from a barrier at which it hasn't arrived.
  HIVE_NOT_ARRIVED = 19,
} hive_status_t;

// The type of values in a reduction.
typedef int hive_type_t;

// How a reduction folds two values.
typedef int hive_op_t;

// A condition of a lock, inside shared memory or in a global variable of the program, as locks are.
typedef struct {
  // Of no use to programs.
  uint64_t reserved;
} hive_cond_t;

// A lock inside shared memory, in a structure of the program's own, or in a global variable of it. It is known by where it
// lies: it must not be copied or moved, and is the same on every drone. Zeroed memory is a lock that is free.
typedef struct {
  // Of no use to programs.
  uint64_t reserved;
} hive_mutex_t;

// A counting semaphore in shared memory, good on every drone at its address. Zeroed memory is one that counts 0.
typedef struct {
  // How many may pass; of no use to programs.
  uint64_t reserved;
} hive_sem_t;

// A flag in shared memory that drones wait for; it stays set until it is cleared. Zeroed memory is one that is clear.
typedef struct {
  // Whether it is set; of no use to programs.
  uint64_t reserved;
} hive_event_t;

// A barrier in shared memory for some of the drones; those that wait for all take hive_barrier. Zeroed memory is one at
// which nobody waits.
typedef struct {
  // Of no use to programs.
  uint64_t reserved[2];
} hive_gate_t;

// What this drone's shared memory has done since start-up. Counts are exact; times in µs.
typedef struct {
  // Time since start-up.
  uint64_t elapsed_us;
  // Faults on reading.
  uint64_t read_faults;
  // Faults on writing.
  uint64_t write_faults;
  // Whole pages that came.
  uint64_t pages_fetched;
  // Whole pages that were given.
  uint64_t pages_served;
  // Pages that hive_prefetch began to fetch.
  uint64_t pages_prefetched;
  // Copies made to find out later what was written.
  uint64_t twins;
  // Differences found.
  uint64_t diffs_made;
  // Differences put into pages.
  uint64_t diffs_applied;
  // Locks taken.
  uint64_t locks_acquired;
  // Of these, those that were here already.
  uint64_t locks_cached;
  // Tries to take a lock.
  uint64_t locks_tried;
  // Of these, those in vain.
  uint64_t locks_tried_in_vain;
  // Waits until a condition was signalled.
  uint64_t condition_waits;
  // Drones that this one woke from such waits.
  uint64_t condition_wakes;
  // Barriers and other collective calls.
  uint64_t meetings;
  // Messages sent.
  uint64_t messages_sent;
  // Messages received.
  uint64_t messages_received;
  // Bytes sent.
  uint64_t bytes_sent;
  // Bytes received.
  uint64_t bytes_received;
  // Waited for pages, summed over threads.
  uint64_t fault_wait_us;
  // Waited for locks.
  uint64_t lock_wait_us;
  // Waited in barriers and other collective calls.
  uint64_t barrier_wait_us;
} hive_stats_t;

// int8_t
#define HIVE_INT8 0

// uint8_t
#define HIVE_UINT8 1

// int16_t
#define HIVE_INT16 2

// uint16_t
#define HIVE_UINT16 3

// int32_t, int
#define HIVE_INT32 4

// uint32_t, unsigned
#define HIVE_UINT32 5

// int64_t, long
#define HIVE_INT64 6

// uint64_t, size_t
#define HIVE_UINT64 7

// float
#define HIVE_FLOAT 8

// double
#define HIVE_DOUBLE 9

// The sum; integers wrap around.
#define HIVE_SUM 0

// The product; integers wrap around.
#define HIVE_PROD 1

// The least.
#define HIVE_MIN 2

// The greatest.
#define HIVE_MAX 3

// The bits that both have; integers only.
#define HIVE_BAND 4

// The bits that either has; integers only.
#define HIVE_BOR 5

// The bits that one of them has; integers only.
#define HIVE_BXOR 6

// 1 if neither is 0, else 0; integers only.
#define HIVE_LAND 7

// 1 if one of them isn't 0, else 0; integers only.
#define HIVE_LOR 8

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

// Adds `value` to a word in shared memory, as one step for all drones that change it by these calls, and stores what it was
// in `*before` unless that is NULL. The sum wraps around. It synchronises as a lock does: this drone then sees what the
// last to change a word of this page saw. Blocks until that one is done.
//
// Gives HIVE_BAD_POINTER outside of shared memory, HIVE_BAD_ARGUMENT where it isn't aligned to 4, HIVE_LOST, HIVE_TIMED_OUT.
//
// `before` is NULL or leads to an int32_t.
hive_status_t hive_fetch_add_32(int32_t *word,
                                int32_t value,
                                int32_t *before);

// The same for a word of 64 bits, aligned to 8.
//
// `before` is NULL or leads to an int64_t.
hive_status_t hive_fetch_add_64(int64_t *word, int64_t value, int64_t *before);

// Stores `desired` in a word in shared memory if it is `expected`, as one step for all drones that change it by these calls,
// and stores what it was in `*before` unless that is NULL: it took place if that is `expected`. Synchronises and fails
// as hive_fetch_add_32 does.
//
// `before` is NULL or leads to an int32_t.
hive_status_t hive_compare_swap_32(int32_t *word,
                                   int32_t expected,
                                   int32_t desired,
                                   int32_t *before);

// The same for a word of 64 bits, aligned to 8.
//
// `before` is NULL or leads to an int64_t.
hive_status_t hive_compare_swap_64(int64_t *word, int64_t expected, int64_t desired, int64_t *before);

// `bytes` bytes of drone `root` come to all others, into a buffer that may lie anywhere. Collective: blocks until all
// drones call it with the same `bytes` and `root`, and is a barrier.
//
// Gives HIVE_BAD_ARGUMENT, HIVE_MISMATCH, HIVE_HELD_AT_BARRIER, HIVE_LOST, HIVE_TIMED_OUT.
//
// `buffer` leads to `bytes` bytes, which the call reads on `root` and writes elsewhere.
hive_status_t hive_broadcast(void *buffer, size_t bytes, int root);

// Folds `count` values of each drone into `into` on all drones, which may be `from`. Floating-point values are folded in
// the order of the drones: every run gives the same bits. Collective: blocks until all drones call it alike, and is a barrier.
//
// Gives HIVE_BAD_ARGUMENT for an unknown type or operation, HIVE_MISMATCH, HIVE_HELD_AT_BARRIER, HIVE_LOST, HIVE_TIMED_OUT.
//
// `from` and `into` lead to `count` values of `value_type` each.
hive_status_t hive_allreduce(const void *from,
                             void *into,
                             size_t count,
                             hive_type_t value_type,
                             hive_op_t op);

// The same, but only drone `root` gets the result; elsewhere `into` may be NULL and stays as it is.
//
// `from` leads to `count` values of `value_type`, on `root` `into` too.
hive_status_t hive_reduce(const void *from, void *into, size_t count, hive_type_t value_type, hive_op_t op, int root);

// Sleeps until hive_signal or hive_signal_all is called for `condition` of lock `id`, which this drone must hold: lets it
// go meanwhile, and holds it again at the end. What was waited for may have been taken by another: look again, in a loop.
// Any condition will do, without a declaration. Blocks as long.
//
// Gives HIVE_NOT_HELD, HIVE_ALONE where there is no other drone that could signal, HIVE_LOST, HIVE_TIMED_OUT.
hive_status_t hive_wait(uint32_t id,
                        uint32_t condition);

// Wakes the drone that has slept longest for `condition` of lock `id`, which this drone must hold. Nobody sleeping is fine.
// Blocks for nobody.
//
// Gives HIVE_NOT_HELD.
hive_status_t hive_signal(uint32_t id,
                          uint32_t condition);

// Wakes all drones that sleep for `condition` of lock `id`, which this drone must hold; in the order in which they fell
// asleep. Blocks for nobody.
//
// Gives HIVE_NOT_HELD.
hive_status_t hive_signal_all(uint32_t id, uint32_t condition);

// Makes a condition of 8 bytes in shared memory, or in a global variable of the program. Memory that is zero already is one
// without it.
//
// Gives HIVE_BAD_POINTER elsewhere, HIVE_BAD_ARGUMENT where it isn't aligned to 8.
hive_status_t hive_cond_init(hive_cond_t *cond);

// Like hive_wait, for a condition and a lock that lie in memory. All who wait for a condition do so with the same lock.
//
// Gives HIVE_BAD_POINTER, HIVE_BAD_ARGUMENT, HIVE_NOT_HELD, HIVE_ALONE, HIVE_LOST, HIVE_TIMED_OUT.
hive_status_t hive_cond_wait(hive_cond_t *cond, hive_mutex_t *mutex);

// Like hive_signal, for a condition and the lock with which others wait for it.
//
// Gives HIVE_BAD_POINTER, HIVE_BAD_ARGUMENT, HIVE_NOT_HELD.
hive_status_t hive_cond_signal(hive_cond_t *cond, hive_mutex_t *mutex);

// Like hive_signal_all, for a condition and the lock with which others wait for it.
//
// Gives HIVE_BAD_POINTER, HIVE_BAD_ARGUMENT, HIVE_NOT_HELD.
hive_status_t hive_cond_broadcast(hive_cond_t *cond, hive_mutex_t *mutex);

// Makes a semaphore of 8 bytes in shared memory that lets `count` pass. One drone does it, before others learn of it.
//
// Gives HIVE_BAD_POINTER outside of shared memory, HIVE_BAD_ARGUMENT where it isn't aligned to 8.
hive_status_t hive_sem_init(hive_sem_t *sem, uint32_t count);

// Waits until the semaphore's count is above 0, and takes 1 from it; then sees what who posted saw. Blocks as long.
//
// Gives HIVE_BAD_POINTER, HIVE_BAD_ARGUMENT, HIVE_ALONE where there is no other drone that could post, HIVE_LOST,
// HIVE_TIMED_OUT.
hive_status_t hive_sem_wait(hive_sem_t *sem);

// The same if the count is above 0 now; gives HIVE_UNAVAILABLE if it is 0, without waiting for a post.
//
// Gives HIVE_BAD_POINTER, HIVE_BAD_ARGUMENT, HIVE_LOST too.
hive_status_t hive_sem_try_wait(hive_sem_t *sem);

// Adds 1 to the semaphore's count, and wakes the drone that has waited longest. Blocks for those who are about to change it.
//
// Gives HIVE_BAD_POINTER, HIVE_BAD_ARGUMENT, HIVE_LOST.
hive_status_t hive_sem_post(hive_sem_t *sem);

// Makes an event of 8 bytes in shared memory that is clear. One drone does it, before others learn of it.
//
// Gives HIVE_BAD_POINTER outside of shared memory, HIVE_BAD_ARGUMENT where it isn't aligned to 8.
hive_status_t hive_event_init(hive_event_t *event);

// Sets the event, and lets all go on that wait for it.
//
// Gives HIVE_BAD_POINTER, HIVE_BAD_ARGUMENT, HIVE_LOST.
hive_status_t hive_event_set(hive_event_t *event);

// Clears the event: who waits from now on waits until it is set again.
//
// Gives HIVE_BAD_POINTER, HIVE_BAD_ARGUMENT, HIVE_LOST.
hive_status_t hive_event_clear(hive_event_t *event);

// Waits until the event is set; then sees what who set it saw. Blocks as long.
//
// Gives HIVE_BAD_POINTER, HIVE_BAD_ARGUMENT, HIVE_ALONE where there is no other drone that could set it, HIVE_LOST,
// HIVE_TIMED_OUT.
hive_status_t hive_event_wait(hive_event_t *event);

// Waits until `count` drones are at this gate; then each sees what all of them have written. Where `count` is the number of
// all drones it is a hive_barrier, and the gate may lie in a global variable of the program.
//
// Gives HIVE_BAD_ARGUMENT for a count that is 0 or above the number of drones and for a gate that isn't aligned to 8,
// HIVE_BAD_POINTER, HIVE_HELD_AT_BARRIER, HIVE_MISMATCH, HIVE_LOST, HIVE_TIMED_OUT.
hive_status_t hive_gate_wait(hive_gate_t *gate,
                             uint32_t count);

// Starts up as hive_startup does, for programs that fork and join: it returns on drone 0 alone. The others run what
// hive_run and hive_create give them, and end with status 0 once drone 0 calls hive_exit.
//
// Gives what hive_startup gives.
hive_status_t hive_startup_fork_join(int *argc, char ***argv);

// Runs `function` on all drones at once, this one included, and waits until all have returned; then this drone sees what
// they wrote to shared memory, as each of them sees what this one wrote before. Each gets a copy of the `bytes` bytes at
// `argument` (NULL if there are none), which may hold pointers into shared memory. The function must be one of the program
// itself. Only drone 0 of a fork-join program may call it.
//
// Gives HIVE_BAD_ARGUMENT elsewhere, HIVE_BAD_POINTER for another function, HIVE_NO_MEMORY, HIVE_LOST.
//
// `argument` leads to `bytes` bytes.
hive_status_t hive_run(void (*function)(void *argument),
                       const void *argument,
                       size_t bytes);

// Has another drone that has nothing to do run `function`, and doesn't wait for it: what a fork would do. There the
// program's own variables are as they are here now; from then on each drone has a copy of its own, and one that was
// written to is named on standard error when the function returns. Only drone 0 of a fork-join program may call it. Gives
// the number of the drone, or -1.
//
// Errors are HIVE_BAD_ARGUMENT elsewhere and where all drones are at work, HIVE_BAD_POINTER for a function that is not the
// program's own, HIVE_ENVIRONMENT where the program may lie elsewhere on other drones (`hivemind cc` links it right),
// HIVE_NO_MEMORY, HIVE_LOST.
int hive_create(void (*function)(void));

// Waits until every drone has done what hive_create gave it; then this drone sees what they wrote to shared memory. Only
// drone 0 of a fork-join program may call it.
//
// Gives HIVE_BAD_ARGUMENT elsewhere, HIVE_LOST, HIVE_TIMED_OUT.
hive_status_t hive_wait_for_end(void);

// Tells all other drones the `bytes` bytes of a variable of the program, as they are now: each has them in its own variable
// after it has synchronised with this drone, by a barrier, a lock or a call that waits. Not collective. The variable is one
// with a fixed place (global or static); what lies in shared memory needs no telling.
//
// Gives HIVE_BAD_POINTER for another place, HIVE_NO_MEMORY, HIVE_LOST.
//
// Nobody writes to the variable meanwhile.
hive_status_t hive_distribute(const void *variable,
                              size_t bytes);

// Joins the hive that launched this process (`hivemind run`, srun, mpirun …); alone, without a launcher, it is a hive of
// one. Blocks until all drones are here, at most the start timeout (30 s unless told otherwise). Call it once, before
// every other call, with main's arguments: HiveMind takes none of them today. Either may be NULL.
//
// Gives HIVE_STARTED_ALREADY, HIVE_ENDED, or HIVE_ENVIRONMENT with a text that says what to do.
hive_status_t hive_startup(int *argc,
                           char ***argv);

// Takes leave: blocks until all drones call it, writes the statistics that `hivemind run --stats` asked for, and gives the
// shared memory back: pointers into it lead nowhere from then on. Collective, and the last call.
//
// Gives HIVE_HELD_AT_BARRIER while a lock is held, HIVE_MISMATCH where the others make another call (the hive goes on
// after both), HIVE_LOST.
hive_status_t hive_exit(void);

// How many drones there are; -1 before start-up and after exit. Blocks nobody.
int hive_drones(void);

// Which drone this is, counted from 0; -1 before start-up and after exit. Blocks nobody.
int hive_me(void);

// How many threads this drone may use for itself: `hivemind run --threads`, or its share of the machine's cores; -1
// before start-up and after exit. Blocks nobody.
int hive_threads(void);

// Seconds on a clock that never goes backwards, for differences: its zero is the first call in this process, and each
// drone's is its own. May be called at any time; blocks nobody.
double hive_wall_time(void);

// Waits until all drones are at barrier `id`; then each sees what all have written. Drones that wait at different
// barriers are told so instead of going on. Any id will do, without a declaration.
//
// Gives HIVE_HELD_AT_BARRIER while this drone holds a lock, HIVE_MISMATCH, HIVE_LOST, HIVE_TIMED_OUT.
hive_status_t hive_barrier(uint32_t id);

// The first half of barrier `id`: what this drone has written is on its way to the others, for which it waits only in
// hive_depart. In between it works on what nobody else touches: it takes no locks, makes no other collective calls, and
// allocates nothing. What it writes there is seen by the others after the next barrier. A page that must be fetched from
// another drone keeps it waiting until all have arrived, and pages stay where they are: have a hive_barrier after the
// data are filled, which moves them to who writes them. All drones arrive, or all make hive_barrier of it.
//
// Gives HIVE_HELD_AT_BARRIER while this drone holds a lock, HIVE_NOT_DEPARTED, HIVE_LOST, HIVE_TIMED_OUT.
hive_status_t hive_arrive(uint32_t id);

// The second half: waits until all drones have arrived; then each sees what all had written by then.
//
// Gives HIVE_NOT_ARRIVED, HIVE_MISMATCH, HIVE_LOST, HIVE_TIMED_OUT.
hive_status_t hive_depart(void);

// Takes lock `id` and sees what its last holder saw. Blocks until it is here. Any id will do, without a declaration;
// locks aren't re-entrant, and belong to the drone, not to a thread of it.
//
// Gives HIVE_ALREADY_HELD, HIVE_LOST, HIVE_TIMED_OUT.
hive_status_t hive_lock(uint32_t id);

// Takes lock `id` as hive_lock does if no drone holds it or is in line for it; gives HIVE_UNAVAILABLE, which is no error, if
// one does. Blocks for one answer at most.
//
// Gives HIVE_ALREADY_HELD where this drone holds it, HIVE_LOST, HIVE_TIMED_OUT.
hive_status_t hive_try_lock(uint32_t id);

// Lets lock `id` go. Blocks for nobody.
//
// Gives HIVE_NOT_HELD.
hive_status_t hive_unlock(uint32_t id);

// Makes a lock of 8 bytes in shared memory, or in a global variable of the program, aligned to 8. Memory that is zero
// already (hive_calloc) is a lock without it.
//
// Gives HIVE_BAD_POINTER elsewhere, HIVE_BAD_ARGUMENT where it isn't aligned.
hive_status_t hive_mutex_init(hive_mutex_t *mutex);

// Takes a lock in shared memory; like hive_lock in everything else.
//
// Gives HIVE_BAD_POINTER, HIVE_BAD_ARGUMENT as hive_mutex_init does, HIVE_ALREADY_HELD, HIVE_LOST, HIVE_TIMED_OUT.
hive_status_t hive_mutex_lock(hive_mutex_t *mutex);

// Like hive_try_lock, for a lock in shared memory.
//
// Gives HIVE_BAD_POINTER, HIVE_BAD_ARGUMENT, HIVE_ALREADY_HELD, HIVE_LOST, HIVE_TIMED_OUT.
hive_status_t hive_mutex_try_lock(hive_mutex_t *mutex);

// Lets a lock in shared memory go. Blocks for nobody.
//
// Gives HIVE_NOT_HELD, HIVE_BAD_POINTER, HIVE_BAD_ARGUMENT.
hive_status_t hive_mutex_unlock(hive_mutex_t *mutex);

// The end of a lock in shared memory: its bytes are free for other use. It must not be held.
//
// Gives HIVE_BAD_POINTER, HIVE_BAD_ARGUMENT.
hive_status_t hive_mutex_destroy(hive_mutex_t *mutex);

// Takes shared memory of `bytes` bytes (0 counts as 1), aligned to 16, whose contents are anything. The pointer is good
// on every drone that is told of it, until any drone frees it; no other drone takes part. Blocks of a page (4096 bytes)
// or more begin at a page, so that two arrays never share one. Whoever writes a page first becomes its home, so fill what
// you will work on. Blocks until drone 0, which keeps the heap, has answered.
//
// Gives NULL where there is no room (HIVE_NO_MEMORY names the largest free block), and on HIVE_LOST.
void *hive_malloc(size_t bytes);

// Takes shared memory for `count` values of `bytes` bytes each, all zero; like hive_malloc in everything else.
void *hive_calloc(size_t count, size_t bytes);

// Takes shared memory aligned to `align` bytes, a power of two; like hive_malloc in everything else.
//
// Gives NULL with HIVE_BAD_ARGUMENT for another `align`.
void *hive_aligned_alloc(size_t align, size_t bytes);

// Gives a block another size: what it holds is kept up to the smaller of the two, and it may lie elsewhere afterwards; other
// drones must be told then. NULL is taken as a new block, and 0 bytes count as 1. Blocks as hive_malloc does. No other drone
// may write to the block meanwhile, and what others wrote before must have been synchronised with.
//
// Gives NULL with HIVE_BAD_POINTER where no block in use begins, and with HIVE_NO_MEMORY; the block stays as it is then.
//
// Nobody uses the block meanwhile, and nobody its old place afterwards.
void *hive_realloc(void *block,
                   size_t bytes);

// Gives shared memory back, whoever took it. NULL is fine and does nothing. Blocks as hive_malloc does.
//
// Gives HIVE_BAD_POINTER where no block in use begins: memory of malloc, the middle of a block, one that is freed already.
hive_status_t hive_free(void *block);

// Whether `pointer` leads into shared memory. Blocks nobody; false before start-up and after exit.
bool hive_is_shared(const void *pointer);

// Begins to fetch `bytes` bytes of shared memory that are not here, so that touching them later need not wait as long. Blocks
// for nobody. Worth it before a few pages that are touched in no order; runs of pages are fetched ahead anyway.
//
// Gives HIVE_BAD_POINTER outside of shared memory.
hive_status_t hive_prefetch(const void *start,
                            size_t bytes);

// Fetches `bytes` bytes of shared memory, so that a system call finds them here: the kernel, which reads and writes for
// read(2) or write(2), can't wait for a page and gives EFAULT. `write` makes them writable too, for read(2) into them. They
// stay until this drone's next lock, barrier or other call that synchronises; but where writes are trapped (the engines
// uffd-sync and mprotect), another drone's request may take the right to write back before: call again after EFAULT. Blocks
// until all are here.
//
// Gives HIVE_BAD_POINTER outside of shared memory, HIVE_LOST, HIVE_TIMED_OUT.
hive_status_t hive_present(const void *start,
                           size_t bytes,
                           bool write);

// Writes down what this drone's shared memory has done so far. Blocks nobody.
//
// Gives HIVE_BAD_ARGUMENT for NULL.
//
// `stats` leads to a hive_stats_t.
hive_status_t hive_stats(hive_stats_t *stats);

// Whether a failed call ends the process, with its text on standard error and the exit status 70, instead of giving its
// status. Without this call HIVEMIND_ERRORS=fatal says so. May be called at any time; blocks nobody.
void hive_errors_are_fatal(bool fatal);

// What the last call of this thread that failed met; HIVE_OK if none has. Successful calls leave it.
hive_status_t hive_last_error(void);

// What the last call of this thread that failed met, as a sentence that says what to do; "" if none has. Good until this
// thread's next failed call.
const char *hive_error_text(void);

// What a status means, in a few words that stay good for ever. A number that is none is told so.
const char *hive_strerror(int32_t status);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* HIVEMIND_H */
