/* A disk, a clock, or a moment, that fails: loaded before libc into a real `planwire`.
 *
 * PLANWIRE_SHIM is "ACT CALL KIND N": at the N-th CALL to a file of that KIND, do ACT. PLANWIRE_SHIM_ARM names a file;
 * calls are counted once it exists, and ".hit" beside it says that the N-th came.
 *
 *   ACT   fail         the call returns an error and does nothing
 *         kill-before  the process ends as by kill -9 instead of the call
 *         kill-half    ... after half of the bytes are written
 *         kill-after   ... after the call
 *         defer        syncs of the WAL are put off until the database is written: `synchronous=NORMAL`
 *   CALL  write, sync, cut (ftruncate), any; time (clock_gettime), which Rust answers with a panic
 *   KIND  wal, db, shm, journal, head (the witness), socket, file (any of a log); of time: the name of a thread
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <fcntl.h>
#include <time.h>
#include <unistd.h>

static char act[32], call[16], kind[16], armed_by[4096], hit_file[4104];
static long nth;
static atomic_long seen;
static atomic_int deferred = -1;

__attribute__((constructor)) static void begin(void) {
    const char *rule = getenv("PLANWIRE_SHIM");
    const char *arm = getenv("PLANWIRE_SHIM_ARM");
    if (rule && sscanf(rule, "%31s %15s %15s %ld", act, call, kind, &nth) != 4) act[0] = 0;
    if (arm && strlen(arm) < sizeof armed_by) {
        strcpy(armed_by, arm);
        snprintf(hit_file, sizeof hit_file, "%s.hit", arm);
    }
}

static int ends(const char *path, const char *end) {
    size_t length = strlen(path), of_end = strlen(end);
    return length >= of_end && strcmp(path + length - of_end, end) == 0;
}

static const char *kind_of(int fd) {
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0) return "";
    path[length] = 0;
    if (ends(path, ".db-wal")) return "wal";
    if (ends(path, ".db-shm")) return "shm";
    if (ends(path, ".db-journal")) return "journal";
    if (ends(path, ".db.head")) return "head";
    if (ends(path, ".db")) return "db";
    return strncmp(path, "socket:", 7) == 0 ? "socket" : "";
}

static void end_now(void) {
    syscall(SYS_kill, getpid(), SIGKILL);
    for (;;) pause();
}

/* Counts a call of the kind that was asked for; whether it is the n-th. */
static int is_nth(void) {
    int now = (!armed_by[0] || access(armed_by, F_OK) == 0) && atomic_fetch_add(&seen, 1) + 1 == nth;
    if (now && hit_file[0]) {
        int hit = syscall(SYS_openat, AT_FDCWD, hit_file, O_CREAT | O_WRONLY, 0600);
        if (hit >= 0) syscall(SYS_close, hit);
    }
    return now;
}

/* Whether this is the call that was asked for. */
static int is_it(const char *name, int fd) {
    if (!act[0] || strcmp(act, "defer") == 0) return 0;
    if (strcmp(call, "any") != 0 && strcmp(call, name) != 0) return 0;
    int saved = errno;
    const char *found = kind_of(fd);
    int of_log = found[0] && strcmp(found, "socket") != 0;
    int now = (strcmp(kind, found) == 0 || (strcmp(kind, "file") == 0 && of_log)) && is_nth();
    errno = saved;
    return now;
}

static int is(const char *name) { return strcmp(act, name) == 0; }

#define REAL(type, name, ...)                                                                                          \
    static type (*real)(__VA_ARGS__);                                                                                  \
    if (!real) real = (type(*)(__VA_ARGS__))dlsym(RTLD_NEXT, name)

/* `half` does half of the work, `whole` all of it. */
#define ACT_ON(name, fd, half, whole)                                                                                  \
    if (is_it(name, fd)) {                                                                                             \
        if (is("fail")) {                                                                                              \
            errno = EIO;                                                                                               \
            return -1;                                                                                                 \
        }                                                                                                              \
        if (is("kill-half")) half;                                                                                     \
        if (is("kill-after")) whole;                                                                                   \
        end_now();                                                                                                     \
    }

/* Before the database is written, the WAL is on disk: also with NORMAL. */
static void catch_up(int fd) {
    if (is("defer") && strcmp(kind_of(fd), "db") == 0) {
        int wal = atomic_exchange(&deferred, -1);
        if (wal >= 0) syscall(SYS_fsync, wal);
    }
}

ssize_t pwrite64(int fd, const void *bytes, size_t length, off64_t at) {
    REAL(ssize_t, "pwrite64", int, const void *, size_t, off64_t);
    catch_up(fd);
    ACT_ON("write", fd, real(fd, bytes, length / 2, at), real(fd, bytes, length, at))
    return real(fd, bytes, length, at);
}

ssize_t pwrite(int fd, const void *bytes, size_t length, off_t at) { return pwrite64(fd, bytes, length, at); }

static int sync_of(const char *symbol, int fd) {
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, symbol);
    if (is("defer") && strcmp(kind_of(fd), "wal") == 0) {
        atomic_store(&deferred, fd);
        return 0;
    }
    ACT_ON("sync", fd, (void)0, real(fd))
    return real(fd);
}

int fsync(int fd) { return sync_of("fsync", fd); }
int fdatasync(int fd) { return sync_of("fdatasync", fd); }

int ftruncate64(int fd, off64_t length) {
    REAL(int, "ftruncate64", int, off64_t);
    ACT_ON("cut", fd, (void)0, real(fd, length))
    return real(fd, length);
}

int ftruncate(int fd, off_t length) { return ftruncate64(fd, length); }

ssize_t write(int fd, const void *bytes, size_t length) {
    REAL(ssize_t, "write", int, const void *, size_t);
    ACT_ON("write", fd, real(fd, bytes, length / 2), real(fd, bytes, length))
    return real(fd, bytes, length);
}

ssize_t send(int fd, const void *bytes, size_t length, int flags) {
    REAL(ssize_t, "send", int, const void *, size_t, int);
    ACT_ON("write", fd, real(fd, bytes, length / 2, flags), real(fd, bytes, length, flags))
    return real(fd, bytes, length, flags);
}

ssize_t writev(int fd, const struct iovec *parts, int count) {
    REAL(ssize_t, "writev", int, const struct iovec *, int);
    ACT_ON("write", fd, write(fd, parts[0].iov_base, parts[0].iov_len / 2), real(fd, parts, count))
    return real(fd, parts, count);
}

int clock_gettime(clockid_t clock, struct timespec *time) {
    if (act[0] && strcmp(call, "time") == 0) {
        char name[16] = "";
        int saved = errno;
        prctl(PR_GET_NAME, name);
        if (strcmp(kind, name) == 0 && is_nth()) {
            errno = EINVAL;
            return -1;
        }
        errno = saved;
    }
    REAL(int, "clock_gettime", clockid_t, struct timespec *);
    return real(clock, time);
}
