#include "card/ports/cortexm/mpu.h"

#include "card/ports/cortexm/board.h"
#include "card/ports/cortexm/cpu.h"
#include "card/ports/cortexm/image.h"
#include "card/ports/cortexm/memory.h"

enum region { REGION_IMAGE, REGION_RAM, REGION_PERIPHERALS, REGION_MEMORY };
enum access { RUN_ONLY, READ_ONLY, READ_WRITE, DEVICE };

#ifdef __ARM_ARCH_8M_MAIN__ /* PMSAv8: base and limit, attributes by index into MAIR */

static void set(enum region region, uint32_t base, uint32_t size, enum access access)
{
    static const uint8_t attributes[] = {
        /* AP[2:1], XN */
        [RUN_ONLY] = 2u << 1,
        [READ_ONLY] = 2u << 1 | 1u,
        [READ_WRITE] = 1u,
        [DEVICE] = 1u,
    };
    MPU_RNR = region;
    MPU_RBAR = base | attributes[access];
    MPU_RLAR = (base + size - 32u) | (access == DEVICE) << 1 | 1u;
}

#else /* PMSAv7: a power of two, of which the last eighths can be left out; bases are multiples */

static void set(enum region region, uint32_t base, uint32_t size, enum access access)
{
    enum {
        XN = 1u << 28,
        RO = 5u << 24,
        RW = 1u << 24,
        NORMAL = 1u << 17,
        SHARED_DEVICE = 5u << 16
    };
    static const uint32_t attributes[] = {
        [RUN_ONLY] = RO | NORMAL,
        [READ_ONLY] = XN | RO | NORMAL,
        [READ_WRITE] = XN | RW | NORMAL,
        [DEVICE] = XN | RW | SHARED_DEVICE,
    };
    MPU_RNR = region;
    MPU_RBAR = base;
    uint32_t bits = 32u - (uint32_t)__builtin_clz(size - 1u);
    uint32_t left_out = 0xFFu & 0xFFu << (size >> (bits - 3u));
    MPU_RASR = attributes[access] | left_out << 8 | (bits - 1u) << 1 | 1u;
}

#endif

void mpu_start(void)
{
    set(REGION_IMAGE, (uint32_t)__flash_start, (uint32_t)__flash_size, RUN_ONLY);
    set(REGION_RAM, (uint32_t)__ram_start, (uint32_t)__ram_size, READ_WRITE);
    set(REGION_PERIPHERALS, BOARD_PERIPHERALS, BOARD_PERIPHERALS_SIZE, DEVICE);
    mpu_memory_writable(false);
#ifdef __ARM_ARCH_8M_MAIN__
    MPU_MAIR0 = 0x0444u; /* 0: normal, not cached; 1: device nGnRE */
#endif
    SCB_SHCSR = SHCSR_FAULTS;
    MPU_CTRL = 1u; /* no background region; off in HardFault and NMI, whose handlers wipe RAM */
    cpu_barrier();
}

void mpu_memory_writable(bool writable)
{
    set(REGION_MEMORY, BOARD_MEMORY, MEMORY_WINDOW, writable ? READ_WRITE : READ_ONLY);
    cpu_barrier();
}
