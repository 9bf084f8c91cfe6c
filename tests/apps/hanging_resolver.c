// Preloaded: getaddrinfo(3) with a name server that never answers for the name "hangs.test".
#include <dlfcn.h>
#include <netdb.h>
#include <string.h>
#include <unistd.h>

int getaddrinfo(const char *node, const char *service, const struct addrinfo *hints, struct addrinfo **found)
{
    if (node && strcmp(node, "hangs.test") == 0)
        for (;;)
            pause();
    int (*real)(const char *, const char *, const struct addrinfo *, struct addrinfo **) = dlsym(RTLD_NEXT, "getaddrinfo");
    return real(node, service, hints, found);
}
