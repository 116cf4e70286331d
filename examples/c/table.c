// A hash table that all drones build: chains of nodes in shared memory, a lock in each bucket.
//
//   hivemind cc -O2 table.c -o table && hivemind run -n 4 ./table
//
// Counts the words of a made-up text; each drone reads its part. Prints the commonest, and gives status 1 if the counts
// are not what one drone alone gets.

#include <hivemind.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BUCKETS = 64, WORDS = 4000, LETTERS = 8 };

struct node {
  struct node *next;
  char word[LETTERS];
  long count;
};

struct bucket {
  hive_mutex_t mutex;
  struct node *first;
};

static void check(hive_status_t status) {
  if (status != HIVE_OK) {
    fprintf(stderr, "table: %s\n", hive_error_text());
    exit(1);
  }
}

// The text's word at a place: short words are common, long ones rare.
static void word_at(int at, char *word) {
  unsigned long seed = (unsigned long)at * 2654435761u % 1000003u;
  memset(word, 0, LETTERS);
  for (int letter = 0; letter < LETTERS - 1; letter++) {
    word[letter] = "aeiou"[seed % 5];
    seed /= 5;
    if (seed % 2 == 0) break;
  }
}

static unsigned hash(const char *word) {
  unsigned sum = 5381;
  while (*word) sum = sum * 33 + (unsigned char)*word++;
  return sum % BUCKETS;
}

static void count(struct bucket *table, const char *word) {
  struct bucket *bucket = &table[hash(word)];
  check(hive_mutex_lock(&bucket->mutex));
  struct node *node = bucket->first;
  while (node != NULL && strcmp(node->word, word) != 0) node = node->next;
  if (node == NULL) {
    // Another lock may be taken meanwhile: the heap's is one.
    node = hive_calloc(1, sizeof *node);
    if (node == NULL) check(hive_last_error());
    strcpy(node->word, word);
    node->next = bucket->first;
    bucket->first = node;
  }
  node->count++;
  check(hive_mutex_unlock(&bucket->mutex));
}

int main(int argc, char **argv) {
  check(hive_startup(&argc, &argv));
  int me = hive_me(), drones = hive_drones();
  struct bucket *table = NULL;
  if (me == 0) {
    table = hive_calloc(BUCKETS, sizeof *table);
    if (table == NULL) check(hive_last_error());
  }
  check(hive_broadcast(&table, sizeof table, 0));

  for (int at = WORDS / drones * me; at < (me == drones - 1 ? WORDS : WORDS / drones * (me + 1)); at++) {
    char word[LETTERS];
    word_at(at, word);
    count(table, word);
  }
  check(hive_barrier(0));

  // Each drone looks whether all is there.
  long wrong = 0, all = 0;
  const struct node *commonest = NULL;
  for (int at = 0; at < BUCKETS; at++) {
    for (const struct node *node = table[at].first; node != NULL; node = node->next) {
      long alone = 0;
      for (int place = 0; place < WORDS; place++) {
        char word[LETTERS];
        word_at(place, word);
        alone += strcmp(word, node->word) == 0;
      }
      wrong += alone != node->count;
      all += node->count;
      if (commonest == NULL || node->count > commonest->count) commonest = node;
    }
  }
  wrong += all != WORDS;
  long wrongs = 0;
  check(hive_allreduce(&wrong, &wrongs, 1, HIVE_INT64, HIVE_SUM));
  if (me == 0) printf("%ld words, \"%s\" %ld times, %ld counts wrong\n", all, commonest->word, commonest->count, wrongs);
  check(hive_exit());
  return wrongs != 0;
}
