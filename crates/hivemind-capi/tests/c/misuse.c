// Every mistake that the header gives a status for. Prints a line for each that is not told as documented.
//
// Run on one or more drones; with the argument "mismatch" on two.

#include <hivemind.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static int wrong = 0;

static void expect_text(const char *what, hive_status_t told, hive_status_t expected, const char *text) {
  if (told != expected || (expected != HIVE_OK && (hive_last_error() != expected || strstr(hive_error_text(), text) == NULL))) {
    wrong++;
    printf("%s: %d (%s), expected %d with \"%s\"\n", what, told, hive_error_text(), expected, text);
  }
}

#define EXPECT(call, status, text) expect_text(#call, call, status, text)

static void expect_null(const char *what, const void *told, hive_status_t expected, const char *text) {
  if (told != NULL) {
    wrong++;
    printf("%s gave memory\n", what);
  }
  expect_text(what, hive_last_error(), expected, text);
}

#define EXPECT_NULL(call, status, text) expect_null(#call, call, status, text)

static void before(void) {
  int number = 0;
  EXPECT(hive_last_error(), HIVE_OK, "");
  EXPECT(hive_barrier(0), HIVE_NOT_STARTED, "hive_startup");
  EXPECT(hive_lock(0), HIVE_NOT_STARTED, "hive_startup");
  EXPECT(hive_unlock(0), HIVE_NOT_STARTED, "hive_startup");
  EXPECT_NULL(hive_malloc(8), HIVE_NOT_STARTED, "hive_startup");
  EXPECT(hive_free(&number), HIVE_NOT_STARTED, "hive_startup");
  EXPECT(hive_broadcast(&number, sizeof number, 0), HIVE_NOT_STARTED, "hive_startup");
  EXPECT(hive_present(&number, sizeof number, true), HIVE_NOT_STARTED, "hive_startup");
  EXPECT(hive_exit(), HIVE_NOT_STARTED, "hive_startup");
  if (hive_me() != -1 || hive_drones() != -1 || hive_threads() != -1 || hive_is_shared(&number)) {
    wrong++;
    printf("before start-up there is somebody\n");
  }
}

static void memory(void) {
  int number = 0;
  char *block = hive_malloc(100);
  EXPECT(hive_free(NULL), HIVE_OK, "");
  EXPECT(hive_free(block + 16), HIVE_BAD_POINTER, "not the start");
  EXPECT(hive_free(block), HIVE_OK, "");
  EXPECT(hive_free(block), HIVE_BAD_POINTER, "freed already");
  EXPECT(hive_free(&number), HIVE_BAD_POINTER, "hive_malloc");
  EXPECT(hive_present(&number, sizeof number, false), HIVE_BAD_POINTER, "shared memory");
  EXPECT_NULL(hive_malloc((size_t)1 << 40), HIVE_NO_MEMORY, "--region");
  EXPECT_NULL(hive_calloc((size_t)1 << 40, (size_t)1 << 40), HIVE_NO_MEMORY, "");
  EXPECT_NULL(hive_aligned_alloc(24, 8), HIVE_BAD_ARGUMENT, "power of two");
  char *zero = hive_calloc(10, 10);
  for (int at = 0; at < 100; at++)
    if (zero[at] != 0) wrong++, printf("calloc's memory is not zero\n");
  EXPECT(hive_free(zero), HIVE_OK, "");
}

static void locks(void) {
  hive_mutex_t own;
  char *block = hive_calloc(1, 64);
  EXPECT(hive_unlock(7), HIVE_NOT_HELD, "lock 7");
  EXPECT(hive_lock(4000000000u), HIVE_OK, "");
  EXPECT(hive_lock(4000000000u), HIVE_ALREADY_HELD, "re-entrant");
  EXPECT(hive_barrier(0), HIVE_HELD_AT_BARRIER, "release it first");
  EXPECT(hive_exit(), HIVE_HELD_AT_BARRIER, "release it first");
  EXPECT(hive_unlock(4000000000u), HIVE_OK, "");
  EXPECT(hive_mutex_lock(&own), HIVE_BAD_POINTER, "shared memory");
  EXPECT(hive_mutex_lock(NULL), HIVE_BAD_POINTER, "shared memory");
  EXPECT(hive_mutex_lock((hive_mutex_t *)(block + 4)), HIVE_BAD_ARGUMENT, "aligned");
  EXPECT(hive_mutex_init((hive_mutex_t *)block), HIVE_OK, "");
  EXPECT(hive_mutex_unlock((hive_mutex_t *)block), HIVE_NOT_HELD, "");
  EXPECT(hive_mutex_lock((hive_mutex_t *)block), HIVE_OK, "");
  EXPECT(hive_mutex_lock((hive_mutex_t *)block), HIVE_ALREADY_HELD, "");
  EXPECT(hive_mutex_unlock((hive_mutex_t *)block), HIVE_OK, "");
  EXPECT(hive_mutex_destroy((hive_mutex_t *)block), HIVE_OK, "");
  EXPECT(hive_free(block), HIVE_OK, "");
}

