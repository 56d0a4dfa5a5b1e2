/* Faults for the file-system calls of a process. Loaded with LD_PRELOAD; tests/faults/shim.py is its other half.

   Every call below that names something under the armed directory is counted, from 1, and written to the trace as a
   line of JSON; the call of a given number fails, does half its work, or kills the process. Calls on anything else go
   through untouched. No fsync reaches the disk: it is counted and traced, and tests/faults/power_cut.py says what would
   be lost without it. For processes that do their file work in one thread. */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum kind { LOOKS, TAKES, FREES };  /* what a call does with space: FULL stops those that take some */
enum fault { NONE, FAIL, FULL, GONE, SHORT, PART, KILL_BEFORE, KILL_AFTER, KILL_PART };  /* shim.py: Fault */

struct call {
    int dir;  /* a descriptor, and a path relative to it; no path: the descriptor's own file */
    const char *path;
    int other_dir;
    const char *other;
    int flags;
    const char *data;
    size_t size;
    off_t offset;  /* of a write, -1: where the descriptor stands; of a truncation, the new size */
    char whole[PATH_MAX], other_whole[PATH_MAX];
};

static char armed[PATH_MAX];
static int calls, at, error, reached;
static enum fault fault;
static FILE *trace;

void shim_arm(const char *directory, int call_number, int mode, int error_number, const char *trace_path)
{
    FILE *file = trace_path ? fopen(trace_path, "w") : NULL;
    calls = reached = 0;
    at = call_number, fault = mode, error = error_number, trace = file;
    snprintf(armed, sizeof armed, "%s", directory);
}

/* Whether the fault was reached. */
int shim_disarm(void)
{
    armed[0] = 0;
    if (trace)
        fclose(trace);
    trace = NULL;
    return reached;
}

static void whole_path(char *whole, int dir, const char *path)
{
    char link[32];
    ssize_t size = 0;
    if (!path || path[0] != '/') {
        snprintf(link, sizeof link, dir == AT_FDCWD ? "/proc/self/cwd" : "/proc/self/fd/%d", dir);
        size = readlink(link, whole, PATH_MAX - 1);
        size = size < 0 ? 0 : size;
        if (path)
            whole[size++] = '/';
    }
    snprintf(whole + size, PATH_MAX - size, "%s", path ? path : "");
}

static int concerns(struct call *call)
{
    size_t size = strlen(armed);
    if (!size)
        return 0;
    whole_path(call->whole, call->dir, call->path);
    if (call->other)
        whole_path(call->other_whole, call->other_dir, call->other);
    return !strncmp(call->whole, armed, size) && (call->whole[size] == '/' || !call->whole[size]);
}

static void die(void)
{
    if (trace)
        fflush(trace);
    kill(getpid(), SIGKILL);
    for (;;)
        pause();
}

/* Whether the call, now counted, must fail. */
static int stopped(enum kind kind, struct call *call)
{
    ++calls;
    if (calls < at || fault == NONE || (calls > at && fault != FULL && fault != GONE))
        return 0;
    if (fault == FULL && kind != TAKES)
        return 0;
    reached = 1;
    if (fault == KILL_BEFORE)
        die();
    if (fault == SHORT || fault == PART || fault == KILL_PART)
        call->size /= 2;
    if (fault != FAIL && fault != FULL && fault != GONE)
        return 0;
    errno = error;
    return 1;
}

static void finished(enum kind kind, const struct call *call, const char *name, long result)
{
    int before = errno;
    if (trace) {
        off_t offset = call->data && call->offset < 0 ? lseek(call->dir, 0, SEEK_CUR) - result : call->offset;
        fprintf(trace, "{\"name\": \"%s\", \"kind\": %d, \"path\": \"%s\", \"other\": \"%s\", \"flags\": %d, ", name,
                kind, call->whole, call->other_whole, call->flags);
        fprintf(trace, "\"offset\": %ld, \"result\": %ld, \"data\": \"", (long)offset, result);
        for (long i = 0; call->data && i < result; ++i)
            fprintf(trace, "%02x", (unsigned char)call->data[i]);
        fprintf(trace, "\"}\n");
    }
    if (calls == at && (fault == KILL_AFTER || fault == KILL_PART))
        die();
    if (calls == at && fault == PART)  /* the half that was written is followed by an error */
        ++at, fault = FAIL;
    errno = before;
}

