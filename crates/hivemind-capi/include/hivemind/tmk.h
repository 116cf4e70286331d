// The names of TreadMarks (Keleher, Cox, Dwarkadas, Zwaenepoel, USENIX Winter 1994; Amza et al., IEEE Computer 29(2), 1996),
// mapped to HiveMind: programs written against them compile with this include alone. What goes wrong ends the process with a
// sentence that says why. docs/C.md tells what differs.

#ifndef HIVEMIND_TMK_H
#define HIVEMIND_TMK_H

#include <hivemind.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#ifdef __cplusplus
extern "C" {
#endif

// Which drone this is, counted from 0, and how many there are.
#define Tmk_proc_id ((unsigned)hive_me())
#define Tmk_nprocs ((unsigned)hive_drones())

// Of what size pages are, in bytes.
#define Tmk_page_size 4096u

// Any 32-bit number names a barrier or a lock; programs that count on bounds find these.
#define TMK_NPROCS 65536
#define TMK_NBARRIERS 0x7fffffff
#define TMK_NLOCKS 0x7fffffff

static inline void Tmk_startup(int argc, char **argv) {
  hive_errors_are_fatal(true);
  hive_startup(&argc, &argv);
}

// Takes leave and ends the process with this status.
static inline void Tmk_exit(int status) {
  // Whoever fails doesn't wait for the others: they are told.
  if (status == 0) hive_exit();
  exit(status);
}

// Zeroed, as fresh memory was.
static inline void *Tmk_malloc(size_t bytes) { return hive_calloc(1, bytes); }
static inline void Tmk_free(void *block) { hive_free(block); }

// What a global or static variable is now, to all; there from the next barrier or lock on.
static inline void Tmk_distribute(void *variable, size_t bytes) { hive_distribute(variable, bytes); }

static inline void Tmk_barrier(unsigned id) { hive_barrier(id); }
static inline void Tmk_lock_acquire(unsigned id) { hive_lock(id); }
static inline void Tmk_lock_release(unsigned id) { hive_unlock(id); }

static inline void Tmk_lock_cond_wait(unsigned lock, unsigned condition) { hive_wait(lock, condition); }
static inline void Tmk_lock_cond_signal(unsigned lock, unsigned condition) { hive_signal(lock, condition); }
static inline void Tmk_lock_cond_broadcast(unsigned lock, unsigned condition) { hive_signal_all(lock, condition); }

// Says what is wrong and ends the process; the other drones are ended with it.
static inline void Tmk_errexit(const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  vfprintf(stderr, format, arguments);
  va_end(arguments);
  exit(1);
}

#ifdef __cplusplus
}
#endif

#endif
