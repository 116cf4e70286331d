/* Pi by the midpoint rule, as one writes it for MPI: each process sums its part, and the parts are reduced.
 * Prints the answer and the seconds from a barrier to the answer as JSON. */
#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>

enum { LANES = 8 };

int main(int argc, char **argv)
{
    MPI_Init(&argc, &argv);
    int rank, size;
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &size);
    if (argc != 2) {
        fprintf(stderr, "usage: pi STEPS\n");
        MPI_Abort(MPI_COMM_WORLD, 2);
    }
    const long long steps = atoll(argv[1]);
    MPI_Barrier(MPI_COMM_WORLD);
    const double begin = MPI_Wtime();
    const long long first = steps * rank / size, end = steps * (rank + 1) / size;
    const double width = 1.0 / (double)steps;
    /* Independent sums, so that the compiler may add several at once. */
    double sums[LANES] = {0};
    long long i = first;
    for (; i + LANES <= end; i += LANES) {
        for (int lane = 0; lane < LANES; lane++) {
            const double x = ((double)(i + lane) + 0.5) * width;
            sums[lane] += 4.0 / (1.0 + x * x);
        }
    }
    double part = 0, sum = 0;
    for (; i < end; i++) {
        const double x = ((double)i + 0.5) * width;
        part += 4.0 / (1.0 + x * x);
    }
    for (int lane = 0; lane < LANES; lane++) {
        part += sums[lane];
    }
    MPI_Allreduce(&part, &sum, 1, MPI_DOUBLE, MPI_SUM, MPI_COMM_WORLD);
    const double seconds = MPI_Wtime() - begin;
    if (rank == 0) {
        printf("{\"answer\": %.17g, \"seconds\": %.9f}\n", sum * width, seconds);
    }
    MPI_Finalize();
    return 0;
}
