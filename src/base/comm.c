/* comm.c - agreement, broadcasts and exact sums over ranks. */
#include "fedcell/fc_comm.h"
#include "fedcell/fc_mem.h"
#include "fedcell/fc_timer.h"
#include <math.h>
#include <string.h>
#include <time.h>

/* MPI counts are int: larger transfers go in pieces. */
enum { PIECE = 1 << 28 };

/* Translates an MPI error code (communicators return errors, see fc_comm_create). */
static fc_err from_mpi(int code, const char *what) {
  if (code == MPI_SUCCESS) return FC_ERR_OK;
  char text[MPI_MAX_ERROR_STRING] = "";
  int length = 0;
  MPI_Error_string(code, text, &length);
  return fc_fail(FC_ERR_PEER, "%s failed: %s", what, text);
}

#define MPI_TRY(call) FC_TRY(from_mpi((call), #call))

fc_err fc_comm_create(fc_comm **out) {
  *out = NULL;
  fc_comm *c = NULL;
  FC_TRY(fc_alloc(1, sizeof *c, &c));
  c->world = c->node = c->end = MPI_COMM_NULL;
  *out = c;
  MPI_TRY(MPI_Comm_dup(MPI_COMM_WORLD, &c->world));
  MPI_TRY(MPI_Comm_split_type(c->world, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL, &c->node));
  MPI_TRY(MPI_Comm_dup(c->world, &c->end));
  /* only now: until here MPI itself ends all ranks when something fails */
  MPI_TRY(MPI_Comm_set_errhandler(c->world, MPI_ERRORS_RETURN));
  MPI_TRY(MPI_Comm_set_errhandler(c->node, MPI_ERRORS_RETURN));
  MPI_TRY(MPI_Comm_set_errhandler(c->end, MPI_ERRORS_RETURN));
  MPI_Comm_rank(c->world, &c->rank);
  MPI_Comm_size(c->world, &c->size);
  MPI_Comm_rank(c->node, &c->node_rank);
  MPI_Comm_size(c->node, &c->node_size);
  return FC_ERR_OK;
}

void fc_comm_destroy(fc_comm **comm) {
  if (!*comm) return;
  if ((*comm)->end != MPI_COMM_NULL) MPI_Comm_free(&(*comm)->end);
  if ((*comm)->node != MPI_COMM_NULL) MPI_Comm_free(&(*comm)->node);
  if ((*comm)->world != MPI_COMM_NULL) MPI_Comm_free(&(*comm)->world);
  fc_free(*comm);
  *comm = NULL;
}

/* What takes part in the agreement's minimum: the lowest failing rank speaks for all. */
static int bid(const fc_comm *comm, fc_err mine) {
  return mine == FC_ERR_OK ? comm->size : comm->rank;
}

/* Collective on `on`. The failure of rank `first` becomes every rank's. */
static fc_err hear(const fc_comm *comm, MPI_Comm on, int first, fc_err mine) {
  if (first == comm->size) return FC_ERR_OK;
  struct {
    int err;
    char message[FC_ERR_MESSAGE_SIZE];
  } told = {(int)mine, ""};
  if (comm->rank == first) memcpy(told.message, fc_err_message(), sizeof told.message);
  MPI_TRY(MPI_Bcast(&told, (int)sizeof told, MPI_BYTE, first, on));
  return fc_fail((fc_err)told.err, "%s", told.message);
}

/* In brackets: for the static analyser fc_agree is a macro. */
fc_err(fc_agree)(const fc_comm *comm, fc_err mine) {
  int first = bid(comm, mine);
  MPI_TRY(MPI_Allreduce(MPI_IN_PLACE, &first, 1, MPI_INT, MPI_MIN, comm->world));
  return hear(comm, comm->world, first, mine);
}

/* Waits until the request is complete, at most until `until_s`; asleep, as this may take long. */
static fc_err wait_until(MPI_Request *request, double until_s, bool *complete) {
  const struct timespec nap = {.tv_nsec = 1000000};
  for (;;) {
    int flag = 0;
    MPI_TRY(MPI_Test(request, &flag, MPI_STATUS_IGNORE));
    *complete = flag;
    if (flag || fc_wall_time_s() > until_s) return FC_ERR_OK;
    nanosleep(&nap, NULL);
  }
}

fc_err fc_agree_at_end(const fc_comm *comm, fc_err mine, double patience_s, bool *together) {
  static int first; /* MPI may write to it even after a rank has given up waiting */
  first = bid(comm, mine);
  MPI_Request request = MPI_REQUEST_NULL;
  *together = false;
  MPI_TRY(MPI_Iallreduce(MPI_IN_PLACE, &first, 1, MPI_INT, MPI_MIN, comm->end, &request));
  double until_s = mine == FC_ERR_OK ? INFINITY : fc_wall_time_s() + patience_s;
  FC_TRY(wait_until(&request, until_s, together));
  return *together ? hear(comm, comm->end, first, mine) : mine;
}

fc_err fc_comm_sum_i64(const fc_comm *comm, int64_t *x, size_t n) {
  for (size_t at = 0; at < n; at += PIECE) {
    int piece = (int)(n - at < PIECE ? n - at : PIECE);
    MPI_TRY(MPI_Allreduce(MPI_IN_PLACE, x + at, piece, MPI_INT64_T, MPI_SUM, comm->world));
  }
  return FC_ERR_OK;
}

fc_err fc_comm_sum_i64_root(const fc_comm *comm, int64_t *x, size_t n, int root) {
  bool is_root = comm->rank == root;
  for (size_t at = 0; at < n; at += PIECE) {
    int piece = (int)(n - at < PIECE ? n - at : PIECE);
    MPI_TRY(MPI_Reduce(is_root ? MPI_IN_PLACE : x + at, is_root ? x + at : NULL, piece, MPI_INT64_T,
                       MPI_SUM, root, comm->world));
  }
  return FC_ERR_OK;
}

