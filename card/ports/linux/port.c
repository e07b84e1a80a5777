#include "card/ports/linux/port.h"

#include "base/ct.h"
#include "host/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#define PAGE_SIZE  2048u
#define PAGE_COUNT 32u /* 64 KB: half of a small microcontroller's flash */
#define FLASH_SIZE (PAGE_SIZE * PAGE_COUNT)
#define CHIP_SIZE                                                                                  \
    (16u << 20) /* as scripts/chip leaves it when it was killed: the rest is not ours */

#define LOOK_TRIES    1000u
#define LOOK_PAUSE_US 1000u

/* Under which GlobalPlatform cards for development are delivered. */
static const uint8_t well_known[CARD_INITIAL_KEY_LEN] = {
    0x40, 0x41, 0x42, 0x43, 0x44, 0x45, 0x46, 0x47, 0x48, 0x49, 0x4A, 0x4B, 0x4C, 0x4D, 0x4E, 0x4F};

struct card_linux {
    struct card_port port;
    int dir;   /* holds the lock */
    int flash; /* flash.bin */
    bool sync;
    uint8_t *image; /* of the flash, when the card is only looked at */
};

static enum cw_err flash_read(void *ctx, uint32_t offset, void *data, uint32_t len)
{
    const struct card_linux *c = ctx;
    uint8_t *at = data;
    while (len > 0) {
        ssize_t n = pread(c->flash, at, len, (off_t)offset);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return CW_ERR_IO;
        at += n;
        offset += (uint32_t)n;
        len -= (uint32_t)n;
    }
    return CW_OK;
}

static enum cw_err write_at(const struct card_linux *c, uint32_t offset, const uint8_t *data,
                            uint32_t len)
{
    while (len > 0) {
        ssize_t n = pwrite(c->flash, data, len, (off_t)offset);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return CW_ERR_IO;
        data += n;
        offset += (uint32_t)n;
        len -= (uint32_t)n;
    }
    return c->sync && fdatasync(c->flash) != 0 ? CW_ERR_IO : CW_OK;
}

static enum cw_err flash_program(void *ctx, uint32_t offset, const void *data, uint32_t len)
{
    uint8_t cells[PAGE_SIZE];
    const uint8_t *bits = data;
    if (len > FLASH_SIZE || offset > FLASH_SIZE - len)
        return CW_ERR_IO;
    while (len > 0) {
        uint32_t part = len < sizeof cells ? len : (uint32_t)sizeof cells;
        enum cw_err err = flash_read(ctx, offset, cells, part);
        if (err != CW_OK)
            return err;
        for (uint32_t i = 0; i < part; i++)
            cells[i] &= bits[i]; /* as NOR flash does: programming only clears */
        err = write_at(ctx, offset, cells, part);
        if (err != CW_OK)
            return err;
        bits += part;
        offset += part;
        len -= part;
    }
    return CW_OK;
}

static enum cw_err flash_erase(void *ctx, uint32_t page)
{
    uint8_t blank[PAGE_SIZE];
    if (page >= PAGE_COUNT)
        return CW_ERR_IO;
    memset(blank, 0xFF, sizeof blank);
    return write_at(ctx, page * PAGE_SIZE, blank, PAGE_SIZE);
}

static enum cw_err random_bytes(void *ctx, uint8_t *buf, size_t len)
{
    (void)ctx;
    while (len > 0) {
        ssize_t n = getrandom(buf, len, 0);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return CW_ERR_IO;
        buf += n;
        len -= (size_t)n;
    }
    return CW_OK;
}

/* A file appears whole or not at all: written under another name, then renamed. */
static enum cw_err create(int dir, const char *name, const void *data, size_t len)
{
    char temporary[32];
    snprintf(temporary, sizeof temporary, "%s.new", name);
    int fd = openat(dir, temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0)
        return CW_ERR_IO;
    enum cw_err err = file_write_all(fd, data, len);
    if (fsync(fd) != 0 || close(fd) != 0 || renameat(dir, temporary, dir, name) != 0 ||
        fsync(dir) != 0)
        err = CW_ERR_IO;
    return err;
}

static enum cw_err create_card(struct card_linux *c)
{
    static const char digits[] = "0123456789abcdef";
    uint8_t id[CARD_UNIQUE_ID_LEN];
    char text[2 * CARD_UNIQUE_ID_LEN + 1];
    enum cw_err err = random_bytes(NULL, id, sizeof id);
    if (err != CW_OK)
        return err;
    for (size_t i = 0; i < sizeof id; i++) {
        text[2 * i] = digits[id[i] >> 4];
        text[2 * i + 1] = digits[id[i] & 15];
    }
    text[sizeof text - 1] = '\n';
    err = create(c->dir, "id", text, sizeof text);
    if (err != CW_OK)
        return err;
    uint8_t *blank = malloc(FLASH_SIZE);
    if (blank == NULL)
        return CW_ERR_SPACE;
    memset(blank, 0xFF, FLASH_SIZE);
    err = create(c->dir, "flash.bin", blank, FLASH_SIZE); /* last: it makes the folder a card */
    free(blank);
    return err;
}

