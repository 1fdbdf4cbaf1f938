/* empty_main.c - the program of the room_<name>_links targets: only that it links matters. */
int main(void) {
  return 0;
}
