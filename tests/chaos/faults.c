/* Makes the writes of a process fail, or kills it in the middle of one, at exactly the k-th.

   Preloaded into the fork server (tests/chaos/fork_server.py). Nothing happens before `chaos_arm` is called in a child; then
   every operation below that folder which needs space is counted: making files and folders, writing, growing, syncing
   and renaming. What a full disk still allows (reading, cutting short, removing) is left alone, as a real one does.
   It is preloaded rather than patched into Python, because files are also written by C code. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

enum { COUNT = 0, FULL = 1, ONCE = 2, KILL = 3 };

static char below[PATH_MAX];
static int mode = COUNT;
static long wanted = -1, seen = 0;
static int armed = 0;

void chaos_arm(const char *folder, int how, long at) {
    snprintf(below, sizeof below, "%s", folder);
    mode = how;
    wanted = at;
    seen = 0;
    armed = 1;
}

long chaos_seen(void) { return seen; }

static int inside(const char *path) {
    size_t length = strlen(below);
    return strncmp(path, below, length) == 0 && (path[length] == '/' || path[length] == 0);
}

static int open_below(int descriptor) {
    char link[64], path[PATH_MAX];
    snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0) return 0;
    path[length] = 0;
    return inside(path);
}

/* Whether this operation fails; a process that is to be killed does not come back. `half` writes half of what was to be
   written, so that the journal's tail is torn. */
static int fails(int descriptor, const void *data, size_t size) {
    long number = __atomic_fetch_add(&seen, 1, __ATOMIC_SEQ_CST);
    if (mode == KILL && number == wanted) {
        ssize_t (*real)(int, const void *, size_t) = dlsym(RTLD_NEXT, "write");
        if (data && number % 2) (void)!real(descriptor, data, size / 2);
        kill(getpid(), SIGKILL);
        for (;;) pause();
    }
    return (mode == FULL && number >= wanted) || (mode == ONCE && number == wanted);
}

#define NEXT(type, name, ...) \
    static type (*real)(__VA_ARGS__); \
    if (!real) real = dlsym(RTLD_NEXT, #name)

ssize_t write(int descriptor, const void *data, size_t size) {
    NEXT(ssize_t, write, int, const void *, size_t);
    if (armed && open_below(descriptor) && fails(descriptor, data, size)) {
        /* A disk that fills up takes a part first; every other time this one does too. */
        if (size > 1 && wanted % 2 && seen == wanted + 1) return real(descriptor, data, size / 2);
        errno = ENOSPC;
        return -1;
    }
    return real(descriptor, data, size);
}

#define WRITE_AT(name, offset_type) \
    ssize_t name(int descriptor, const void *data, size_t size, offset_type offset) { \
        NEXT(ssize_t, name, int, const void *, size_t, offset_type); \
        if (armed && open_below(descriptor) && fails(-1, 0, 0)) { errno = ENOSPC; return -1; } \
        return real(descriptor, data, size, offset); \
    }
WRITE_AT(pwrite, off_t)
WRITE_AT(pwrite64, off64_t)

int fsync(int descriptor) {
    NEXT(int, fsync, int);
    if (armed && open_below(descriptor) && fails(-1, 0, 0)) { errno = ENOSPC; return -1; }
    return real(descriptor);
}

#define OPEN(name) \
    int name(const char *path, int flags, ...) { \
        NEXT(int, name, const char *, int, ...); \
        va_list rest; \
        va_start(rest, flags); \
        mode_t permissions = (flags & (O_CREAT | O_TMPFILE)) ? va_arg(rest, mode_t) : 0; \
        va_end(rest); \
        if (armed && (flags & O_CREAT) && inside(path) && access(path, F_OK) && fails(-1, 0, 0)) { \
            errno = ENOSPC; \
            return -1; \
        } \
        return real(path, flags, permissions); \
    }
OPEN(open)
OPEN(open64)

int mkdir(const char *path, mode_t permissions) {
    NEXT(int, mkdir, const char *, mode_t);
    if (armed && inside(path) && access(path, F_OK) && fails(-1, 0, 0)) { errno = ENOSPC; return -1; }
    return real(path, permissions);
}

int rename(const char *from, const char *to) {
    NEXT(int, rename, const char *, const char *);
    if (armed && inside(to) && fails(-1, 0, 0)) { errno = ENOSPC; return -1; }
    return real(from, to);
}