static enum cw_err read_id(struct card_linux *c)
{
    char text[2 * CARD_UNIQUE_ID_LEN];
    int fd = openat(c->dir, "id", O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return CW_ERR_IO;
    ssize_t n = read(fd, text, sizeof text);
    close(fd);
    if (n != (ssize_t)sizeof text)
        return CW_ERR_FORMAT;
    for (size_t i = 0; i < sizeof text; i++) {
        char d = text[i];
        uint8_t nibble;
        if (d >= '0' && d <= '9')
            nibble = (uint8_t)(d - '0');
        else if (d >= 'a' && d <= 'f')
            nibble = (uint8_t)(d - 'a' + 10);
        else
            return CW_ERR_FORMAT;
        uint8_t *byte = &c->port.unique_id[i / 2];
        *byte = (uint8_t)(*byte << 4 | nibble);
    }
    return CW_OK;
}

static enum cw_err open_dir(struct card_linux *c, const char *dir, struct say *why)
{
    if (mkdir(dir, 0700) != 0 && errno != EEXIST)
        return say_fail(why, CW_ERR_IO, "cannot make the card's folder %s: %s", dir,
                        strerror(errno));
    c->dir = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (c->dir < 0)
        return say_fail(why, CW_ERR_IO, "cannot open the card's folder %s: %s", dir,
                        strerror(errno));
    if (flock(c->dir, LOCK_EX | LOCK_NB) != 0)
        return say_fail(why, errno == EWOULDBLOCK ? CW_ERR_BUSY : CW_ERR_IO,
                        "the card in %s is in use by another program; stop that first", dir);
    return CW_OK;
}

/* Is flash.bin a card's memory, and does the id beside it say which card's? */
static enum cw_err check_files(struct card_linux *c, const char *dir, struct say *why)
{
    struct stat st;
    if (fstat(c->flash, &st) != 0)
        return say_fail(why, CW_ERR_IO, "cannot open the card's memory %s/flash.bin: %s", dir,
                        strerror(errno));
    if (st.st_size != (off_t)FLASH_SIZE && st.st_size != (off_t)CHIP_SIZE)
        return say_fail(why, CW_ERR_FORMAT,
                        "%s/flash.bin is no card's memory (it must have %u bytes); restore it or "
                        "choose another folder",
                        dir, FLASH_SIZE);
    enum cw_err err = read_id(c);
    return err == CW_OK ? CW_OK
                        : say_fail(why, err,
                                   "%s/id is damaged or missing; restore it or choose "
                                   "another folder",
                                   dir);
}

static enum cw_err open_flash(struct card_linux *c, const char *dir, struct say *why)
{
    c->flash = openat(c->dir, "flash.bin", O_RDWR | O_CLOEXEC);
    if (c->flash < 0 && errno == ENOENT) {
        if (create_card(c) != CW_OK)
            return say_fail(why, CW_ERR_IO, "cannot make a card in %s: %s", dir, strerror(errno));
        c->flash = openat(c->dir, "flash.bin", O_RDWR | O_CLOEXEC);
    }
    if (c->flash < 0)
        return say_fail(why, CW_ERR_IO, "cannot open the card's memory %s/flash.bin: %s", dir,
                        strerror(errno));
    /* The lock on the folder decides; this one only shows that it is held to those who look, for a
     * lock on a folder cannot be seen without trying to take it. */
    struct flock mark = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    if (fcntl(c->flash, F_OFD_SETLK, &mark) != 0)
        return say_fail(why, CW_ERR_IO, "cannot lock the card's memory %s/flash.bin: %s", dir,
                        strerror(errno));
    return check_files(c, dir, why);
}

static struct card_linux *card_new(void)
{
    struct card_linux *c = calloc(1, sizeof *c);
    if (c == NULL)
        return NULL;
    c->dir = c->flash = -1;
    c->port.ctx = c;
    c->port.random = random_bytes;
    c->port.flash = (struct card_flash){.ctx = c, .page_size = PAGE_SIZE, .page_count = PAGE_COUNT};
    return c;
}

enum cw_err card_linux_open(const char *dir, bool contactless, struct card_linux **out,
                            struct say *why)
{
    struct card_linux *c = card_new();
    if (c == NULL)
        return say_fail(why, CW_ERR_SPACE, "out of memory");
    c->sync = getenv("CARDWIRE_CARD_NOSYNC") == NULL;
    enum cw_err err = open_dir(c, dir, why);
    if (err == CW_OK)
        err = open_flash(c, dir, why);
    if (err != CW_OK) {
        card_linux_close(&c);
        return err;
    }
    c->port.contactless = contactless;
    memcpy(c->port.initial_key, well_known, sizeof c->port.initial_key);
    c->port.flash.read = flash_read;
    c->port.flash.program = flash_program;
    c->port.flash.erase = flash_erase;
    *out = c;
    return CW_OK;
}

static enum cw_err image_read(void *ctx, uint32_t offset, void *data, uint32_t len)
{
    const struct card_linux *c = ctx;
    if (len > FLASH_SIZE || offset > FLASH_SIZE - len)
        return CW_ERR_IO;
    memcpy(data, c->image + offset, len);
    return CW_OK;
}

static enum cw_err image_program(void *ctx, uint32_t offset, const void *data, uint32_t len)
{
    (void)ctx, (void)offset, (void)data, (void)len;
    return CW_ERR_IO;
}

static enum cw_err image_erase(void *ctx, uint32_t page)
{
    (void)ctx, (void)page;
    return CW_ERR_IO;
}

/* The memory as it was at one moment: a card that is running may write while it is read, so it is
 * read until it comes out the same twice. */
static enum cw_err take_image(struct card_linux *c, const char *dir, struct say *why)
{
    enum cw_err err = CW_ERR_SPACE;
    uint8_t *again = malloc(FLASH_SIZE);
    c->image = malloc(FLASH_SIZE);
    if (c->image != NULL && again != NULL)
        err = flash_read(c, 0, c->image, FLASH_SIZE);
    for (unsigned tries = 0; err == CW_OK; tries++) {
        err = flash_read(c, 0, again, FLASH_SIZE);
        if (err == CW_OK && memcmp(c->image, again, FLASH_SIZE) == 0)
            break;
        memcpy(c->image, again, FLASH_SIZE);
        if (tries == LOOK_TRIES)
            err = CW_ERR_BUSY;
        usleep(LOOK_PAUSE_US);
    }
    if (again != NULL)
        ct_wipe(again, FLASH_SIZE);
    free(again);
    if (err == CW_ERR_BUSY)
        return say_fail(why, err, "the card in %s is writing all the time; try again", dir);
    return err == CW_OK ? CW_OK
                        : say_fail(why, err, "cannot read the card's memory %s/flash.bin: %s", dir,
                                   strerror(errno));
}

enum cw_err card_linux_look(const char *dir, struct card_linux **out, bool *in_use, struct say *why)
{
    struct flock held = {.l_type = F_RDLCK, .l_whence = SEEK_SET};
    struct card_linux *c = card_new();
    if (c == NULL)
        return say_fail(why, CW_ERR_SPACE, "out of memory");
    enum cw_err err = CW_OK;
    c->dir = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (c->dir >= 0)
        c->flash = openat(c->dir, "flash.bin", O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    if (c->dir < 0)
        err = say_fail(why, errno == ENOENT ? CW_ERR_NOT_FOUND : CW_ERR_IO,
                       "cannot open the card's folder %s: %s", dir, strerror(errno));
    else if (c->flash < 0 && errno == ENOENT)
        err = say_fail(why, CW_ERR_NOT_FOUND, "%s is no card's folder: there is no flash.bin in it",
                       dir);
    else if (c->flash < 0 || fcntl(c->flash, F_OFD_GETLK, &held) != 0)
        err = say_fail(why, CW_ERR_IO, "cannot open the card's memory %s/flash.bin: %s", dir,
                       strerror(errno));
    if (err == CW_OK)
        err = check_files(c, dir, why);
    if (err == CW_OK)
        err = take_image(c, dir, why);
    if (err != CW_OK) {
        card_linux_close(&c);
        return err;
    }
    c->port.flash.read = image_read;
    c->port.flash.program = image_program;
    c->port.flash.erase = image_erase;
    *in_use = held.l_type != F_UNLCK;
    *out = c;
    return CW_OK;
}

const struct card_port *card_linux_port(const struct card_linux *card)
{
    return &card->port;
}

void card_linux_close(struct card_linux **card)
{
    struct card_linux *c = *card;
    if (c == NULL)
        return;
    if (c->flash >= 0)
        close(c->flash);
    if (c->dir >= 0)
        close(c->dir); /* and the lock with it */
    if (c->image != NULL)
        ct_wipe(c->image, FLASH_SIZE);
    free(c->image);
    free(c);
    *card = NULL;
}