fc_err fc_comm_prefix(const fc_comm *comm, int64_t mine, int64_t *before, int64_t *total) {
  *before = 0; /* MPI_Exscan leaves rank 0's as it is */
  MPI_TRY(MPI_Exscan(&mine, before, 1, MPI_INT64_T, MPI_SUM, comm->world));
  *total = mine;
  return fc_comm_sum_i64(comm, total, 1);
}

fc_err fc_comm_max(const fc_comm *comm, double *x, size_t n) {
  for (size_t i = 0; i < n; i++)
    if (isnan(x[i])) x[i] = INFINITY; /* MPI_MAX may lose a NaN */
  for (size_t at = 0; at < n; at += PIECE) {
    int piece = (int)(n - at < PIECE ? n - at : PIECE);
    MPI_TRY(MPI_Allreduce(MPI_IN_PLACE, x + at, piece, MPI_DOUBLE, MPI_MAX, comm->world));
  }
  return FC_ERR_OK;
}

fc_err fc_comm_any(const fc_comm *comm, const volatile sig_atomic_t *flag, bool *any) {
  double set = flag && *flag;
  FC_TRY(fc_comm_max(comm, &set, 1));
  *any = set > 0;
  return FC_ERR_OK;
}

fc_err fc_comm_broadcast(const fc_comm *comm, void *data, size_t bytes, int root) {
  for (size_t at = 0; at < bytes; at += PIECE) {
    int piece = (int)(bytes - at < PIECE ? bytes - at : PIECE);
    MPI_TRY(MPI_Bcast((char *)data + at, piece, MPI_BYTE, root, comm->world));
  }
  return FC_ERR_OK;
}

fc_err fc_comm_barrier(const fc_comm *comm) {
  return from_mpi(MPI_Barrier(comm->world), "MPI_Barrier");
}

void fc_comm_share(int64_t n, int size, int rank, int64_t *first, int64_t *count) {
  int64_t each = n / size, extra = n % size;
  *first = rank * each + (rank < extra ? rank : extra);
  *count = each + (rank < extra ? 1 : 0);
}

/* Numbers of one kind between two ranks; more than PIECE go in several messages, which MPI keeps in
 * order. */
typedef struct {
  MPI_Datatype type;
  size_t bytes; /* of each */
} number;

static fc_err send_numbers(const fc_comm *comm, number kind, const void *x, int64_t n, int to) {
  for (int64_t at = 0; at < n; at += PIECE) {
    int piece = (int)(n - at < PIECE ? n - at : PIECE);
    const char *from = (const char *)x + (size_t)at * kind.bytes;
    MPI_TRY(MPI_Send(from, piece, kind.type, to, 0, comm->world));
  }
  return FC_ERR_OK;
}

static fc_err receive_numbers(const fc_comm *comm, number kind, void *x, int64_t n, int from) {
  for (int64_t at = 0; at < n; at += PIECE) {
    int piece = (int)(n - at < PIECE ? n - at : PIECE);
    char *to = (char *)x + (size_t)at * kind.bytes;
    MPI_TRY(MPI_Recv(to, piece, kind.type, from, 0, comm->world, MPI_STATUS_IGNORE));
  }
  return FC_ERR_OK;
}

static number doubles(void) {
  return (number){MPI_DOUBLE, sizeof(double)};
}

static number floats(void) {
  return (number){MPI_FLOAT, sizeof(float)};
}

fc_err fc_comm_scatter(const fc_comm *comm, const double *all, int64_t n, double *own) {
  int64_t first = 0, count = 0;
  fc_comm_share(n, comm->size, comm->rank, &first, &count);
  if (comm->rank != 0) return receive_numbers(comm, doubles(), own, count, 0);
  if (count > 0) memcpy(own, all, (size_t)count * sizeof *own);
  for (int rank = 1; rank < comm->size; rank++) {
    fc_comm_share(n, comm->size, rank, &first, &count);
    FC_TRY(send_numbers(comm, doubles(), all + first, count, rank));
  }
  return FC_ERR_OK;
}

fc_err fc_comm_gather(const fc_comm *comm, const double *own, int64_t n, double *all) {
  int64_t first = 0, count = 0;
  fc_comm_share(n, comm->size, comm->rank, &first, &count);
  if (comm->rank != 0) return send_numbers(comm, doubles(), own, count, 0);
  if (count > 0) memcpy(all, own, (size_t)count * sizeof *own);
  for (int rank = 1; rank < comm->size; rank++) {
    fc_comm_share(n, comm->size, rank, &first, &count);
    FC_TRY(receive_numbers(comm, doubles(), all + first, count, rank));
  }
  return FC_ERR_OK;
}

fc_err fc_comm_join(const fc_comm *comm, const float *own, int64_t n, const int64_t *counts,
                    float *all, int root) {
  if (comm->rank != root) return send_numbers(comm, floats(), own, n, root);
  for (int rank = 0; rank < comm->size; all += counts[rank++]) {
    if (rank != root)
      FC_TRY(receive_numbers(comm, floats(), all, counts[rank], rank));
    else if (n > 0)
      memcpy(all, own, (size_t)n * sizeof *own);
  }
  return FC_ERR_OK;
}

static fc_err sum_i64(const void *comm, int64_t *x, size_t n) {
  return fc_comm_sum_i64(comm, x, n);
}

static fc_err max_f64(const void *comm, double *x, size_t n) {
  return fc_comm_max(comm, x, n);
}

fc_reduction fc_comm_reduction(const fc_comm *comm) {
  return (fc_reduction){.sum_i64 = sum_i64, .max = max_f64, .arg = comm};
}
