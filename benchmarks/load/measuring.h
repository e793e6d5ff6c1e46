/* What the load generators measure with: the clock, quantiles, and CPU and memory of processes. */
#ifndef MEASURING_H
#define MEASURING_H
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { BINS = 2048, MAX_PIDS = 64 };

static inline uint64_t now_us(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

/* Bins of 1 us up to 64, then 32 for each power of two: within 3 %. */
static inline int bin_of(uint64_t value) {
  if (value < 64) return (int)value;
  int power = 63 - __builtin_clzll(value);
  int bin = 64 + (power - 6) * 32 + (int)((value >> (power - 5)) & 31);
  return bin < BINS ? bin : BINS - 1;
}

static inline double value_of(int bin) {
  if (bin < 64) return bin;
  int power = (bin - 64) / 32 + 6;
  return (double)(1ULL << power) + ((bin - 64) % 32 + 0.5) * (double)(1ULL << (power - 5));
}

static inline double quantile_of(const uint64_t *bins, double q) {
  uint64_t total = 0, below = 0;
  for (int bin = 0; bin < BINS; bin++) total += bins[bin];
  for (int bin = 0; bin < BINS; bin++) {
    below += bins[bin];
    if (total && below >= q * (double)total) return value_of(bin);
  }
  return 0;
}

static inline double cpu_seconds(int pid) {
  char path[64], line[1024];
  snprintf(path, sizeof path, "/proc/%d/stat", pid);
  FILE *file = fopen(path, "r");
  if (!file) return 0;
  size_t size = fread(line, 1, sizeof line - 1, file);
  fclose(file);
  line[size] = 0;
  unsigned long user = 0, system = 0;
  char *after = strrchr(line, ')');
  if (after) sscanf(after + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user, &system);
  return (double)(user + system) / (double)sysconf(_SC_CLK_TCK);
}

static inline long resident_kb(int pid) {
  char path[64], line[256];
  long size = 0;
  snprintf(path, sizeof path, "/proc/%d/status", pid);
  FILE *file = fopen(path, "r");
  if (!file) return 0;
  while (fgets(line, sizeof line, file))
    if (sscanf(line, "VmRSS: %ld", &size) == 1) break;
  fclose(file);
  return size;
}

/* The processes of the server. */
static struct {
  int pids[MAX_PIDS], count;
  double cpu_before[MAX_PIDS], own_before;
} measured;

/* CPU counts from here on. */
static inline void begin_cpu(void) {
  for (int i = 0; i < measured.count; i++) measured.cpu_before[i] = cpu_seconds(measured.pids[i]);
  measured.own_before = cpu_seconds(getpid());
}

static inline double own_cpu_seconds(void) { return cpu_seconds(getpid()) - measured.own_before; }

static inline void print_cpu(void) {
  printf("\"cpu\":{");
  for (int i = 0; i < measured.count; i++)
    printf("%s\"%d\":%.2f", i ? "," : "", measured.pids[i], cpu_seconds(measured.pids[i]) - measured.cpu_before[i]);
  printf("}");
}

static inline void print_resident(const char *name) {
  printf("\"%s\":{", name);
  for (int i = 0; i < measured.count; i++)
    printf("%s\"%d\":%ld", i ? "," : "", measured.pids[i], resident_kb(measured.pids[i]));
  printf("},");
}

#endif
