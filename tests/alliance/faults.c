/* What a disk can do to a program, done to the files whose path contains FAULT_FILES. Every write, truncation and sync of theirs is
 * an event. FAULT says what happens at event number N, counted from 1:
 *
 *   count:0   nothing
 *   kill:N    the process is gone before it
 *   torn:N    half of it is written, then the process is gone
 *   lose:N    the machine is gone before it, and with it whatever was not synced
 *   full:N    from there on, nothing more can be written
 *   sync:N    from there on, no sync succeeds
 *
 * Each event leaves a byte in the file FAULT_EVENTS: w, t or s. FAULT_CLOCK is added to the clock, in seconds. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char mode[8], files[256];
static long at, events;
static int log_fd = -1, ready;

/* What a file was before each write since it was last synced, the newest first. */
struct undo {
    struct undo *before;
    ino_t inode;
    char path[512];
    off_t offset, size;
    ssize_t length;
    char old[];
};
static struct undo *undo;

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

static void start(void) {
    if (ready) return;
    ready = 1;
    const char *fault = getenv("FAULT"), *path = getenv("FAULT_FILES"), *log = getenv("FAULT_EVENTS");
    if (!fault || !path) return;
    sscanf(fault, "%7[a-z]:%ld", mode, &at);
    snprintf(files, sizeof files, "%s", path);
    if (log) log_fd = open(log, O_WRONLY | O_CREAT | O_APPEND, 0600);
}

/* Whether a file's events count; its path then. The index beside a write-ahead log is memory, not disk. */
static int watched(int fd, char *path, size_t size) {
    start();
    if (!files[0]) return 0;
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, size - 1);
    if (length <= 0) return 0;
    path[length] = 0;
    return strstr(path, files) && !strstr(path, "-shm");
}

static void gone(void) {
    kill(getpid(), SIGKILL);
    for (;;) pause();
}

static void lose(void) {
    for (; undo; undo = undo->before) {
        int fd = open(undo->path, O_WRONLY);
        if (fd < 0) continue;
        if (REAL(pwrite)(fd, undo->old, undo->length, undo->offset) < 0 || REAL(ftruncate)(fd, undo->size) < 0) abort();
        close(fd);
    }
}

static void remember(int fd, const char *path, off_t offset, size_t length) {
    struct stat stat;
    if (strcmp(mode, "lose") || fstat(fd, &stat)) return;
    struct undo *new = malloc(sizeof *new + length);
    int in = open(path, O_RDONLY);
    if (!new || in < 0) abort();
    new->length = pread(in, new->old, length, offset);
    close(in);
    new->before = undo;
    new->inode = stat.st_ino;
    new->offset = offset;
    new->size = stat.st_size;
    snprintf(new->path, sizeof new->path, "%s", path);
    undo = new;
}

static void synced(int fd) {
    struct stat stat;
    if (fstat(fd, &stat)) return;
    for (struct undo **at = &undo; *at;)
        if ((*at)->inode == stat.st_ino) *at = (*at)->before;
        else at = &(*at)->before;
}

/* Counts an event. Whether it is the one, or behind it where faults last. */
static int event(char what) {
    events++;
    if (log_fd >= 0 && REAL(write)(log_fd, &what, 1) < 0) abort();
    if (!strcmp(mode, "count") || events < at) return 0;
    if (!strcmp(mode, "full") || !strcmp(mode, "sync")) return 1;
    if (events > at) return 0;
    if (!strcmp(mode, "kill") || (what != 'w' && !strcmp(mode, "torn"))) gone();
    if (!strcmp(mode, "lose")) {
        lose();
        gone();
    }
    return 1;
}

static ssize_t writes(int fd, const void *data, size_t length, off_t offset, int moves) {
    char path[512];
    pthread_mutex_lock(&lock);
    if (watched(fd, path, sizeof path)) {
        int fault = event('w');
        off_t place = moves ? lseek(fd, 0, SEEK_CUR) : offset;
        if (fault && !strcmp(mode, "torn")) {
            if (REAL(pwrite)(fd, data, length / 2, place) < 0) abort();
            gone();
        }
        if (fault && !strcmp(mode, "full")) {
            pthread_mutex_unlock(&lock);
            errno = ENOSPC;
            return -1;
        }
        remember(fd, path, place, length);
    }
    ssize_t written = moves ? REAL(write)(fd, data, length) : REAL(pwrite)(fd, data, length, offset);
    pthread_mutex_unlock(&lock);
    return written;
}

ssize_t write(int fd, const void *data, size_t length) { return writes(fd, data, length, 0, 1); }
ssize_t pwrite(int fd, const void *data, size_t length, off_t offset) { return writes(fd, data, length, offset, 0); }
ssize_t pwrite64(int fd, const void *data, size_t length, off64_t offset) { return writes(fd, data, length, offset, 0); }

static int truncates(int fd, off_t length) {
    char path[512];
    pthread_mutex_lock(&lock);
    struct stat stat;
    if (watched(fd, path, sizeof path) && !fstat(fd, &stat)) {
        event('t');
        if (stat.st_size > length) remember(fd, path, length, stat.st_size - length);
    }
    int done = REAL(ftruncate)(fd, length);
    pthread_mutex_unlock(&lock);
    return done;
}

int ftruncate(int fd, off_t length) { return truncates(fd, length); }
int ftruncate64(int fd, off64_t length) { return truncates(fd, length); }

static int syncs(int fd, int (*real)(int)) {
    char path[512];
    pthread_mutex_lock(&lock);
    int failed = 0, is_watched = watched(fd, path, sizeof path);
    if (is_watched) failed = event('s') && !strcmp(mode, "sync");
    int done = failed ? -1 : real(fd);
    if (is_watched && !failed) synced(fd);
    pthread_mutex_unlock(&lock);
    if (failed) errno = EIO;
    return done;
}

int fsync(int fd) { return syncs(fd, REAL(fsync)); }
int fdatasync(int fd) { return syncs(fd, REAL(fdatasync)); }

int clock_gettime(clockid_t clock, struct timespec *time) {
    static __typeof__(&clock_gettime) real;
    if (!real) real = REAL(clock_gettime);
    int done = real(clock, time);
    const char *ahead = getenv("FAULT_CLOCK");
    if (!done && ahead && clock == CLOCK_REALTIME) time->tv_sec += atol(ahead);
    return done;
}
