// Heat in a plate, in C++: plain references into shared memory, a barrier between sweeps.
//
//   hivemind c++ -O2 heat.cpp -o heat && hivemind run -n 4 ./heat
//
// Prints the temperature in the middle, and gives status 1 if any differs from what one drone alone computes.

#include <hivemind.h>

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <vector>

namespace {

constexpr int size = 200, sweeps = 50;

void check(hive_status_t status) {
  if (status != HIVE_OK) {
    std::fprintf(stderr, "heat: %s\n", hive_error_text());
    std::exit(1);
  }
}

/// A plate in any memory.
class Plate {
public:
  explicit Plate(double *values) : values(values) {}
  double &at(int row, int column) { return values[row * size + column]; }
  double at(int row, int column) const { return values[row * size + column]; }

private:
  double *values;
};

void sweep(const Plate &from, Plate &into, int first, int last) {
  for (int row = first; row < last; ++row)
    for (int column = 1; column < size - 1; ++column)
      into.at(row, column) = 0.25 * (from.at(row - 1, column) + from.at(row + 1, column) + from.at(row, column - 1) +
                                     from.at(row, column + 1));
}

void heat(Plate &plate) {
  for (int column = 0; column < size; ++column) plate.at(0, column) = 100;
}

double alone() {
  std::vector<double> one(size * size), two(size * size);
  Plate now(one.data()), next(two.data());
  heat(now), heat(next);
  for (int step = 0; step < sweeps; ++step) {
    sweep(now, next, 1, size - 1);
    std::swap(now, next);
  }
  double sum = 0;
  for (int row = 0; row < size; ++row)
    for (int column = 0; column < size; ++column) sum += now.at(row, column) * (row + 1);
  return sum;
}

} // namespace

int main(int argc, char **argv) {
  check(hive_startup(&argc, &argv));
  double *plates[2] = {};
  if (hive_me() == 0)
    for (auto &plate : plates) {
      plate = static_cast<double *>(hive_calloc(size * size, sizeof(double)));
      if (plate == nullptr) check(hive_last_error());
      Plate whole(plate);
      heat(whole);
    }
  check(hive_broadcast(plates, sizeof plates, 0));

  Plate now(plates[0]), next(plates[1]);
  const int inner = size - 2, me = hive_me(), drones = hive_drones();
  const int first = 1 + inner * me / drones, last = 1 + inner * (me + 1) / drones;
  for (int step = 0; step < sweeps; ++step) {
    sweep(now, next, first, last);
    check(hive_barrier(0));
    std::swap(now, next);
  }
  int wrong = 0;
  if (me == 0) {
    double sum = 0;
    for (int row = 0; row < size; ++row)
      for (int column = 0; column < size; ++column) sum += now.at(row, column) * (row + 1);
    const double expected = alone();
    wrong = sum != expected;
    std::printf("%.6f in the middle of the first rows, sum %.6f, alone %.6f\n", now.at(5, size / 2), sum, expected);
  }
  check(hive_exit());
  return wrong;
}
