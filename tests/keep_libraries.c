/* keep_libraries.c - part of every test program of a sanitizer build: libraries once loaded stay.
 *
 * Open MPI unloads its components before the leak checker reports, which then can neither name nor
 * suppress (lsan.supp) what they leaked. */
int dlclose(void *library);
int dlclose(void *library) {
  (void)library;
  return 0;
}
