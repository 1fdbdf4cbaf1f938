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

/* Notes the failure; errno of the system call below says more than MPI's error class. */
static int swallow(int code, int error_number) {
  if (code == MPI_SUCCESS) return code;
  int length = 0;
  failures++;
  if (error_number)
    snprintf(reason, sizeof reason, "%s", strerror(error_number));
  else if (PMPI_Error_string(code, reason, &length) != MPI_SUCCESS)
    snprintf(reason, sizeof reason, "MPI-IO error %d", code);
  return MPI_SUCCESS;
}

/* HDF5 compares what the status says with what it asked for. A short write is a failure too. */
static int settle(int code, int error_number, int count, MPI_Datatype type, MPI_Status *status) {
  int bytes = 0, size = 0;
  PMPI_Type_size(type, &size);
  if (code == MPI_SUCCESS && status != MPI_STATUS_IGNORE &&
      PMPI_Get_elements(status, MPI_BYTE, &bytes) == MPI_SUCCESS && bytes >= 0 &&
      (long long)bytes < (long long)count * size)
    code = MPI_ERR_NO_SPACE;
  if (code != MPI_SUCCESS && status != MPI_STATUS_IGNORE)
    PMPI_Status_set_elements(status, type, count);
  return swallow(code, error_number);
}

int MPI_File_write_at(MPI_File fh, MPI_Offset offset, const void *buf, int count, MPI_Datatype type,
                      MPI_Status *status) {
  errno = 0;
  int code = PMPI_File_write_at(fh, offset, buf, count, type, status);
  return settle(code, errno, count, type, status);
}

int MPI_File_write_at_all(MPI_File fh, MPI_Offset offset, const void *buf, int count,
                          MPI_Datatype type, MPI_Status *status) {
  errno = 0;
  int code = PMPI_File_write_at_all(fh, offset, buf, count, type, status);
  return settle(code, errno, count, type, status);
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
