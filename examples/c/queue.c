// A work queue: drone 0 puts pieces of an integral into a queue that all take from, under one lock.
//
//   hivemind cc -O2 queue.c -o queue && hivemind run -n 4 ./queue
//
// Prints the number of primes below a limit, and gives status 1 if it is not what one drone alone counts.

#include <hivemind.h>
#include <stdio.h>
#include <stdlib.h>

enum { QUEUE_LOCK = 1, LIMIT = 200000, PIECE = 1000 };

struct piece {
  struct piece *next;
  long first, last; // [first, last)
};

struct board {
  struct piece *pieces;
  long primes;
  long taken[64]; // by each drone
};

static void check(hive_status_t status) {
  if (status != HIVE_OK) {
    fprintf(stderr, "queue: %s\n", hive_error_text());
    exit(1);
  }
}

static long primes_in(long first, long last) {
  long found = 0;
  for (long n = first < 2 ? 2 : first; n < last; n++) {
    int prime = 1;
    for (long d = 2; d * d <= n && prime; d++) prime = n % d != 0;
    found += prime;
  }
  return found;
}

static struct piece *take(struct board *board) {
  check(hive_lock(QUEUE_LOCK));
  struct piece *piece = board->pieces;
  if (piece != NULL) {
    board->pieces = piece->next;
    board->taken[hive_me() % 64]++;
  }
  check(hive_unlock(QUEUE_LOCK));
  return piece;
}

int main(int argc, char **argv) {
  check(hive_startup(&argc, &argv));
  struct board *board = NULL;
  if (hive_me() == 0) {
    board = hive_calloc(1, sizeof *board);
    if (board == NULL) check(hive_last_error());
    for (long first = 0; first < LIMIT; first += PIECE) {
      struct piece *piece = hive_malloc(sizeof *piece);
      if (piece == NULL) check(hive_last_error());
      *piece = (struct piece){board->pieces, first, first + PIECE};
      board->pieces = piece;
    }
  }
  // Pointers are good on every drone.
  check(hive_broadcast(&board, sizeof board, 0));

  long found = 0;
  for (struct piece *piece; (piece = take(board)) != NULL;) {
    found += primes_in(piece->first, piece->last);
    check(hive_free(piece)); // whoever made it
  }
  check(hive_lock(QUEUE_LOCK));
  board->primes += found;
  check(hive_unlock(QUEUE_LOCK));
  check(hive_barrier(0));

  int wrong = 0;
  if (hive_me() == 0) {
    long taken = 0;
    for (int drone = 0; drone < 64; drone++) taken += board->taken[drone];
    long alone = primes_in(0, LIMIT);
    wrong = board->primes != alone || taken != LIMIT / PIECE;
    printf("%ld primes below %d in %ld pieces, alone %ld\n", board->primes, LIMIT, taken, alone);
  }
  check(hive_exit());
  return wrong;
}
