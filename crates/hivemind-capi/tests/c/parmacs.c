// A program that uses only the macros of PARMACS, process model: molecules on a line that are counted and moved by P processes.
// Its arguments: P, and whether processes write to a variable of the program, which must be told. Gives status 1 if an answer
// isn't that of a loop.

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

MAIN_ENV

#define CELLS 40
#define STEPS 10
#define LOCKS 4

struct global {
  LOCKDEC(idlock)
  LOCKDEC(sumlock)
  ALOCKDEC(celllock, LOCKS)
  BARDEC(start)
  PAUSEDEC(go)
  int id;
  long cells[CELLS];
  long sum;
};

struct global *global;
int processes;
long weights[CELLS]; // set before CREATE
long (*weigh)(int);  // a function's address too
char *title;         // a pointer to a variable of the program
char line[32];
int scribble;
LOCKDEC(outer)

static long twice(int cell) { return 2 * weights[cell]; }

void work(void) {
  int me;
  LOCK(global->idlock)
  me = global->id++;
  UNLOCK(global->idlock)
  WAITPAUSE(global->go)
  if (strcmp(title, "molecules") != 0 || title != line) {
    printf("process %d has another title\n", me);
    exit(1);
  }
  if (scribble > 0) scribble += me;
  for (int step = 0; step < STEPS; step++) {
    for (int cell = me; cell < CELLS; cell += processes) {
      int into = (cell + step) % CELLS;
      ALOCK(global->celllock, into % LOCKS)
      global->cells[into] += weigh(cell);
      AULOCK(global->celllock, into % LOCKS)
    }
    BARRIER(global->start, processes)
  }
  long sum = 0;
  for (int cell = me; cell < CELLS; cell += processes) sum += global->cells[cell] * cell;
  LOCK(outer)
  global->sum += sum;
  UNLOCK(outer)
  BARRIER(global->start, processes)
}

int main(int argc, char **argv) {
  unsigned long begin, end;
  MAIN_INITENV(, 80000000)
  CLOCK(begin)
  processes = argc > 1 ? atoi(argv[1]) : 1;
  scribble = argc > 2;
  global = (struct global *)G_MALLOC(sizeof(struct global));
  LOCKINIT(global->idlock)
  LOCKINIT(global->sumlock)
  LOCKINIT(outer)
  ALOCKINIT(global->celllock, LOCKS)
  BARINIT(global->start)
  PAUSEINIT(global->go)
  strcpy(line, "molecules");
  title = line;
  weigh = twice;
  for (int cell = 0; cell < CELLS; cell++) weights[cell] = cell + 1;
  CLEARPAUSE(global->go)
  for (int process = 1; process < processes; process++) CREATE(work)
  SETPAUSE(global->go)
  work();
  WAIT_FOR_END(processes - 1)
  CLOCK(end)

  long cells[CELLS] = {0}, sum = 0;
  for (int step = 0; step < STEPS; step++)
    for (int cell = 0; cell < CELLS; cell++) cells[(cell + step) % CELLS] += 2 * (cell + 1);
  for (int cell = 0; cell < CELLS; cell++) sum += cells[cell] * cell;
  if (global->sum != sum || memcmp(cells, global->cells, sizeof cells) != 0 || end < begin) {
    printf("sum %ld, expected %ld\n", global->sum, sum);
    return 1;
  }
  printf("the sum is %ld\n", sum);
  G_FREE(global)
  MAIN_END
}
