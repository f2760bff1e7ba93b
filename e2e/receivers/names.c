/* The system's resolver, and one more name: NAMES_NAME leads to the first word of NAMES_ADDRESSES when it is first looked
   up, to the second the next time, and to the last from then on. To be loaded before the C library (LD_PRELOAD). */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <netdb.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#define ADDRESS_CHARS_MAX 64

typedef int look_up(const char *, const char *, const struct addrinfo *, struct addrinfo **);

static atomic_uint looks;

/* The nth word, or the last. */
static void word(const char *words, unsigned n, char into[ADDRESS_CHARS_MAX]) {
    for (;;) {
        size_t length = strcspn(words, " ");
        if (n == 0 || words[length] == '\0') {
            if (length >= ADDRESS_CHARS_MAX) abort();
            memcpy(into, words, length);
            into[length] = '\0';
            return;
        }
        words += length + 1;
        n--;
    }
}

int getaddrinfo(const char *node, const char *service, const struct addrinfo *hints, struct addrinfo **found) {
    look_up *system = (look_up *)dlsym(RTLD_NEXT, "getaddrinfo");
    const char *name = getenv("NAMES_NAME"), *addresses = getenv("NAMES_ADDRESSES");
    char address[ADDRESS_CHARS_MAX];
    if (name != NULL && addresses != NULL && node != NULL && strcmp(node, name) == 0) {
        word(addresses, atomic_fetch_add(&looks, 1), address);
        node = address;
    }
    return system(node, service, hints, found);
}
