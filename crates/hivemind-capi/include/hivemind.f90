! HiveMind for Fortran: the calls of hivemind.h, through iso_c_binding. Say  include 'hivemind.f90'  before your program
! and compile with  hivemind fc  (docs/C.md has an example). Shared arrays: hive_malloc and c_f_pointer.

module hivemind
  use, intrinsic :: iso_c_binding
  implicit none

  integer(c_int), parameter :: HIVE_OK = 0, HIVE_NOT_STARTED = 1, HIVE_ENDED = 2, HIVE_STARTED_ALREADY = 3
  integer(c_int), parameter :: HIVE_FORKED = 4, HIVE_BAD_ARGUMENT = 5, HIVE_BAD_POINTER = 6, HIVE_NO_MEMORY = 7
  integer(c_int), parameter :: HIVE_NOT_HELD = 8, HIVE_ALREADY_HELD = 9, HIVE_HELD_AT_BARRIER = 10, HIVE_MISMATCH = 11
  integer(c_int), parameter :: HIVE_LOST = 12, HIVE_TIMED_OUT = 13, HIVE_BUSY = 14, HIVE_ENVIRONMENT = 15
  integer(c_int), parameter :: HIVE_ALONE = 16, HIVE_UNAVAILABLE = 17, HIVE_NOT_DEPARTED = 18, HIVE_NOT_ARRIVED = 19

  integer(c_int), parameter :: HIVE_INT8 = 0, HIVE_UINT8 = 1, HIVE_INT16 = 2, HIVE_UINT16 = 3, HIVE_INT32 = 4
  integer(c_int), parameter :: HIVE_UINT32 = 5, HIVE_INT64 = 6, HIVE_UINT64 = 7, HIVE_FLOAT = 8, HIVE_DOUBLE = 9
  integer(c_int), parameter :: HIVE_SUM = 0, HIVE_PROD = 1, HIVE_MIN = 2, HIVE_MAX = 3, HIVE_BAND = 4
  integer(c_int), parameter :: HIVE_BOR = 5, HIVE_BXOR = 6, HIVE_LAND = 7, HIVE_LOR = 8

  interface
    ! Fortran has no argc and argv: give c_null_ptr for both.
    integer(c_int) function hive_startup(argc, argv) bind(c)
      import :: c_int, c_ptr
      type(c_ptr), value :: argc, argv
    end function
    integer(c_int) function hive_exit() bind(c)
      import :: c_int
    end function
    integer(c_int) function hive_drones() bind(c)
      import :: c_int
    end function
    integer(c_int) function hive_me() bind(c)
      import :: c_int
    end function
    integer(c_int) function hive_threads() bind(c)
      import :: c_int
    end function
    real(c_double) function hive_wall_time() bind(c)
      import :: c_double
    end function
    integer(c_int) function hive_barrier(id) bind(c)
      import :: c_int, c_int32_t
      integer(c_int32_t), value :: id
    end function
    integer(c_int) function hive_arrive(id) bind(c)
      import :: c_int, c_int32_t
      integer(c_int32_t), value :: id
    end function
    integer(c_int) function hive_depart() bind(c)
      import :: c_int
    end function
    type(c_ptr) function hive_malloc(bytes) bind(c)
      import :: c_ptr, c_size_t
      integer(c_size_t), value :: bytes
    end function
    type(c_ptr) function hive_calloc(count, bytes) bind(c)
      import :: c_ptr, c_size_t
      integer(c_size_t), value :: count, bytes
    end function
    type(c_ptr) function hive_aligned_alloc(align, bytes) bind(c)
      import :: c_ptr, c_size_t
      integer(c_size_t), value :: align, bytes
    end function
    type(c_ptr) function hive_realloc(block, bytes) bind(c)
      import :: c_ptr, c_size_t
      type(c_ptr), value :: block
      integer(c_size_t), value :: bytes
    end function
    integer(c_int) function hive_free(block) bind(c)
      import :: c_int, c_ptr
      type(c_ptr), value :: block
    end function
    logical(c_bool) function hive_is_shared(pointer) bind(c)
      import :: c_bool, c_ptr
      type(c_ptr), value :: pointer
    end function
    integer(c_int) function hive_prefetch(start, bytes) bind(c)
      import :: c_int, c_ptr, c_size_t
      type(c_ptr), value :: start
      integer(c_size_t), value :: bytes
    end function
    integer(c_int) function hive_present(start, bytes, write) bind(c)
      import :: c_int, c_ptr, c_size_t, c_bool
      type(c_ptr), value :: start
      integer(c_size_t), value :: bytes
      logical(c_bool), value :: write
    end function
    integer(c_int) function hive_lock(id) bind(c)
      import :: c_int, c_int32_t
      integer(c_int32_t), value :: id
    end function
    integer(c_int) function hive_unlock(id) bind(c)
      import :: c_int, c_int32_t
      integer(c_int32_t), value :: id
    end function
    integer(c_int) function hive_try_lock(id) bind(c)
      import :: c_int, c_int32_t
      integer(c_int32_t), value :: id
    end function
    integer(c_int) function hive_mutex_try_lock(mutex) bind(c)
      import :: c_int, c_ptr
      type(c_ptr), value :: mutex
    end function
    integer(c_int) function hive_mutex_init(mutex) bind(c)
      import :: c_int, c_ptr
      type(c_ptr), value :: mutex
    end function
    integer(c_int) function hive_mutex_lock(mutex) bind(c)
      import :: c_int, c_ptr
      type(c_ptr), value :: mutex
    end function
    integer(c_int) function hive_mutex_unlock(mutex) bind(c)
      import :: c_int, c_ptr
      type(c_ptr), value :: mutex
    end function
    integer(c_int) function hive_mutex_destroy(mutex) bind(c)
      import :: c_int, c_ptr
      type(c_ptr), value :: mutex
    end function
    integer(c_int) function hive_startup_fork_join(argc, argv) bind(c)
      import :: c_int, c_ptr
      type(c_ptr), value :: argc
      type(c_ptr), value :: argv
    end function
    ! The function: bind(c), with one type(c_ptr), value argument.
    integer(c_int) function hive_run(procedure, argument, bytes) bind(c)
      import :: c_funptr, c_int, c_ptr, c_size_t
      type(c_funptr), value :: procedure
      type(c_ptr), value :: argument
      integer(c_size_t), value :: bytes
    end function
    ! The function: bind(c), without arguments.
    integer(c_int) function hive_create(procedure) bind(c)
      import :: c_funptr, c_int
      type(c_funptr), value :: procedure
    end function
    integer(c_int) function hive_wait_for_end() bind(c)
      import :: c_int
    end function
    integer(c_int) function hive_distribute(variable, bytes) bind(c)
      import :: c_int, c_ptr, c_size_t
      type(c_ptr), value :: variable
      integer(c_size_t), value :: bytes
    end function
    integer(c_int) function hive_wait(id, condition) bind(c)
      import :: c_int, c_int32_t
      integer(c_int32_t), value :: id
      integer(c_int32_t), value :: condition
    end function
    integer(c_int) function hive_signal(id, condition) bind(c)
      import :: c_int, c_int32_t
      integer(c_int32_t), value :: id
      integer(c_int32_t), value :: condition
    end function
    integer(c_int) function hive_signal_all(id, condition) bind(c)
      import :: c_int, c_int32_t
      integer(c_int32_t), value :: id
      integer(c_int32_t), value :: condition
    end function
    integer(c_int) function hive_cond_init(cond) bind(c)
      import :: c_int, c_ptr
      type(c_ptr), value :: cond
    end function
    integer(c_int) function hive_cond_wait(cond, mutex) bind(c)
      import :: c_int, c_ptr
      type(c_ptr), value :: cond
      type(c_ptr), value :: mutex
    end function
    integer(c_int) function hive_cond_signal(cond, mutex) bind(c)
      import :: c_int, c_ptr
      type(c_ptr), value :: cond
      type(c_ptr), value :: mutex
    end function
    integer(c_int) function hive_cond_broadcast(cond, mutex) bind(c)
      import :: c_int, c_ptr
      type(c_ptr), value :: cond
      type(c_ptr), value :: mutex
    end function
    integer(c_int) function hive_sem_init(sem, count) bind(c)
      import :: c_int, c_int32_t, c_ptr
      type(c_ptr), value :: sem
      integer(c_int32_t), value :: count
    end function
    integer(c_int) function hive_sem_wait(sem) bind(c)
      import :: c_int, c_ptr
      type(c_ptr), value :: sem
    end function
    integer(c_int) function hive_sem_try_wait(sem) bind(c)
      import :: c_int, c_ptr
      type(c_ptr), value :: sem
    end function
    integer(c_int) function hive_sem_post(sem) bind(c)
      import :: c_int, c_ptr
      type(c_ptr), value :: sem
    end function
    integer(c_int) function hive_event_init(event) bind(c)
      import :: c_int, c_ptr
      type(c_ptr), value :: event
    end function
    integer(c_int) function hive_event_set(event) bind(c)
      import :: c_int, c_ptr
      type(c_ptr), value :: event
    end function
    integer(c_int) function hive_event_clear(event) bind(c)
      import :: c_int, c_ptr
      type(c_ptr), value :: event
    end function
    integer(c_int) function hive_event_wait(event) bind(c)
      import :: c_int, c_ptr
      type(c_ptr), value :: event
    end function
    integer(c_int) function hive_gate_wait(gate, count) bind(c)
      import :: c_int, c_int32_t, c_ptr
      type(c_ptr), value :: gate
      integer(c_int32_t), value :: count
    end function
    integer(c_int) function hive_fetch_add_32(word, value, before) bind(c)
      import :: c_int, c_int32_t, c_ptr
      type(c_ptr), value :: word
      integer(c_int32_t), value :: value
      type(c_ptr), value :: before
    end function
    integer(c_int) function hive_compare_swap_32(word, expected, desired, before) bind(c)
      import :: c_int, c_int32_t, c_ptr
      type(c_ptr), value :: word
      integer(c_int32_t), value :: expected
      integer(c_int32_t), value :: desired
      type(c_ptr), value :: before
    end function
    integer(c_int) function hive_fetch_add_64(word, value, before) bind(c)
      import :: c_int, c_int64_t, c_ptr
      type(c_ptr), value :: word
      integer(c_int64_t), value :: value
      type(c_ptr), value :: before
    end function
    integer(c_int) function hive_compare_swap_64(word, expected, desired, before) bind(c)
      import :: c_int, c_int64_t, c_ptr
      type(c_ptr), value :: word
      integer(c_int64_t), value :: expected
      integer(c_int64_t), value :: desired
      type(c_ptr), value :: before
    end function
    integer(c_int) function hive_broadcast(buffer, bytes, root) bind(c)
      import :: c_int, c_ptr, c_size_t
      type(c_ptr), value :: buffer
      integer(c_size_t), value :: bytes
      integer(c_int), value :: root
    end function
    integer(c_int) function hive_reduce(from, into, count, value_type, op, root) bind(c)
      import :: c_int, c_ptr, c_size_t
      type(c_ptr), value :: from, into
      integer(c_size_t), value :: count
      integer(c_int), value :: value_type, op, root
    end function
    integer(c_int) function hive_allreduce(from, into, count, value_type, op) bind(c)
      import :: c_int, c_ptr, c_size_t
      type(c_ptr), value :: from, into
      integer(c_size_t), value :: count
      integer(c_int), value :: value_type, op
    end function
    integer(c_int) function hive_stats(stats) bind(c)
      import :: c_int, c_ptr
      type(c_ptr), value :: stats
    end function
    subroutine hive_errors_are_fatal(fatal) bind(c)
      import :: c_bool
      logical(c_bool), value :: fatal
    end subroutine
    integer(c_int) function hive_last_error() bind(c)
      import :: c_int
    end function
    type(c_ptr) function hive_error_text() bind(c)
      import :: c_ptr
    end function
    type(c_ptr) function hive_strerror(status) bind(c)
      import :: c_ptr, c_int32_t
      integer(c_int32_t), value :: status
    end function
  end interface
end module hivemind
