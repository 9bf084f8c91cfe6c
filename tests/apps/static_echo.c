/* Echoes to one client after the other on the port of its argument; says "ready" when it listens. Linked statically, it takes
   no library. */
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

int main(int argc, char **argv) {
    if (argc < 2)
        return 2;
    struct sockaddr_in addr = {.sin_family = AF_INET, .sin_port = htons((in_port_t)atoi(argv[1]))};
    int listener = socket(AF_INET, SOCK_STREAM, 0), on = 1;
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (listener < 0 || bind(listener, (struct sockaddr *)&addr, sizeof addr) || listen(listener, 5))
        return 1;
    puts("ready");
    fflush(stdout);
    for (;;) {
        int client = accept(listener, NULL, NULL);
        char data[4096];
        ssize_t count;
        while ((count = read(client, data, sizeof data)) > 0)
            if (write(client, data, (size_t)count) != count)
                break;
        close(client);
    }
}
