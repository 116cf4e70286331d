// Each drone takes a lock by trying only; a counter under it counts whose tries were granted. On several drones drone 0 holds
// another lock while the rest try it in vain. Gives status 1 if a try was granted that should not be, or a count is lost, of theirs or the library's.

#include <hivemind.h>
#include <stdio.h>
#include <stdlib.h>

static void check(hive_status_t status) {
  if (status != HIVE_OK) {
    fprintf(stderr, "tries: %s\n", hive_error_text());
    exit(1);
  }
}

int main(int argc, char **argv) {
  check(hive_startup(&argc, &argv));
  long *count = NULL;
  if (hive_me() == 0) count = hive_calloc(1, sizeof *count);
  check(hive_broadcast(&count, sizeof count, 0));
  long granted = 0, refused = 0, all = 0, wrong = 0, wrongs = 0;
  while (granted < 50) {
    hive_status_t tried = hive_try_lock(1);
    if (tried == HIVE_UNAVAILABLE) {
      refused++;
      continue;
    }
    check(tried);
    ++*count;
    granted++;
    check(hive_unlock(1));
  }
  hive_stats_t stats;
  check(hive_stats(&stats));
  wrong = stats.locks_tried != (uint64_t)(granted + refused) || stats.locks_tried_in_vain != (uint64_t)refused;
  check(hive_allreduce(&granted, &all, 1, HIVE_INT64, HIVE_SUM));
  wrong += *count != all || all != 50L * hive_drones();
  // Held over no barrier: the event tells that it is held, the semaphore that all have tried.
  hive_event_t *held = NULL;
  if (hive_me() == 0) held = hive_calloc(2, sizeof *held);
  check(hive_broadcast(&held, sizeof held, 0));
  hive_sem_t *done = (hive_sem_t *)(held + 1);
  if (hive_me() == 0) {
    check(hive_lock(2));
    check(hive_event_set(held));
    for (int drone = 1; drone < hive_drones(); drone++) check(hive_sem_wait(done));
    check(hive_unlock(2));
  } else {
    check(hive_event_wait(held));
    wrong += hive_try_lock(2) != HIVE_UNAVAILABLE;
    check(hive_sem_post(done));
  }
  check(hive_allreduce(&wrong, &wrongs, 1, HIVE_INT64, HIVE_SUM));
  if (hive_me() == 0) printf("%ld tries granted, here %ld refused, %ld wrong\n", all, refused, wrongs);
  check(hive_exit());
  return wrongs != 0;
}
