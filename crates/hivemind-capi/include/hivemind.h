// HiveMind for C: one shared memory for a program that runs on many machines.
//
// Made from the Rust source of the library; don't edit. docs/C.md is the guide; `man hive_startup` and so on the reference.
//
// Threads: any thread of the process that started up may call, after hive_startup and before hive_exit. Calls that may
// wait take turns among the threads of a drone, and a lock belongs to the drone, not to a thread of it.
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
} hive_status_t;

// The type of values in a reduction.
typedef int hive_type_t;

// How a reduction folds two values.
typedef int hive_op_t;

// A lock inside shared memory, in a structure of the program's own. It is known by where it lies: it must not be copied
// or moved, and is good on every drone at that address. Zeroed memory is a lock that is free.
typedef struct {
  // Of no use to programs.
  uint64_t reserved;
} hive_mutex_t;

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

// Takes lock `id` and sees what its last holder saw. Blocks until it is here. Any id will do, without a declaration;
// locks aren't re-entrant, and belong to the drone, not to a thread of it.
//
// Gives HIVE_ALREADY_HELD, HIVE_LOST, HIVE_TIMED_OUT.
hive_status_t hive_lock(uint32_t id);

// Lets lock `id` go. Blocks for nobody.
//
// Gives HIVE_NOT_HELD.
hive_status_t hive_unlock(uint32_t id);

// Makes a lock of 8 bytes in shared memory, aligned to 8. One drone does it, before others learn of the lock; memory that
// is zero already (hive_calloc) is a lock without it.
//
// Gives HIVE_BAD_POINTER outside of shared memory, HIVE_BAD_ARGUMENT where it isn't aligned.
//
// `mutex` leads to 8 bytes that nothing else uses.
hive_status_t hive_mutex_init(hive_mutex_t *mutex);

// Takes a lock in shared memory; like hive_lock in everything else.
//
// Gives HIVE_BAD_POINTER, HIVE_BAD_ARGUMENT as hive_mutex_init does, HIVE_ALREADY_HELD, HIVE_LOST, HIVE_TIMED_OUT.
hive_status_t hive_mutex_lock(hive_mutex_t *mutex);

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

// Gives shared memory back, whoever took it. NULL is fine and does nothing. Blocks as hive_malloc does.
//
// Gives HIVE_BAD_POINTER where no block in use begins: memory of malloc, the middle of a block, one that is freed already.
hive_status_t hive_free(void *block);

// Whether `pointer` leads into shared memory. Blocks nobody; false before start-up and after exit.
bool hive_is_shared(const void *pointer);

// Fetches `bytes` bytes of shared memory, so that a system call finds them here: the kernel, which reads and writes for
// read(2) or write(2), can't wait for a page and gives EFAULT. `write` makes them writable too, for read(2) into them. They
// stay until this drone's next lock, barrier or other call that synchronises. Blocks until all are here.
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
