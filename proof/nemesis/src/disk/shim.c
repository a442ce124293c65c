/* Stands between a process and the files below one folder, by LD_PRELOAD: refuses writes and syncs, slows syncs
 * down, and keeps a journal of what is done to the files, from which a power cut is played.
 *
 * NEMESIS_DISK_FOLDER   the folder, without symbolic links in its path
 * NEMESIS_DISK_CONTROL  a file of eight 32-bit words, see `struct control`
 * NEMESIS_DISK_JOURNAL  where the journal is appended; none is kept without it
 *
 * Calls go to the kernel directly, so that nothing here calls another library's hook. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

/* Shared with whoever causes the faults. The last four words are counted here. */
struct control {
    _Atomic uint32_t is_full;       /* writes fail with ENOSPC when `room_bytes` are used up */
    _Atomic uint32_t room_bytes;
    _Atomic uint32_t syncs_fail;    /* with EIO */
    _Atomic uint32_t sync_delay_ms;
    _Atomic uint32_t loaded;
    _Atomic uint32_t writes_refused;
    _Atomic uint32_t syncs_failed;
    _Atomic uint32_t syncs_slowed;
};

/* The head of a record of the journal; behind it the name and the bytes. All in the machine's byte order. */
struct head {
    uint32_t kind;
    uint32_t name_bytes;
    uint64_t number; /* an offset, a length, or the number of a sync */
    uint64_t more_bytes;
};

enum kind { OPEN = 1, TRUNCATE, WRITE, SYNC_BEGINS, SYNC_ENDS, RENAME, REMOVE };

static struct control none;
static struct control *control = &none;
static char folder[PATH_MAX];
static size_t folder_bytes;
static int journal = -1;
static uint64_t syncs;
/* Around each change and its record: their order is the same. */
static pthread_mutex_t order = PTHREAD_MUTEX_INITIALIZER;
static pthread_mutex_t room_lock = PTHREAD_MUTEX_INITIALIZER;

