// Preloaded: write(2) to a regular file whose name ends in ".1" fails for want of room, or with DISK=hangs never comes back.
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

ssize_t write(int fd, const void *bytes, size_t count)
{
    struct stat file;
    char link[64], name[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t len = fstat(fd, &file) == 0 && S_ISREG(file.st_mode) ? readlink(link, name, sizeof name) : 0;
    if (len > 2 && memcmp(name + len - 2, ".1", 2) == 0) {
        const char *disk = getenv("DISK");
        while (disk && strcmp(disk, "hangs") == 0)
            pause();
        errno = ENOSPC;
        return -1;
    }
    ssize_t (*real)(int, const void *, size_t) = dlsym(RTLD_NEXT, "write");
    return real(fd, bytes, count);
}