#define CALL(kind, type, failure, name, parameters, arguments, setup, ...)                                            \
    type name parameters                                                                                              \
    {                                                                                                                 \
        static type(*real) parameters;                                                                                \
        setup;                                                                                                        \
        struct call call = {__VA_ARGS__};                                                                             \
        if (!real)                                                                                                    \
            real = dlsym(RTLD_NEXT, #name);                                                                           \
        if (!concerns(&call))                                                                                         \
            return real arguments;                                                                                    \
        if (stopped(kind, &call))                                                                                     \
            return failure;                                                                                           \
        type result = real arguments;                                                                                 \
        finished(kind, &call, #name, (long)result);                                                                   \
        return result;                                                                                                \
    }
#define ON_PATH(kind, name, parameters, arguments, ...) CALL(kind, int, -1, name, parameters, arguments, , __VA_ARGS__)
#define OPEN(name, dir, parameters, arguments)                                                                        \
    CALL(flags & O_CREAT ? TAKES : LOOKS, int, -1, name, parameters, arguments, va_list rest; va_start(rest, flags);  \
         mode_t mode = flags & O_CREAT ? va_arg(rest, mode_t) : 0; va_end(rest), dir, path, .flags = flags)

OPEN(open, AT_FDCWD, (const char *path, int flags, ...), (path, flags, mode))
OPEN(open64, AT_FDCWD, (const char *path, int flags, ...), (path, flags, mode))
OPEN(openat, dir, (int dir, const char *path, int flags, ...), (dir, path, flags, mode))
OPEN(openat64, dir, (int dir, const char *path, int flags, ...), (dir, path, flags, mode))
CALL(FREES, int, (real(fd), errno = error, -1), close, (int fd), (fd), , fd) /* a failed close has closed, too */
CALL(LOOKS, ssize_t, -1, read, (int fd, void *data, size_t size), (fd, data, call.size), , fd, .size = size)
CALL(TAKES, ssize_t, -1, write, (int fd, const void *data, size_t size), (fd, data, call.size), , fd, .data = data,
     .size = size, .offset = -1)
CALL(TAKES, ssize_t, -1, pwrite64, (int fd, const void *data, size_t size, off64_t offset),
     (fd, data, call.size, offset), , fd, .data = data, .size = size, .offset = offset)
CALL(LOOKS, DIR *, NULL, opendir, (const char *path), (path), , AT_FDCWD, path)
CALL(LOOKS, DIR *, NULL, fdopendir, (int fd), (fd), , fd)
ON_PATH(LOOKS, stat64, (const char *path, struct stat64 *status), (path, status), AT_FDCWD, path)
ON_PATH(LOOKS, lstat64, (const char *path, struct stat64 *status), (path, status), AT_FDCWD, path)
ON_PATH(LOOKS, fstat64, (int fd, struct stat64 *status), (fd, status), fd)
ON_PATH(LOOKS, fstatat64, (int dir, const char *path, struct stat64 *status, int flags), (dir, path, status, flags),
        dir, path)
ON_PATH(TAKES, mkdir, (const char *path, mode_t mode), (path, mode), AT_FDCWD, path)
ON_PATH(TAKES, rename, (const char *path, const char *other), (path, other), AT_FDCWD, path, AT_FDCWD, other)
ON_PATH(TAKES, ftruncate64, (int fd, off64_t size), (fd, size), fd, .offset = size)
ON_PATH(FREES, unlink, (const char *path), (path), AT_FDCWD, path)
ON_PATH(FREES, unlinkat, (int dir, const char *path, int flags), (dir, path, flags), dir, path, .flags = flags)
ON_PATH(FREES, rmdir, (const char *path), (path), AT_FDCWD, path)

static int nowhere(int fd)
{
    return fcntl(fd, F_GETFD) < 0 ? -1 : 0;
}
#define SYNC(name)                                                                                                    \
    int name(int fd)                                                                                                  \
    {                                                                                                                 \
        struct call call = {fd};                                                                                      \
        if (!concerns(&call))                                                                                         \
            return nowhere(fd);                                                                                       \
        if (stopped(TAKES, &call))                                                                                    \
            return -1;                                                                                                \
        int result = nowhere(fd);                                                                                     \
        finished(TAKES, &call, #name, result);                                                                        \
        return result;                                                                                                \
    }
SYNC(fsync)
SYNC(fdatasync)