static void collectives(void) {
  double value = 1, sum = 0;
  EXPECT(hive_broadcast(&value, sizeof value, hive_drones()), HIVE_BAD_ARGUMENT, "no drone");
  EXPECT(hive_broadcast(&value, sizeof value, -1), HIVE_BAD_ARGUMENT, "no drone");
  EXPECT(hive_broadcast(NULL, 8, 0), HIVE_BAD_ARGUMENT, "NULL");
  EXPECT(hive_allreduce(&value, &sum, 1, 99, HIVE_SUM), HIVE_BAD_ARGUMENT, "HIVE_DOUBLE");
  EXPECT(hive_allreduce(&value, &sum, 1, HIVE_DOUBLE, HIVE_BAND), HIVE_BAD_ARGUMENT, "integers only");
  EXPECT(hive_allreduce(NULL, &sum, 1, HIVE_DOUBLE, HIVE_SUM), HIVE_BAD_ARGUMENT, "NULL");
  EXPECT(hive_stats(NULL), HIVE_BAD_ARGUMENT, "hive_stats_t");
  EXPECT(hive_startup(NULL, NULL), HIVE_STARTED_ALREADY, "once");
}

static void forked(void) {
  fflush(stdout);
  pid_t child = fork();
  if (child == 0) {
    wrong = 0;
    EXPECT(hive_barrier(0), HIVE_FORKED, "forked child");
    EXPECT(hive_lock(1), HIVE_FORKED, "forked child");
    EXPECT_NULL(hive_malloc(8), HIVE_FORKED, "forked child");
    EXPECT(hive_exit(), HIVE_FORKED, "forked child");
    fflush(stdout);
    _exit(wrong != 0);
  }
  int status = 0;
  waitpid(child, &status, 0);
  if (status != 0) wrong++, printf("the forked child was told wrongly\n");
}

static void after(void) {
  EXPECT(hive_barrier(0), HIVE_ENDED, "ended");
  EXPECT(hive_lock(1), HIVE_ENDED, "ended");
  EXPECT_NULL(hive_malloc(8), HIVE_ENDED, "ended");
  EXPECT(hive_exit(), HIVE_ENDED, "ended");
  EXPECT(hive_startup(NULL, NULL), HIVE_ENDED, "once");
  if (hive_me() != -1) wrong++, printf("after exit there is somebody\n");
}

int main(int argc, char **argv) {
  before();
  if (hive_startup(&argc, &argv) != HIVE_OK) {
    printf("%s\n", hive_error_text());
    return 1;
  }
  if (argc > 1 && strcmp(argv[1], "mismatch") == 0) {
    EXPECT(hive_barrier(10 + hive_me()), HIVE_MISMATCH, "same collective calls");
  } else if (argc > 1) {
    hive_errors_are_fatal(true);
    hive_unlock(5);
    printf("an error that is fatal came back\n");
  } else {
    memory();
    locks();
    collectives();
    forked();
  }
  EXPECT(hive_barrier(1), HIVE_OK, "");
  EXPECT(hive_exit(), HIVE_OK, "");
  after();
  for (int status = 0; status <= HIVE_ENVIRONMENT; status++)
    if (strstr(hive_strerror(status), "no status") != NULL) wrong++, printf("no text for status %d\n", status);
  if (strstr(hive_strerror(1000), "no status") == NULL) wrong++, printf("there is a text for status 1000\n");
  return wrong != 0;
}
