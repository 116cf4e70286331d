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
  EXPECT(hive_wait(0, 0), HIVE_NOT_STARTED, "hive_startup");
  EXPECT(hive_distribute(&wrong, sizeof wrong), HIVE_NOT_STARTED, "hive_startup");
  EXPECT(hive_fetch_add_32(&number, 1, NULL), HIVE_NOT_STARTED, "hive_startup");
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
  // Another drone may have the place by now.
  if (hive_drones() == 1) EXPECT(hive_free(block), HIVE_BAD_POINTER, "freed already");
  EXPECT(hive_free(&number), HIVE_BAD_POINTER, "hive_malloc");
  EXPECT(hive_present(&number, sizeof number, false), HIVE_BAD_POINTER, "shared memory");
  EXPECT(hive_prefetch(&number, sizeof number), HIVE_BAD_POINTER, "shared memory");
  EXPECT_NULL(hive_malloc((size_t)1 << 40), HIVE_NO_MEMORY, "--region");
  EXPECT_NULL(hive_calloc((size_t)1 << 40, (size_t)1 << 40), HIVE_NO_MEMORY, "");
  EXPECT_NULL(hive_aligned_alloc(24, 8), HIVE_BAD_ARGUMENT, "power of two");
  char *zero = hive_calloc(10, 10);
  for (int at = 0; at < 100; at++)
    if (zero[at] != 0) wrong++, printf("calloc's memory is not zero\n");
  EXPECT(hive_free(zero), HIVE_OK, "");
  char *grown = hive_realloc(NULL, 10);
  strcpy(grown, "something");
  grown = hive_realloc(grown, 100000);
  if (grown == NULL || strcmp(grown, "something") != 0) wrong++, printf("a block that grew lost what it held\n");
  EXPECT_NULL(hive_realloc(grown, (size_t)1 << 40), HIVE_NO_MEMORY, "--region");
  if (strcmp(grown, "something") != 0) wrong++, printf("a block that could not grow lost what it held\n");
  grown = hive_realloc(grown, 10);
  if (grown == NULL || strcmp(grown, "something") != 0) wrong++, printf("a block that shrank lost what it held\n");
  EXPECT_NULL(hive_realloc(grown + 8, 10), HIVE_BAD_POINTER, "not the start");
  EXPECT_NULL(hive_realloc(&number, 10), HIVE_BAD_POINTER, "shared memory");
  EXPECT(hive_free(grown), HIVE_OK, "");
  if (hive_drones() == 1) EXPECT_NULL(hive_realloc(grown, 10), HIVE_BAD_POINTER, "freed already");
}

static void locks(void) {
  hive_mutex_t own;
  char *block = hive_calloc(1, 64);
  EXPECT(hive_unlock(7), HIVE_NOT_HELD, "lock 7");
  EXPECT(hive_lock(4000000000u), HIVE_OK, "");
  EXPECT(hive_lock(4000000000u), HIVE_ALREADY_HELD, "re-entrant");
  EXPECT(hive_try_lock(4000000000u), HIVE_ALREADY_HELD, "re-entrant");
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
  EXPECT(hive_mutex_try_lock(&own), HIVE_BAD_POINTER, "shared memory");
  EXPECT(hive_mutex_try_lock((hive_mutex_t *)block), HIVE_OK, "");
  EXPECT(hive_mutex_unlock((hive_mutex_t *)block), HIVE_OK, "");
  EXPECT(hive_mutex_destroy((hive_mutex_t *)block), HIVE_OK, "");
  EXPECT(hive_free(block), HIVE_OK, "");
}

static hive_sem_t global_semaphore;
static hive_mutex_t global_mutex;

