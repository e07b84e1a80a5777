/* image_def.S - the least that the boot ROM takes for an image: one block of an executable for Arm,
 * Secure, not signed (datasheet §5.9.5.1). Signed boot puts another in its place (picotool seal). */
    .section .image_def, "a"
    .align 2
    .global image_def
image_def:
    .word   0xFFFFDED3      /* start */
    .word   0x10210142      /* IMAGE_TYPE: executable, Secure, Arm, RP2350 */
    .word   0x000001FF      /* the last item */
    .word   0               /* the next block: this one */
    .word   0xAB123579      /* end */
