/* Preloaded into redis-server: notes how much of a file is on the disk for certain, as "length path" lines in the file
 * that VLMIR_SYNCED names. What was written later is what a power failure takes. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static int noted(int fd, const char *name) {
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, name);
    struct stat before;
    int is_known = fstat(fd, &before) == 0 && S_ISREG(before.st_mode);
    int answer = real(fd);
    const char *log = getenv("VLMIR_SYNCED");
    char link[64], path[4096], line[4200];
    if (answer != 0 || !is_known || log == NULL) {
        return answer;
    }
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    int out = open(log, O_WRONLY | O_CREAT | O_APPEND, 0600);
    if (length > 0 && out >= 0) {
        path[length] = '\0';
        int size = snprintf(line, sizeof line, "%lld %s\n", (long long)before.st_size, path);
        if (write(out, line, (size_t)size) != size) {
            abort();
        }
    }
    if (out >= 0) {
        close(out);
    }
    return answer;
}

int fsync(int fd) { return noted(fd, "fsync"); }
int fdatasync(int fd) { return noted(fd, "fdatasync"); }