static void waiting(void) {
  hive_cond_t own_condition;
  hive_gate_t own_gate;
  int64_t own_word = 0;
  hive_mutex_t *mutex = hive_calloc(4, sizeof *mutex);
  hive_cond_t *condition = (hive_cond_t *)(mutex + 1);
  hive_sem_t *semaphore = (hive_sem_t *)(mutex + 2);
  int64_t *word = (int64_t *)(mutex + 3);
  EXPECT(hive_wait(9, 0), HIVE_NOT_HELD, "lock 9");
  EXPECT(hive_signal(9, 0), HIVE_NOT_HELD, "lock 9");
  EXPECT(hive_signal_all(9, 0), HIVE_NOT_HELD, "lock 9");
  EXPECT(hive_cond_wait(condition, mutex), HIVE_NOT_HELD, "not held");
  EXPECT(hive_cond_signal(condition, mutex), HIVE_NOT_HELD, "not held");
  EXPECT(hive_cond_wait(&own_condition, mutex), HIVE_BAD_POINTER, "shared memory");
  EXPECT(hive_mutex_lock(&global_mutex), HIVE_OK, "");
  EXPECT(hive_cond_signal(condition, &global_mutex), HIVE_OK, "");
  EXPECT(hive_mutex_unlock(&global_mutex), HIVE_OK, "");
  EXPECT(hive_sem_wait(&global_semaphore), HIVE_BAD_POINTER, "shared memory");
  EXPECT(hive_sem_post(NULL), HIVE_BAD_POINTER, "shared memory");
  EXPECT(hive_event_set((hive_event_t *)((char *)semaphore + 4)), HIVE_BAD_ARGUMENT, "aligned");
  EXPECT(hive_gate_wait(&own_gate, 0), HIVE_BAD_ARGUMENT, "no 0 drones");
  EXPECT(hive_gate_wait(&own_gate, hive_drones() + 1), HIVE_BAD_ARGUMENT, "there are");
  EXPECT(hive_gate_wait(&own_gate, hive_drones()), HIVE_BAD_POINTER, "shared memory");
  EXPECT(hive_fetch_add_64(&own_word, 1, NULL), HIVE_BAD_POINTER, "shared memory");
  EXPECT(hive_fetch_add_64((int64_t *)((char *)word + 4), 1, NULL), HIVE_BAD_ARGUMENT, "aligned");
  EXPECT(hive_compare_swap_32(NULL, 0, 1, NULL), HIVE_BAD_POINTER, "shared memory");
  EXPECT(hive_fetch_add_64(word, 5, &own_word), HIVE_OK, "");
  if (*word != 5 || own_word != 0) wrong++, printf("5 was not added\n");
  EXPECT(hive_compare_swap_64(word, 4, 9, &own_word), HIVE_OK, "");
  if (*word != 5 || own_word != 5) wrong++, printf("a swap took place that should not\n");
  EXPECT(hive_compare_swap_64(word, 5, 9, &own_word), HIVE_OK, "");
  if (*word != 9 || own_word != 5) wrong++, printf("a swap took no place\n");
  EXPECT(hive_sem_init(semaphore, 1), HIVE_OK, "");
  EXPECT(hive_sem_wait(semaphore), HIVE_OK, "");
  hive_status_t before = hive_last_error();
  if (hive_sem_try_wait(semaphore) != HIVE_UNAVAILABLE || hive_last_error() != before) wrong++, printf("a semaphore of 0 let pass\n");
  if (hive_drones() == 1) EXPECT(hive_sem_wait(semaphore), HIVE_ALONE, "nobody could wake");
  EXPECT(hive_sem_post(semaphore), HIVE_OK, "");
  EXPECT(hive_sem_wait(semaphore), HIVE_OK, "");
  EXPECT(hive_free(mutex), HIVE_OK, "");
}

static void function(void *argument) { (void)argument; }

static void forks(void) {
  static int variable = 3;
  int local = 3;
  EXPECT(hive_run(function, NULL, 0), HIVE_BAD_ARGUMENT, "hive_startup_fork_join");
  EXPECT(hive_run(NULL, NULL, 0), HIVE_BAD_POINTER, "the program itself");
  EXPECT(hive_run((void (*)(void *))(void *)strlen, NULL, 0), HIVE_BAD_POINTER, "the program itself");
  if (hive_create((void (*)(void))(void *)strlen) != -1) wrong++, printf("a foreign function was taken\n");
  EXPECT(hive_last_error(), HIVE_BAD_POINTER, "the program itself");
  EXPECT(hive_wait_for_end(), HIVE_BAD_ARGUMENT, "hive_startup_fork_join");
  EXPECT(hive_distribute(&local, sizeof local), HIVE_BAD_POINTER, "global or static");
  EXPECT(hive_distribute(NULL, 1), HIVE_BAD_POINTER, "global or static");
  EXPECT(hive_distribute(&variable, sizeof variable), HIVE_OK, "");
}

static void collectives(void) {
  double value = 1, sum = 0;
  EXPECT(hive_broadcast(&value, sizeof value, hive_drones()), HIVE_BAD_ARGUMENT, "no drone");
  EXPECT(hive_broadcast(&value, sizeof value, -1), HIVE_BAD_ARGUMENT, "no drone");
  EXPECT(hive_broadcast(NULL, 8, 0), HIVE_BAD_ARGUMENT, "NULL");
  EXPECT(hive_allreduce(&value, &sum, 1, 99, HIVE_SUM), HIVE_BAD_ARGUMENT, "HIVE_DOUBLE");
  EXPECT(hive_allreduce(&value, &sum, 1, HIVE_DOUBLE, HIVE_BAND), HIVE_BAD_ARGUMENT, "integers only");
  EXPECT(hive_allreduce(NULL, &sum, 1, HIVE_DOUBLE, HIVE_SUM), HIVE_BAD_ARGUMENT, "NULL");
  EXPECT(hive_depart(), HIVE_NOT_ARRIVED, "not arrived");
  EXPECT(hive_arrive(2), HIVE_OK, "");
  EXPECT(hive_lock(7), HIVE_NOT_DEPARTED, "in between");
  EXPECT(hive_barrier(2), HIVE_NOT_DEPARTED, "in between");
  EXPECT_NULL(hive_malloc(100), HIVE_NOT_DEPARTED, "in between");
  EXPECT(hive_depart(), HIVE_OK, "");
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
    waiting();
    forks();
    collectives();
    forked();
  }
  EXPECT(hive_barrier(1), HIVE_OK, "");
  EXPECT(hive_exit(), HIVE_OK, "");
  after();
  for (int status = 0; status <= HIVE_NOT_ARRIVED; status++)
    if (strstr(hive_strerror(status), "no status") != NULL) wrong++, printf("no text for status %d\n", status);
  if (strstr(hive_strerror(1000), "no status") == NULL) wrong++, printf("there is a text for status 1000\n");
  return wrong != 0;
}
