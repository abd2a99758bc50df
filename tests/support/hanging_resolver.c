/* The C library's look-up of names: `*.invalid` is 127.0.0.1, or hangs while a file `hang` is. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <netdb.h>
#include <string.h>
#include <unistd.h>

typedef int look_up(const char *, const char *, const struct addrinfo *, struct addrinfo **);

int getaddrinfo(const char *name, const char *service, const struct addrinfo *hints,
                struct addrinfo **found)
{
    look_up *real = (look_up *)dlsym(RTLD_NEXT, "getaddrinfo");
    if (name && strstr(name, ".invalid")) {
        while (access("hang", F_OK) == 0)
            sleep(1);
        name = "127.0.0.1";
    }
    return real(name, service, hints, found);
}
