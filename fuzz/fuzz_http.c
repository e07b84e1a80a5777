/* fuzz_http.c - replies of a bank that is hostile or broken, to the terminal's HTTP client. */
#include "terminal/http.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct http_reply reply = {0};
    struct say why;
    size_t used = 0;
    if (http_reply_parse(data, size, &reply, &used, &why) != HTTP_DONE)
        return 0;
    if (used > size || reply.body_len > used || reply.status < 100 || reply.status > 999)
        abort();
    if (reply.body_len > 0 && (reply.body < data || reply.body + reply.body_len > data + size))
        abort();
    return 0;
}
