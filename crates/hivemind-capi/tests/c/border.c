// The byte-level border: every call with every kind of argument, for valgrind. It runs as a hive of one, where no page is
// away; what it stores in shared memory it also reads.

#include <hivemind.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHECK(call)                                              \
  do {                                                           \
    if ((call) != HIVE_OK) {                                     \
      fprintf(stderr, "%s: %s\n", #call, hive_error_text());     \
      exit(1);                                                   \
    }                                                            \
  } while (0)

static void reductions(void) {
  static const size_t bytes[] = {1, 1, 2, 2, 4, 4, 8, 8, 4, 8};
  for (hive_type_t type = HIVE_INT8; type <= HIVE_DOUBLE; type++)
    for (hive_op_t op = HIVE_SUM; op <= HIVE_LOR; op++) {
      // Blocks of the exact size: a byte too far is seen.
      void *from = calloc(3, bytes[type]), *into = malloc(3 * bytes[type]);
      hive_status_t expected = type >= HIVE_FLOAT && op >= HIVE_BAND ? HIVE_BAD_ARGUMENT : HIVE_OK;
      if (hive_allreduce(from, into, 3, type, op) != expected) exit(1);
      if (hive_reduce(from, into, 3, type, op, 0) != expected) exit(1);
      if (expected == HIVE_OK && memcmp(from, into, 3 * bytes[type]) != 0) exit(1);
      free(from);
      free(into);
    }
}

int main(int argc, char **argv) {
  CHECK(hive_startup(&argc, &argv));
  reductions();
  for (size_t bytes = 0; bytes < 10000; bytes = bytes * 2 + 1) {
    char *buffer = malloc(bytes), *shared = hive_malloc(bytes);
    memset(buffer, 'x', bytes);
    CHECK(hive_broadcast(buffer, bytes, 0));
    if (shared == NULL) exit(1);
    // Made present first: valgrind takes a page fault for an error, though the program goes on.
    CHECK(hive_prefetch(shared, bytes));
    CHECK(hive_present(shared, bytes, true));
    memcpy(shared, buffer, bytes);
    CHECK(hive_broadcast(shared, bytes, 0));
    if (memcmp(shared, buffer, bytes) != 0) exit(1);
    CHECK(hive_free(shared));
    free(buffer);
  }
  hive_mutex_t *mutex = hive_calloc(1, sizeof *mutex);
  CHECK(hive_mutex_init(mutex));
  CHECK(hive_mutex_lock(mutex));
  CHECK(hive_mutex_unlock(mutex));
  CHECK(hive_mutex_destroy(mutex));
  CHECK(hive_free(mutex));
  // Words and what is made of them, on a page that is present.
  char *page = hive_malloc(4096);
  CHECK(hive_present(page, 4096, true));
  memset(page, 0, 4096);
  int32_t *narrow = (int32_t *)page, before = 1;
  CHECK(hive_fetch_add_32(narrow, 7, &before));
  CHECK(hive_compare_swap_32(narrow, 7, 8, NULL));
  if (*narrow != 8 || before != 0) exit(1);
  hive_sem_t *semaphore = (hive_sem_t *)(page + 8);
  CHECK(hive_sem_init(semaphore, 2));
  CHECK(hive_sem_wait(semaphore));
  CHECK(hive_sem_try_wait(semaphore));
  CHECK(hive_sem_post(semaphore));
  hive_event_t *event = (hive_event_t *)(page + 16);
  CHECK(hive_event_init(event));
  CHECK(hive_event_set(event));
  CHECK(hive_event_wait(event));
  CHECK(hive_gate_wait((hive_gate_t *)(page + 24), 1));
  static char told[100];
  CHECK(hive_distribute(told, sizeof told));
  CHECK(hive_barrier(0));
  CHECK(hive_free(page));
  CHECK(hive_lock(1));
  CHECK(hive_unlock(1));
  hive_stats_t stats;
  CHECK(hive_stats(&stats));
  if (stats.locks_acquired < 2 || hive_me() != 0 || hive_drones() != 1 || hive_threads() < 1) exit(1);
  for (int status = -1; status < 100; status++) printf("%s\n", hive_strerror(status));
  if (hive_free(&stats) != HIVE_BAD_POINTER) exit(1);
  printf("%s %.3f\n", hive_error_text(), hive_wall_time());
  CHECK(hive_exit());
  return 0;
}
