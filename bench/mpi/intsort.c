/* Sorting small integers by counting, as one writes it for MPI: each process counts its keys, the counts are added up and
 * scattered, so that each process has the ranks of a part of the values, and in the end it writes the keys of that part.
 * Prints a fingerprint of ranks and sorted keys, and the seconds from a barrier to the sorted keys, as JSON. */
#include <mpi.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PROBES = 5 };

/* The mean of four numbers that look like chance, from the key's number. */
static uint32_t make_key(uint64_t at, uint64_t values)
{
    uint64_t mixed = (at ^ (at >> 31)) * 0x9E3779B97F4A7C15u;
    mixed = (mixed ^ (mixed >> 29)) * 0xBF58476D1CE4E5B9u;
    mixed ^= mixed >> 32;
    const uint64_t quarters = (mixed & 0xFFFF) + ((mixed >> 16) & 0xFFFF) + ((mixed >> 32) & 0xFFFF) + (mixed >> 48);
    return (uint32_t)((quarters * values) >> 18);
}

static uint64_t fingerprint(uint64_t first, const uint32_t *keys, uint64_t count)
{
    uint64_t sum = 0;
    for (uint64_t i = 0; i < count; i++) {
        uint64_t mixed = ((uint64_t)keys[i] ^ ((first + i) << 32)) * 0x9E3779B97F4A7C15u;
        sum += ((mixed ^ (mixed >> 29)) * 0xBF58476D1CE4E5B9u) >> 32;
    }
    return sum;
}

int main(int argc, char **argv)
{
    MPI_Init(&argc, &argv);
    int rank, processes;
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &processes);
    if (argc != 4) {
        fprintf(stderr, "usage: intsort COUNT VALUES ROUNDS\n");
        MPI_Abort(MPI_COMM_WORLD, 2);
    }
    const long count = atol(argv[1]), values = atol(argv[2]), rounds = atol(argv[3]);
    const long first = count * rank / processes, end = count * (rank + 1) / processes;
    const long low = values * rank / processes, high = values * (rank + 1) / processes;
    uint32_t *keys = malloc(sizeof(uint32_t) * (size_t)(end - first + 1));
    uint32_t *counts = malloc(sizeof(uint32_t) * (size_t)values);
    uint32_t *mine = malloc(sizeof(uint32_t) * (size_t)(high - low + 1));
    int *parts = malloc(sizeof(int) * (size_t)processes);
    if (!keys || !counts || !mine || !parts) {
        fprintf(stderr, "intsort: no memory\n");
        MPI_Abort(MPI_COMM_WORLD, 1);
    }
    for (int other = 0; other < processes; other++) {
        parts[other] = (int)(values * (other + 1) / processes - values * other / processes);
    }
    for (long i = first; i < end; i++) {
        keys[i - first] = make_key((uint64_t)i, (uint64_t)values);
    }
    MPI_Barrier(MPI_COMM_WORLD);
    const double begin = MPI_Wtime();
    uint64_t ranks = 0;
    uint32_t before = 0, total = 0;
    for (long round = 0; round < rounds; round++) {
        const uint32_t small = (uint32_t)(round % values);
        const long places[2] = {round % count, (round + rounds) % count};
        const uint32_t changed[2] = {small, (uint32_t)values - 1 - small};
        for (int i = 0; i < 2; i++) {
            if (places[i] >= first && places[i] < end) {
                keys[places[i] - first] = changed[i];
            }
        }
        memset(counts, 0, sizeof(uint32_t) * (size_t)values);
        for (long i = 0; i < end - first; i++) {
            counts[keys[i]]++;
        }
        MPI_Reduce_scatter(counts, mine, parts, MPI_UINT32_T, MPI_SUM, MPI_COMM_WORLD);
        total = 0;
        for (long value = 0; value < high - low; value++) {
            const uint32_t own = mine[value];
            mine[value] = total;
            total += own;
        }
        before = 0;
        MPI_Exscan(&total, &before, 1, MPI_UINT32_T, MPI_SUM, MPI_COMM_WORLD);
        if (rank == 0) {
            before = 0;
        }
        for (long probe = 0; probe < PROBES; probe++) {
            const long value = (2 * probe + 1) * values / (2 * PROBES);
            if (value >= low && value < high) {
                ranks += (uint64_t)before + mine[value - low];
            }
        }
    }
    uint32_t *sorted = malloc(sizeof(uint32_t) * ((size_t)total + 1));
    if (!sorted) {
        fprintf(stderr, "intsort: no memory\n");
        MPI_Abort(MPI_COMM_WORLD, 1);
    }
    for (long value = 0; value < high - low; value++) {
        const uint32_t stop = value + 1 < high - low ? mine[value + 1] : total;
        for (uint32_t i = mine[value]; i < stop; i++) {
            sorted[i] = (uint32_t)(low + value);
        }
    }
    MPI_Barrier(MPI_COMM_WORLD);
    const double seconds = MPI_Wtime() - begin;
    uint64_t part = ranks + fingerprint(before, sorted, total), sum = 0;
    MPI_Reduce(&part, &sum, 1, MPI_UINT64_T, MPI_SUM, 0, MPI_COMM_WORLD);
    if (rank == 0) {
        printf("{\"answer\": %llu, \"seconds\": %.9f}\n", (unsigned long long)(sum & (((uint64_t)1 << 52) - 1)), seconds);
    }
    free(keys);
    free(counts);
    free(mine);
    free(parts);
    free(sorted);
    MPI_Finalize();
    return 0;
}
