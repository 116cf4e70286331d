// A bounded buffer with condition variables: drones produce and consume numbers; who finds the buffer full or empty sleeps.
//
//   hivemind cc -O2 buffer.c -o buffer && hivemind run -n 4 ./buffer
//
// Prints the sum of all numbers, and gives status 1 if one was lost or came twice. Alone a drone does both by turns.

#include <hivemind.h>
#include <stdio.h>
#include <stdlib.h>

enum { ROOM = 5, EACH = 300, BARRIER = 0 };

struct buffer {
  hive_mutex_t mutex;
  hive_cond_t not_full, not_empty;
  long numbers[ROOM];
  int first, count;
  long left; // to be consumed
  long sum, consumed;
};

static void check(hive_status_t status) {
  if (status != HIVE_OK) {
    fprintf(stderr, "buffer: %s\n", hive_error_text());
    exit(1);
  }
}

static void put(struct buffer *buffer, long number) {
  check(hive_mutex_lock(&buffer->mutex));
  while (buffer->count == ROOM) check(hive_cond_wait(&buffer->not_full, &buffer->mutex));
  buffer->numbers[(buffer->first + buffer->count++) % ROOM] = number;
  check(hive_cond_signal(&buffer->not_empty, &buffer->mutex));
  check(hive_mutex_unlock(&buffer->mutex));
}

// Whether there was one: no more come once all are consumed.
static int take(struct buffer *buffer) {
  check(hive_mutex_lock(&buffer->mutex));
  while (buffer->count == 0 && buffer->left > 0) check(hive_cond_wait(&buffer->not_empty, &buffer->mutex));
  int found = buffer->count > 0;
  if (found) {
    buffer->sum += buffer->numbers[buffer->first];
    buffer->first = (buffer->first + 1) % ROOM;
    buffer->count--;
    buffer->consumed++;
    // Who sleeps for a number that will never come is told by who took the last.
    if (--buffer->left == 0) check(hive_cond_broadcast(&buffer->not_empty, &buffer->mutex));
    check(hive_cond_signal(&buffer->not_full, &buffer->mutex));
  }
  check(hive_mutex_unlock(&buffer->mutex));
  return found;
}

int main(int argc, char **argv) {
  check(hive_startup(&argc, &argv));
  int me = hive_me(), drones = hive_drones();
  int producers = drones > 1 ? drones / 2 : 1;
  struct buffer *buffer = NULL;
  if (me == 0) {
    buffer = hive_calloc(1, sizeof *buffer);
    if (buffer == NULL) check(hive_last_error());
    buffer->left = (long)producers * EACH;
  }
  check(hive_broadcast(&buffer, sizeof buffer, 0));

  if (drones == 1) {
    for (int at = 1; at <= EACH; at++) put(buffer, at), take(buffer);
  } else if (me < producers) {
    for (int at = 1; at <= EACH; at++) put(buffer, me * EACH + at);
  } else {
    while (take(buffer)) {
    }
  }
  check(hive_barrier(BARRIER));
  long all = (long)producers * EACH, expected = all * (all + 1) / 2;
  int wrong = buffer->sum != expected || buffer->consumed != all;
  if (me == 0) printf("%ld numbers, their sum is %ld, expected %ld\n", buffer->consumed, buffer->sum, expected);
  check(hive_exit());
  return wrong;
}
