/* Jacobi's iteration on a square plate, as one writes it for MPI: a band of rows a process, the nearest rows of both
 * neighbours in rows of their own, sent and received while the band's inner rows are swept.
 * Prints the sum of the inner rows and the seconds of all sweeps as JSON. */
#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>

static void relax(const double *restrict now, double *restrict out, long size)
{
    const double *above = now - size, *below = now + size;
    for (long i = 1; i < size - 1; i++) {
        out[i] = 0.25 * ((above[i] + below[i]) + (now[i - 1] + now[i + 1]));
    }
}

/* The heat falls evenly from the hot top edge to the bottom, and the sides are cold. */
static void warm(double *points, long row, long size)
{
    const double heat = 100.0 * (double)(size - 1 - row) / (double)(size - 1);
    for (long i = 0; i < size; i++) {
        points[i] = heat;
    }
    if (row > 0) {
        points[0] = points[size - 1] = 0.0;
    }
}

int main(int argc, char **argv)
{
    MPI_Init(&argc, &argv);
    int rank, processes;
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &processes);
    if (argc != 3) {
        fprintf(stderr, "usage: jacobi SIZE SWEEPS\n");
        MPI_Abort(MPI_COMM_WORLD, 2);
    }
    const long size = atol(argv[1]), sweeps = atol(argv[2]), inner = size - 2;
    /* Rows first to end - 1 are this process's; one more on each side is the neighbour's, or the plate's edge. */
    const long first = 1 + inner * rank / processes, end = 1 + inner * (rank + 1) / processes;
    const long rows = end - first;
    double *now = malloc(sizeof(double) * (size_t)((rows + 2) * size));
    double *next = malloc(sizeof(double) * (size_t)((rows + 2) * size));
    if (!now || !next || rows < 1) {
        fprintf(stderr, "jacobi: no memory, or more processes than rows\n");
        MPI_Abort(MPI_COMM_WORLD, 1);
    }
    for (long row = 0; row < rows + 2; row++) {
        warm(now + row * size, first - 1 + row, size);
        warm(next + row * size, first - 1 + row, size);
    }
    const int up = rank > 0 ? rank - 1 : MPI_PROC_NULL;
    const int down = rank < processes - 1 ? rank + 1 : MPI_PROC_NULL;
    MPI_Barrier(MPI_COMM_WORLD);
    const double begin = MPI_Wtime();
    for (long sweep = 0; sweep < sweeps; sweep++) {
        MPI_Request requests[4];
        MPI_Irecv(now, (int)size, MPI_DOUBLE, up, 0, MPI_COMM_WORLD, &requests[0]);
        MPI_Irecv(now + (rows + 1) * size, (int)size, MPI_DOUBLE, down, 1, MPI_COMM_WORLD, &requests[1]);
        MPI_Isend(now + size, (int)size, MPI_DOUBLE, up, 1, MPI_COMM_WORLD, &requests[2]);
        MPI_Isend(now + rows * size, (int)size, MPI_DOUBLE, down, 0, MPI_COMM_WORLD, &requests[3]);
        for (long row = 2; row < rows; row++) {
            relax(now + row * size, next + row * size, size);
        }
        MPI_Waitall(4, requests, MPI_STATUSES_IGNORE);
        relax(now + size, next + size, size);
        if (rows > 1) {
            relax(now + rows * size, next + rows * size, size);
        }
        double *swept = next;
        next = now;
        now = swept;
    }
    MPI_Barrier(MPI_COMM_WORLD);
    const double seconds = MPI_Wtime() - begin;
    double answer = 0, all = 0;
    for (long row = 1; row <= rows; row++) {
        double sum = 0;
        for (long i = 0; i < size; i++) {
            sum += now[row * size + i];
        }
        answer += sum;
    }
    MPI_Allreduce(&answer, &all, 1, MPI_DOUBLE, MPI_SUM, MPI_COMM_WORLD);
    if (rank == 0) {
        printf("{\"answer\": %.17g, \"seconds\": %.9f}\n", all, seconds);
    }
    free(now);
    free(next);
    MPI_Finalize();
    return 0;
}
