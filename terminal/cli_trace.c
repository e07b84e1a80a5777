#include "terminal/cli.h"
enum cli_exit cli_trace(struct cli *c)
{
    return cli_fail_say(c, CLI_FAILED, CW_ERR_UNSUPPORTED, "x");
}
