// A disk that refuses: loaded before libc, it has calls on files of one folder fail while a test says so.
//
// REFUSING_FOLDER: the folder that is on the disk. REFUSING_SAYS: a folder of the test's; while a file `fsync` is in it,
// fsync and fdatasync fail with EIO; while a file `read-only` is in it, every write fails with EROFS.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

static int says(const char *what) {
    char path[4096];
    const char *folder = getenv("REFUSING_SAYS");
    int kept = errno;
    int there = folder && snprintf(path, sizeof path, "%s/%s", folder, what) > 0 && access(path, F_OK) == 0;
    errno = kept;
    return there;
}

static int within(const char *path) {
    const char *folder = getenv("REFUSING_FOLDER");
    return folder && path && strncmp(path, folder, strlen(folder)) == 0;
}

static int on_disk(int fd) {
    char link[64], path[4096];
    int kept = errno;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    path[length > 0 ? length : 0] = 0;
    errno = kept;
    return within(path);
}

#define NEXT(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))
#define REFUSE(what, of, error) if (says(what) && (of)) { errno = error; return -1; }
#define WRITING (O_WRONLY | O_RDWR | O_CREAT | O_TRUNC)

int fsync(int fd) { REFUSE("fsync", on_disk(fd), EIO) return NEXT(fsync)(fd); }
int fdatasync(int fd) { REFUSE("fsync", on_disk(fd), EIO) return NEXT(fdatasync)(fd); }

#define READ_ONLY(of) REFUSE("read-only", of, EROFS)

ssize_t write(int fd, const void *from, size_t n) { READ_ONLY(on_disk(fd)) return NEXT(write)(fd, from, n); }
ssize_t writev(int fd, const struct iovec *v, int n) { READ_ONLY(on_disk(fd)) return NEXT(writev)(fd, v, n); }
ssize_t pwrite(int fd, const void *from, size_t n, off_t at) {
    READ_ONLY(on_disk(fd)) return NEXT(pwrite)(fd, from, n, at);
}
ssize_t pwrite64(int fd, const void *from, size_t n, off64_t at) {
    READ_ONLY(on_disk(fd)) return NEXT(pwrite64)(fd, from, n, at);
}
int ftruncate(int fd, off_t n) { READ_ONLY(on_disk(fd)) return NEXT(ftruncate)(fd, n); }
int ftruncate64(int fd, off64_t n) { READ_ONLY(on_disk(fd)) return NEXT(ftruncate64)(fd, n); }
int rename(const char *from, const char *to) { READ_ONLY(within(from)) return NEXT(rename)(from, to); }
int unlink(const char *path) { READ_ONLY(within(path)) return NEXT(unlink)(path); }
int mkdir(const char *path, mode_t mode) { READ_ONLY(within(path)) return NEXT(mkdir)(path, mode); }

#define OPEN(name) \
    int name(const char *path, int flags, ...) { \
        va_list more; \
        va_start(more, flags); \
        mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(more, mode_t) : 0; \
        va_end(more); \
        READ_ONLY((flags & WRITING) && within(path)) \
        return NEXT(name)(path, flags, mode); \
    }
OPEN(open)
OPEN(open64)
