// The macros of PARMACS, the ANL macro package (Boyle et al., "Portable Programs for Parallel Processors", 1987; as the SPLASH
// suites use it), process model, mapped to HiveMind: programs in that style compile with
//
//   hivemind cc -include hivemind/parmacs.h program.c -o program
//
// and run with as many drones as they make processes. What goes wrong ends the process with a sentence that says why.
// docs/C.md tells what differs: after CREATE each process has the program's own variables as they were then, and one that
// is written to later is named on standard error.

#ifndef HIVEMIND_PARMACS_H
#define HIVEMIND_PARMACS_H

#include <hivemind.h>
#include <stdio.h>
#include <stdlib.h>

// What a file of the program begins with.
#define MAIN_ENV
#define EXTERN_ENV
#define ENV

// The first and the last thing that main does. The processes of CREATE wait inside MAIN_INITENV; sizes of the shared memory
// are the launcher's (--region).
#define MAIN_INITENV(...)                                                                                              \
  do {                                                                                                                 \
    hive_errors_are_fatal(true);                                                                                       \
    hive_startup_fork_join(NULL, NULL);                                                                                \
  } while (0);
#define INITENV(...)
#define MAIN_END                                                                                                       \
  do {                                                                                                                 \
    hive_exit();                                                                                                       \
    exit(0);                                                                                                           \
  } while (0);

// Another process, which runs a function of the program; and the end of all of them.
#define CREATE(function, ...) hive_create((void (*)(void))(function));
#define WAIT_FOR_END(...) hive_wait_for_end();
#define WAIT_FOR_END_MANY(...) hive_wait_for_end();

// Shared memory, zeroed.
#define G_MALLOC(bytes, ...) hive_calloc(1, (bytes))
#define G_MALLOC_F(bytes, ...) hive_calloc(1, (bytes))
#define NU_MALLOC(bytes, ...) hive_calloc(1, (bytes))
#define G_FREE(block, ...) hive_free(block);
#define G_MEMSIZE

// Locks, alone and in arrays; in shared memory or in variables of the program.
#define LOCKDEC(name) hive_mutex_t name;
#define LOCKINIT(name) hive_mutex_init(&(name));
#define LOCK(name) hive_mutex_lock(&(name));
#define UNLOCK(name) hive_mutex_unlock(&(name));
#define ALOCKDEC(name, count) hive_mutex_t name[count];
#define ALOCKINIT(name, count)                                                                                         \
  for (int hive_at = 0; hive_at < (int)(count); hive_at++) hive_mutex_init(&(name)[hive_at]);
#define ALOCK(name, at) hive_mutex_lock(&(name)[at]);
#define AULOCK(name, at) hive_mutex_unlock(&(name)[at]);
#define AUNLOCK(name, at) hive_mutex_unlock(&(name)[at]);
#define AGETL(name, at) hive_mutex_lock(&(name)[at]);

// Barriers of so many processes.
#define BARDEC(name) hive_gate_t name;
#define BARINIT(...)
#define BARRIER(name, count) hive_gate_wait(&(name), (count));

// Flags that processes wait for, in shared memory.
#define PAUSEDEC(name) hive_event_t name;
#define PAUSEINIT(name) hive_event_init(&(name));
#define SETPAUSE(name) hive_event_set(&(name));
#define CLEARPAUSE(name) hive_event_clear(&(name));
#define WAITPAUSE(name) hive_event_wait(&(name));
#define EVENT(name) hive_event_wait(&(name));

// Microseconds, for differences.
#define CLOCK(variable) ((variable) = (unsigned long)(hive_wall_time() * 1e6));

#endif
