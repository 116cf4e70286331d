// Fork and join: drone 0 runs the program; the others run the functions that it gives them.
//
//   hivemind cc -O2 fork.c -o fork && hivemind run -n 4 ./fork
//
// Prints a histogram's largest column, and gives status 1 if the columns are not what a loop counts.

#include <hivemind.h>
#include <stdio.h>
#include <stdlib.h>

enum { COLUMNS = 16, VALUES = 100000 };

struct work {
  int *values;    // shared
  int64_t *total; // shared
  int first_column;
};

static void check(hive_status_t status) {
  if (status != HIVE_OK) {
    fprintf(stderr, "fork: %s\n", hive_error_text());
    exit(1);
  }
}

static void fill(void *argument) {
  struct work *work = argument;
  long me = hive_me(), drones = hive_drones();
  for (long at = VALUES * me / drones; at < VALUES * (me + 1) / drones; at++) work->values[at] = (int)(at * 7919 % 10007 % COLUMNS);
}

static void count(void *argument) {
  struct work *work = argument;
  long me = hive_me(), drones = hive_drones();
  int64_t own[COLUMNS] = {0};
  for (long at = VALUES * me / drones; at < VALUES * (me + 1) / drones; at++) own[work->values[at]]++;
  for (int column = work->first_column; column < COLUMNS; column++)
    check(hive_fetch_add_64(&work->total[column], own[column], NULL));
}

int main(int argc, char **argv) {
  check(hive_startup_fork_join(&argc, &argv));
  // Only drone 0 comes here.
  struct work work = {hive_malloc(VALUES * sizeof(int)), hive_calloc(COLUMNS, sizeof(int64_t)), 0};
  if (work.values == NULL || work.total == NULL) check(hive_last_error());
  check(hive_run(fill, &work, sizeof work));
  check(hive_run(count, &work, sizeof work));

  int64_t expected[COLUMNS] = {0};
  for (long at = 0; at < VALUES; at++) expected[at * 7919 % 10007 % COLUMNS]++;
  int wrong = 0, largest = 0;
  for (int column = 0; column < COLUMNS; column++) {
    wrong += work.total[column] != expected[column];
    if (work.total[column] > work.total[largest]) largest = column;
  }
  printf("column %d has %ld of %d values; %d columns are wrong\n", largest, (long)work.total[largest], VALUES, wrong);
  check(hive_exit());
  return wrong != 0;
}
