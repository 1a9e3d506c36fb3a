// What the emulated terminal does with its raw flash and has no program for.
//
//   flash attach | detach   UBI on the first flash
//   flash volume            a volume of all that is free, with the name data
//   flash tear [noecc]      the page that UBIFS would have written next for a file is half written, as a power cut leaves it;
//                           noecc: so that its error correction fails
#include <endian.h>
#include <fcntl.h>
#include <mtd/mtd-user.h>
#include <mtd/ubi-user.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum { PAGE = 2048, OOB = 64, BLOCK = 64 * PAGE, NODE_HEAD = 24, DATA_NODE = 1, PADDING_NODE = 5, PADDING = 0xce };
// A node with a whole page of a file. With less room than this in a block, UBIFS may write its next node into another.
enum { LONGEST_NODE = 4096 + 48 };
#define UBIFS_MAGIC 0x06101831u

static int must(const char *what, long result) {
    if (result < 0) perror(what), exit(1);
    return result;
}

static void attach(void) {
    struct ubi_attach_req request = {.ubi_num = 0, .mtd_num = 0};
    must("attach", ioctl(must("/dev/ubi_ctrl", open("/dev/ubi_ctrl", O_RDWR)), UBI_IOCATT, &request));
}

static void detach(void) {
    int32_t number = 0;
    must("detach", ioctl(must("/dev/ubi_ctrl", open("/dev/ubi_ctrl", O_RDWR)), UBI_IOCDET, &number));
}

static void volume(void) {
    FILE *file = fopen("/sys/class/ubi/ubi0/avail_eraseblocks", "r");
    long blocks = 0, bytes = 0;
    if (file == NULL || fscanf(file, "%ld", &blocks) != 1) must("avail_eraseblocks", -1);
    file = fopen("/sys/class/ubi/ubi0/eraseblock_size", "r");
    if (file == NULL || fscanf(file, "%ld", &bytes) != 1) must("eraseblock_size", -1);
    struct ubi_mkvol_req request = {.vol_id = 0, .alignment = 1, .bytes = blocks * bytes, .vol_type = UBI_DYNAMIC_VOLUME, .name_len = 4, .name = "data"};
    must("volume", ioctl(must("/dev/ubi0", open("/dev/ubi0", O_RDWR)), UBI_IOCMKVOL, &request));
}

static uint32_t big(const uint8_t *at) {
    uint32_t value;
    memcpy(&value, at, 4);
    return be32toh(value);
}

static uint32_t little(const uint8_t *at) {
    uint32_t value;
    memcpy(&value, at, 4);
    return le32toh(value);
}

// The sequence number of the newest node with data of a file in a block.
static uint64_t newest_data(const uint8_t *block, long at) {
    uint64_t newest = 0;
    for (;;) {
        while (at < BLOCK && block[at] == PADDING) at++;
        if (at + NODE_HEAD + 4 > BLOCK || little(block + at) != UBIFS_MAGIC) return newest;
        uint64_t sequence = little(block + at + 8) | (uint64_t)little(block + at + 12) << 32;
        if (block[at + 20] == DATA_NODE && sequence > newest) newest = sequence;
        long length = little(block + at + 16);
        if (block[at + 20] == PADDING_NODE) length += little(block + at + NODE_HEAD);
        at += (length + 7) & ~7;
    }
}

static int is_erased(const uint8_t *page) {
    for (int at = 0; at < PAGE; at++)
        if (page[at] != 0xff) return 0;
    return 1;
}

// The page behind the last that is written. The last node need not be whole: its end may wait in the write buffer that the cut took.
static long next_page(const uint8_t *block) {
    long next = BLOCK;
    while (next > PAGE && is_erased(block + next - PAGE)) next -= PAGE;
    return next;
}

static void tear(int noecc) {
    static uint8_t block[BLOCK], page[PAGE], oob[OOB];
    int flash = must("/dev/mtd0", open("/dev/mtd0", O_RDWR));
    struct mtd_info_user info;
    must("MEMGETINFO", ioctl(flash, MEMGETINFO, &info));
    uint64_t newest = 0;
    long place = -1;
    for (long from = 0; from < info.size; from += BLOCK) {
        // Some pages may be unreadable, after a tear before this one.
        if (pread(flash, block, BLOCK, from) != BLOCK) continue;
        uint32_t volume_head = big(block + 16), data = big(block + 20);
        if (memcmp(block, "UBI#", 4) != 0 || volume_head >= BLOCK || data >= BLOCK) continue;
        if (memcmp(block + volume_head, "UBI!", 4) != 0 || big(block + volume_head + 8) != 0) continue;
        uint64_t newest_here = newest_data(block, data);
        if (newest_here <= newest) continue;
        newest = newest_here;
        long next = next_page(block);
        place = next + LONGEST_NODE < BLOCK ? from + next : -1;
        memcpy(page, block + next - PAGE, PAGE);
    }
    if (place < 0) {
        puts("nothing to tear");
        return;
    }
    srand(newest);
    int from = rand() % PAGE;
    memset(page + from, 0xff, PAGE - from);
    page[8] ^= 0xff; // no node that is there already
    memset(oob, 0xff, OOB);
    struct mtd_write_req request = {
        .start = place, .len = PAGE, .ooblen = noecc ? OOB : 0, .usr_data = (uintptr_t)page, .usr_oob = (uintptr_t)oob,
        .mode = noecc ? MTD_OPS_RAW : MTD_OPS_PLACE_OOB,
    };
    must("MEMWRITE", ioctl(flash, MEMWRITE, &request));
    printf("block %ld, page %ld, torn after %d bytes%s\n", place / BLOCK, place % BLOCK / PAGE, from, noecc ? ", without its ECC" : "");
}

int main(int argc, char **argv) {
    const char *what = argc > 1 ? argv[1] : "";
    if (strcmp(what, "attach") == 0) attach();
    else if (strcmp(what, "detach") == 0) detach();
    else if (strcmp(what, "volume") == 0) volume();
    else if (strcmp(what, "tear") == 0) tear(argc > 2);
    else return 64;
    return 0;
}
