/* The product of two square matrices, as one writes it for MPI: a band of rows of the product a process; the second factor,
 * of which each process fills a band, is gathered everywhere.
 * Prints the sum of all elements and the seconds from a barrier to the product as JSON. */
#include <mpi.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

enum { BAND_ROWS = 16, TILE_INNER = 128, TILE_COLUMNS = 256 };

static long smaller(long one, long other)
{
    return one < other ? one : other;
}

/* Numbers from 0 to 1 that depend on the place alone. */
static void fill(uint64_t salt, long size, long first, long end, double *rows)
{
    for (long i = first * size; i < end * size; i++) {
        uint64_t mixed = ((uint64_t)i | salt) * 0x9E3779B97F4A7C15u;
        mixed = (mixed ^ (mixed >> 29)) * 0xBF58476D1CE4E5B9u;
        *rows++ = (double)(mixed >> 11) / 9007199254740992.0;
    }
}

/* Adds some rows of `a` times all of `b` to the same rows of `c`, four products at once. */
static void multiply(long size, const double *a, const double *b, double *c, long rows)
{
    for (long tile = 0; tile < size; tile += TILE_COLUMNS) {
        const long width = smaller(TILE_COLUMNS, size - tile);
        for (long inner = 0; inner < size; inner += TILE_INNER) {
            const long end = smaller(size, inner + TILE_INNER);
            for (long row = 0; row < rows; row++) {
                double *restrict out = c + row * size + tile;
                const double *factor = a + row * size;
                long k = inner;
                for (; k + 4 <= end; k += 4) {
                    const double *restrict b0 = b + k * size + tile, *restrict b1 = b0 + size;
                    const double *restrict b2 = b1 + size, *restrict b3 = b2 + size;
                    const double a0 = factor[k], a1 = factor[k + 1], a2 = factor[k + 2], a3 = factor[k + 3];
                    for (long i = 0; i < width; i++) {
                        out[i] = (((out[i] + a0 * b0[i]) + a1 * b1[i]) + a2 * b2[i]) + a3 * b3[i];
                    }
                }
                for (; k < end; k++) {
                    for (long i = 0; i < width; i++) {
                        out[i] += factor[k] * b[k * size + tile + i];
                    }
                }
            }
        }
    }
}

int main(int argc, char **argv)
{
    MPI_Init(&argc, &argv);
    int rank, processes;
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &processes);
    if (argc != 2) {
        fprintf(stderr, "usage: matmul SIZE\n");
        MPI_Abort(MPI_COMM_WORLD, 2);
    }
    const long size = atol(argv[1]);
    const long first = size * rank / processes, end = size * (rank + 1) / processes;
    double *a = malloc(sizeof(double) * (size_t)((end - first) * size));
    double *b = malloc(sizeof(double) * (size_t)(size * size));
    double *c = calloc((size_t)((end - first) * size), sizeof(double));
    int *counts = malloc(sizeof(int) * (size_t)processes), *starts = malloc(sizeof(int) * (size_t)processes);
    if (!a || !b || !c || !counts || !starts) {
        fprintf(stderr, "matmul: no memory\n");
        MPI_Abort(MPI_COMM_WORLD, 1);
    }
    for (int other = 0; other < processes; other++) {
        starts[other] = (int)(size * (size * other / processes));
        counts[other] = (int)(size * (size * (other + 1) / processes)) - starts[other];
    }
    fill(0, size, first, end, a);
    fill((uint64_t)1 << 63, size, first, end, b + first * size);
    MPI_Barrier(MPI_COMM_WORLD);
    const double begin = MPI_Wtime();
    MPI_Allgatherv(MPI_IN_PLACE, 0, MPI_DOUBLE, b, counts, starts, MPI_DOUBLE, MPI_COMM_WORLD);
    for (long row = 0; row < end - first; row += BAND_ROWS) {
        multiply(size, a + row * size, b, c + row * size, smaller(BAND_ROWS, end - first - row));
    }
    MPI_Barrier(MPI_COMM_WORLD);
    const double seconds = MPI_Wtime() - begin;
    double part = 0, sum = 0;
    for (long i = 0; i < (end - first) * size; i++) {
        part += c[i];
    }
    MPI_Reduce(&part, &sum, 1, MPI_DOUBLE, MPI_SUM, 0, MPI_COMM_WORLD);
    if (rank == 0) {
        printf("{\"answer\": %.17g, \"seconds\": %.9f}\n", sum, seconds);
    }
    free(a);
    free(b);
    free(c);
    free(counts);
    free(starts);
    MPI_Finalize();
    return 0;
}
