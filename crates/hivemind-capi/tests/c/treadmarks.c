// A program that uses only the names of TreadMarks: a grid that is relaxed, a sum under a lock, a pipeline with conditions.
// Gives status 1 if an answer isn't that of a loop.

#include <hivemind/tmk.h>
#include <math.h>
#include <string.h>

#define SIZE 64
#define STEPS 20
#define ITEMS 50

struct shared {
  double grid[2][SIZE][SIZE];
  double sum;
  int item, ready, taken;
  long seen;
} *shared;

static int scale;
static char name[16];

static void relax(double from[SIZE][SIZE], double into[SIZE][SIZE], int first, int last) {
  for (int row = first; row < last; row++)
    for (int column = 1; column < SIZE - 1; column++)
      into[row][column] = (from[row - 1][column] + from[row + 1][column] + from[row][column - 1] + from[row][column + 1]) / 4;
}

static double alone(void) {
  static double grid[2][SIZE][SIZE];
  for (int column = 0; column < SIZE; column++) grid[0][0][column] = grid[1][0][column] = 3;
  for (int step = 0; step < STEPS; step++) relax(grid[step % 2], grid[(step + 1) % 2], 1, SIZE - 1);
  double sum = 0;
  for (int row = 0; row < SIZE; row++)
    for (int column = 0; column < SIZE; column++) sum += grid[STEPS % 2][row][column];
  return sum;
}

int main(int argc, char **argv) {
  Tmk_startup(argc, argv);
  if (Tmk_proc_id == 0) {
    shared = (struct shared *)Tmk_malloc(sizeof *shared);
    if (shared == NULL) Tmk_errexit("no memory\n");
    scale = 3;
    strcpy(name, "the first");
    Tmk_distribute(&shared, sizeof shared);
    Tmk_distribute(&scale, sizeof scale);
    Tmk_distribute(name, sizeof name);
  }
  Tmk_barrier(0);
  if (scale != 3 || strcmp(name, "the first") != 0) Tmk_errexit("drone %u was not told\n", Tmk_proc_id);

  if (Tmk_proc_id == 0)
    for (int column = 0; column < SIZE; column++) shared->grid[0][0][column] = shared->grid[1][0][column] = scale;
  Tmk_barrier(1);
  int inner = SIZE - 2, first = 1 + inner * Tmk_proc_id / Tmk_nprocs, last = 1 + inner * (Tmk_proc_id + 1) / Tmk_nprocs;
  for (int step = 0; step < STEPS; step++) {
    relax(shared->grid[step % 2], shared->grid[(step + 1) % 2], first, last);
    Tmk_barrier(2);
  }
  double sum = 0;
  for (int row = Tmk_proc_id == 0 ? 0 : first; row < (Tmk_proc_id == Tmk_nprocs - 1 ? SIZE : last); row++)
    for (int column = 0; column < SIZE; column++) sum += shared->grid[STEPS % 2][row][column];
  Tmk_lock_acquire(5);
  shared->sum += sum;
  Tmk_lock_release(5);

  // The first hands items to the second, one at a time.
  if (Tmk_nprocs > 1 && Tmk_proc_id == 0)
    for (int item = 1; item <= ITEMS; item++) {
      Tmk_lock_acquire(6);
      while (shared->ready) Tmk_lock_cond_wait(6, 1);
      shared->item = item;
      shared->ready = 1;
      Tmk_lock_cond_signal(6, 0);
      Tmk_lock_release(6);
    }
  if (Tmk_proc_id == 1)
    for (int item = 1; item <= ITEMS; item++) {
      Tmk_lock_acquire(6);
      while (!shared->ready) Tmk_lock_cond_wait(6, 0);
      shared->seen += shared->item;
      shared->ready = 0;
      Tmk_lock_cond_broadcast(6, 1);
      Tmk_lock_release(6);
    }
  Tmk_barrier(3);
  int wrong = fabs(shared->sum - alone()) > 1e-9 || (Tmk_nprocs > 1 && shared->seen != ITEMS * (ITEMS + 1) / 2);
  if (wrong) printf("drone %u: sum %f, expected %f; seen %ld\n", Tmk_proc_id, shared->sum, alone(), shared->seen);
  Tmk_barrier(4);
  if (Tmk_proc_id == 0) Tmk_free(shared);
  Tmk_exit(wrong);
  return 0;
}
