/* mpio_guard.c - MPI-IO calls of HDF5 that change a file, wrapped through MPI's profiling
 * interface [MPI 4.0, 15.2]: the linker binds libhdf5's calls to these, which call PMPI_*. */
#include "mpio_guard.h"
#include <errno.h>
#include <mpi.h>
#include <stdio.h>
#include <string.h>

static long failures;
static char reason[MPI_MAX_ERROR_STRING + 64];

long fc_mpio_failures(void) {
  return failures;
}

const char *fc_mpio_reason(void) {
  return reason;
}

enum { SHORT_WRITE = MPI_ERR_LASTCODE }; /* above all of MPI's codes */

/* Notes a failure; errno of the system call below says more than MPI's error class. */
static int swallow(int code, int error_number) {
  if (code == MPI_SUCCESS) return code;
  int length = 0;
  failures++;
  if (code == SHORT_WRITE)
    snprintf(reason, sizeof reason, "short write (full disk, quota or limit on file sizes)");
  else if (error_number)
    snprintf(reason, sizeof reason, "%s", strerror(error_number));
  else if (PMPI_Error_string(code, reason, &length) != MPI_SUCCESS)
    snprintf(reason, sizeof reason, "MPI-IO error %d", code);
  return MPI_SUCCESS;
}

/* A short write is a failure too, one that MPI-IO does not report. */
static int check_length(MPI_Count bytes, const MPI_Status *status) {
  MPI_Count written = 0;
  if (PMPI_Get_elements_x(status, MPI_BYTE, &written) != MPI_SUCCESS) return MPI_ERR_IO;
  return written == MPI_UNDEFINED || written == bytes ? MPI_SUCCESS : SHORT_WRITE;
}

int MPI_File_write_at(MPI_File fh, MPI_Offset offset, const void *buf, int count, MPI_Datatype type,
                      MPI_Status *status) {
  MPI_Status own;
  MPI_Count size = 0;
  PMPI_Type_size_x(type, &size);
  errno = 0;
  int code = PMPI_File_write_at(fh, offset, buf, count, type, &own), error_number = errno;
  if (code == MPI_SUCCESS) code = check_length(count * size, &own);
  /* HDF5 looks at the status, too */
  if (code != MPI_SUCCESS) PMPI_Status_set_elements_x(&own, MPI_BYTE, count * size);
  if (status != MPI_STATUS_IGNORE) *status = own;
  return swallow(code, error_number);
}

/* Every rank by itself: in a collective write of Open MPI, too, the others would wait for the rank
 * that failed. (The store gives each rank one contiguous piece a call, so nothing is lost.) */
int MPI_File_write_at_all(MPI_File fh, MPI_Offset offset, const void *buf, int count,
                          MPI_Datatype type, MPI_Status *status) {
  return MPI_File_write_at(fh, offset, buf, count, type, status);
}

int MPI_File_set_size(MPI_File fh, MPI_Offset size) {
  errno = 0;
  int code = PMPI_File_set_size(fh, size);
  return swallow(code, errno);
}

int MPI_File_sync(MPI_File fh) {
  errno = 0;
  int code = PMPI_File_sync(fh);
  return swallow(code, errno);
}