__attribute__((constructor)) static void begin(void) {
    const char *below = getenv("NEMESIS_DISK_FOLDER");
    const char *path = getenv("NEMESIS_DISK_CONTROL");
    if (!below || !path || strlen(below) >= sizeof folder) return;
    int file = (int)syscall(SYS_openat, AT_FDCWD, path, O_RDWR | O_CLOEXEC, 0);
    if (file < 0) return;
    void *mapped = mmap(NULL, sizeof *control, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    syscall(SYS_close, file);
    if (mapped == MAP_FAILED) return;
    const char *kept = getenv("NEMESIS_DISK_JOURNAL");
    if (kept) {
        journal = (int)syscall(SYS_openat, AT_FDCWD, kept, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
        if (journal < 0) return;
    }
    control = mapped;
    control->loaded++;
    strcpy(folder, below);
    folder_bytes = strlen(below);
}

/* What a path is below the folder, "" the folder itself; none for others. */
static const char *name_of(const char *path) {
    if (!folder_bytes || strncmp(path, folder, folder_bytes) != 0) return NULL;
    if (path[folder_bytes] == '\0') return path + folder_bytes;
    return path[folder_bytes] == '/' ? path + folder_bytes + 1 : NULL;
}

/* The name of an open file at present: renames are followed. */
static const char *name_of_open(int file, char path[PATH_MAX]) {
    if (!folder_bytes) return NULL;
    char link[40] = "/proc/self/fd/";
    char digits[12];
    int at = sizeof digits - 1;
    digits[at] = '\0';
    unsigned rest = (unsigned)file;
    do digits[--at] = (char)('0' + rest % 10);
    while (rest /= 10);
    strcat(link, digits + at);
    int errno_before = errno;
    ssize_t length = syscall(SYS_readlinkat, AT_FDCWD, link, path, PATH_MAX - 1);
    errno = errno_before;
    if (length < 0) return NULL;
    path[length] = '\0';
    /* A file without a name is nobody's loss. */
    static const char gone[] = " (deleted)";
    const ssize_t gone_bytes = sizeof gone - 1;
    if (length > gone_bytes && strcmp(path + length - gone_bytes, gone) == 0) return NULL;
    return name_of(path);
}

static void note(enum kind kind, const char *name, uint64_t number, const void *bytes, size_t more_bytes) {
    if (journal < 0) return;
    int errno_before = errno;
    struct head head = {kind, (uint32_t)strlen(name), number, more_bytes};
    struct iovec parts[3] = {{&head, sizeof head}, {(void *)name, head.name_bytes}, {(void *)bytes, more_bytes}};
    size_t all = sizeof head + head.name_bytes + more_bytes;
    /* A journal with a hole would show losses that did not happen. */
    if (syscall(SYS_writev, journal, parts, 3) != (ssize_t)all) abort();
    errno = errno_before;
}

/* How much of a write there is room for; less than 0: it is refused. */
static ssize_t admitted(size_t bytes) {
    if (!control->is_full) return (ssize_t)bytes;
    pthread_mutex_lock(&room_lock);
    uint32_t room = control->room_bytes;
    uint32_t taken = bytes < room ? (uint32_t)bytes : room;
    control->room_bytes = room - taken;
    pthread_mutex_unlock(&room_lock);
    if (taken || !bytes) return (ssize_t)taken;
    control->writes_refused++;
    errno = ENOSPC;
    return -1;
}

/* A write at a place, or at the file's own (`at` < 0). */
static ssize_t write_at(int file, const void *bytes, size_t count, off_t at) {
    char path[PATH_MAX];
    const char *name = name_of_open(file, path);
    if (!name) {
        return at < 0 ? syscall(SYS_write, file, bytes, count) : syscall(SYS_pwrite64, file, bytes, count, at);
    }
    ssize_t room = admitted(count);
    if (room < 0) return -1;
    pthread_mutex_lock(&order);
    name = name_of_open(file, path);
    ssize_t written;
    if (at < 0) {
        written = syscall(SYS_write, file, bytes, (size_t)room);
        if (written > 0) at = syscall(SYS_lseek, file, 0, SEEK_CUR) - written;
    } else {
        written = syscall(SYS_pwrite64, file, bytes, (size_t)room, at);
    }
    if (written > 0 && name) note(WRITE, name, (uint64_t)at, bytes, (size_t)written);
    pthread_mutex_unlock(&order);
    return written;
}

/* Short, as the kernel may be too, where the file is below the folder: the caller goes on with the rest. */
static ssize_t write_parts(int file, const struct iovec *parts, int count, off_t at) {
    char path[PATH_MAX];
    if (!name_of_open(file, path)) {
        return at < 0 ? syscall(SYS_writev, file, parts, count) : syscall(SYS_pwritev, file, parts, count, at, 0);
    }
    ssize_t all = 0;
    for (int part = 0; part < count; part++) {
        ssize_t written = write_at(file, parts[part].iov_base, parts[part].iov_len, at);
        if (written < 0) return all ? all : -1;
        all += written;
        if (at >= 0) at += written;
        if ((size_t)written < parts[part].iov_len) break;
    }
    return all;
}

static int sync_file(long call, int file) {
    char path[PATH_MAX];
    const char *name = name_of_open(file, path);
    if (!name) return (int)syscall(call, file);
    uint32_t delay_ms = control->sync_delay_ms;
    pthread_mutex_lock(&order);
    uint64_t number = ++syncs;
    name = name_of_open(file, path);
    if (name) note(SYNC_BEGINS, name, number, "", 0);
    pthread_mutex_unlock(&order);
    if (delay_ms) {
        control->syncs_slowed++;
        struct timespec delay = {delay_ms / 1000, (long)(delay_ms % 1000) * 1000000};
        while (syscall(SYS_nanosleep, &delay, &delay) != 0 && errno == EINTR) {}
    }
    if (control->syncs_fail) {
        control->syncs_failed++;
        errno = EIO;
        return -1;
    }
    int result = (int)syscall(call, file);
    if (result == 0 && name) {
        pthread_mutex_lock(&order);
        note(SYNC_ENDS, "", number, "", 0);
        pthread_mutex_unlock(&order);
    }
    return result;
}

static int open_file(int beside, const char *path, int flags, mode_t mode) {
    if (!folder_bytes || !(flags & (O_CREAT | O_TRUNC))) return (int)syscall(SYS_openat, beside, path, flags, mode);
    char opened[PATH_MAX];
    pthread_mutex_lock(&order);
    int file = (int)syscall(SYS_openat, beside, path, flags, mode);
    const char *name = file < 0 ? NULL : name_of_open(file, opened);
    if (name && (flags & O_CREAT)) note(OPEN, name, 0, "", 0);
    if (name && (flags & O_TRUNC)) note(TRUNCATE, name, 0, "", 0);
    pthread_mutex_unlock(&order);
    return file;
}

static mode_t mode_of(int flags, va_list further) {
    return (flags & O_CREAT) || (flags & O_TMPFILE) == O_TMPFILE ? va_arg(further, mode_t) : 0;
}

#define OPENS(function, parameters, beside)               \
    int function parameters {                             \
        va_list further;                                  \
        va_start(further, flags);                         \
        mode_t mode = mode_of(flags, further);            \
        va_end(further);                                  \
        return open_file(beside, path, flags, mode);      \
    }
OPENS(open, (const char *path, int flags, ...), AT_FDCWD)
OPENS(open64, (const char *path, int flags, ...), AT_FDCWD)
OPENS(openat, (int beside, const char *path, int flags, ...), beside)
OPENS(openat64, (int beside, const char *path, int flags, ...), beside)

ssize_t write(int file, const void *bytes, size_t count) { return write_at(file, bytes, count, -1); }
ssize_t pwrite(int file, const void *bytes, size_t count, off_t at) { return write_at(file, bytes, count, at); }
ssize_t pwrite64(int file, const void *bytes, size_t count, off64_t at) { return write_at(file, bytes, count, at); }
ssize_t writev(int file, const struct iovec *parts, int count) { return write_parts(file, parts, count, -1); }
ssize_t pwritev(int file, const struct iovec *parts, int count, off_t at) { return write_parts(file, parts, count, at); }
ssize_t pwritev64(int file, const struct iovec *parts, int count, off64_t at) { return write_parts(file, parts, count, at); }
ssize_t pwritev2(int file, const struct iovec *parts, int count, off_t at, int flags) {
    char path[PATH_MAX];
    if (!name_of_open(file, path)) return syscall(SYS_pwritev2, file, parts, count, at, 0, flags);
    if (!flags) return write_parts(file, parts, count, at);
    /* A write that is a sync too would have to be noted as one. */
    errno = EOPNOTSUPP;
    return -1;
}
ssize_t pwritev64v2(int file, const struct iovec *parts, int count, off64_t at, int flags) {
    return pwritev2(file, parts, count, at, flags);
}
int fsync(int file) { return sync_file(SYS_fsync, file); }
int fdatasync(int file) { return sync_file(SYS_fdatasync, file); }

int ftruncate(int file, off_t length) {
    char path[PATH_MAX];
    pthread_mutex_lock(&order);
    int result = (int)syscall(SYS_ftruncate, file, length);
    const char *name = result == 0 ? name_of_open(file, path) : NULL;
    if (name) note(TRUNCATE, name, (uint64_t)length, "", 0);
    pthread_mutex_unlock(&order);
    return result;
}
int ftruncate64(int file, off64_t length) { return ftruncate(file, length); }

/* Space is given by writing, as on file systems that can't reserve any: so that it is in the journal. */
int posix_fallocate(int file, off_t at, off_t length) {
    char path[PATH_MAX];
    if (!name_of_open(file, path)) {
        return syscall(SYS_fallocate, file, 0, at, length) == 0 ? 0 : errno;
    }
    off_t end = syscall(SYS_lseek, file, 0, SEEK_CUR);
    off_t size = syscall(SYS_lseek, file, 0, SEEK_END);
    syscall(SYS_lseek, file, end, SEEK_SET);
    static const char zeros[4096];
    while (size < at + length) {
        off_t left = at + length - size;
        ssize_t written = write_at(file, zeros, left < 4096 ? (size_t)left : 4096, size);
        if (written <= 0) return written < 0 ? errno : ENOSPC;
        size += written;
    }
    return 0;
}
int posix_fallocate64(int file, off64_t at, off64_t length) { return posix_fallocate(file, at, length); }

int fallocate(int file, int mode, off_t at, off_t length) {
    char path[PATH_MAX];
    if (name_of_open(file, path)) {
        errno = EOPNOTSUPP;
        return -1;
    }
    return (int)syscall(SYS_fallocate, file, mode, at, length);
}
int fallocate64(int file, int mode, off64_t at, off64_t length) { return fallocate(file, mode, at, length); }

int rename(const char *from, const char *to) {
    pthread_mutex_lock(&order);
    int result = (int)syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, 0);
    const char *old_name = name_of(from), *new_name = name_of(to);
    if (result == 0 && old_name && new_name) note(RENAME, old_name, 0, new_name, strlen(new_name));
    pthread_mutex_unlock(&order);
    return result;
}

int unlink(const char *path) {
    pthread_mutex_lock(&order);
    int result = (int)syscall(SYS_unlinkat, AT_FDCWD, path, 0);
    const char *name = name_of(path);
    if (result == 0 && name) note(REMOVE, name, 0, "", 0);
    pthread_mutex_unlock(&order);
    return result;
}
