/* The process of a load generator: its options, descriptors, core and order of senders. */
#ifndef PROCESS_H
#define PROCESS_H
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

/* Read numbers with commas between them, at most `most`. */
static int numbers(char *text, int *into, int most) {
  int found = 0;
  for (char *part = strtok(text, ","); part && found < most; part = strtok(NULL, ",")) into[found++] = atoi(part);
  return found;
}

static void take_all_descriptors(void) {
  struct rlimit files = {0};
  getrlimit(RLIMIT_NOFILE, &files);
  files.rlim_cur = files.rlim_max;
  setrlimit(RLIMIT_NOFILE, &files);
}

static void run_on(int number) {
  cpu_set_t core;
  CPU_ZERO(&core);
  CPU_SET(number, &core);
  sched_setaffinity(0, sizeof core, &core);
}

/* The same order in every run. */
static void shuffle(int *order, int size) {
  srandom(7);
  for (int i = size - 1; i > 0; i--) {
    int other = (int)(random() % (i + 1)), kept = order[i];
    order[i] = order[other];
    order[other] = kept;
  }
}

#endif
