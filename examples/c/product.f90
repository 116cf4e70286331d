! A matrix product in Fortran: shared arrays, each drone computes its columns.
!
!   hivemind fc -O2 product.f90 -o product && hivemind run -n 4 ./product
!
! Prints the product's trace and stops with 1 if it is not what one drone alone computes.

include 'hivemind.f90'

program product
  use hivemind
  implicit none
  integer, parameter :: n = 160
  type(c_ptr), target :: places(3)
  real(c_double), pointer :: a(:, :), b(:, :), c(:, :)
  real(c_double), target :: part, trace
  real(c_double) :: alone
  integer :: me, drones, first, last, column, row

  call hive_errors_are_fatal(.true._c_bool)
  row = hive_startup(c_null_ptr, c_null_ptr)
  me = hive_me()
  drones = hive_drones()
  if (me == 0) then
    do column = 1, 3
      places(column) = hive_malloc(int(n * n * 8, c_size_t))
    end do
  end if
  row = hive_broadcast(c_loc(places), c_sizeof(places), 0)
  call c_f_pointer(places(1), a, [n, n])
  call c_f_pointer(places(2), b, [n, n])
  call c_f_pointer(places(3), c, [n, n])

  first = n * me / drones + 1
  last = n * (me + 1) / drones
  do column = first, last
    do row = 1, n
      a(row, column) = row + 2 * column
      b(row, column) = mod(row * column, 7)
    end do
  end do
  row = hive_barrier(1)
  c(:, first:last) = matmul(a, b(:, first:last))
  part = 0
  do column = first, last
    part = part + c(column, column)
  end do
  row = hive_allreduce(c_loc(part), c_loc(trace), 1_c_size_t, HIVE_DOUBLE, HIVE_SUM)

  alone = 0
  do column = 1, n
    do row = 1, n
      alone = alone + real(column + 2 * row, c_double) * mod(row * column, 7)
    end do
  end do
  if (me == 0) print '(a, f0.1, a, f0.1)', 'the trace is ', trace, ', alone ', alone
  row = hive_exit()
  if (abs(trace - alone) > 0) stop 1
end program product
