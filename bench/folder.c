#include "bench/folder.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

enum cw_err folder_make(char *dir, size_t cap, struct say *why)
{
    const char *tmp = getenv("TMPDIR");
    int n = snprintf(dir, cap, "%s/cardwire-bench.XXXXXX",
                     tmp != NULL && tmp[0] != '\0' ? tmp : P_tmpdir);
    if (n > 0 && (size_t)n < cap && mkdtemp(dir) != NULL)
        return CW_OK;
    dir[0] = '\0';
    return say_fail(why, CW_ERR_IO, "cannot make a temporary folder; is TMPDIR right?");
}

void folder_strike(const char *dir)
{
    pid_t child = dir[0] != '\0' ? fork() : -1;
    if (child == 0) {
        execlp("rm", "rm", "-rf", "--", dir, (char *)NULL);
        _exit(127);
    }
    if (child > 0)
        (void)waitpid(child, NULL, 0);
}
