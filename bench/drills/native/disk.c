/* A disk between a process and its files, by LD_PRELOAD: it fails on demand, and keeps a journal.
 *
 * DRILL_FOLDER   files under it are looked at, all others left alone
 * DRILL_CONTROL  a file of one int32: what fails now (see `enum`)
 * DRILL_JOURNAL  a file to which every change and every sync is appended (see power.py)
 * DRILL_UNSYNCED suffix of files whose syncs are left out: shows that the power drill can fail
 *
 * Journal: op (u8), length of the path (u32), offset (u64), length of the data (u64), path, data.
 * A change is noted after it was made; a sync when it begins (B) and when it has ended (E).
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

enum { WELL, NO_WRITES, NO_SYNCS, SOME_WRITES };
#define FILES 65536

static char *paths[FILES];
static const char *folder, *unsynced;
static volatile int32_t *control;
static int journal = -1;
static uint64_t serial;
static unsigned counter;

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

__attribute__((constructor)) static void begin(void) {
    folder = getenv("DRILL_FOLDER");
    unsynced = getenv("DRILL_UNSYNCED");
    const char *name = getenv("DRILL_CONTROL");
    if (name) {
        int fd = REAL(open)(name, O_RDWR | O_CLOEXEC);
        void *at = fd < 0 ? MAP_FAILED : mmap(0, 4, PROT_READ, MAP_SHARED, fd, 0);
        if (at != MAP_FAILED) control = at;
        if (fd >= 0) REAL(close)(fd);
    }
    name = getenv("DRILL_JOURNAL");
    if (name) {
        int fd = REAL(open)(name, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
        journal = fcntl(fd, F_DUPFD_CLOEXEC, 900);
        REAL(close)(fd);
    }
}

static void note(char op, const char *path, uint64_t offset, const void *data, uint64_t length) {
    if (journal < 0) return;
    uint32_t named = strlen(path);
    struct iovec parts[] = {{&op, 1}, {&named, 4}, {&offset, 8}, {&length, 8},
                            {(void *)path, named}, {(void *)data, data ? length : 0}};
    int kept = errno;
    if (writev(journal, parts, 6) < 0) abort();
    errno = kept;
}

static const char *known(int fd) { return fd >= 0 && fd < FILES ? paths[fd] : 0; }

static int fails(int fd, int is_sync) {
    if (!control || !known(fd)) return 0;
    int mode = *control;
    if (mode == WELL) return 0;
    if (is_sync) return mode == NO_SYNCS;
    return mode == NO_WRITES ||
           (mode == SOME_WRITES && __atomic_fetch_add(&counter, 1, __ATOMIC_RELAXED) % 3 == 0);
}

static int refuse(void) { errno = EIO; return -1; }

static int opened(int fd, const char *path, int flags, int was_there) {
    if (fd < 0 || fd >= FILES || !folder) return fd;
    char whole[PATH_MAX];
    free(paths[fd]);
    paths[fd] = 0;
    if (!realpath(path, whole) || strncmp(whole, folder, strlen(folder))) return fd;
    paths[fd] = strdup(whole);
    if ((flags & O_CREAT) && !was_there) note('C', whole, 0, 0, 0);
    if ((flags & O_TRUNC) && was_there) note('T', whole, 0, 0, 0);
    return fd;
}

#define OPEN(name)                                                              \
    int name(const char *path, int flags, ...) {                                \
        va_list more;                                                           \
        va_start(more, flags);                                                  \
        mode_t mode = va_arg(more, mode_t);                                     \
        va_end(more);                                                           \
        int was_there = !(flags & O_CREAT) || access(path, F_OK) == 0;          \
        return opened(REAL(name)(path, flags, mode), path, flags, was_there);   \
    }
OPEN(open)
OPEN(open64)

int close(int fd) {
    if (known(fd)) { free(paths[fd]); paths[fd] = 0; }
    return REAL(close)(fd);
}

static ssize_t wrote(int fd, const void *data, ssize_t length, off_t offset) {
    if (length > 0 && known(fd)) note('W', known(fd), offset, data, length);
    return length;
}

#define PWRITE(name)                                                            \
    ssize_t name(int fd, const void *data, size_t length, off_t offset) {       \
        if (fails(fd, 0)) return refuse();                                      \
        return wrote(fd, data, REAL(name)(fd, data, length, offset), offset);   \
    }
PWRITE(pwrite)
PWRITE(pwrite64)

ssize_t write(int fd, const void *data, size_t length) {
    if (fails(fd, 0)) return refuse();
    off_t offset = known(fd) ? lseek(fd, 0, SEEK_CUR) : 0;
    return wrote(fd, data, REAL(write)(fd, data, length), offset);
}

#define TRUNCATE(name)                                                          \
    int name(int fd, off_t length) {                                            \
        if (fails(fd, 0)) return refuse();                                      \
        int done = REAL(name)(fd, length);                                      \
        if (done == 0 && known(fd)) note('T', known(fd), length, 0, 0);         \
        return done;                                                            \
    }
TRUNCATE(ftruncate)
TRUNCATE(ftruncate64)

static int left_out(const char *path) {
    size_t all = strlen(path), end = unsynced ? strlen(unsynced) : 0;
    return end && all >= end && strcmp(path + all - end, unsynced) == 0;
}

#define SYNC(name)                                                              \
    int name(int fd) {                                                          \
        const char *path = known(fd);                                           \
        if (fails(fd, 1)) return refuse();                                      \
        if (!path) return REAL(name)(fd);                                       \
        if (left_out(path)) return 0;                                           \
        uint64_t id = __atomic_fetch_add(&serial, 1, __ATOMIC_RELAXED);         \
        id |= (uint64_t)getpid() << 32;                                         \
        note('B', path, id, 0, 0);                                              \
        int done = REAL(name)(fd);                                              \
        if (done == 0) note('E', path, id, 0, 0);                               \
        return done;                                                            \
    }
SYNC(fsync)
SYNC(fdatasync)

int unlink(const char *path) {
    char whole[PATH_MAX];
    int ours = folder && realpath(path, whole) && !strncmp(whole, folder, strlen(folder));
    int done = REAL(unlink)(path);
    if (done == 0 && ours) note('U', whole, 0, 0, 0);
    return done;
}

int link(const char *from, const char *to) {
    char whole[PATH_MAX], other[PATH_MAX];
    int done = REAL(link)(from, to);
    if (done == 0 && folder && realpath(to, whole) && realpath(from, other) &&
        !strncmp(whole, folder, strlen(folder)))
        note('L', whole, 0, other, strlen(other));
    return done;
}

int mkdir(const char *path, mode_t mode) {
    char whole[PATH_MAX];
    int done = REAL(mkdir)(path, mode);
    if (done == 0 && folder && realpath(path, whole) && !strncmp(whole, folder, strlen(folder)))
        note('D', whole, 0, 0, 0);
    return done;
}
